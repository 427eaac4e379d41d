package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

// fullPrice has a price for everything; fullProvider says the same to the gateway.
var fullPrice = fakeprovider.Price{
	Input: 2_500_001, CacheRead: 300_007, CacheWrite: 3_125_003, CacheWriteLong: 5_000_009, Output: 10_000_003, WebSearch: 10_001_000_000,
}

const fullProvider = `  full: {preset: openai_compatible, base_url: "URL/v1", api_key: ` + providerKey + `, apis: [chat, responses, messages, input_tokens, compact], allow_pdf: true, endpoints: {messages: {auth_header: x-api-key, auth_prefix: ""}}}
`

// fullModel is a model, and the same again with the rules of a vendor that
// publishes what a page of a PDF takes.
const fullModel = `
- model: full/m1
  limits: {context: 400000, max_output: 64000}
  prices: &prices
  - {from: 2026-01-01, source: e2e, checked_at: 2026-01-01, input: "2.500001", cache_read: "0.300007", cache_write: "3.125003",
     cache_write_long: "5.000009", output: "10.000003", fees: {web_search: "0.010001"}}
- model: full/reader
  family: claude
  limits: {context: 400000, max_output: 64000}
  prices: *prices
`

// documentCents are the budgets of the calls with a PDF: of such a vendor its
// pages fit, of the others only a budget with room for the whole context does.
var documentCents = map[bool]int64{true: 50, false: 500}

// answered is what an SDK's user got from one call, or the error it raised.
type answered struct {
	Text, Finish  string
	Input, Output int64
	Items, Events []string

	Class, Message, Type string
	Status               int
	Metadata             map[string]any
}

// sdkSuite is a script, and the errors its SDK raises for our refusals.
type sdkSuite struct {
	command []string
	errors  map[string]sdkError // by case
	search  bool                // has a case with web searches
}

type sdkError struct {
	status      int
	class, kind string
	message     string // part of it
}

// sdkErrors are the failures of responses.* and messages.*: class402 is what
// the SDK raises for a refused budget; kinds are those of the refused budget
// and the unknown model.
func sdkErrors(class402, kind402, kind404, field string) map[string]sdkError {
	return map[string]sdkError{
		"refused":        {402, class402, kind402, "broke"},
		"refused_stream": {402, class402, kind402, "broke"},
		"wrong_key":      {401, "AuthenticationError", "authentication_error", "key"},
		"unknown_model":  {404, "NotFoundError", kind404, "nobody"},
		"bad_field":      {400, "BadRequestError", "invalid_request_error", field},
	}
}

func TestSDKEndpoints(t *testing.T) {
	t.Parallel()
	g := fullGateway(t)
	r := startRecorder(t, g.url)
	python := func(script string) []string { return []string{"python/bin/python", script} }
	node := func(script string) []string { return []string{"node", script} }
	suites := map[string]sdkSuite{
		"openai-python-responses": {python("responses.py"), sdkErrors("APIStatusError", "budget_exceeded", "model_not_found", "max_output_tokens"), true},
		"openai-node-responses":   {node("responses.mjs"), sdkErrors("APIError", "budget_exceeded", "model_not_found", "max_output_tokens"), true},
		"anthropic-python":        {python("messages.py"), sdkErrors("PaymentRequiredError", "billing_error", "not_found_error", "max_tokens"), true},
		"anthropic-node":          {node("messages.mjs"), sdkErrors("PaymentRequiredError", "billing_error", "not_found_error", "max_tokens"), true},
		"langchain": {python("chains.py"), map[string]sdkError{
			"refused_chat":      {402, "APIStatusError", "budget_exceeded", "broke"},
			"refused_responses": {402, "APIStatusError", "budget_exceeded", "broke"},
			"refused_messages":  {402, "PaymentRequiredError", "billing_error", "broke"},
			"refused_stream":    {402, "PaymentRequiredError", "billing_error", "broke"},
		}, false},
		"vercel": {node("vercel.mjs"), map[string]sdkError{
			"refused_chat":      {402, "AI_APICallError", "budget_exceeded", "broke"},
			"refused_responses": {402, "AI_APICallError", "budget_exceeded", "broke"},
			"refused_messages":  {402, "AI_APICallError", "billing_error", "broke"},
			"refused_stream":    {402, "AI_APICallError", "budget_exceeded", "broke"},
		}, false},
	}
	t.Run("suites", func(t *testing.T) {
		for name, suite := range suites {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g.setBudget(name+"/no_cap", 1000)
				g.setBudget(name+"/document", documentCents[strings.HasPrefix(name, "anthropic")])
				g.setBudget(name+"/broke", 1)
				results := runSuite(t, r.url, name, suite.command)
				checkSuiteErrors(t, r, name, suite, results)
				checkSuiteAnswers(t, g, r, name, suite, results)
			})
		}
	})
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// fullGateway has a provider with every endpoint and every price.
func fullGateway(t *testing.T) *gateway {
	t.Helper()
	g := newGateway(t)
	p, address := startProvider(t, fakeprovider.Config{Models: map[string]fakeprovider.Price{"m1": fullPrice, "reader": fullPrice}, KeepAnswers: true})
	g.provider["full"] = p
	g.settings["Extra"] = strings.Replace(fullProvider, "URL", address, 1)
	g.writeConfig()
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	g.replaceConfig(string(text) + fullModel)
	g.startRun()
	return g
}

