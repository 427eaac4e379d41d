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

// usage is a report on the wire.
type usage struct {
	PromptTokens     int64         `json:"prompt_tokens"`
	CompletionTokens int64         `json:"completion_tokens"`
	TotalTokens      int64         `json:"total_tokens"`
	PromptDetails    promptDetails `json:"prompt_tokens_details"`
	OutputDetails    outputDetails `json:"completion_tokens_details"`
}

type promptDetails struct {
	CachedTokens int64 `json:"cached_tokens"`
	AudioTokens  int64 `json:"audio_tokens"`
}

type outputDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
	AudioTokens     int64 `json:"audio_tokens"`
}

// usage reports the prompt and generated tokens, of which hidden thoughts only
// show in the total.
func (p plan) usage(generated int64) usage {
	hidden := min(p.thoughts*p.choices, generated)
	return usage{
		PromptTokens:     p.prompt,
		CompletionTokens: generated - hidden,
		TotalTokens:      p.prompt + generated,
		PromptDetails:    promptDetails{CachedTokens: p.cached},
		OutputDetails:    outputDetails{ReasoningTokens: hidden},
	}
}

// message is the content of a choice, or of one chunk of it.
type message struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
	Refusal *string `json:"refusal,omitempty"`
}

type choice struct {
	Index        int64    `json:"index"`
	Message      *message `json:"message,omitempty"`
	Delta        *message `json:"delta,omitempty"`
	Logprobs     *string  `json:"logprobs"`
	FinishReason *string  `json:"finish_reason"`
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
}

func (c *call) newCompletion(object string, seed uint64) completion {
	out := completion{
		ID: fmt.Sprintf("chatcmpl-%016x", seed), Object: object, Created: c.record.At.Unix(), Model: c.record.Model,
		Choices: []choice{}, ServiceTier: "default", Fingerprint: "fp_fake",
	}
	if c.faults.Served != "" {
		out.Model = c.faults.Served
	}
	if c.faults.Extra {
		out.Extra = json.RawMessage(`{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"list":[{"usage":null},[],{}],"text":"\"usage\":{"}`)
	}
	return out
}

func (c *call) report(p plan, generated int64) json.RawMessage {
	if c.faults.BadUsage {
		return json.RawMessage(`{"prompt_tokens":"many","completion_tokens":"few","total_tokens":"all"}`)
	}
	raw, err := json.Marshal(p.usage(generated))
	if err != nil { // integers only
		return nil
	}
	return raw
}

func (c *call) serveChat() {
	req, bad := c.readChat()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	faults, err := c.server.faultsFor(req.lastUser)
	if err != nil {
		c.refuse(*invalid("messages", err.Error()))
		return
	}
	c.faults = faults
	p := c.plan(req)
	if !c.begin() {
		c.billAbandoned(p)
		return
	}
	if req.stream {
		c.streamChat(req, p)
		return
	}
	c.answerChat(p)
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

// billAbandoned bills a call whose client left before the answer began: the
// work had started, and only a stream's can be stopped.
func (c *call) billAbandoned(p plan) {
	switch {
	case !c.record.ClientLeft: // answered with an error
	case c.record.Stream && c.server.cfg.CancelsOnDisconnect:
		c.bill(p.prompt, p.cached, 0)
	default:
		c.bill(p.prompt, p.cached, p.output*p.choices)
	}
}

// answerChat generates everything, bills it, then tries to deliver it.
func (c *call) answerChat(p plan) {
	total := p.output * p.choices
	c.bill(p.prompt, p.cached, total)
	out := c.newCompletion("chat.completion", p.seed)
	for i := range p.choices {
		var text strings.Builder
		for t := range p.output - p.thoughts {
			text.WriteString(c.word(p, i, t))
		}
		content := text.String()
		out.Choices = append(out.Choices, choice{Index: i, Message: &message{Role: "assistant", Content: &content}, FinishReason: &p.finish})
	}
	if !c.faults.NoUsage {
		out.Usage = c.report(p, total)
	}
	body, err := json.Marshal(out)
	if err != nil || c.faults.NotJSON {
		body = []byte("<html>upstream proxy says hello</html>")
	}
	if c.faults.BlankFirst {
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
		out := &pieces{w: c.w, flush: http.NewResponseController(c.w), size: c.faults.Split}
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
