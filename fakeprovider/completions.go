package fakeprovider

import (
	"encoding/json"
	"fmt"
)

// defaultCompletion is the cap of a legacy completion without one.
const defaultCompletion = 16

// completionsRequest is a request to the legacy completions endpoint.
type completionsRequest struct {
	ask
	prompts []string // empty texts for token arrays
	n       int64    // choices to show of each prompt; all of bestOf are generated
	bestOf  int64
	echo    bool
}

func (c *call) readCompletions() (completionsRequest, *refusal) {
	m, bad := c.members()
	if bad != nil {
		return completionsRequest{}, bad
	}
	if bad := c.model(m); bad != nil {
		return completionsRequest{}, bad
	}
	req := completionsRequest{n: 1, ask: ask{maxTokens: defaultCompletion, reads: c.server.cfg.details()}}
	if raw, ok := m["max_tokens"]; ok && string(raw) != "null" {
		req.maxTokens = 0
	}
	for _, read := range []func(members) *refusal{req.readStream, req.readChoices, req.readPrompt} {
		if bad := read(m); bad != nil {
			return completionsRequest{}, bad
		}
	}
	if bad := req.readCap(m, 0, "max_tokens"); bad != nil {
		return completionsRequest{}, bad
	}
	req.choices = req.bestOf * int64(len(req.prompts))
	return req, m.read("echo", &req.echo)
}

func (req *completionsRequest) readChoices(m members) *refusal {
	if bad := m.read("n", &req.n); bad != nil {
		return bad
	}
	if req.n < 1 || req.n > 128 {
		return invalid("n", "'n' must be between 1 and 128.")
	}
	req.bestOf = req.n
	if bad := m.read("best_of", &req.bestOf); bad != nil {
		return bad
	}
	if req.bestOf < req.n || req.bestOf > 128 {
		return invalid("best_of", "'best_of' must be at least 'n' and at most 128.")
	}
	if req.stream && req.bestOf > req.n {
		return invalid("best_of", "Results of 'best_of' cannot be streamed.")
	}
	return nil
}

// readPrompt takes the four forms of a prompt: a text, texts, tokens, token arrays.
func (req *completionsRequest) readPrompt(m members) *refusal {
	raw := m["prompt"]
	var text string
	var texts []string
	var ids []int64
	var arrays [][]int64
	switch {
	case len(raw) == 0 || string(raw) == "null":
		texts = []string{"<|endoftext|>"}
	case json.Unmarshal(raw, &text) == nil:
		texts = []string{text}
	case json.Unmarshal(raw, &texts) == nil:
	case json.Unmarshal(raw, &ids) == nil:
		texts, arrays = nil, [][]int64{ids}
	case json.Unmarshal(raw, &arrays) == nil:
		texts = nil
	default:
		return invalid("prompt", "'prompt' must be a text, an array of texts, tokens, or an array of token arrays.")
	}
	for _, t := range texts {
		req.prompts, req.prompt = append(req.prompts, t), req.prompt+max(1, textTokens(t))
		req.lastUser = t
	}
	for _, a := range arrays {
		req.prompts, req.prompt = append(req.prompts, ""), req.prompt+int64(len(a))
	}
	if len(req.prompts) == 0 || len(req.prompts) > 2048 {
		return invalid("prompt", "'prompt' must not be empty.")
	}
	return nil
}

type textChoice struct {
	Text         string  `json:"text"`
	Index        int64   `json:"index"`
	Logprobs     *string `json:"logprobs"`
	FinishReason *string `json:"finish_reason"`
}

// textCompletion is an answer, or one chunk of it.
type textCompletion struct {
	ID      string          `json:"id"`
	Object  string          `json:"object"`
	Created int64           `json:"created"`
	Model   string          `json:"model"`
	Extra   json.RawMessage `json:"x_fake,omitempty"`
	Choices []textChoice    `json:"choices"`
	Usage   json.RawMessage `json:"usage,omitempty"`
}

func (c *call) newTextCompletion(p plan) textCompletion {
	return textCompletion{
		ID: fmt.Sprintf("cmpl-%016x", p.seed), Object: "text_completion", Created: c.record.At.Unix(), Model: c.served(),
		Extra: c.extra(), Choices: []textChoice{},
	}
}

func (c *call) serveCompletions() {
	req, bad := c.readCompletions()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	p := c.prepare(req.ask, "prompt")
	switch {
	case p == nil:
	case req.stream:
		s := &textStream{stream: c.newStream(*p), req: req}
		s.serve(s.run)
	default:
		c.answerCompletion(req, *p)
	}
}

func (c *call) answerCompletion(req completionsRequest, p plan) {
	c.bill(p.spent(p.total()))
	out := c.newTextCompletion(p)
	for i, prompt := range req.prompts {
		for j := range req.n {
			text := c.words(p, int64(i)*req.bestOf+j)
			if req.echo {
				text = prompt + text
			}
			out.Choices = append(out.Choices, textChoice{Text: text, Index: int64(len(out.Choices)), FinishReason: &p.finish})
		}
	}
	if !c.faults.NoUsage {
		out.Usage = c.report(p, p.total())
	}
	c.deliverJSON(out)
}

// textStream is a legacy completion being streamed.
type textStream struct {
	*stream
	req completionsRequest
}

func (s *textStream) run() {
	if !s.echo() || !s.each(s.tokens) || !s.finish() || !s.finalUsage() || s.call.faults.NoDone {
		return
	}
	s.event("", []byte("[DONE]"))
}

func (s *textStream) running() bool {
	return s.call.server.cfg.running() || s.call.faults.RunningUsage || s.req.running
}

func (s *textStream) choice(ch textChoice) bool {
	out := s.call.newTextCompletion(s.plan)
	out.Choices = append(out.Choices, ch)
	switch {
	case s.call.faults.NoUsage:
	case s.running():
		out.Usage = s.call.report(s.plan, s.generated)
	case s.req.includeUsage:
		out.Usage = json.RawMessage("null")
	}
	return s.chunk("", out)
}

func (s *textStream) echo() bool {
	if !s.req.echo {
		return true
	}
	for i := range s.plan.choices {
		if !s.choice(textChoice{Text: s.req.prompts[i/s.req.n], Index: i}) {
			return false
		}
	}
	return true
}

func (s *textStream) tokens(index, from, n int64) bool {
	return s.choice(textChoice{Text: s.text(index, from, n), Index: index})
}

func (s *textStream) finish() bool {
	for i := range s.plan.choices {
		if !s.choice(textChoice{Index: i, FinishReason: &s.plan.finish}) {
			return false
		}
	}
	return true
}

func (s *textStream) finalUsage() bool {
	if !s.req.includeUsage || s.running() || s.call.faults.NoUsage {
		return true
	}
	out := s.call.newTextCompletion(s.plan)
	out.Usage = s.call.report(s.plan, s.generated)
	return s.chunk("", out)
}
