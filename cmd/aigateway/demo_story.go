package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// demoModel is a model of the real catalog, at its real price; only the
// provider behind it is fake.
const demoModel = "moonshot/kimi-k2.6"

// story is what `aigateway demo` shows: the same requests a user would send,
// with curl, each checked, so that a demo that ended well proves something.
type story struct {
	out  io.Writer
	base string // http://host:port of the clients' listener
	key  string
	page string // its address
}

// tell runs the steps in order and stops at the first that did not do what it
// should.
func (s *story) tell(ctx context.Context) error {
	for i, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{`Cap the tag "summarize" at one cent a month.`, s.setBudget},
		{"A call with that tag is answered.", s.answeredCall},
		{"So is a streamed one.", s.streamedCall},
		{"What did each tag cost?", s.usageByTag},
		{"A call that could cross the cap is refused before it is sent.", s.refusedCall},
	} {
		fmt.Fprintf(s.out, "\n%d. %s\n", i+1, step.title)
		err := step.run(ctx)
		if err != nil {
			return fmt.Errorf("demo step %d (%s): %w", i+1, strings.TrimSuffix(step.title, "."), err)
		}
	}
	return nil
}

func (s *story) setBudget(ctx context.Context) error {
	const body = `{"tag":"summarize","monthly_cap_cents":1}`
	status, answer, err := s.post(ctx, "/v1/budgets", body)
	if err != nil {
		return err
	}
	s.show("POST /v1/budgets "+body, status, shortened(answer))
	var b struct {
		RemainingCents int64 `json:"remaining_cents"`
	}
	err = expect(status, http.StatusOK, answer, &b)
	if err == nil && b.RemainingCents != 1 {
		err = fmt.Errorf("remaining_cents is %d, want 1", b.RemainingCents)
	}
	return err
}

func chatBody(maxTokens int, stream bool) string {
	return fmt.Sprintf(`{"model":%q,"max_tokens":%d,"stream":%v,"messages":[{"role":"user","content":"Summarize: caps before dispatch."}]}`, demoModel, maxTokens, stream)
}

func (s *story) answeredCall(ctx context.Context) error {
	body := chatBody(200, false)
	status, answer, err := s.post(ctx, "/v1/chat/completions", body)
	if err != nil {
		return err
	}
	s.show("POST /v1/chat/completions "+body, status, shortened(answer))
	var completion struct {
		Choices []struct{} `json:"choices"`
	}
	err = expect(status, http.StatusOK, answer, &completion)
	if err == nil && len(completion.Choices) != 1 {
		err = fmt.Errorf("the answer has %d choices, want 1", len(completion.Choices))
	}
	return err
}

func (s *story) streamedCall(ctx context.Context) error {
	body := chatBody(20, true)
	res, err := s.do(ctx, http.MethodPost, "/v1/chat/completions", body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	fmt.Fprintf(s.out, "   POST /v1/chat/completions %s\n   -> %d", body, res.StatusCode)
	events, done := 0, false
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		switch data, ok := strings.CutPrefix(lines.Text(), "data: "); {
		case data == "[DONE]":
			done = true
		case ok && strings.Contains(data, `"usage":{`):
			return fmt.Errorf("the stream has a usage report that nobody asked for: %s", data)
		case ok:
			events++
		}
	}
	fmt.Fprintf(s.out, ", %d events, then [DONE]\n", events)
	if res.StatusCode != http.StatusOK || events < 2 || !done {
		return fmt.Errorf("status %d, %d events, finished: %v; want an answered stream", res.StatusCode, events, done)
	}
	return nil
}

