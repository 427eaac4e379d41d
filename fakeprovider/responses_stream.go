package fakeprovider

// responseStream is a response being streamed as typed events.
type responseStream struct {
	*stream
	req      *responsesRequest
	response response
	text     string
	index    int // of the output item being made
	number   int // of the next event
}

// responseEvent is any event: each type has its own of the members.
type responseEvent struct {
	Type         string      `json:"type"`
	Number       int         `json:"sequence_number"`
	Response     *response   `json:"response,omitempty"`
	OutputIndex  *int        `json:"output_index,omitempty"`
	ItemID       string      `json:"item_id,omitempty"`
	ContentIndex *int        `json:"content_index,omitempty"`
	Item         any         `json:"item,omitempty"`
	Part         *outputText `json:"part,omitempty"`
	Delta        *string     `json:"delta,omitempty"`
	Text         *string     `json:"text,omitempty"`
	Arguments    *string     `json:"arguments,omitempty"`
	Name         string      `json:"name,omitempty"`
	Logprobs     *[]string   `json:"logprobs,omitempty"`
}

func (c *call) streamResponse(req *responsesRequest, p plan) {
	s := &responseStream{stream: c.newStream(p), req: req, response: c.newResponse(req, p)}
	s.named = true
	s.error = s.errorEvent
	s.fail = func() (string, any) { return s.final(true) }
	s.serve(s.run)
}

func (s *responseStream) run() {
	state := func(name string) bool {
		r := s.response
		return s.send(responseEvent{Type: name, Response: &r})
	}
	if !state("response.created") || !state("response.in_progress") || !s.reason() || !s.search() || !s.answer() {
		return
	}
	if s.call.faults.NoDone {
		return
	}
	s.chunk(s.final(false))
}

// send numbers an event and sends it.
func (s *responseStream) send(e responseEvent) bool {
	e.Number = s.number
	s.number++
	return s.chunk(e.Type, e)
}

// item sends an event about the output item being made.
func (s *responseStream) item(name, id string, item any) bool {
	index := s.index
	return s.send(responseEvent{Type: name, OutputIndex: &index, ItemID: id, Item: item})
}

// keep ends the item being made.
func (s *responseStream) keep(item any) bool {
	if !s.item("response.output_item.done", "", item) {
		return false
	}
	s.response.Output = append(s.response.Output, item)
	s.index++
	return true
}

func (s *responseStream) reason() bool {
	if s.plan.hidden() == 0 {
		return true
	}
	item := newReasoning(s.plan)
	return s.item("response.output_item.added", "", item) && s.keep(item)
}

func (s *responseStream) search() bool {
	for n := range s.plan.searches {
		item := newSearch(s.plan, n, "in_progress")
		if !s.item("response.output_item.added", "", item) {
			return false
		}
		for _, state := range []string{"in_progress", "searching", "completed"} {
			if !s.item("response.web_search_call."+state, item.ID, nil) {
				return false
			}
		}
		if !s.keep(newSearch(s.plan, n, "completed")) {
			return false
		}
	}
	return true
}

func (s *responseStream) answer() bool {
	if s.plan.function != "" {
		return s.function()
	}
	return s.message()
}

func (s *responseStream) function() bool {
	item, index := newFunctionItem(s.plan, "in_progress", ""), s.index
	if !s.item("response.output_item.added", "", item) || !s.each(func(i, from, n int64) bool {
		part := s.stream.text(i, from, n)
		s.text += part
		return part == "" || s.send(responseEvent{Type: "response.function_call_arguments.delta", OutputIndex: &index, ItemID: item.ID, Delta: &part})
	}) {
		return false
	}
	done := responseEvent{Type: "response.function_call_arguments.done", OutputIndex: &index, ItemID: item.ID, Arguments: &s.text, Name: item.Name}
	return s.send(done) && s.keep(newFunctionItem(s.plan, s.status(), s.text))
}

// status is how the answer's item ends.
func (s *responseStream) status() string {
	if s.plan.finish == "length" {
		return "incomplete"
	}
	return "completed"
}

func (s *responseStream) message() bool {
	item := newMessageItem(s.plan, "in_progress", "")
	zero, index, none := 0, s.index, []string{}
	event := func(name string) responseEvent {
		return responseEvent{Type: name, OutputIndex: &index, ItemID: item.ID, ContentIndex: &zero}
	}
	begin := event("response.content_part.added")
	part := newOutputText("")
	begin.Part = &part
	if !s.item("response.output_item.added", "", item) || !s.send(begin) {
		return false
	}
	if !s.each(func(i, from, n int64) bool {
		text := s.stream.text(i, from, n)
		if text == "" {
			return true // reasoning is silent
		}
		s.text += text
		delta := event("response.output_text.delta")
		delta.Delta, delta.Logprobs = &text, &none
		return s.send(delta)
	}) {
		return false
	}
	done, whole := event("response.output_text.done"), newOutputText(s.text)
	done.Text, done.Logprobs = &s.text, &none
	end := event("response.content_part.done")
	end.Part = &whole
	return s.send(done) && s.send(end) && s.keep(newMessageItem(s.plan, s.status(), s.text))
}

// final is the event that ends the response, with its usage.
func (s *responseStream) final(failed bool) (string, any) {
	r := s.response
	s.call.end(&r, s.plan, s.generated, failed)
	s.call.server.keep(&r, s.req)
	name := "response." + r.Status
	e := responseEvent{Type: name, Number: s.number, Response: &r}
	s.number++
	return name, e
}

func (s *responseStream) errorEvent() (string, any) {
	return "error", struct {
		Type    string  `json:"type"`
		Code    string  `json:"code"`
		Message string  `json:"message"`
		Param   *string `json:"param"`
		Number  int     `json:"sequence_number"`
	}{"error", "server_error", "The server had an error while processing your request.", nil, s.number}
}
