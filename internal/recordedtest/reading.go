package recordedtest

import (
	"encoding/json"
	"strings"
)

// Reading is what the data plane tells of an answer.
type Reading struct {
	Usage, FirstUsage, Model, ServiceTier, ToolUsage string
	OtherUsage                                       []string // every report between, whatever it says
	Done                                             bool
	Finished                                         int
	Output                                           bool
}

// Read reads an answer to its end. Of a cut one it is what had come.
func Read(answer string, stream, failed bool) Reading {
	r := reader{finished: map[int]bool{}}
	if !stream {
		r.take(answer, true)
		r.Done = json.Valid([]byte(answer)) && (!failed || r.Usage != "")
		return r.Reading
	}
	ended := false
	for _, text := range events(answer) {
		if text == "[DONE]" {
			ended = true
		} else {
			ended = r.event(text) || ended
		}
		r.Done = ended && !r.late
	}
	return r.Reading
}

// reader is a Reading in the making.
type reader struct {
	Reading
	finished map[int]bool
	late     bool // something came after the last report
	over     bool // a terminal event had it
	summed   bool // it came by itself behind output
}

// event takes one event and reports whether it ends the answer.
func (r *reader) event(text string) bool {
	var e struct {
		Type    string
		Choices []json.RawMessage
		Delta   struct {
			Stop *string `json:"stop_reason"`
		}
	}
	_ = json.Unmarshal([]byte(text), &e) // a delta may be a text
	output := strings.HasSuffix(e.Type, "delta") && e.Type != "message_delta" || strings.HasPrefix(e.Type, "content_block_start") || strings.Contains(e.Type, "output_item")
	ended := true // the choices
	for i, raw := range e.Choices {
		said, reason := r.choice(i, raw)
		output, ended = said || output, ended && reason
	}
	output = output || spoken(text)
	if e.Delta.Stop != nil {
		r.finished[0] = true
	}
	reported := r.take(text, false)
	delta := e.Type == "message_delta"
	begun := r.Output
	r.Output = r.Output || output
	switch {
	case reported:
		r.summed = begun && !output && len(e.Choices) == 0 && (e.Type == "" || delta)
		r.late, r.Finished, r.over = false, len(r.finished), terminal(`"`+e.Type+`"`)
	case r.Usage == "":
	case output:
		r.late, r.Finished = true, 0
	case r.summed && (delta && e.Delta.Stop != nil || e.Type == "" && len(e.Choices) > 0 && ended): // the end alone
	case len(e.Choices) > 0, e.Type == "error", e.Type != "" && e.Type != "ping" && e.Type != "message_stop" && !r.over:
		r.late = true
	}
	return terminal(`"` + e.Type + `"`)
}

// choice notes a choice's end and reports whether it has output, and a reason.
func (r *reader) choice(i int, raw json.RawMessage) (output, reason bool) {
	var c struct {
		Index          *int
		Reason         *string `json:"finish_reason"`
		Text           string
		Delta, Message map[string]json.RawMessage
	}
	_ = json.Unmarshal(raw, &c)
	if c.Index == nil {
		c.Index = &i
	}
	if reason = c.Reason != nil && *c.Reason != ""; reason {
		r.finished[*c.Index] = true
	}
	output = c.Text != ""
	for _, m := range []map[string]json.RawMessage{c.Delta, c.Message} {
		for k, v := range m {
			output = output || k != "role" && strings.Trim(string(v), `[]{}" `) != "" && strings.Contains(`"{[`, string(v[:1]))
		}
	}
	return output, reason
}

// spoken reports whether a document has output beside choices: a text, or that of
// a response or a message in it.
func spoken(text string) bool {
	full := func(v json.RawMessage) bool {
		return len(v) > 2 && (v[0] == '"' || v[0] == '[')
	}
	var response, message map[string]json.RawMessage
	top := members(text)
	_, _ = json.Unmarshal(top["response"], &response), json.Unmarshal(top["message"], &message)
	return full(top["text"]) || full(top["output_text"]) || full(top["completion"]) || full(top["embeddings"]) || full(top["b64_json"]) ||
		full(response["output"]) || full(response["output_text"]) || full(message["content"])
}

// take keeps the last of each member, and reports whether a usage object came.
func (r *reader) take(text string, whole bool) bool {
	found := reported(text)
	usage := found["usage"]
	if strings.Trim(usage, "{} ") == "" {
		usage = ""
	}
	if usage != "" {
		if r.Usage != "" && r.Usage != r.FirstUsage {
			r.OtherUsage = append(r.OtherUsage, r.Usage)
		}
		if r.FirstUsage == "" {
			r.FirstUsage = usage
		}
		r.Usage = usage
	}
	if usage != "" || whole {
		for key, into := range map[string]*string{"model": &r.Model, "service_tier": &r.ServiceTier, "tool_usage": &r.ToolUsage} {
			if v := found[key]; v != "" {
				*into = v
			}
		}
	}
	if whole {
		var d struct {
			Choices                        []json.RawMessage
			Output, Content, Data, Results []json.RawMessage
		}
		_ = json.Unmarshal([]byte(text), &d)
		r.Output = len(d.Output)+len(d.Content)+len(d.Data)+len(d.Results) > 0 || spoken(text)
		for i, c := range d.Choices {
			said, _ := r.choice(i, c)
			r.Output = said || r.Output
		}
	}
	return usage != ""
}
