package fakeprovider

import (
	"cmp"
	"encoding/json"
	"net/http"
	"time"
)

// maxChunks bounds the chunks of a choice: longer answers put more tokens into
// each.
const maxChunks = 500

// stream is one streamed answer being generated: what all endpoints share.
type stream struct {
	call *call
	plan plan
	out  *pieces

	named bool                        // events have an event line
	error func() (string, any)        // the event of error_after
	fail  func() (name string, v any) // the event of fail_after

	began     time.Time // when the first portion was begun
	generated int64     // tokens so far, over all choices
	sent      int       // chunks so far
	stopped   bool      // by a fault: the provider's own end
}

func (c *call) newStream(p plan) *stream {
	broken := func() (string, any) {
		return "", json.RawMessage(`{"error":{"message":"The server had an error while processing your request.","type":"server_error","param":null,"code":null}}`)
	}
	return &stream{call: c, plan: p, out: c.pieces(), error: broken, fail: broken}
}

// serve sends the headers, runs the answer and bills it.
func (s *stream) serve(run func()) {
	c := s.call
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
	c.nameRequest()
	c.w.WriteHeader(http.StatusOK)
	if c.faults.ResetAfterHeaders {
		_ = s.out.flush.Flush() // the reset follows whatever happens
		s.stopped = true
		c.reset()
		return
	}
	run()
}

// settle bills the stream: what was generated when it ended by itself or the
// provider stops for a client that left, and the whole answer otherwise.
func (s *stream) settle() {
	c, p := s.call, s.plan
	if c.record.ClientLeft && !c.server.cfg.CancelsOnDisconnect && !s.stopped {
		s.generated = p.total()
	}
	if c.record.ClientLeft && c.server.cfg.StopLag > 0 && s.delay() > 0 && !s.began.IsZero() {
		portions := int64((time.Since(s.began) + c.server.cfg.StopLag) / s.delay())
		s.generated = max(s.generated, min(p.total(), portions*s.portion()))
	}
	c.bill(p.spent(s.generated))
}

// each generates the output in portions of some tokens per choice, choices in
// turn, until send says no.
func (s *stream) each(send func(index, from, n int64) bool) bool {
	p := s.plan
	per := s.portion()
	s.began = time.Now()
	for from := int64(0); from < p.output; from += per {
		for i := range p.choices {
			n := min(per, p.output-from)
			s.generated += n
			if !send(i, from, n) {
				return false
			}
		}
	}
	return true
}

// portion is how many tokens of a choice make a chunk.
func (s *stream) portion() int64 { return max(1, (s.plan.output+maxChunks-1)/maxChunks) }

// delay passes before each chunk.
func (s *stream) delay() time.Duration {
	return cmp.Or(s.call.faults.ChunkDelay, s.call.server.cfg.ChunkDelay)
}

// text is what n tokens of a choice say. Thoughts and reasoning come first and
// have no text.
func (s *stream) text(index, from, n int64) string {
	text, hidden := "", s.plan.hidden()
	for t := max(from, hidden); t < from+n; t++ {
		text += s.call.word(s.plan, index, t-hidden)
	}
	return text
}

// chunk sends one event and reports whether the stream goes on.
func (s *stream) chunk(name string, v any) bool {
	raw, err := json.Marshal(v)
	if err != nil { // plain structs only
		return false
	}
	if !sleep(s.call.r.Context(), s.delay()) {
		s.call.record.ClientLeft = true
		return false
	}
	if !s.event(name, raw) {
		return false
	}
	s.sent++
	return !s.breakOff()
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
		s.last(s.error())
	case c.faults.FailAfter:
		s.last(s.fail())
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

func (s *stream) last(name string, v any) {
	if raw, err := json.Marshal(v); err == nil {
		s.event(name, raw)
	}
}

// event frames data as one server-sent event and sends it.
func (s *stream) event(name string, data []byte) bool {
	eol := "\n"
	if s.call.faults.CRLF {
		eol = "\r\n"
	}
	var frame []byte
	comment := s.call.server.cfg.comment()
	if s.call.faults.Comments {
		comment = ": keep-alive"
	}
	if comment != "" {
		frame = append(frame, comment+eol+eol...)
	}
	if s.named && name != "" {
		frame = append(frame, "event: "+name+eol...)
	}
	frame = append(frame, "data: "...)
	frame = append(frame, data...)
	frame = append(frame, eol+eol...)
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
	kept  *[]byte // where the written bytes are kept; nil: nowhere
}

func (c *call) pieces() *pieces {
	p := &pieces{w: c.w, flush: http.NewResponseController(c.w), size: c.faults.Split}
	if c.server.cfg.KeepAnswers {
		p.kept = &c.record.Answer
	}
	return p
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
		if p.kept != nil {
			*p.kept = append(*p.kept, data[:n]...)
		}
		data = data[n:]
	}
	return nil
}
