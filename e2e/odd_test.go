package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

// oddProviders are upstreams that differ from the usual: one that stops with
// its client and one that does not, one whose report only the operator knows,
// one that bills by search, one that is not there.
const oddProviders = `  stops: {preset: openai_compatible, base_url: "URL/v1", api_key: KEY, apis: [responses, messages, completions], cancels_on_disconnect: true, max_tokens_per_second: 100, endpoints: {messages: {auth_header: x-api-key, auth_prefix: ""}}, allowed_betas: [good-2026-01-01]}
  goes: {preset: openai_compatible, base_url: "URL/v1", api_key: KEY, apis: [responses, messages, completions], endpoints: {messages: {auth_header: x-api-key, auth_prefix: ""}}}
  own: {preset: openai_compatible, base_url: "URL/v1", api_key: KEY, dialect: custom, extractor: {input: prompt_tokens, output: completion_tokens, total: total_tokens, cache_read: prompt_tokens_details.cached_tokens}}
  cohere: {base_url: "COHERE/v1", api_key: KEY}
  gone: {preset: openai_compatible, base_url: "http://127.0.0.1:1/v1", api_key: KEY, apis: [messages]}
`

// oddGateway is a control plane and an Envoy with oddProviders.
func oddGateway(t *testing.T) *gateway {
	t.Helper()
	g := newGateway(t)
	odd, address := startProvider(t, fakeprovider.Config{Models: map[string]fakeprovider.Price{"m1": price}})
	cohere, reranker := startProvider(t, fakeprovider.Config{Dialect: fakeprovider.Cohere, Models: map[string]fakeprovider.Price{"m1": dialectPrice}})
	g.provider["odd"], g.provider["cohere"] = odd, cohere
	g.settings["Extra"] = strings.NewReplacer("URL", address, "COHERE", reranker, "KEY", providerKey).Replace(oddProviders)
	g.settings["Models"] = append([]string{"stops/m1", "goes/m1", "own/m1", "gone/m1"}, pricedModels...)
	g.writeConfig()
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	g.replaceConfig(string(text) + `
- model: cohere/m1
  limits: {context: 400000, max_output: 64000}
  prices:
  - {from: 2026-01-01, source: e2e, checked_at: 2026-01-01, input: "0", output: "0", fees: {search_unit: "0.002001"}}
`)
	g.startBoth()
	return g
}

// streamBodies are streaming calls; the verbs are model, user and fault.
var streamBodies = map[string]string{
	"/v1/responses":   `{"model":%q,"user":%q,"input":"fault:out=6 %s","max_output_tokens":4000,"stream":true}`,
	"/v1/messages":    `{"model":%q,"metadata":{"user_id":%q},"messages":[{"role":"user","content":"fault:out=6 %s"}],"max_tokens":4000,"stream":true}`,
	"/v1/completions": `{"model":%q,"user":%q,"prompt":"fault:out=6 %s","max_tokens":4000,"stream":true}`,
}

// TestCutAfterEveryEvent cuts the streams of the newer endpoints after each of
// their events: whatever was seen, the charge is at least the bill and at most
// the bound, and less than that where time tells how much can have been made.
func TestCutAfterEveryEvent(t *testing.T) {
	t.Parallel()
	g := oddGateway(t)
	var mu sync.Mutex
	bounds := map[string]int64{}
	cut := func(path, provider string, n int) reply {
		tag := fmt.Sprintf("cut/%s/%s/%02d", strings.TrimPrefix(path, "/v1/"), provider, n)
		fault := ""
		if n > 0 {
			fault = fmt.Sprintf("cut_after=%d", n)
		}
		r := g.insist(http.MethodPost, g.url+path, fmt.Sprintf(streamBodies[path], provider+"/m1", tag, fault), tagged(tag))
		if r.status != http.StatusOK || (r.err == nil) != (n == 0) {
			t.Errorf("%s: %d %s %v", tag, r.status, r.body, r.err)
			return r
		}
		bound := mustNano(t, r.header.Get("X-Aig-Bound-Usd"))
		mu.Lock()
		defer mu.Unlock()
		bounds[tag] = bound
		return r
	}
	var all sync.WaitGroup // Envoy closes a cut connection after a second
	for path := range streamBodies {
		for _, provider := range []string{"stops", "goes"} {
			events := bytes.Count(cut(path, provider, 0).body, []byte("\n\n"))
			if events < 5 {
				t.Errorf("%s has only %d events", path, events)
			}
			for n := 1; n < events; n++ {
				all.Go(func() { cut(path, provider, n) })
			}
		}
	}
	all.Wait()
	g.settle(time.Minute)
	usage, bills := g.usage(), g.bills()
	byTime := map[string]int{}
	for tag, bound := range bounds {
		got, bill := usage[tag], bills[tag].NanoUSD
		if got.nano <= 0 || got.nano < bill || got.nano > bound || got.requests != 1 {
			t.Errorf("%s: charged %+v, billed %d, bound %d", tag, got, bill, bound)
		}
		if got.nano != bill && got.nano < bound {
			byTime[strings.Split(tag, "/")[2]]++
		}
	}
	if byTime["stops"] == 0 || byTime["goes"] != 0 {
		t.Errorf("charged by time: %v, want only calls of the provider that stops with its client", byTime)
	}
}