func runSuite(t *testing.T, base, name string, command []string) map[string]answered {
	t.Helper()
	sdk, err := filepath.Abs("../bin/sdk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(sdk, "installed")); err != nil {
		t.Fatalf("the SDKs are missing; run: make sdks\n%v", err)
	}
	script := exec.Command(filepath.Join(sdk, command[0]), filepath.Join("sdk", command[1]))
	script.Env = append(os.Environ(), "BASE_URL="+base, "API_KEY="+adminKey, "MODEL=full/m1", "TAG="+name, "SDK_DIR="+filepath.Join(sdk, "js"))
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, stderr.String())
	}
	var results map[string]answered
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return results
}

func checkSuiteErrors(t *testing.T, r *recorder, name string, suite sdkSuite, results map[string]answered) {
	t.Helper()
	for what, want := range suite.errors {
		got := results[what]
		if got.Status != want.status || got.Class != want.class || got.Type != want.kind || !strings.Contains(got.Message, want.message) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		if want.status == http.StatusPaymentRequired && (got.Metadata["reason"] != "cap_would_be_crossed" || got.Metadata["max_tokens_that_fit"] == nil) {
			t.Errorf("%s: metadata %v", what, got.Metadata)
		}
		delete(results, what)
	}
	refused := 0
	for _, want := range suite.errors {
		if want.status == http.StatusPaymentRequired {
			refused++
		}
	}
	if n := len(r.of(name + "/broke")); n != refused {
		t.Errorf("the SDK sent %d requests for %d refusals: no retry can help", n, refused)
	}
}

// enteredCalls are a provider's records by the user that a call named, once it has
// one of each case.
func (g *gateway) enteredCalls(t *testing.T, provider, name string, results map[string]answered) map[string]fakeprovider.Call {
	t.Helper()
	calls := map[string]fakeprovider.Call{}
	eventually(t, time.Minute, "the provider has entered every call", func() bool {
		for _, c := range g.provider[provider].Calls() {
			calls[c.User] = c
		}
		for what := range results {
			if _, ok := calls[name+"/"+what]; !ok {
				return false
			}
		}
		return true
	})
	return calls
}

