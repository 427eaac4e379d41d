package fakeprovider

import "encoding/json"

// messageStream is a message being streamed as typed events.
type messageStream struct {
	*stream
	index int // of the block being made
}

// messageEvent is any event: each type has its own of the members.
type messageEvent struct {
	Type    string          `json:"type"`
	Message *nativeMessage  `json:"message,omitempty"`
	Index   *int            `json:"index,omitempty"`
	Block   *block          `json:"content_block,omitempty"`
	Delta   any             `json:"delta,omitempty"`
	Usage   json.RawMessage `json:"usage,omitempty"`
	Extra   json.RawMessage `json:"x_fake,omitempty"`
}

func (c *call) streamMessage(p plan) {
	s := &messageStream{stream: c.newStream(p)}
	s.named = true
	s.error = func() (string, any) { return "error", anthropicError(529, "Overloaded") }
	s.fail = s.error
	s.serve(s.run)
}

func (s *messageStream) run() {
	if !s.start() || !s.think() || !s.search() || !s.say() || !s.end() {
		return
	}
	if !s.call.faults.NoDone {
		s.send(messageEvent{Type: "message_stop"})
	}
}

func (s *messageStream) send(e messageEvent) bool {
	e.Extra = s.call.extra()
	return s.chunk(e.Type, e)
}

// start reports the input, and a few output tokens that mean nothing.
func (s *messageStream) start() bool {
	m := s.call.newMessage(s.plan)
	u := s.call.nativeReport(s.plan, min(1, s.plan.output))
	u.Details, u.Tools = nil, nil
	m.Usage = s.call.nativeJSON(u)
	return s.send(messageEvent{Type: "message_start", Message: &m})
}

// begin opens a block, end closes it.
func (s *messageStream) begin(b block) bool {
	index := s.index
	if !s.send(messageEvent{Type: "content_block_start", Index: &index, Block: &b}) {
		return false
	}
	return index > 0 || s.send(messageEvent{Type: "ping"})
}

func (s *messageStream) close() bool {
	index := s.index
	s.index++
	return s.send(messageEvent{Type: "content_block_stop", Index: &index})
}

func (s *messageStream) delta(kind, member, value string) bool {
	index := s.index
	return s.send(messageEvent{Type: "content_block_delta", Index: &index, Delta: map[string]string{"type": kind, member: value}})
}

func (s *messageStream) think() bool {
	if s.plan.hidden() == 0 {
		return true
	}
	empty := ""
	return s.begin(block{Type: "thinking", Thinking: &empty, Signature: &empty}) &&
		s.delta("thinking_delta", "thinking", " hm") && s.delta("signature_delta", "signature", "RkFLRQ==") && s.close()
}

func (s *messageStream) search() bool {
	for n := range s.plan.searches {
		use, result := searchBlocks(s.plan, n)
		query := string(use.Input)
		use.Input = json.RawMessage("{}")
		if !s.begin(use) || !s.delta("input_json_delta", "partial_json", query) || !s.close() || !s.begin(result) || !s.close() {
			return false
		}
	}
	return true
}

func (s *messageStream) say() bool {
	kind, member := "text_delta", "text"
	if s.plan.function != "" {
		kind, member = "input_json_delta", "partial_json"
	}
	if !s.begin(answerBlock(s.plan, "")) {
		return false
	}
	return s.each(func(i, from, n int64) bool {
		text := s.text(i, from, n)
		return text == "" || s.delta(kind, member, text)
	}) && s.close()
}

// end reports the whole use, cumulative, without the split by TTL.
func (s *messageStream) end() bool {
	u := s.call.nativeReport(s.plan, s.generated)
	u.Creation, u.Tier, u.Speed, u.Geo = nil, "", "", ""
	stop := s.plan.stopReason()
	return s.send(messageEvent{Type: "message_delta", Usage: s.call.nativeJSON(u), Delta: struct {
		StopReason   *string `json:"stop_reason"`
		StopSequence *string `json:"stop_sequence"`
	}{&stop, nil}})
}
