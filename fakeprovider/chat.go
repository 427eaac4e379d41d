package fakeprovider

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// message is the content of a choice, or of one chunk of it.
type message struct {
	Role      string  `json:"role,omitempty"`
	Content   *string `json:"content,omitempty"`
	Reasoning *string `json:"reasoning_content,omitempty"` // of dialects that show it
	Refusal   *string `json:"refusal,omitempty"`

	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

// toolCall is a call of a function, or a part of one in a stream.
type toolCall struct {
	Index    *int         `json:"index,omitempty"` // in a stream
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function calledByName `json:"function"`
}

type calledByName struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

func newToolCall(p plan, choice int64, arguments string) toolCall {
	return toolCall{ID: fmt.Sprintf("call_%016x_%d", p.seed, choice), Type: "function", Function: calledByName{p.function, arguments}}
}

type choice struct {
	Index        int64    `json:"index"`
	Message      *message `json:"message,omitempty"`
	Delta        *message `json:"delta,omitempty"`
	Logprobs     *string  `json:"logprobs"`
	FinishReason *string  `json:"finish_reason"`

	Usage json.RawMessage `json:"usage,omitempty"` // Moonshot
}

// completion is an answer, or one chunk of it.
type completion struct {
	ID          string          `json:"id"`
	Object      string          `json:"object"`
	Created     int64           `json:"created"`
	Model       string          `json:"model"`
	Extra       json.RawMessage `json:"x_fake,omitempty"`
	Choices     []choice        `json:"choices"`
	Usage       json.RawMessage `json:"usage,omitempty"` // absent, null or a report
	ServiceTier string          `json:"service_tier"`
	Fingerprint string          `json:"system_fingerprint"`
	Groq        json.RawMessage `json:"x_groq,omitempty"`
	Filter      json.RawMessage `json:"prompt_filter_results,omitempty"` // Azure
}

func (c *call) newCompletion(object string, seed uint64) completion {
	return completion{
		ID: fmt.Sprintf("chatcmpl-%016x", seed), Object: object, Created: c.record.At.Unix(), Model: c.served(),
		Extra: c.extra(), Choices: []choice{}, ServiceTier: c.servedTier("default"), Fingerprint: "fp_fake",
	}
}

// served is the model that an answer names.
func (c *call) served() string {
	if c.faults.Served != "" {
		return c.faults.Served
	}
	return c.record.Model
}

// servedTier is the tier that an answer names.
func (c *call) servedTier(standard string) string {
	if c.tier != "" {
		return c.tier
	}
	return standard
}

// extra is a member that no client has heard of.
func (c *call) extra() json.RawMessage {
	if !c.faults.Extra {
		return nil
	}
	return json.RawMessage(`{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"list":[{"usage":null},[],{}],"text":"\"usage\":{"}`)
}

func (c *call) serveChat() {
	req, bad := c.readChat()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	p := c.prepare(req, "messages")
	switch {
	case p == nil:
	case req.stream:
		c.streamChat(req, *p)
	default:
		c.answerChat(*p)
	}
}

// begin applies the faults that come before an answer, and reports whether
// there is to be one.
func (c *call) begin() bool {
	f := c.faults
	if !sleep(c.r.Context(), f.HeaderDelay) {
		c.record.ClientLeft = true
		return false
	}
	if f.Hang {
		<-c.r.Context().Done()
		c.record.ClientLeft = true
		return false
	}
	if f.Status != 0 {
		c.refuse(refusal{f.Status, "server_error", "", "fault", fmt.Sprintf("The fake provider was asked to answer %d.", f.Status)})
		return false
	}
	return true
}

// beginOrBill is begin for calls that cannot be stopped: use is billed though the
// client left before the answer.
func (c *call) beginOrBill(use tokens) bool {
	began := c.begin()
	if !began && c.record.ClientLeft {
		c.bill(use)
	}
	return began
}

// billAbandoned bills a call whose client left before the answer began: the
// work had started, and only a stream's can be stopped.
func (c *call) billAbandoned(p plan) {
	switch {
	case !c.record.ClientLeft: // answered with an error
	case c.record.Stream && c.server.cfg.CancelsOnDisconnect:
		c.bill(p.spent(0))
	default:
		c.bill(p.spent(p.total()))
	}
}

// answerChat generates everything, bills it, then tries to deliver it.
func (c *call) answerChat(p plan) {
	c.bill(p.spent(p.total()))
	out := c.newCompletion("chat.completion", p.seed)
	for i := range p.choices {
		content := c.words(p, i)
		m := &message{Role: "assistant", Content: &content}
		if p.reasoning > 0 && c.server.cfg.Dialect == DeepSeek {
			m.Reasoning = &content
		}
		if p.function != "" {
			m.Content, m.ToolCalls = nil, []toolCall{newToolCall(p, i, content)}
		}
		out.Choices = append(out.Choices, choice{Index: i, Message: m, FinishReason: &p.finish})
	}
	if !c.faults.NoUsage {
		out.Usage = c.report(p, p.total())
	}
	if c.server.cfg.Dialect == Groq {
		out.Groq = json.RawMessage(`{"id":"req_fake"}`)
	}
	c.deliverJSON(out)
}

// words are the text of a whole choice.
func (c *call) words(p plan, index int64) string {
	var text strings.Builder
	for t := range p.output - p.hidden() {
		text.WriteString(c.word(p, index, t))
	}
	return text.String()
}

// deliverJSON sends a billed answer, shaped as the faults say.
func (c *call) deliverJSON(v any) {
	body, err := json.Marshal(v)
	if err != nil || c.faults.NotJSON {
		body = []byte("<html>upstream proxy says hello</html>")
	}
	if c.faults.BlankFirst || c.server.cfg.Dialect == DeepSeek {
		body = append([]byte("\n\n\r\n"), body...)
	}
	c.deliver(body)
}

// deliver sends a billed body, or breaks off where the faults say.
func (c *call) deliver(body []byte) {
	switch {
	case c.faults.ResetBeforeHeaders:
		c.reset()
	case c.faults.ResetAfterHeaders, c.faults.ResetAfter > 0, c.faults.CutAfter > 0:
		c.record.Status = http.StatusOK
		c.w.Header().Set("Content-Type", "application/json")
		c.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		out := c.pieces()
		if c.faults.ResetAfterHeaders {
			body = nil
		}
		_ = out.write(body[:len(body)/2]) // the connection ends here either way
		if c.faults.CutAfter > 0 {
			c.hangUp()
			return
		}
		c.reset()
	default:
		c.send(http.StatusOK, body)
	}
}

// word is the text of token t of a choice.
func (c *call) word(p plan, index, t int64) string {
	if len(p.said) > 0 {
		return p.saidWord(t)
	}
	words := []string{" the", " gateway", " counts", " every", " token", " once", ", and", " a", " cap", " holds", ".", " Größe", " 日本", " ✓"}
	if c.faults.Hostile {
		words = []string{`"usage":{"prompt_tokens":1}`, "\n\ndata: [DONE]\n\n", "}]}", `\`, `\"`, "\u2028", ` "choices":[]`, "\r\n", "data: {}", "\x00", "😀"}
	}
	word := words[(p.seed+uint64(index)*7+uint64(t))%uint64(len(words))]
	if t == 0 && c.faults.Pad > 0 {
		word += strings.Repeat("x", c.faults.Pad)
	}
	return word
}

// reset ends the connection with a TCP reset, as a crashed provider would.
func (c *call) reset() { c.abandon(true) }

// hangUp closes the connection without finishing the answer.
func (c *call) hangUp() { c.abandon(false) }

func (c *call) abandon(reset bool) {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return // not on HTTP/1: the handler's return ends the answer
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // without it the close below is an orderly one
	}
	_ = conn.Close() // there is nobody left to tell
}

// sleep waits for d and reports whether ctx was still alive at the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
