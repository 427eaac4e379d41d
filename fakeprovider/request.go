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
	for _, name := range c.server.cfg.refuses() {
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
	c.readUserID(m)
	c.readTier(m)
	if bad := m.read("model", &c.record.Model); bad != nil {
		return bad
	}
	if c.record.Model == "" {
		return invalid("model", "You must provide a model parameter.")
	}
	if _, ok := c.server.cfg.Models[c.record.Model]; !ok {
		return &refusal{http.StatusNotFound, "invalid_request_error", "model", "model_not_found", fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", c.record.Model)}
	}
	return c.chooseHost(m)
}

// readUserID takes metadata.user_id for the user, which is where Anthropic has it.
func (c *call) readUserID(m members) {
	var metadata struct {
		UserID string `json:"user_id"`
	}
	if c.record.User == "" && json.Unmarshal(m["metadata"], &metadata) == nil {
		c.record.User = metadata.UserID
	}
}

// readTier takes the service tier or the speed, if there is such a tier.
func (c *call) readTier(m members) {
	for _, name := range []string{"service_tier", "speed"} {
		tier := ""
		if json.Unmarshal(m[name], &tier) != nil {
			continue
		}
		if tier == "fast" && name == "service_tier" {
			tier = "priority"
		}
		if _, ok := c.server.cfg.Tiers[tier]; ok {
			c.tier = tier
		}
	}
}

// ask is the part of a request that shapes a generated answer.
type ask struct {
	stream       bool
	includeUsage bool
	running      bool  // usage in every chunk was asked for
	choices      int64 // to generate
	maxTokens    int64 // 0: no cap
	noOutput     bool  // a cap of 0
	prompt       int64 // tokens
	lastUser     string
	reads        bool  // the prompt may be read from a cache
	writes       bool  // the prompt may be written to a cache
	writesLong   bool  // for an hour or longer
	searches     int64 // most web searches
	functions
}

// prepare reads the faults and fixes the answer; nil if the call was refused.
func (c *call) prepare(req ask, param string) *plan {
	if !c.misbehave(param, req.lastUser) {
		return nil
	}
	c.record.Stream = req.stream
	p := c.plan(req)
	if !c.begin() {
		c.billAbandoned(p)
		return nil
	}
	return &p
}

func (c *call) readChat() (ask, *refusal) {
	m, bad := c.members()
	if bad != nil {
		return ask{}, bad
	}
	if bad := c.model(m); bad != nil {
		return ask{}, bad
	}
	req := ask{choices: 1, reads: c.server.cfg.details(), writes: c.server.cfg.writesCache()}
	for _, read := range []func(members) *refusal{req.readStream, req.readLimits, req.readMessages, req.readFunctions} {
		if bad := read(m); bad != nil {
			return ask{}, bad
		}
	}
	if req.choices > 1 && c.server.cfg.Dialect == Anthropic {
		return ask{}, invalid("n", "'n' must be 1.")
	}
	return req, nil
}

func (req *ask) readStream(m members) *refusal {
	if bad := m.read("stream", &req.stream); bad != nil {
		return bad
	}
	var options *struct {
		IncludeUsage *bool `json:"include_usage"`
		Running      *bool `json:"continuous_usage_stats"`
	}
	if bad := m.read("stream_options", &options); bad != nil {
		return bad
	}
	if options != nil && !req.stream {
		return invalid("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	}
	req.includeUsage = options != nil && options.IncludeUsage != nil && *options.IncludeUsage
	req.running = req.includeUsage && options.Running != nil && *options.Running
	return nil
}

func (req *ask) readLimits(m members) *refusal {
	if bad := m.read("n", &req.choices); bad != nil {
		return bad
	}
	if req.choices < 1 || req.choices > 128 {
		return invalid("n", "'n' must be between 1 and 128.")
	}
	return req.readCap(m, 1, "max_tokens", "max_completion_tokens")
}

// readCap reads the largest of the named caps.
func (req *ask) readCap(m members, least int64, names ...string) *refusal {
	for _, name := range names {
		var limit *int64
		if bad := m.read(name, &limit); bad != nil {
			return bad
		}
		if limit == nil {
			continue
		}
		if *limit < least {
			return invalid(name, fmt.Sprintf("'%s' must be at least %d.", name, least))
		}
		req.maxTokens = max(req.maxTokens, *limit)
		req.noOutput = req.maxTokens == 0
	}
	return nil
}

func (req *ask) readMessages(m members) *refusal {
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
	all := 0
	for i, msg := range list {
		if !knownRole(msg.Role) {
			return invalid(fmt.Sprintf("messages[%d].role", i), "Invalid role.")
		}
		text, ok := contentText(msg.Content)
		if !ok {
			return invalid(fmt.Sprintf("messages[%d].content", i), "Invalid content: expected a string or an array of parts.")
		}
		all += len(text)
		switch result := holdsResult(msg.Content); {
		case result || msg.Role == "tool":
			req.answered = true
		case msg.Role == "user":
			req.lastUser = text
		}
	}
	req.prompt += int64(all+3)/4 + 3*int64(len(list)) + 3
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
	prompt, cached, written, writtenLong int64

	output    int64 // tokens per choice, thoughts and reasoning included
	thoughts  int64 // of output, not in completion_tokens; they come first
	reasoning int64 // of output, in completion_tokens; the next to come
	choices   int64
	searches  int64
	finish    string // finish_reason
	seed      uint64

	function string // that is called; empty: a text is the answer
	said     []rune // the text or the function's arguments, if they are fixed
}

// hidden are a choice's tokens without text.
func (p plan) hidden() int64 { return p.thoughts + p.reasoning }

// total is everything generated.
func (p plan) total() int64 { return p.output * p.choices }

// spent is the use of a call that has generated so much.
func (p plan) spent(generated int64) tokens {
	return tokens{
		prompt: p.prompt, cached: p.cached, written: p.written, writtenLong: p.writtenLong,
		completion: generated, searches: p.searches,
	}
}

// plan counts tokens by a rule that depends on the body alone: about four
// bytes of text per prompt token, never more tokens than bytes, and never more
// output than the cap.
func (c *call) plan(req ask) plan {
	h := fnv.New64a()
	_, _ = h.Write(c.record.Body) // a hash never fails
	f := c.faults
	p := plan{choices: req.choices, seed: h.Sum64(), finish: "stop", searches: min(f.Searches, req.searches)}
	p.prompt = min(req.prompt, int64(len(c.record.Body)))
	if f.Max {
		p.prompt, p.searches = int64(len(c.record.Body)), req.searches
	}
	c.planSaid(&p, req)
	c.planOutput(&p, req)
	c.planCache(&p, req)
	return p
}

func (c *call) planOutput(p *plan, req ask) {
	f := c.faults
	limit := c.server.cfg.DefaultOutput
	if req.maxTokens > 0 {
		limit = req.maxTokens
	}
	p.output = 1 + int64(p.seed%uint64(min(limit, c.server.cfg.DefaultOutput)))
	if f.Output > 0 {
		p.output = f.Output
	}
	if n := int64(len(p.said)); n > 0 {
		p.output = (n + saidToken - 1) / saidToken
	}
	p.output += f.Thoughts + f.Reasoning
	if f.Max {
		p.output = limit
	}
	if req.noOutput {
		limit = 0
	}
	if p.output >= limit {
		p.output, p.finish = limit, "length"
	}
	outside, inside := f.Thoughts, f.Reasoning
	if c.server.cfg.reasonsOutside() {
		outside, inside = outside+inside, 0
	}
	p.thoughts = min(outside, p.output)
	p.reasoning = min(inside, p.output-p.thoughts)
}

// planCache splits the prompt: read, written, written for long, the rest.
func (c *call) planCache(p *plan, req ask) {
	f, price := c.faults, c.server.cfg.Models[c.record.Model]
	rest := p.prompt
	take := func(n int64, allowed bool) int64 {
		if !allowed {
			return 0
		}
		n = min(n, rest)
		rest -= n
		return n
	}
	p.cached = take(f.Cached, req.reads)
	if f.Max && price.CacheWriteLong > 0 && req.writesLong {
		f.WrittenLong = rest
	} else if f.Max && price.CacheWrite > 0 {
		f.Written = rest
	}
	p.writtenLong = take(f.WrittenLong, req.writesLong)
	p.written = take(f.Written, req.writes)
}

// textTokens is the rule of embeddings: about four bytes per token.
func textTokens(text string) int64 { return int64(len(text)+3) / 4 }
