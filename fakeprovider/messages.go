package fakeprovider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// messagesRequest is a request to Anthropic's messages endpoint.
type messagesRequest struct {
	ask
	limit *int64
}

// countTokens is where a message's input is counted, for nothing.
const countTokens = "/messages/count_tokens"

func (c *call) readNative() (messagesRequest, *refusal) {
	if c.r.Header.Get("Anthropic-Version") == "" {
		return messagesRequest{}, invalid("", "anthropic-version: header is required")
	}
	m, bad := c.members()
	if bad != nil {
		return messagesRequest{}, bad
	}
	if bad := c.model(m); bad != nil {
		return messagesRequest{}, bad
	}
	req := messagesRequest{ask: ask{choices: 1, reads: true}}
	reads := []func(members) *refusal{req.readLimit, req.readSystem, req.readMessages, req.readSearch, req.readFunctions}
	if strings.HasSuffix(c.r.URL.Path, countTokens) {
		reads = reads[1:]
	}
	for _, read := range reads {
		if bad := read(m); bad != nil {
			return messagesRequest{}, bad
		}
	}
	req.writes, req.writesLong = cacheControl(c.record.Body)
	return req, nil
}

func (req *messagesRequest) readLimit(m members) *refusal {
	if bad := m.read("stream", &req.stream); bad != nil {
		return bad
	}
	if bad := m.read("max_tokens", &req.limit); bad != nil {
		return bad
	}
	if req.limit == nil {
		return invalid("max_tokens", "max_tokens: Field required")
	}
	return req.readCap(m, 0, "max_tokens")
}

func (req *messagesRequest) readSystem(m members) *refusal {
	text, ok := contentText(m["system"])
	if !ok {
		return invalid("system", "system: Input should be a valid string or a list of blocks")
	}
	req.prompt += textTokens(text)
	return nil
}

func (req *messagesRequest) readSearch(m members) *refusal {
	var tools []struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		MaxUses *int64 `json:"max_uses"`
	}
	if bad := m.read("tools", &tools); bad != nil {
		return bad
	}
	for _, t := range tools {
		if !strings.HasPrefix(t.Type, "web_search_") {
			continue
		}
		req.searches = defaultSearches
		if t.MaxUses != nil {
			req.searches = *t.MaxUses
		}
	}
	return nil
}

// cacheControl reports whether a body asks for a cache anywhere, and for an hour.
func cacheControl(body []byte) (writes, long bool) {
	var walk func(raw json.RawMessage)
	walk = func(raw json.RawMessage) {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch raw = bytes.TrimSpace(raw); {
		case bytes.HasPrefix(raw, []byte("{")) && json.Unmarshal(raw, &object) == nil:
		case bytes.HasPrefix(raw, []byte("[")) && json.Unmarshal(raw, &list) == nil:
		}
		for name, value := range object {
			var control struct {
				Type string `json:"type"`
				TTL  string `json:"ttl"`
			}
			if name == "cache_control" && json.Unmarshal(value, &control) == nil && control.Type != "" {
				writes, long = true, long || control.TTL == "1h"
			}
			walk(value)
		}
		for _, value := range list {
			walk(value)
		}
	}
	walk(body)
	return writes, long
}

// nativeUsage is the report of a whole message, and of message_start.
type nativeUsage struct {
	Input    int64           `json:"input_tokens"`
	Written  int64           `json:"cache_creation_input_tokens"`
	Cached   int64           `json:"cache_read_input_tokens"`
	Creation *cacheCreation  `json:"cache_creation,omitempty"` // not in message_delta
	Output   int64           `json:"output_tokens"`
	Details  *thinkingTokens `json:"output_tokens_details,omitempty"`
	Tools    *serverToolUse  `json:"server_tool_use,omitempty"`
	Tier     string          `json:"service_tier,omitempty"`
	Speed    string          `json:"speed,omitempty"`
	Geo      string          `json:"inference_geo,omitempty"`
}

type cacheCreation struct {
	Short int64 `json:"ephemeral_5m_input_tokens"`
	Long  int64 `json:"ephemeral_1h_input_tokens"`
}

type thinkingTokens struct {
	Thinking int64 `json:"thinking_tokens"`
}

type serverToolUse struct {
	Searches int64 `json:"web_search_requests"`
	Fetches  int64 `json:"web_fetch_requests"`
}

// nativeReport excludes both kinds of cached tokens from the input.
func (c *call) nativeReport(p plan, generated int64) nativeUsage {
	u := nativeUsage{
		Input: p.prompt - p.cached - p.written - p.writtenLong, Written: p.written + p.writtenLong, Cached: p.cached,
		Creation: &cacheCreation{p.written, p.writtenLong}, Output: generated, Tier: "standard", Geo: "not_available",
	}
	if p.hidden() > 0 {
		u.Details = &thinkingTokens{min(p.hidden(), generated)}
	}
	if p.searches > 0 {
		u.Tools = &serverToolUse{Searches: p.searches}
	}
	if c.tier == "fast" {
		u.Speed = c.tier
	} else if c.tier != "" {
		u.Tier = c.tier
	}
	return u
}

