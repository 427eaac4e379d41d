package fakeprovider

import (
	"encoding/json"
	"net/http"
	"time"
)

// maxChunks bounds the chunks of a choice: longer answers put more tokens into
// each.
const maxChunks = 500

// stream is one streamed answer being generated.
type stream struct {
	call *call
	req  chatRequest
	plan plan
	out  *pieces

	generated int64 // tokens so far, over all choices
	sent      int   // chunks so far
	stopped   bool  // by a fault: the provider's own end
}

func (c *call) streamChat(req chatRequest, p plan) {
	s := &stream{call: c, req: req, plan: p, out: &pieces{w: c.w, flush: http.NewResponseController(c.w), size: c.faults.Split}}
	defer s.settle()
	if c.faults.ResetBeforeHeaders {
		s.stopped = true
		c.reset()
		return
	}
	c.record.Status = http.StatusOK
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)
	if c.faults.ResetAfterHeaders {
		_ = s.out.flush.Flush() // the reset follows whatever happens
		s.stopped = true
		c.reset()
		return
	}
	s.run()
}

// settle bills the stream: what was generated when it ended by itself or the
// provider stops for a client that left, and the whole answer otherwise.
func (s *stream) settle() {
	c, p := s.call, s.plan
	if c.record.ClientLeft && !c.server.cfg.CancelsOnDisconnect && !s.stopped {
		s.generated = p.output * p.choices
	}
	c.bill(p.prompt, p.cached, s.generated)
}

func (s *stream) run() {
	p := s.plan
	for i := range p.choices {
		empty := ""
		if !s.choice(choice{Index: i, Delta: &message{Role: "assistant", Content: &empty}}) {
			return
		}
	}
	per := max(1, (p.output+maxChunks-1)/maxChunks)
	for from := int64(0); from < p.output; from += per {
		for i := range p.choices {
			if !s.tokens(i, from, min(per, p.output-from)) {
				return
			}
		}
	}
	for i := range p.choices {
		if !s.choice(choice{Index: i, Delta: &message{}, FinishReason: &p.finish}) {
			return
		}
	}
	if !s.finalUsage() || s.call.faults.NoDone {
		return
	}
	s.event([]byte("[DONE]"))
}

// tokens generates n tokens of a choice, then sends them. Thoughts come first
// and have no text.
func (s *stream) tokens(index, from, n int64) bool {
	s.generated += n
	text := ""
	for t := max(from, s.plan.thoughts); t < from+n; t++ {
		text += s.call.word(s.plan, index, t-s.plan.thoughts)
	}
	return s.choice(choice{Index: index, Delta: &message{Content: &text}})
}

func (s *stream) running() bool { return s.call.server.cfg.RunningUsage || s.call.faults.RunningUsage }

// choice sends a chunk with one choice and the usage member its place calls for.
func (s *stream) choice(ch choice) bool {
	out := s.call.newCompletion("chat.completion.chunk", s.plan.seed)
	out.Choices = append(out.Choices, ch)
	switch {
	case s.call.faults.NoUsage:
	case s.running():
		out.Usage = s.call.report(s.plan, s.generated)
	case s.req.includeUsage:
		out.Usage = json.RawMessage("null")
	}
	return s.chunk(out)
}

// finalUsage sends the extra chunk of include_usage.
func (s *stream) finalUsage() bool {
	if !s.req.includeUsage || s.running() || s.call.faults.NoUsage {
		return true
	}
	out := s.call.newCompletion("chat.completion.chunk", s.plan.seed)
	out.Usage = s.call.report(s.plan, s.generated)
	return s.chunk(out)
}

// chunk sends one event and reports whether the stream goes on.
func (s *stream) chunk(out completion) bool {
	raw, err := json.Marshal(out)
	if err != nil { // plain structs only
		return false
	}
	delay := s.call.faults.ChunkDelay
	if delay == 0 {
		delay = s.call.server.cfg.ChunkDelay
	}
	if !s.pause(delay) || !s.event(raw) {
		return false
	}
	s.sent++
	return !s.breakOff()
}

func (s *stream) pause(d time.Duration) bool {
	if !sleep(s.call.r.Context(), d) {
		s.call.record.ClientLeft = true
		return false
	}
	return true
}

// breakOff applies the faults that end a stream after a number of chunks.
func (s *stream) breakOff() bool {
	c := s.call
	switch s.sent {
	case c.faults.ResetAfter:
		c.reset()
	case c.faults.CutAfter:
		c.hangUp()
	case c.faults.ErrorAfter:
		s.event([]byte(`{"error":{"message":"The server had an error while processing your request.","type":"server_error","param":null,"code":null}}`))
	case c.faults.HangAfter:
		<-c.r.Context().Done()
		c.record.ClientLeft = true
		return true // not by its own end: billed like any client that left
	default:
		return false
	}
	s.stopped = true
	return true
}

// event frames data as one server-sent event and sends it.
func (s *stream) event(data []byte) bool {
	eol := "\n"
	if s.call.faults.CRLF {
		eol = "\r\n"
	}
	frame := append([]byte("data: "), data...)
	frame = append(frame, eol+eol...)
	if s.call.faults.Comments {
		frame = append([]byte(": keep-alive"+eol+eol), frame...)
	}
	if err := s.out.write(frame); err != nil {
		s.call.record.ClientLeft = true
		return false
	}
	return true
}

// pieces writes a body in flushed pieces of size bytes; 0 is one piece.
type pieces struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	size  int
}

func (p *pieces) write(data []byte) error {
	for len(data) > 0 {
		n := len(data)
		if p.size > 0 {
			n = min(n, p.size)
		}
		if _, err := p.w.Write(data[:n]); err != nil {
			return err
		}
		if err := p.flush.Flush(); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
