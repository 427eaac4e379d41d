package apierror

import (
	"bytes"
	"encoding/json"
	"time"

	"aigateway/budget"
)

type openAIBody struct {
	Error openAIError `json:"error"`
}

type openAIError struct {
	Message  string   `json:"message"`
	Type     string   `json:"type"`
	Code     int      `json:"code"`
	Param    string   `json:"param,omitempty"`
	Metadata metadata `json:"metadata"`
}

type anthropicBody struct {
	Type      string         `json:"type"`
	Error     anthropicError `json:"error"`
	RequestID string         `json:"request_id,omitempty"`
}

type anthropicError struct {
	Type     string   `json:"type"`
	Message  string   `json:"message"`
	Metadata metadata `json:"metadata"`
}

type metadata struct {
	Reason string `json:"reason"`
	Param  string `json:"param,omitempty"` // Anthropic's envelope has no place of its own for it
	*refusal
	RequestID string `json:"request_id,omitempty"`
}

// refusal is a budget.Refusal in JSON. Its nullable members are present as
// null, so that "does not fit" and "never resets" are answers, not gaps.
type refusal struct {
	Budget           string  `json:"budget"`
	Tag              string  `json:"tag,omitempty"`
	KeyID            string  `json:"key_id,omitempty"`
	Period           string  `json:"period"`
	Currency         string  `json:"currency"`
	Cap              string  `json:"cap"`
	Spent            string  `json:"spent"`
	Reserved         string  `json:"reserved"`
	Remaining        string  `json:"remaining"`
	SinceRestore     string  `json:"held_since_restore,omitempty"`
	Bound            string  `json:"bound"`
	MaxTokensThatFit *int64  `json:"max_tokens_that_fit"`
	ResetsAt         *string `json:"resets_at"`
	Lines            []line  `json:"lines,omitempty"`
}

// line is a budget.Line under the names that POST /v1/explain gives it. Whole
// numbers are in strings, where quiet can spell them.
type line struct {
	Label       string `json:"label"`
	Quantity    int64  `json:"quantity,string"`
	Unit        string `json:"unit"`
	PicoPerUnit int64  `json:"pico_usd_per_unit,string"`
	Amount      string `json:"amount_usd"`
	Note        string `json:"note"`
}

// Body is the JSON envelope of e. Money is in decimal US dollars, exact.
// requestID may be empty. The cause e.Err is never part of it.
func Body(d Dialect, e *budget.Error, requestID string) []byte {
	md := metadata{Reason: Reason(e), refusal: refusalOf(e.Refusal)}
	if d == Anthropic {
		md.Param = e.Field
		return encode(anthropicBody{
			Type:      "error",
			Error:     anthropicError{Type: Type(d, e), Message: e.Message, Metadata: md},
			RequestID: requestID,
		})
	}
	md.RequestID = requestID
	return encode(openAIBody{openAIError{
		Message: e.Message, Type: Type(d, e), Code: Status(e), Param: e.Field, Metadata: md,
	}})
}

func refusalOf(r *budget.Refusal) *refusal {
	if r == nil {
		return nil
	}
	out := &refusal{
		Budget: r.Budget.ID, Tag: string(r.Budget.Target.Tags), KeyID: r.Budget.Target.KeyID,
		Period: r.Budget.Period.String(), Currency: "USD",
		Cap: r.Budget.Cap.String(), Spent: r.Spent.String(), Reserved: r.Reserved.String(),
		Remaining: r.Remaining().String(), Bound: r.Bound.String(),
		MaxTokensThatFit: r.MaxTokensThatFit,
	}
	if r.Restored > 0 {
		out.SinceRestore = r.Restored.String()
	}
	if !r.ResetsAt.IsZero() {
		t := r.ResetsAt.UTC().Format(time.RFC3339)
		out.ResetsAt = &t
	}
	for _, l := range r.Lines {
		out.Lines = append(out.Lines, line{l.Label, l.Quantity, l.Unit, l.PicoPerUnit, l.Amount.String(), l.Note})
	}
	return out
}

func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Unreachable: the structs above hold strings and integers only. If that
		// ever changes, a client still gets an envelope.
		return []byte(`{"error":{"message":"the gateway could not write this error","type":"internal_error","code":500,"metadata":{"reason":"internal"}}}`)
	}
	return quiet(bytes.TrimRight(b.Bytes(), "\n"))
}
