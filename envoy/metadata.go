package envoy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
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
	// Edits ascend and do not overlap. They travel in HeaderEdit, see EncodeEdits.
	Edits []Edit
	// StripUsage drops the usage-only chunk of a stream, which the client did
	// not ask for.
	StripUsage bool
	// CountOutput has the filter report what it saw of a stream's output.
	CountOutput bool
	// Anthropic says that the client speaks Anthropic's own API, so errors the
	// filter writes have its envelope.
	Anthropic bool
	// Betas is what the provider gets as anthropic-beta; empty: no such header.
	Betas string
}

// Stream is the value of KeyStream, empty for none.
func (d *Decision) Stream() string {
	switch {
	case d.StripUsage && d.CountOutput:
		return "true count"
	case d.StripUsage:
		return "true"
	case d.CountOutput:
		return "count"
	}
	return ""
}

// Members of the decision namespace; filter.lua reads what they say.
const (
	KeyToken = "rsv"
	// KeyStream is what the filter does with a stream, see Decision.Stream.
	KeyStream    = "stream"
	KeyAnthropic = "anthropic"
	// KeyBetas is read by routes, too.
	KeyBetas = "betas"
)

// TokenFree stands in the place of a token on a call that is not billed: it was
// let through, and its log entry settles nothing.
const TokenFree = "free"

// Framings of an answer.
const (
	FramingEvents = "events" // server-sent events
	FramingJSON   = "json"
)

// KeyReport is the one member of NamespaceReport, see Report.Read.
const KeyReport = "report"

// EncodeEdits is the value of HeaderEdit: each edit as "at del length:ins", one
// after the other. In ins, a percent sign and every byte that is not printable
// ASCII stand as %XX, as a header takes no others; the length counts what is
// written. filter.lua reads this back.
func EncodeEdits(edits []Edit) string {
	n := 0
	for i := range edits {
		n += writtenLen(edits[i].Ins) + 24
	}
	var b strings.Builder
	b.Grow(n)
	var digits [20]byte
	number := func(n int, end byte) {
		b.Write(append(strconv.AppendInt(digits[:0], int64(n), 10), end))
	}
	for i := range edits {
		number(edits[i].At, ' ')
		number(edits[i].Del, ' ')
		number(writtenLen(edits[i].Ins), ':')
		writeText(&b, edits[i].Ins)
	}
	return b.String()
}

// plain reports whether a header takes c as it is.
func plain(c byte) bool { return c >= ' ' && c <= '~' && c != '%' }

func writtenLen(text string) int {
	n := len(text)
	for i := range len(text) {
		if !plain(text[i]) {
			n += 2
		}
	}
	return n
}

func writeText(b *strings.Builder, text string) {
	const digits = "0123456789ABCDEF"
	from := 0
	for i := range len(text) {
		if c := text[i]; !plain(c) {
			b.WriteString(text[from:i])
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
			from = i + 1
		}
	}
	b.WriteString(text[from:])
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
	// OtherUsage are those between the two that may be dearer than the one
	// after them, oldest first, at most 16.
	OtherUsage []string
	// Many says that there were more, or more than the filter follows: the
	// dearest may be missing.
	Many  bool
	Model string // as served
	// ServiceTier is the tier as served.
	ServiceTier string
	ToolUsage   string // Responses only
	// Done says that the answer came to its own end, and that nothing but the
	// end, and the reasons for it, came after the last usage object: JSON closed
	// and all of it arrived, or [DONE], or a terminal event. An answer of status
	// 400 or above is done only with a usage object.
	Done bool
	// Finished is how many choices of a stream had given a reason for their end
	// when the last usage object came; 0 when output came after it.
	Finished int
	// Output says that the answer has output: a text, a tool call, a vector.
	Output bool
	// Framing is how the bytes of the answer were laid out, whatever its
	// content-type says: FramingEvents, FramingJSON, or empty.
	Framing string
	// Unread says that the answer was neither, so that nothing is known of it.
	Unread bool
	// AnswerID is the answer's own id, and ItemIDs those of the output items of
	// a Responses answer, in the order they came: at most 64, each at most 128
	// bytes. An id with an escape in it is left out.
	AnswerID string
	ItemIDs  []string
	// UpstreamStatus is that of a provider's redirect or error, which the client may
	// have got another one for; 0: the filter told none. Of a 403 it tells only what
	// it replaced: any other is in the log entry, and may have a fee.
	UpstreamStatus int
	// Seen is how many bytes of output the filter saw at most, where the decision
	// had it count: of the texts of a stream's events, as JSON writes them. SeenAt
	// is when the last of it came with nothing unfinished behind it, half a second
	// early at most; zero: never. Without Seen nothing is known.
	Seen   int64
	SeenAt time.Time
}

// Read sets what text, written by filter.lua, says: "name length:value" for
// each member, one after the other; names it does not know are passed over.
// With an error, r is meaningless.
func (r *Report) Read(text string) error {
	for text != "" {
		name, rest, named := strings.Cut(text, " ")
		length, rest, measured := strings.Cut(rest, ":")
		n, err := strconv.ParseUint(length, 10, 31)
		if !named || !measured || err != nil || n > uint64(len(rest)) {
			return fmt.Errorf("metadata %s.%s: malformed", NamespaceReport, KeyReport)
		}
		if err := r.set(name, rest[:n]); err != nil {
			return err
		}
		text = rest[n:]
	}
	if r.FirstUsage == "" { // the filter does not send it twice
		r.FirstUsage = r.Usage
	}
	return nil
}

func (r *Report) set(name, value string) error {
	switch name {
	case "usage":
		r.Usage = value
	case "first_usage":
		r.FirstUsage = value
	case "other_usage":
		r.OtherUsage = append(r.OtherUsage, value)
	case "many":
		r.Many = value == "true"
	case "model":
		r.Model = value
	case "service_tier":
		r.ServiceTier = value
	case "tool_usage":
		r.ToolUsage = value
	case "done":
		r.Done = value == "true"
	case "finished":
		return number(name, value, &r.Finished)
	case "output":
		r.Output = value == "true"
	case "framing":
		r.Framing = value
	case "unread":
		r.Unread = value == "true"
	case "id":
		r.AnswerID = value
	case "item":
		r.ItemIDs = append(r.ItemIDs, value)
	case "upstream_status":
		return number(name, value, &r.UpstreamStatus)
	case "seen":
		return r.setSeen(value)
	}
	return nil
}

// setSeen reads bytes and milliseconds since 1970.
func (r *Report) setSeen(value string) error {
	seen, at, _ := strings.Cut(value, " ")
	n, err := strconv.ParseUint(seen, 10, 40)
	ms, err2 := strconv.ParseUint(at, 10, 43)
	if err != nil || err2 != nil {
		return fmt.Errorf("metadata %s.%s: seen: want bytes and milliseconds", NamespaceReport, KeyReport)
	}
	r.Seen, r.SeenAt = int64(n), time.Time{}
	if ms > 0 {
		r.SeenAt = time.UnixMilli(int64(ms))
	}
	return nil
}

// number reads a count of choices, or a status.
func number(name, value string, into *int) error {
	n, err := strconv.ParseUint(value, 10, 14)
	if err != nil || name == "upstream_status" && n > 999 {
		return fmt.Errorf("metadata %s.%s: %s: want a small number", NamespaceReport, KeyReport, name)
	}
	*into = int(n)
	return nil
}
