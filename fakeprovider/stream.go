package fakeprovider

import "encoding/json"

// chatStream is a chat completion being streamed.
type chatStream struct {
	*stream
	req ask
}

func (c *call) streamChat(req ask, p plan) {
	s := &chatStream{stream: c.newStream(p), req: req}
	s.serve(s.run)
}

func (s *chatStream) run() {
	if !s.begin() || !s.each(s.tokens) || !s.finish() || !s.finalUsage() || s.call.faults.NoDone {
		return
	}
	s.event("", []byte("[DONE]"))
}

// begin sends what comes before the text.
func (s *chatStream) begin() bool {
	if s.call.server.cfg.Dialect == Azure {
		out := s.next()
		out.Filter = json.RawMessage(`[{"prompt_index":0,"content_filter_results":{}}]`)
		if !s.chunk("", out) {
			return false
		}
	}
	for i := range s.plan.choices {
		empty := ""
		first := &message{Role: "assistant", Content: &empty}
		if s.plan.function != "" {
			called := newToolCall(s.plan, i, "")
			called.Index = new(int)
			first.Content, first.ToolCalls = nil, []toolCall{called}
		}
		if !s.choice(choice{Index: i, Delta: first}) {
			return false
		}
	}
	return true
}

// tokens sends n tokens of a choice.
func (s *chatStream) tokens(index, from, n int64) bool {
	text := s.text(index, from, n)
	delta := &message{Content: &text}
	if text == "" && s.plan.reasoning > 0 && s.call.server.cfg.Dialect == DeepSeek {
		thought := " hm"
		delta = &message{Reasoning: &thought}
	} else if s.plan.function != "" {
		delta = &message{ToolCalls: []toolCall{{Index: new(int), Function: calledByName{Arguments: text}}}}
	}
	return s.choice(choice{Index: index, Delta: delta})
}

// finish ends every choice.
func (s *chatStream) finish() bool {
	for i := range s.plan.choices {
		end := choice{Index: i, Delta: &message{}, FinishReason: &s.plan.finish}
		last := i == s.plan.choices-1
		out := s.next()
		switch report := s.call.report(s.plan, s.generated); {
		case !last || s.call.faults.NoUsage:
		case s.call.server.cfg.Dialect == Moonshot:
			end.Usage = report
		case s.call.server.cfg.Dialect == Groq:
			out.Groq = marshal(map[string]any{"id": "req_fake", "usage": report})
		case s.call.server.cfg.Dialect == Mistral:
			out.Usage = report
		}
		out.Choices = append(out.Choices, end)
		if !s.chunk("", out) {
			return false
		}
	}
	return true
}

func (s *chatStream) running() bool {
	return s.call.server.cfg.running() || s.call.faults.RunningUsage || s.req.running
}

// next is a chunk without choices, with the usage member its place calls for.
func (s *chatStream) next() completion {
	out := s.call.newCompletion("chat.completion.chunk", s.plan.seed)
	switch {
	case s.call.faults.ZeroFirst && s.sent == 0:
		out.Usage = marshal(usage{})
	case s.call.faults.NoUsage:
	case s.running():
		out.Usage = s.call.report(s.plan, s.generated)
	case s.req.includeUsage:
		out.Usage = json.RawMessage("null")
	}
	return out
}

// choice sends a chunk with one choice.
func (s *chatStream) choice(ch choice) bool {
	out := s.next()
	out.Choices = append(out.Choices, ch)
	return s.chunk("", out)
}

// finalUsage sends the extra chunk of include_usage.
func (s *chatStream) finalUsage() bool {
	dialect := s.call.server.cfg.Dialect
	asked := s.req.includeUsage || dialect == OpenRouter
	if !asked || s.running() && dialect != VLLM || dialect == Mistral || s.call.faults.NoUsage {
		return true
	}
	out := s.call.newCompletion("chat.completion.chunk", s.plan.seed)
	out.Usage = s.call.report(s.plan, s.generated)
	if !s.chunk("", out) {
		return false
	}
	if dialect != XAI {
		return true
	}
	return s.chunk("", s.call.newCompletion("chat.completion.chunk", s.plan.seed))
}