// usageByTag waits for both calls: a cost is known when Envoy has logged the
// end of the call, a moment after the client saw it.
func (s *story) usageByTag(ctx context.Context) error {
	type row struct {
		Tag       string `json:"tag"`
		Requests  int64  `json:"requests"`
		CostCents int64  `json:"cost_cents"`
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		status, answer, err := s.get(ctx, "/v1/usage/by-tag?tag=summarize")
		if err != nil {
			return err
		}
		var rows []row
		err = expect(status, http.StatusOK, answer, &rows)
		if err != nil {
			return err
		}
		if slices.Contains(rows, row{"summarize", 2, 1}) {
			s.show("GET /v1/usage/by-tag?tag=summarize", status, answer)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("usage did not come to two calls of one cent in 15 s: %s", answer)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *story) refusedCall(ctx context.Context) error {
	body := chatBody(5000, false)
	status, answer, err := s.post(ctx, "/v1/chat/completions", body)
	if err != nil {
		return err
	}
	s.show("POST /v1/chat/completions "+body, status, indented(answer))
	var refusal struct {
		Error struct {
			Type     string `json:"type"`
			Metadata struct {
				MaxTokensThatFit int64 `json:"max_tokens_that_fit"`
			} `json:"metadata"`
		} `json:"error"`
	}
	err = expect(status, http.StatusPaymentRequired, answer, &refusal)
	if err != nil {
		return err
	}
	if refusal.Error.Type != "budget_exceeded" || refusal.Error.Metadata.MaxTokensThatFit <= 0 {
		return fmt.Errorf("the refusal does not say what would fit: %s", answer)
	}
	return nil
}

// curls prints the commands that repeat the story by hand.
func (s *story) curls(ctx context.Context) error {
	page, err := s.address(ctx)
	if err != nil {
		return err
	}
	auth := `-H "authorization: Bearer $KEY"`
	json := `-H "content-type: application/json"`
	fmt.Fprintf(s.out, `
Now you. The page, with a week behind it; the address signs in once and for five minutes,
after that the key does, at %s:

  %s

The same by hand:

  export KEY=%s
  curl %s/v1/chat/completions %s %s -H "x-aig-tag: summarize" -d '%s'
  curl %s/v1/chat/completions %s %s -H "x-aig-tag: summarize" -d '%s'
  curl "%s/v1/usage/by-tag" %s
  curl %s/v1/budgets %s %s -d '{"tag":"summarize","monthly_cap_cents":500}'

Serving until Ctrl-C.
`, s.page, page, s.key, s.base, auth, json, chatBody(200, false), s.base, auth, json, chatBody(5000, false), s.base, auth, s.base, auth, json)
	return nil
}

// address is one of the page that signs in once.
func (s *story) address(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.page, "/")+"/ticket", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var made struct {
		Path string `json:"path"`
	}
	err = expect(res.StatusCode, http.StatusOK, answer, &made)
	return strings.TrimSuffix(s.page, "/ui/") + made.Path, err
}

func (s *story) show(request string, status int, answer []byte) {
	fmt.Fprintf(s.out, "   %s\n   -> %d %s\n", request, status, bytes.TrimSpace(answer))
}

// shortened is the beginning of an answer whose end adds nothing to the story.
func shortened(answer []byte) []byte {
	const most = 220
	if len(answer) <= most {
		return answer
	}
	return append(bytes.Clone(answer[:most]), "…"...)
}

// arithmetic is one line of a bound's, in a refusal.
var arithmetic = regexp.MustCompile(`\{[^{}]*"label":[^{}]*\}`)

// indented is the answer for people, each line of arithmetic on one line.
func indented(answer []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, answer, "      ", "  ") != nil {
		return answer
	}
	return arithmetic.ReplaceAllFunc(out.Bytes(), func(line []byte) []byte {
		var one bytes.Buffer
		if json.Compact(&one, line) != nil {
			return line
		}
		return one.Bytes()
	})
}

func (s *story) get(ctx context.Context, path string) (int, []byte, error) {
	return s.call(ctx, http.MethodGet, path, "")
}

func (s *story) post(ctx context.Context, path, body string) (int, []byte, error) {
	return s.call(ctx, http.MethodPost, path, body)
}

func (s *story) call(ctx context.Context, method, path, body string) (int, []byte, error) {
	res, err := s.do(ctx, method, path, body)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

func (s *story) do(ctx context.Context, method, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("X-Aig-Tag", "summarize")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return http.DefaultClient.Do(req)
}

// expect checks the status and reads the answer into v.
func expect(status, want int, answer []byte, v any) error {
	if status != want {
		return fmt.Errorf("status %d, want %d: %s", status, want, answer)
	}
	err := json.Unmarshal(answer, v)
	if err != nil {
		return fmt.Errorf("read the answer %q: %w", answer, err)
	}
	return nil
}
