package fakeprovider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// defaultSearches is how often a hosted search runs at most when the request
// does not say.
const defaultSearches = 5

// responsesRequest is a request to the responses endpoint.
type responsesRequest struct {
	ask
	instructions *string
	maxOutput    *int64
	tools        json.RawMessage
	metadata     json.RawMessage
	input        json.RawMessage
	store        *bool // null and absent: true
}

func (c *call) readResponses() (responsesRequest, *refusal) {
	m, bad := c.members()
	if bad != nil {
		return responsesRequest{}, bad
	}
	if bad := c.model(m); bad != nil {
		return responsesRequest{}, bad
	}
	req := responsesRequest{ask: ask{choices: 1, reads: true, writes: c.server.cfg.writesCache()}, tools: m["tools"], metadata: m["metadata"], input: m["input"]}
	for _, read := range []func(members) *refusal{req.readMembers, req.readInput, req.readTools, req.readFunctions, req.readCaching} {
		if bad := read(m); bad != nil {
			return responsesRequest{}, bad
		}
	}
	return req, nil
}

func (req *responsesRequest) readMembers(m members) *refusal {
	if raw, ok := m["previous_response_id"]; ok && !bytes.Equal(raw, []byte("null")) {
		return &refusal{http.StatusBadRequest, "invalid_request_error", "previous_response_id", "previous_response_not_found", "Previous response not found."}
	}
	for name, to := range map[string]any{"stream": &req.stream, "instructions": &req.instructions, "max_output_tokens": &req.maxOutput, "store": &req.store} {
		if bad := m.read(name, to); bad != nil {
			return bad
		}
	}
	if _, ok := m["max_tokens"]; ok {
		return invalid("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_output_tokens' instead.")
	}
	if req.instructions != nil {
		req.prompt += textTokens(*req.instructions)
	}
	return req.readCap(m, 1, "max_output_tokens")
}

// readInput takes a text, or items: messages, tool calls and what they gave.
func (req *responsesRequest) readInput(m members) *refusal {
	var text string
	if json.Unmarshal(m["input"], &text) == nil && text != "" {
		req.prompt, req.lastUser = req.prompt+textTokens(text)+6, text
		return nil
	}
	var items []struct {
		Type    string          `json:"type"`
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
		Output  json.RawMessage `json:"output"`
	}
	if json.Unmarshal(m["input"], &items) != nil || len(items) == 0 {
		return invalid("input", "'input' must be a text or a non-empty array of items.")
	}
	for i, item := range items {
		content, ok := contentText(item.Content)
		output, outputOK := contentText(item.Output)
		if !ok || !outputOK || item.Type == "" && !knownRole(item.Role) {
			return invalid(fmt.Sprintf("input[%d]", i), "Invalid item.")
		}
		req.prompt += textTokens(content) + textTokens(output) + 3
		if item.Role == "user" {
			req.lastUser = content
		}
		req.answered = req.answered || isResult(item.Type)
	}
	return nil
}

func (req *responsesRequest) readTools(m members) *refusal {
	limit := int64(defaultSearches)
	if bad := m.read("max_tool_calls", &limit); bad != nil {
		return bad
	}
	var tools []struct {
		Type string `json:"type"`
	}
	if bad := m.read("tools", &tools); bad != nil {
		return bad
	}
	for _, t := range tools {
		if t.Type == "" {
			return invalid("tools", "Missing tool type.")
		}
		if strings.HasPrefix(t.Type, "web_search") {
			req.searches = limit
		}
	}
	return nil
}

// readCaching allows long writes where the request asks for them.
func (req *responsesRequest) readCaching(m members) *refusal {
	var options struct {
		TTL string `json:"ttl"`
	}
	if bad := m.read("prompt_cache_options", &options); bad != nil {
		return bad
	}
	req.writesLong = req.writes && options.TTL == "12h"
	return nil
}

