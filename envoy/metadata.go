package envoy

import (
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"
)

// Edit replaces Del bytes of a request body at offset At with Ins. Offsets are
// those of the original body.
type Edit struct {
	At, Del int
	Ins     string // valid UTF-8, as a protobuf string must be
}

// Decision is what Check hands to the data plane with an OK answer.
type Decision struct {
	Token string // a sealed Token
	// Edits ascend and do not overlap. With any, Check must also set HeaderEdit.
	Edits []Edit
	// StripUsage drops the usage-only chunk of a stream, which the client did
	// not ask for.
	StripUsage bool
	// Anthropic says that the client speaks Anthropic's own API, so errors the
	// filter writes have its envelope.
	Anthropic bool
	// Betas is what the provider gets as anthropic-beta; empty: no such header.
	Betas string
}

// Members of the decision namespace; filter.lua reads the same names.
const (
	keyToken     = "rsv"
	keyEdits     = "edits"
	keyStrip     = "strip_usage"
	keyAnthropic = "anthropic"
	// KeyBetas is read by routes, too.
	KeyBetas = "betas"
)

// Encode is the decision as ext_authz dynamic metadata. Numbers in a Struct are
// doubles and nested values cost Lua a table each, so the edits travel as one
// text, see EncodeEdits.
func (d Decision) Encode() *structpb.Struct {
	fields := map[string]*structpb.Value{keyToken: structpb.NewStringValue(d.Token)}
	if len(d.Edits) > 0 {
		fields[keyEdits] = structpb.NewStringValue(EncodeEdits(d.Edits))
	}
	if d.StripUsage {
		fields[keyStrip] = structpb.NewBoolValue(true)
	}
	if d.Anthropic {
		fields[keyAnthropic] = structpb.NewBoolValue(true)
	}
	if d.Betas != "" {
		fields[KeyBetas] = structpb.NewStringValue(d.Betas)
	}
	return &structpb.Struct{Fields: fields}
}

// EncodeEdits writes each edit as "at del length:ins", one after the other; the
// length counts the bytes of ins. filter.lua reads this back.
func EncodeEdits(edits []Edit) string {
	n := 0
	for i := range edits {
		n += len(edits[i].Ins) + 24
	}
	b := make([]byte, 0, n)
	for i := range edits {
		b = strconv.AppendInt(b, int64(edits[i].At), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(edits[i].Del), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(len(edits[i].Ins)), 10)
		b = append(b, ':')
		b = append(b, edits[i].Ins...)
	}
	return string(b)
}

// Report is what a log entry's metadata says about a call: the token Check
// issued and what the Lua filter saw of the answer. All texts are the
// provider's raw JSON (a model name keeps its quotes); empty means absent.
type Report struct {
	Token string
	// Usage is the last usage object. It is absent when none came, and when
	// one came that could not be captured, so that an older one is never
	// mistaken for the last.
	Usage string
	// FirstUsage is the first usage object of the answer; equal to Usage when
	// only one came.
	FirstUsage string
	Model      string // as served
	// ServiceTier is the tier as served.
	ServiceTier string
	Type        string // of the last event, or of the JSON answer
	ToolUsage   string // Responses only
	// Done says the answer came to its own end: JSON closed, or [DONE], or a
	// terminal event. An answer of status 400 or above is never done.
	Done bool
	// UpstreamStatus is the provider's 401, 402 or 403 that the filter replaced
	// by 502; 0 when the status in the log entry is the true one.
	UpstreamStatus int
}

// DecodeReport reads the filter_metadata of a log entry. Metadata without our
// namespaces is an empty Report; a member of the wrong type is an error, since
// only our own filter writes there. It never retains md.
func DecodeReport(md map[string]*structpb.Struct) (Report, error) {
	var r Report
	var err error
	if r.Token, err = text(md[NamespaceDecision], keyToken); err != nil {
		return Report{}, err
	}
	return r, decodeLua(md[NamespaceReport], &r)
}

func decodeLua(s *structpb.Struct, r *Report) error {
	for name, v := range s.GetFields() {
		switch dst := r.textField(name); {
		case dst != nil:
			str, ok := v.GetKind().(*structpb.Value_StringValue)
			if !ok {
				return fmt.Errorf("metadata %s.%s: want a string", NamespaceReport, name)
			}
			*dst = str.StringValue
		case name == "done":
			b, ok := v.GetKind().(*structpb.Value_BoolValue)
			if !ok {
				return fmt.Errorf("metadata %s.done: want a bool", NamespaceReport)
			}
			r.Done = b.BoolValue
		case name == "upstream_status":
			n, ok := v.GetKind().(*structpb.Value_NumberValue)
			if !ok || n.NumberValue != math.Trunc(n.NumberValue) || n.NumberValue < 0 || n.NumberValue > 999 {
				return fmt.Errorf("metadata %s.upstream_status: want a status", NamespaceReport)
			}
			r.UpstreamStatus = int(n.NumberValue)
		}
	}
	r.fillFirst()
	return nil
}

// textField is the destination of a textual report member; nil for any other.
func (r *Report) textField(name string) *string {
	switch name {
	case "usage":
		return &r.Usage
	case "first_usage":
		return &r.FirstUsage
	case "model":
		return &r.Model
	case "service_tier":
		return &r.ServiceTier
	case "type":
		return &r.Type
	case "tool_usage":
		return &r.ToolUsage
	}
	return nil
}

// fillFirst restores what the filter does not send twice.
func (r *Report) fillFirst() {
	if r.FirstUsage == "" {
		r.FirstUsage = r.Usage
	}
}

func text(s *structpb.Struct, name string) (string, error) {
	v := s.GetFields()[name]
	if v == nil {
		return "", nil
	}
	str, ok := v.GetKind().(*structpb.Value_StringValue)
	if !ok {
		return "", fmt.Errorf("metadata %s.%s: want a string", NamespaceDecision, name)
	}
	return str.StringValue, nil
}