// checkSuiteAnswers compares each case with the provider's own record of it:
// the bytes both ways, and what was used.
func checkSuiteAnswers(t *testing.T, g *gateway, r *recorder, name string, suite sdkSuite, results map[string]answered) {
	t.Helper()
	calls := g.enteredCalls(t, "full", name, results)
	for what, got := range results {
		call, sent := calls[name+"/"+what], r.of(name+"/"+what)
		if len(sent) != 1 {
			t.Errorf("%s: the SDK sent %d requests, want 1", what, len(sent))
			continue
		}
		if restored := undoFullEdits(call.Body); !bytes.Equal(restored, sent[0].request) {
			t.Errorf("%s:\nclient sent  %s\nprovider got %s", what, sent[0].request, call.Body)
		}
		if !bytes.Equal(call.Answer, sent[0].answer) {
			t.Errorf("%s:\nprovider sent %s\nclient got    %s", what, call.Answer, sent[0].answer)
		}
		if got.Text == "" && len(got.Events) == 0 || got.Output != call.Billed.CompletionTokens && len(got.Events) == 0 || got.Input != call.Billed.PromptTokens && got.Input != 0 {
			t.Errorf("%s: %+v, billed %+v", what, got, call.Billed)
		}
	}
	if full, ok := results["stream_full"]; ok && (full.Input == 0 || len(full.Items) != 2) {
		t.Errorf("stream_full: %+v", full)
	}
	if n := calls[name+"/search"].Billed.WebSearches; suite.search && n != 2 {
		t.Errorf("%d web searches were billed, want 2", n)
	}
	if got := calls[name+"/no_cap"].Body; len(got) > 0 && !bytes.HasPrefix(got, []byte(`{"max_output_tokens":`)) {
		t.Errorf("no cap was put into a budgeted call without one: %s", got)
	}
}

// undoFullEdits takes our edits out of a body that the provider received.
func undoFullEdits(body []byte) []byte {
	if bytes.HasPrefix(body, []byte(`{"max_output_tokens":`)) {
		_, rest, _ := bytes.Cut(body, []byte(","))
		body = append([]byte("{"), rest...)
	}
	body = bytes.Replace(body, []byte(`"reader"`), []byte(`"full/reader"`), 1)
	return bytes.Replace(body, []byte(`"m1"`), []byte(`"full/m1"`), 1)
}

// exchange is one call as the client's side of the gateway saw it.
type exchange struct{ request, answer []byte }

// recorder passes everything on to the gateway and keeps it by tag, so that the
// SDKs need no hooks.
type recorder struct {
	url string

	mu        sync.Mutex
	exchanges map[string][]*exchange
}

func startRecorder(t *testing.T, target string) *recorder {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{exchanges: map[string][]*exchange{}}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(to) },
		FlushInterval: -1,
		Transport:     insistent{&http.Transport{DisableCompression: true}},
		ModifyResponse: func(resp *http.Response) error {
			if x, ok := resp.Request.Context().Value(exchangeKey{}).(*exchange); ok {
				resp.Body = &tee{resp.Body, r, x}
			}
			return nil
		},
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		x := r.begin(req.Header.Get("X-Aig-Tag"), body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, req.WithContext(withExchange(req, x)))
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

// insistent repeats what is refused because this machine is busy, so that an SDK
// does not: tests count its requests.
type insistent struct{ http.RoundTripper }

func (i insistent) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	for n := 0; ; n++ {
		again := req.Clone(req.Context())
		if req.Body != nil {
			again.Body = io.NopCloser(bytes.NewReader(body))
		}
		resp, err := i.RoundTripper.RoundTrip(again)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("X-Should-Retry") != "true" || n == 20 {
			return resp, err
		}
		resp.Body.Close()
		pause(50 * time.Millisecond)
	}
}

func (r *recorder) begin(tag string, body []byte) *exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := &exchange{request: body}
	r.exchanges[tag] = append(r.exchanges[tag], x)
	return x
}

// of are copies of a tag's exchanges so far.
func (r *recorder) of(tag string) []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []exchange
	for _, x := range r.exchanges[tag] {
		all = append(all, exchange{x.request, slices.Clone(x.answer)})
	}
	return all
}

// tee keeps what is read of an answer.
type tee struct {
	io.ReadCloser
	r *recorder
	x *exchange
}

func (b *tee) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	b.x.answer = append(b.x.answer, p[:n]...)
	return n, err
}

// exchangeKey is where a request's context has its exchange.
type exchangeKey struct{}

func withExchange(req *http.Request, x *exchange) context.Context {
	return context.WithValue(req.Context(), exchangeKey{}, x)
}
