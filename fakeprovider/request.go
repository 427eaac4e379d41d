package fakeprovider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"mime"
	"net/http"
	"strings"
)

// members reads a request's top-level members as providers do: names are
// case-sensitive, the last of duplicates wins, unknown ones are ignored.
type members map[string]json.RawMessage

func invalid(param, message string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request_error", param, "", message}
}

func (c *call) members() (members, *refusal) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, invalid("", "You must send a Content-Type of application/json.")
	}
	var m members
	if err := json.Unmarshal(c.record.Body, &m); err != nil || m == nil {
		return nil, invalid("", "We could not parse the JSON body of your request.")
	}
	for _, name := range c.server.cfg.Refuses {
		if _, ok := m[name]; ok {
			return nil, &refusal{http.StatusUnprocessableEntity, "invalid_request_error", name, "", "Extra inputs are not permitted: " + name + "."}
		}
	}
	return m, nil
}

// read decodes one member into v; absent and null leave v alone.
func (m members) read(name string, v any) *refusal {
	raw, ok := m[name]
	if !ok || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return invalid(name, "Invalid type for '"+name+"'.")
	}
	return nil
}

// model reads what every endpoint takes: a known model, and the user.
func (c *call) model(m members) *refusal {
	if bad := m.read("user", &c.record.User); bad != nil {
		return bad
	}
	if bad := m.read("model", &c.record.Model); bad != nil {
		return bad
	}
	if c.record.Model == "" {
		return invalid("model", "You must provide a model parameter.")
	}
	if _, ok := c.server.cfg.Models[c.record.Model]; !ok {
		return &refusal{http.StatusNotFound, "invalid_request_error", "model", "model_not_found", fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", c.record.Model)}
	}
	return nil
}

// chatRequest is the part of a chat completion request that shapes the answer.
type chatRequest struct {
	stream       bool
	includeUsage bool
	choices      int64
	maxTokens    int64 // 0: no cap
	text         string
	messages     int64
	lastUser     string
}

func (c *call) readChat() (chatRequest, *refusal) {
	m, bad := c.members()
	if bad != nil {
		return chatRequest{}, bad
	}
	if bad := c.model(m); bad != nil {
		return chatRequest{}, bad
	}
	req := chatRequest{choices: 1}
	for _, read := range []func(members) *refusal{req.readStream, req.readLimits, req.readMessages} {
		if bad := read(m); bad != nil {
			return chatRequest{}, bad
		}
	}
	c.record.Stream = req.stream
	return req, nil
}

func (req *chatRequest) readStream(m members) *refusal {
	if bad := m.read("stream", &req.stream); bad != nil {
		return bad
	}
	var options *struct {
		IncludeUsage *bool `json:"include_usage"`
	}
	if bad := m.read("stream_options", &options); bad != nil {
		return bad
	}
	if options != nil && !req.stream {
		return invalid("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	}
	req.includeUsage = options != nil && options.IncludeUsage != nil && *options.IncludeUsage
	return nil
}

func (req *chatRequest) readLimits(m members) *refusal {
	if bad := m.read("n", &req.choices); bad != nil {
		return bad
	}
	if req.choices < 1 || req.choices > 128 {
		return invalid("n", "'n' must be between 1 and 128.")
	}
	for _, name := range []string{"max_tokens", "max_completion_tokens"} {
		var limit *int64
		if bad := m.read(name, &limit); bad != nil {
			return bad
		}
		if limit == nil {
			continue
		}
		if *limit < 1 {
			return invalid(name, "'"+name+"' must be at least 1.")
		}
		req.maxTokens = max(req.maxTokens, *limit)
	}
	return nil
}

func (req *chatRequest) readMessages(m members) *refusal {
	var list []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if bad := m.read("messages", &list); bad != nil {
		return bad
	}
	if len(list) == 0 {
		return invalid("messages", "'messages' must be a non-empty array.")
	}
	req.messages = int64(len(list))
	for i, msg := range list {
		if !knownRole(msg.Role) {
			return invalid(fmt.Sprintf("messages[%d].role", i), "Invalid role.")
		}
		text, ok := contentText(msg.Content)
		if !ok {
			return invalid(fmt.Sprintf("messages[%d].content", i), "Invalid content: expected a string or an array of parts.")
		}
		req.text += text
		if msg.Role == "user" {
			req.lastUser = text
		}
	}
	return nil
}

func knownRole(role string) bool {
	switch role {
	case "system", "developer", "user", "assistant", "tool", "function":
		return true
	}
	return false
}

// contentText is the text of a string, or of an array of typed parts.
func contentText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return "", true // an assistant message that only calls tools
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, true
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return "", false
	}
	var all strings.Builder
	for _, p := range parts {
		all.WriteString(p.Text)
	}
	return all.String(), true
}

// plan is what an answer will consist of, fixed before its first byte.
type plan struct {
	prompt, cached int64
	output         int64 // tokens per choice, thoughts included
	thoughts       int64 // of output, not in completion_tokens
	choices        int64
	finish         string // finish_reason
	seed           uint64
}

// plan counts tokens by a rule that depends on the body alone: about four
// bytes of text per prompt token, never more tokens than bytes, and never more
// output than the cap.
func (c *call) plan(req chatRequest) plan {
	h := fnv.New64a()
	_, _ = h.Write(c.record.Body) // a hash never fails
	f := c.faults
	p := plan{choices: req.choices, seed: h.Sum64(), finish: "stop"}
	p.prompt = min(int64(len(req.text)+3)/4+3*req.messages+3, int64(len(c.record.Body)))
	limit := c.server.cfg.DefaultOutput
	if req.maxTokens > 0 {
		limit = req.maxTokens
	}
	p.output = 1 + int64(p.seed%uint64(min(limit, c.server.cfg.DefaultOutput)))
	if f.Output > 0 {
		p.output = f.Output
	}
	p.output += f.Thoughts
	if f.Max {
		p.prompt, p.output = int64(len(c.record.Body)), limit
	}
	if p.output >= limit {
		p.output, p.finish = limit, "length"
	}
	p.thoughts = min(f.Thoughts, p.output)
	p.cached = min(f.Cached, p.prompt)
	return p
}

// textTokens is the rule of embeddings: about four bytes per token.
func textTokens(text string) int64 { return int64(len(text)+3) / 4 }