// response is the resource: whole as a plain answer, in part in events.
type response struct {
	ID           string          `json:"id"`
	Object       string          `json:"object"`
	CreatedAt    int64           `json:"created_at"`
	Status       string          `json:"status"`
	Background   bool            `json:"background"`
	CompletedAt  *int64          `json:"completed_at"`
	Error        *responseError  `json:"error"`
	Incomplete   *incomplete     `json:"incomplete_details"`
	Instructions *string         `json:"instructions"`
	MaxOutput    *int64          `json:"max_output_tokens"`
	Model        string          `json:"model"`
	Output       []any           `json:"output"`
	Parallel     bool            `json:"parallel_tool_calls"`
	Previous     *string         `json:"previous_response_id"`
	Reasoning    json.RawMessage `json:"reasoning"`
	ServiceTier  string          `json:"service_tier"`
	Store        bool            `json:"store"`
	Temperature  float64         `json:"temperature"`
	Text         json.RawMessage `json:"text"`
	ToolChoice   string          `json:"tool_choice"`
	ToolUsage    json.RawMessage `json:"tool_usage,omitempty"`
	Tools        json.RawMessage `json:"tools"`
	TopP         float64         `json:"top_p"`
	Truncation   string          `json:"truncation"`
	Usage        json.RawMessage `json:"usage"` // null until the end
	User         *string         `json:"user"`
	Metadata     json.RawMessage `json:"metadata"`
	Extra        json.RawMessage `json:"x_fake,omitempty"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type incomplete struct {
	Reason string `json:"reason"`
}

// newResponse is a response in progress.
func (c *call) newResponse(req *responsesRequest, p plan) response {
	r := response{
		ID: fmt.Sprintf("resp_%016x", p.seed), Object: "response", CreatedAt: c.record.At.Unix(), Status: "in_progress",
		Instructions: req.instructions, MaxOutput: req.maxOutput, Model: c.served(), Output: []any{}, Parallel: true,
		Reasoning: json.RawMessage(`{"effort":null,"summary":null}`), ServiceTier: "auto", Store: true, Temperature: 1,
		Text: json.RawMessage(`{"format":{"type":"text"},"verbosity":"medium"}`), ToolChoice: "auto",
		Tools: json.RawMessage("[]"), TopP: 1, Truncation: "disabled", Metadata: json.RawMessage("{}"), Extra: c.extra(),
	}
	if len(req.tools) > 0 && string(req.tools) != "null" {
		r.Tools = req.tools
	}
	if len(req.metadata) > 0 && string(req.metadata) != "null" {
		r.Metadata = req.metadata
	}
	if c.record.User != "" {
		r.User = &c.record.User
	}
	r.Store = req.store == nil || *req.store
	return r
}

// end makes r final: what was generated, and how it ended.
func (c *call) end(r *response, p plan, generated int64, failed bool) {
	now := c.record.At.Unix()
	r.ServiceTier = c.servedTier("default")
	switch {
	case failed:
		r.Status, r.Error = "failed", &responseError{"server_error", "The model could not finish this response."}
	case p.finish == "length":
		r.Status, r.Incomplete = "incomplete", &incomplete{"max_output_tokens"}
	default:
		r.Status, r.CompletedAt = "completed", &now
	}
	if !c.faults.NoUsage {
		r.Usage = c.responseUsage(p, generated)
		r.ToolUsage = fmt.Appendf(nil, `{"image_gen":{"input_tokens":0,"input_tokens_details":{"image_tokens":0,"text_tokens":0},"output_tokens":0,"total_tokens":0},"web_search":{"num_requests":%d}}`, p.searches)
	}
}

// responseUsage reports everything generated as output: reasoning is inside.
func (c *call) responseUsage(p plan, generated int64) json.RawMessage {
	if c.faults.BadUsage {
		return json.RawMessage(`{"input_tokens":"many","output_tokens":"few","total_tokens":"all"}`)
	}
	type ttl struct {
		Long  int64 `json:"ttl_12h_tokens"`
		Short int64 `json:"ttl_30m_tokens"`
	}
	type input struct {
		Written int64 `json:"cache_write_tokens"`
		Cached  int64 `json:"cached_tokens"`
		TTL     *ttl  `json:"cache_write_tokens_details,omitempty"`
	}
	details := input{Written: p.written + p.writtenLong, Cached: p.cached}
	if details.Written > 0 {
		details.TTL = &ttl{Long: p.writtenLong, Short: p.written}
	}
	return marshal(struct {
		Input         int64            `json:"input_tokens"`
		InputDetails  input            `json:"input_tokens_details"`
		Output        int64            `json:"output_tokens"`
		OutputDetails map[string]int64 `json:"output_tokens_details"`
		Total         int64            `json:"total_tokens"`
	}{p.prompt, details, generated, map[string]int64{"reasoning_tokens": min(p.hidden(), generated)}, p.prompt + generated})
}

// The items of an output.
type (
	reasoningItem struct {
		ID      string   `json:"id"`
		Type    string   `json:"type"`
		Summary []string `json:"summary"`
	}
	searchItem struct {
		ID     string          `json:"id"`
		Type   string          `json:"type"`
		Status string          `json:"status"`
		Action json.RawMessage `json:"action"`
	}
	messageItem struct {
		ID      string       `json:"id"`
		Type    string       `json:"type"`
		Status  string       `json:"status"`
		Content []outputText `json:"content"`
		Role    string       `json:"role"`
	}
	functionItem struct {
		ID        string `json:"id"`
		Type      string `json:"type"`
		Status    string `json:"status"`
		Arguments string `json:"arguments"`
		CallID    string `json:"call_id"`
		Name      string `json:"name"`
	}
	outputText struct {
		Type        string   `json:"type"`
		Annotations []string `json:"annotations"`
		Logprobs    []string `json:"logprobs"`
		Text        string   `json:"text"`
	}
)

func newReasoning(p plan) reasoningItem {
	return reasoningItem{ID: fmt.Sprintf("rs_%016x", p.seed), Type: "reasoning", Summary: []string{}}
}

func newSearch(p plan, n int64, status string) searchItem {
	return searchItem{fmt.Sprintf("ws_%016x_%d", p.seed, n), "web_search_call", status, json.RawMessage(`{"type":"search","query":"what is new"}`)}
}

func newMessageItem(p plan, status, text string) messageItem {
	m := messageItem{ID: fmt.Sprintf("msg_%016x", p.seed), Type: "message", Status: status, Content: []outputText{}, Role: "assistant"}
	if status != "in_progress" {
		m.Content = append(m.Content, newOutputText(text))
	}
	return m
}

func newFunctionItem(p plan, status, arguments string) functionItem {
	return functionItem{fmt.Sprintf("fc_%016x", p.seed), "function_call", status, arguments, fmt.Sprintf("call_%016x", p.seed), p.function}
}

// newAnswerItem has the answer: a message, or the call of a function.
func newAnswerItem(p plan, status, text string) any {
	if p.function != "" {
		return newFunctionItem(p, status, text)
	}
	return newMessageItem(p, status, text)
}

func newOutputText(text string) outputText {
	return outputText{Type: "output_text", Annotations: []string{}, Logprobs: []string{}, Text: text}
}

func (c *call) serveResponses() {
	req, bad := c.readResponses()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	p := c.prepare(req.ask, "input")
	switch {
	case p == nil:
	case req.stream:
		c.streamResponse(&req, *p)
	default:
		c.answerResponse(&req, *p)
	}
}

func (c *call) answerResponse(req *responsesRequest, p plan) {
	c.bill(p.spent(p.total()))
	r := c.newResponse(req, p)
	c.end(&r, p, p.total(), c.faults.FailAfter > 0)
	if p.hidden() > 0 {
		r.Output = append(r.Output, newReasoning(p))
	}
	for n := range p.searches {
		r.Output = append(r.Output, newSearch(p, n, "completed"))
	}
	if r.Status != "failed" {
		r.Output = append(r.Output, newAnswerItem(p, r.Status, c.words(p, 0)))
	}
	c.server.keep(&r, req)
	c.deliverJSON(r)
}