func (c *call) nativeJSON(u nativeUsage) json.RawMessage {
	switch {
	case c.faults.NoUsage:
		return nil
	case c.faults.BadUsage:
		return json.RawMessage(`{"input_tokens":"many","output_tokens":"few"}`)
	}
	return marshal(u)
}

// block is one content block; each type has its own of the members.
type block struct {
	Type      string           `json:"type"`
	Text      *string          `json:"text,omitempty"`
	Thinking  *string          `json:"thinking,omitempty"`
	Signature *string          `json:"signature,omitempty"`
	ID        string           `json:"id,omitempty"`
	Name      string           `json:"name,omitempty"`
	Input     json.RawMessage  `json:"input,omitempty"`
	ToolUseID string           `json:"tool_use_id,omitempty"`
	Content   *json.RawMessage `json:"content,omitempty"`
}

func searchBlocks(p plan, n int64) (use, result block) {
	id := fmt.Sprintf("srvtoolu_%016x_%d", p.seed, n)
	use = block{Type: "server_tool_use", ID: id, Name: "web_search", Input: json.RawMessage(`{"query":"what is new"}`)}
	found := json.RawMessage(`[{"type":"web_search_result","title":"News","url":"https://example.com/","encrypted_content":"RkFLRQ==","page_age":null}]`)
	return use, block{Type: "web_search_tool_result", ToolUseID: id, Content: &found}
}

// answerBlock has the answer: a text, or a function's arguments.
func answerBlock(p plan, text string) block {
	if p.function == "" {
		return block{Type: "text", Text: &text}
	}
	input := json.RawMessage(text)
	if !json.Valid(input) { // the cap cut it
		input = json.RawMessage("{}")
	}
	return block{Type: "tool_use", ID: fmt.Sprintf("toolu_%016x", p.seed), Name: p.function, Input: input}
}

type nativeMessage struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Role         string          `json:"role"`
	Model        string          `json:"model"`
	Extra        json.RawMessage `json:"x_fake,omitempty"`
	Content      []block         `json:"content"`
	StopReason   *string         `json:"stop_reason"`
	StopSequence *string         `json:"stop_sequence"`
	Usage        json.RawMessage `json:"usage,omitempty"`
}

func (c *call) newMessage(p plan) nativeMessage {
	return nativeMessage{ID: fmt.Sprintf("msg_%016x", p.seed), Type: "message", Role: "assistant", Model: c.served(), Extra: c.extra(), Content: []block{}}
}

// stopReason is Anthropic's word for finish.
func (p plan) stopReason() string {
	switch p.finish {
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	}
	return "end_turn"
}

func (c *call) serveMessages() {
	req, bad := c.readNative()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	p := c.prepare(req.ask, "messages")
	switch {
	case p == nil:
	case req.stream:
		c.streamMessage(*p)
	default:
		c.answerMessage(*p)
	}
}

// serveCount bills nothing.
func (c *call) serveCount() {
	req, bad := c.readNative()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	if p := c.prepare(req.ask, "messages"); p != nil {
		c.deliverJSON(struct {
			Input int64 `json:"input_tokens"`
		}{p.prompt})
	}
}

func (c *call) answerMessage(p plan) {
	c.bill(p.spent(p.total()))
	m, stop := c.newMessage(p), p.stopReason()
	m.StopReason, m.Usage = &stop, c.nativeJSON(c.nativeReport(p, p.total()))
	if p.hidden() > 0 {
		thought, signature := " hm", "RkFLRQ=="
		m.Content = append(m.Content, block{Type: "thinking", Thinking: &thought, Signature: &signature})
	}
	for n := range p.searches {
		use, result := searchBlocks(p, n)
		m.Content = append(m.Content, use, result)
	}
	m.Content = append(m.Content, answerBlock(p, c.words(p, 0)))
	c.deliverJSON(m)
}

// anthropicError is Anthropic's envelope.
func anthropicError(status int, message string) any {
	kinds := map[int]string{
		401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
		413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error",
	}
	kind, ok := kinds[status]
	switch {
	case ok:
	case status >= 500:
		kind = "api_error"
	default:
		kind = "invalid_request_error"
	}
	type problem struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	return struct {
		Type      string  `json:"type"`
		Error     problem `json:"error"`
		RequestID string  `json:"request_id"`
	}{"error", problem{kind, message}, "req_fake"}
}