// TestOddProviders settles calls of providers whose report only the operator
// knows, or which bill by search, to the nano-dollar.
func TestOddProviders(t *testing.T) {
	t.Parallel()
	g := oddGateway(t)
	t.Run("extractor of the operator's", func(t *testing.T) {
		for _, more := range []string{`,"max_tokens":40`, `,"max_tokens":40,"stream":true`} {
			g.wantWithinBound(t, "odd", g.chat("own/m1", "own", "fault:out=20 cached=3", more))
		}
	})
	t.Run("rerank under a cap", func(t *testing.T) {
		g.setBudget("cohere/capped", 1)
		rest := `,"query":"what?","documents":["one","two"]}`
		for range 4 { // at $0.002001 each
			g.wantWithinBound(t, "cohere", g.call("/v1/rerank", "cohere", "capped", rest))
			g.settle(time.Minute)
		}
		e := wantError(t, g.call("/v1/rerank", "cohere", "capped", rest), http.StatusPaymentRequired, "budget_exceeded")
		if e.Error.Metadata["bound"] != "0.002001" || e.Error.Metadata["max_tokens_that_fit"] != nil {
			t.Errorf("refusal %+v", e.Error)
		}
	})
	t.Run("betas", func(t *testing.T) {
		for provider, want := range map[string]string{"stops": "good-2026-01-01", "goes": ""} {
			h := tagged("beta")
			h["Anthropic-Beta"] = []string{"bad-2026-01-01, good-2026-01-01"}
			body := fmt.Sprintf(`{"model":%q,"metadata":{"user_id":"beta"},"messages":[{"role":"user","content":"hi"}],"max_tokens":9}`, provider+"/m1")
			r := g.insist(http.MethodPost, g.url+"/v1/messages", body, h)
			g.wantWithinBound(t, "odd", r)
			calls := g.provider["odd"].Calls()
			if got := strings.Join(calls[len(calls)-1].Header.Values("Anthropic-Beta"), "|"); got != want {
				t.Errorf("%s received anthropic-beta %q, want %q", provider, got, want)
			}
		}
	})
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestAnthropicErrorClasses: what an application catches for each refusal.
func TestAnthropicErrorClasses(t *testing.T) {
	t.Parallel()
	g := oddGateway(t)
	g.setBudget("broke", 0)
	check := func(cases string, want map[string]sdkError) {
		t.Helper()
		for name, got := range g.anthropicErrors(t, cases) {
			w := want[name]
			if got.Class != w.class || got.Status != w.status || got.Type != w.kind || !strings.Contains(got.Message, w.message) {
				t.Errorf("%s: %+v, want %+v", name, got, w)
			}
		}
	}
	check(`{"broke":{"model":"goes/m1","tag":"broke"},"large":{"model":"goes/m1","tag":"x","bytes":9000000},
		"unknown":{"model":"nobody/m1","tag":"x"},"gone":{"model":"gone/m1","tag":"x"}}`, map[string]sdkError{
		"broke":   {402, "PaymentRequiredError", "billing_error", "broke"},
		"large":   {413, "ContentTooLargeError", "request_too_large", "longer"},
		"unknown": {404, "NotFoundError", "not_found_error", "nobody"},
		"gone":    {502, "InternalServerError", "api_error", "cannot be reached"},
	})
	g.program.freeze()
	check(`{"frozen":{"model":"goes/m1","tag":"x"}}`, map[string]sdkError{
		"frozen": {503, "ServiceUnavailableError", "api_error", "nothing was sent"},
	})
	g.program.kill() // SIGTERM would wait until it runs again
}

func (g *gateway) anthropicErrors(t *testing.T, cases string) map[string]answered {
	t.Helper()
	sdk, err := filepath.Abs("../bin/sdk")
	if err != nil {
		t.Fatal(err)
	}
	script := exec.Command(filepath.Join(sdk, "python/bin/python"), filepath.Join("sdk", "errors.py"))
	script.Env = append(os.Environ(), "BASE_URL="+g.url, "API_KEY="+adminKey, "CASES="+cases)
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil {
		t.Fatalf("%v; the SDKs are installed by: make sdks\n%s", err, stderr.String())
	}
	var got map[string]answered
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}
