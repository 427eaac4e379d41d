package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"aigateway/e2e/loopback"
	"aigateway/envoy"
)

// What every call of the share costs: 1,000 input tokens at $10 and 500 output
// tokens at $40 a million, $0.03. One that names an output cap asks for twice the
// output that comes.
const (
	shareInput, shareOutput = 1000, 500
	shareCostCents          = 3
	nanoPerCent             = 10_000_000
)

// share measures how much of a cap can be spent: as many calls as it affords,
// some at a time, each sent once. Refused ones are not sent again.
func share(ctx context.Context, o options, out io.Writer) error {
	s, err := newShareLab(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Fprintf(out, "Calls of $0.0%d, sent once, %s each; the part of the cap that was spent\n\n", shareCostCents, s.latency)
	fmt.Fprintf(out, "%6s %4s  %-22s %-22s %-22s %-22s\n", "cap", "c", "bytes, max_tokens", "bytes, none", "tokenizer, max_tokens", "tokenizer, none")
	for _, calls := range []int{3, 100} {
		for _, c := range []int{1, 10, 50, 200} {
			fmt.Fprintf(out, "  $%d.%02d %4d ", calls*shareCostCents/100, calls*shareCostCents%100, c)
			for _, model := range []string{"bytes/m1", "words/m1"} {
				for _, capped := range []bool{true, false} {
					r, err := s.spend(ctx, fmt.Sprintf("%s-%v-%d-%d", model[:5], capped, calls, c), model, capped, calls, c)
					if err != nil {
						return err
					}
					fmt.Fprintf(out, " %-22s", r)
				}
			}
			fmt.Fprintln(out)
		}
	}
	return nil
}

// shareResult is what came of one row.
type shareResult struct {
	calls, answered int
	over            int64 // nano-USD above the cap that were seen, or billed
}

func (r shareResult) String() string {
	s := fmt.Sprintf("%3d %% (%d of %d)", r.answered*100/r.calls, r.answered, r.calls)
	if r.over > 0 {
		s += fmt.Sprintf(" OVER by %d nano-USD", r.over)
	}
	return s
}

// shareLab is a gateway before a provider that takes its time.
type shareLab struct {
	dir, url, rest string
	latency        time.Duration
	backend        net.Listener
	gateway        *exec.Cmd
	client         *http.Client
}

func newShareLab(ctx context.Context, o options) (s *shareLab, err error) {
	s = &shareLab{latency: 100 * time.Millisecond, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	if s.dir, err = os.MkdirTemp("", "aig"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if s.backend, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	go func() { _ = http.Serve(s.backend, http.HandlerFunc(s.answer)) }() // ends with the listener
	if err := s.start(ctx, o.binaries); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *shareLab) start(ctx context.Context, binary string) error {
	path, err := envoy.Find("")
	if err != nil {
		return fmt.Errorf("find envoy (make envoy installs it): %w", err)
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return fmt.Errorf("find aigateway: %w", err)
	}
	var addresses [3]string
	for i := range addresses {
		if addresses[i], err = loopback.FreeAddress(); err != nil {
			return err
		}
	}
	s.url, s.rest = "http://"+addresses[0], "http://"+addresses[1]
	config := filepath.Join(s.dir, "aigateway.yaml")
	if err := os.WriteFile(config, []byte(shareConfig(addresses, filepath.Join(s.dir, "data"), path, s.backend.Addr().String())), 0o600); err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	s.gateway = exec.CommandContext(ctx, binary, "run", "--config", config)
	s.gateway.Stderr = os.Stderr
	if err := s.gateway.Start(); err != nil {
		return fmt.Errorf("start aigateway: %w", err)
	}
	return loopback.Poll(ctx, func() bool { return loopback.Status(s.rest+"/readyz") == http.StatusOK })
}

func shareConfig(addresses [3]string, data, envoyPath, backend string) string {
	var models strings.Builder
	for _, m := range []string{"bytes/m1", "words/m1"} {
		fmt.Fprintf(&models, `- model: %s
  family: gpt
  limits: {context: 400000, max_output: 64000}
  prices:
  - {from: 2026-01-01, source: bench, checked_at: 2026-01-01, input: "10", output: "40"}
`, m)
	}
	return fmt.Sprintf(`listen: {clients: %q, rest: %q, grpc: %q}
data_dir: %q
admin_key: %s
envoy: {path: %q}
drain: {accept: 0s, timeout: 1s}
reservations: {max_wait: 3s}
providers:
  bytes: {preset: openai_compatible, base_url: "http://%s/v1"}
  words: {preset: openai_compatible, base_url: "http://%[7]s/v1", input_bound: tokenizer}
models:
%[8]s`, addresses[0], addresses[1], addresses[2], data, adminKey, envoyPath, backend, models.String())
}

func (s *shareLab) answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a broken request shows at the client
	time.Sleep(s.latency)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m1","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`,
		shareInput, shareOutput, shareInput+shareOutput)
}

// spend sends the calls and watches the budget meanwhile.
func (s *shareLab) spend(ctx context.Context, tag, model string, capped bool, calls, atOnce int) (shareResult, error) {
	tag = strings.ReplaceAll(tag, "/", "-")
	limit := int64(calls * shareCostCents)
	if _, err := s.do(ctx, http.MethodPost, s.rest+"/v1/budgets", "", fmt.Sprintf(`{"tag":%q,"monthly_cap_cents":%d}`, tag, limit)); err != nil {
		return shareResult{}, err
	}
	limits := ""
	if capped {
		limits = fmt.Sprintf(`"max_tokens":%d,`, 2*shareOutput)
	}
	// 1,000 tokens less what a chat template adds.
	body := fmt.Sprintf(`{"model":%q,%s"messages":[{"role":"user","content":%q}]}`, model, limits, strings.Repeat(" some", shareInput-10))
	var answered atomic.Int64
	var all sync.WaitGroup
	next := make(chan struct{}, calls)
	for range calls {
		next <- struct{}{}
	}
	close(next)
	for range atOnce {
		all.Go(func() {
			for range next {
				if code, err := s.do(ctx, http.MethodPost, s.url+"/v1/chat/completions", tag, body); err == nil && code == http.StatusOK {
					answered.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	r := shareResult{calls: calls}
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(20 * time.Millisecond):
		}
		over, err := s.over(ctx, tag)
		if err != nil {
			return r, err
		}
		r.over = max(r.over, over)
	}
	r.answered = int(answered.Load())
	r.over = max(r.over, (int64(r.answered*shareCostCents)-limit)*nanoPerCent)
	return r, nil
}

// over is by how many nano-USD what is spent and reserved exceeds the tag's cap.
func (s *shareLab) over(ctx context.Context, tag string) (int64, error) {
	r, err := s.request(ctx, http.MethodGet, s.rest+"/v1/budgets?tag="+tag, "", "")
	if err != nil {
		return 0, err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("read the budget: %w", err)
	}
	defer answer.Body.Close()
	var page struct {
		Budgets []struct {
			Tag      string `json:"tag"`
			Cap      string `json:"cap"`
			Spent    string `json:"spent"`
			Reserved string `json:"reserved"`
		} `json:"budgets"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&page); err != nil {
		return 0, fmt.Errorf("read the budget: %w", err)
	}
	for _, b := range page.Budgets {
		if b.Tag == tag {
			return nano(b.Spent) + nano(b.Reserved) - nano(b.Cap), nil
		}
	}
	return 0, fmt.Errorf("no budget of %s", tag)
}

// nano is an exact amount of dollars, as the API writes it, in nano-USD.
func nano(usd string) int64 {
	r, ok := new(big.Rat).SetString(usd)
	if !ok {
		return math.MaxInt64 / 4 // no amount: over every cap
	}
	return r.Mul(r, big.NewRat(100*nanoPerCent, 1)).Num().Int64()
}

func (s *shareLab) request(ctx context.Context, method, url, tag, body string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+adminKey)
	r.Header.Set("Content-Type", "application/json")
	if tag != "" {
		r.Header.Set("X-Aig-Tag", tag)
	}
	return r, nil
}

func (s *shareLab) do(ctx context.Context, method, url, tag, body string) (int, error) {
	r, err := s.request(ctx, method, url, tag, body)
	if err != nil {
		return 0, err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body) // only shown
	if answer.StatusCode >= 300 && answer.StatusCode != http.StatusPaymentRequired {
		return answer.StatusCode, fmt.Errorf("%s %s: %d %.300s", method, url, answer.StatusCode, text)
	}
	return answer.StatusCode, nil
}

func (s *shareLab) close() {
	if s.gateway != nil && s.gateway.Process != nil {
		_ = s.gateway.Process.Signal(os.Interrupt) // it may have ended
		_ = s.gateway.Wait()                       // its exit code says nothing here
	}
	_ = s.backend.Close()
	_ = os.RemoveAll(s.dir)
}
