package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

func deniedStatus() *rpcstatus.Status { return &rpcstatus.Status{Code: int32(codes.PermissionDenied)} }

func answerJSON(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}
}

// answerSSE writes each event by itself.
func answerSSE(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, ev := range events {
			io.WriteString(w, ev)
			w.(http.Flusher).Flush()
		}
	}
}

// TestEnvoy runs the bootstrap and the filter in the real Envoy.
func TestEnvoy(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{Heartbeat: 100 * time.Millisecond}, nil)
	for _, tc := range []struct {
		name string
		run  func(*testing.T, *env)
	}{
		{"splice", testSplice}, {"splice of the largest body", testSpliceLarge}, {"failed splice", testFailedSplice},
		{"what Check sees", testCheckSees}, {"what the provider sees", testProviderSees}, {"query", testQuery}, {"no extra attempts", testNoForcedRetries},
		{"JSON", testJSON}, {"odd text", testOddText}, {"stream", testStream}, {"strip", testStrip}, {"strip with content-length", testStripLength},
		{"unfinished last event", testUnfinished}, {"large embeddings", testEmbeddings}, {"provider refuses us", testRefusedUs},
		{"local replies", testLocalReplies}, {"Anthropic replies", testAnthropicReplies}, {"denied", testDenied}, {"REST", testREST}, {"client leaves", testClientLeaves},
		{"heartbeats", testHeartbeats}, {"REST is down", testRESTDown}, // the last one breaks it
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, e) })
	}
}

func testSplice(t *testing.T, e *env) {
	body := `{"model":"fake/m", "x":"é"}`
	at := strings.Index(body, "fake/m")
	e.set(allow("fake", envoy.Decision{Token: "t", Edits: []envoy.Edit{
		{At: 1, Ins: `"stream_options":{"include_usage":true},`}, {At: at, Del: 6, Ins: "m-ü"},
	}}), answerJSON("{}"))
	r := e.do(t, "POST", chat, body)
	_, got := e.recorded()
	want := `{"stream_options":{"include_usage":true},"model":"m-ü", "x":"é"}`
	if r.status != 200 || len(got) != 1 || got[0].Body != want {
		t.Fatalf("status %d, provider got %+v, want body %s", r.status, got, want)
	}
	if r.header.Get(envoy.HeaderBoundUSD) != "0.5" {
		t.Errorf("response headers of the decision are missing: %v", r.header)
	}
}

func testSpliceLarge(t *testing.T, e *env) {
	body := `{"model":"a","x":"` + strings.Repeat("y", envoy.DefaultMaxBodyBytes-20) + `"}`
	ins := strings.Repeat(" ", envoy.EditRoom)
	e.set(allow("fake", envoy.Decision{Token: "t", Edits: []envoy.Edit{{At: 1, Ins: ins}}}), answerJSON("{}"))
	r := e.do(t, "POST", chat, body)
	_, got := e.recorded()
	if r.status != 200 || len(got) != 1 || got[0].Body != "{"+ins+body[1:] {
		t.Fatalf("status %d %.200s, %d requests", r.status, r.body, len(got))
	}
}

func testFailedSplice(t *testing.T, e *env) {
	for _, edits := range [][]envoy.Edit{
		{{At: 100, Del: 1}}, {{At: 3, Del: 4}, {At: 0, Del: 1}},
	} {
		e.set(allow("fake", envoy.Decision{Token: "t", Edits: edits}), answerJSON("{}"))
		r := e.do(t, "POST", chat, `{"model":"a"}`)
		wantEnvelope(t, r, 503, "service_unavailable", "edit_failed", "true")
		if _, got := e.recorded(); len(got) != 0 {
			t.Errorf("edits %v: the provider was called: %+v", edits, got)
		}
	}
}

func testCheckSees(t *testing.T, e *env) {
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON("{}"))
	body := "{\"bin\":\"\xff\"}"
	e.do(t, "POST", chat, body, "X-Aig-Tag", "one", "x-aig-tag", "two", "Authorization", "Bearer k", "X-Request-Id", "forged",
		envoy.HeaderUpstream, "dead", "x-aig-int-anything", "1", "User-Agent", "sdk")
	checks, _ := e.recorded()
	if len(checks) != 1 {
		t.Fatalf("%d checks", len(checks))
	}
	h := checks[0].GetAttributes().GetRequest().GetHttp()
	seen := map[string][]string{}
	for _, kv := range h.GetHeaderMap().GetHeaders() {
		seen[kv.Key] = append(seen[kv.Key], string(kv.RawValue)+kv.Value)
	}
	id := seen["x-request-id"]
	delete(seen, "x-request-id")
	if len(id) != 1 || len(id[0]) != 36 || id[0] == "forged" {
		t.Errorf("x-request-id %q, want Envoy's own", id)
	}
	want := map[string][]string{
		"x-aig-tag": {"one", "two"}, "authorization": {"Bearer k"}, "content-type": {"application/json"},
		"content-length": {fmt.Sprint(len(body))}, "x-envoy-auth-partial-body": {"false"}, // Envoy's own
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("headers Check sees (-want +got):\n%s", diff)
	}
	if got := string(h.GetRawBody()); got != body {
		t.Errorf("body %q", got)
	}
	if got := checks[0].GetAttributes().GetContextExtensions()[envoy.ContextAPI]; got != "chat" {
		t.Errorf("context extension %q", got)
	}
	if h.GetMethod() != "POST" || h.GetPath() != chat {
		t.Errorf("method %q path %q", h.GetMethod(), h.GetPath())
	}
}

func testProviderSees(t *testing.T, e *env) {
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON("{}"))
	e.do(t, "POST", chat, "{}", "Authorization", "Bearer sk-aig-secret", "X-Api-Key", "k", "Api-Key", "k", "Cookie", "c=1", "X-Aig-Tag", "t",
		"X-Aig-Other", "1", envoy.HeaderEdit, "1", envoy.HeaderUpstream, "dead", "X-Forwarded-For", "10.0.0.1", "Accept-Encoding", "gzip", "Openai-Beta", "yes", "x_api_key", "k",
		"X-HTTP-Method-Override", "GET", "X-Original-Url", "/admin", "X-Rewrite-Url", "/admin", "Range", "bytes=0-9", "Ocp-Apim-Subscription-Key", "k",
		"Prefer", "respond-async", "Idempotency-Key", "k", "Helicone-Cache-Enabled", "true", "X-Portkey-Config", "{}", "Cf-Aig-Cache-Ttl", "1", "Anthropic-Beta", "x",
		"X-Stainless-Lang", "python", "X-Stainless-Retry-Count", "0", "Anthropic-Version", "2023-06-01", "Traceparent", "00-a-b-00", "Accept", "application/json", "X-Title", "app")
	_, got := e.recorded()
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	h := got[0].Header
	h.Del("X-Request-Id")
	want := http.Header{
		"Accept-Encoding": {"identity"}, "Content-Length": {"2"}, "Content-Type": {"application/json"},
		"User-Agent": {"Go-http-client/1.1"}, "X-Stainless-Lang": {"python"}, "X-Stainless-Retry-Count": {"0"},
		"Anthropic-Version": {"2023-06-01"}, "Traceparent": {"00-a-b-00"}, "Accept": {"application/json"}, "X-Title": {"app"},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("headers the provider sees (-want +got):\n%s", diff)
	}
}

// A query must not reach a provider: Google's ?fields= hides tokens that are billed.
func testQuery(t *testing.T, e *env) {
	e.set(allow("fake", envoy.Decision{Token: "t", Edits: []envoy.Edit{{At: 1, Ins: " "}}}), answerJSON("{}"))
	for _, query := range []string{"?fields=usage(prompt_tokens)", "?", "?a?b=c"} {
		e.do(t, "POST", chat+query, "{}")
	}
	_, got := e.recorded()
	if len(got) != 3 {
		t.Fatalf("%d requests", len(got))
	}
	for _, r := range got {
		if strings.Contains(r.Path, "?") {
			t.Errorf("the provider got %s", r.Path)
		}
	}
}

// A client must not multiply its provider calls with Envoy's own headers.
func testNoForcedRetries(t *testing.T, e *env) {
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	r := e.do(t, "POST", chat, "{}", "x-envoy-retry-on", "5xx", "x-envoy-max-retries", "3", "x-envoy-hedge-on-per-try-timeout", "true")
	if _, got := e.recorded(); len(got) != 1 || r.status != 500 {
		t.Errorf("%d provider calls, status %d", len(got), r.status)
	}
}

func testJSON(t *testing.T, e *env) {
	e.set(allow("fake", envoy.Decision{Token: "tok-1"}), answerJSON("\n\n"+`{"model":"m","usage":`+use+`}`))
	body := `{"a":1}`
	r := e.do(t, "POST", chat, body)
	if want := "\n\n" + `{"model":"m","usage":` + use + `}`; r.body != want {
		t.Errorf("body %q", r.body)
	}
	l := e.logged(t, e.lastID(t))
	if l.Code != 200 || l.Cut() || !l.Sent || !l.ViaUpstream() || l.Cluster != "fake" ||
		l.ContentType != "application/json" || l.Stream() || l.Periodic {
		t.Errorf("entry %+v", l)
	}
	want := envoy.Report{Token: "tok-1", Usage: use, FirstUsage: use, Model: `"m"`, Done: true, Output: true, Framing: envoy.FramingJSON} // of no known format, so there may be output
	if diff := cmp.Diff(want, l.Report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

// What is no UTF-8, and a zero, neither ends a report nor shifts what is behind it.
func testOddText(t *testing.T, e *env) {
	for _, tt := range []struct{ model, id, note, want string }{
		{"m\xff", "a", "\xc3", "m?|a|?"},
		{"m\x00\x00", "a", "b\x00", "m??|a|b?"},
		{"\xed\xa0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80\xc0\xaf", "???|???|??????"},
		{"é中😀", "\xf4\x8f\xbf\xbf", "\x7f\u2028\ue000", "é中😀|\U0010ffff|\x7f\u2028\ue000"},
	} {
		e.set(allow("fake", envoy.Decision{Token: "tok"}), answerJSON(`{"id":"`+tt.id+`","model":"`+tt.model+`","choices":[],"usage":{"total_tokens":9,"note":"`+tt.note+`"}}`))
		e.do(t, "POST", chat, "{}")
		got := e.logged(t, e.lastID(t)).Report
		want := strings.Split(tt.want, "|")
		if usage := `{"total_tokens":9,"note":"` + want[2] + `"}`; got.Usage != usage || got.Model != `"`+want[0]+`"` || got.AnswerID != want[1] || !got.Done {
			t.Errorf("%q: %+v", tt.want, got)
		}
	}
}

var openaiStream = []string{
	`data: {"choices":[{"delta":{"content":"a"}}],"usage":null}` + "\n\n", ": ping\n\n",
	`data: {"model":"m","choices":[],"usage":` + use + `}` + "\n\n", "data: [DONE]\n\n",
}

func testStream(t *testing.T, e *env) {
	e.set(allow("fake", envoy.Decision{Token: "t2"}), answerSSE(openaiStream...))
	r := e.do(t, "POST", chat, "{}")
	if want := strings.Join(openaiStream, ""); r.body != want {
		t.Errorf("body %q", r.body)
	}
	l := e.logged(t, e.lastID(t))
	want := envoy.Report{Token: "t2", Usage: use, FirstUsage: use, Model: `"m"`, Done: true, Output: true, Framing: envoy.FramingEvents}
	if diff := cmp.Diff(want, l.Report); diff != "" || !l.Stream() {
		t.Errorf("stream %v, report (-want +got):\n%s", l.Stream(), diff)
	}
}

func testStrip(t *testing.T, e *env) {
	all := strings.Join(openaiStream, "")
	want := openaiStream[0] + openaiStream[1] + openaiStream[3]
	for name, events := range map[string][]string{"by event": openaiStream, "at once": {all}, "by byte": strings.Split(all, "")} {
		e.set(allow("fake", envoy.Decision{Token: "t", StripUsage: true}), answerSSE(events...))
		if r := e.do(t, "POST", chat, "{}"); r.body != want {
			t.Errorf("%s: body %q, want %q", name, r.body, want)
		}
		if l := e.logged(t, e.lastID(t)); l.Usage != use || !l.Done {
			t.Errorf("%s: report %+v", name, l.Report)
		}
	}
}

func testStripLength(t *testing.T, e *env) {
	all := strings.Join(openaiStream, "")
	e.set(allow("fake", envoy.Decision{Token: "t", StripUsage: true}), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Length", fmt.Sprint(len(all)))
		io.WriteString(w, all)
	})
	if r := e.do(t, "POST", chat, "{}"); r.body != openaiStream[0]+openaiStream[1]+openaiStream[3] {
		t.Errorf("body %q", r.body)
	}
}

// The last event comes without its blank line: what was withheld must come out,
// whether the end arrives with the data or after it.
func testUnfinished(t *testing.T, e *env) {
	body := openaiStream[0] + `data: {"choices":[{"x":1}]}`
	for _, length := range []bool{false, true} {
		e.set(allow("fake", envoy.Decision{Token: "t", StripUsage: true}), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			if length {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			}
			io.WriteString(w, openaiStream[0])
			w.(http.Flusher).Flush()
			io.WriteString(w, body[len(openaiStream[0]):])
		})
		if r := e.do(t, "POST", chat, "{}"); r.body != body {
			t.Errorf("with length %v: body %q", length, r.body)
		}
	}
}

func testEmbeddings(t *testing.T, e *env) {
	var b strings.Builder
	b.WriteString(`{"object":"list","data":[`)
	for i := 0; b.Len() < 21<<20; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"object":"embedding","index":%d,"embedding":[%s-0.25]}`, i, strings.Repeat("0.0123456789,-0.987654321e-3,", 1000))
	}
	b.WriteString(`],"model":"emb","usage":` + use + `}`)
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON(b.String()))
	r := e.do(t, "POST", embeddings, "{}")
	if r.body != b.String() {
		t.Errorf("body of %d bytes changed, got %d", b.Len(), len(r.body))
	}
	if l := e.logged(t, e.lastID(t)); l.Usage != use || l.Model != `"emb"` || !l.Done {
		t.Errorf("report %+v", l.Report)
	}
}

func testClientLeaves(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	e.set(allow("fake", envoy.Decision{Token: "t-left", CountOutput: true}), func(w http.ResponseWriter, r *http.Request) {
		answerSSE(`data: {"choices":[{"delta":{"content":"hello"}}],"usage":`+use+`}`+"\n\n")(w, r)
		<-r.Context().Done()
	})
	req, err := http.NewRequestWithContext(ctx, "POST", e.URL+chat, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	cancel()
	l := e.logged(t, e.lastID(t))
	if !l.Cut() || l.Usage != use || l.Done || l.Token != "t-left" || !strings.Contains(l.Flags, "DC") {
		t.Errorf("entry of a client that left: %+v", l)
	}
	if l.Seen != mark(len("hello")) || l.SeenAt.Before(began.Add(-time.Second)) || l.SeenAt.After(time.Now().Add(time.Second)) {
		t.Errorf("%d bytes seen at %s, want %d", l.Seen, l.SeenAt, mark(len("hello")))
	}
}

func testHeartbeats(t *testing.T, e *env) {
	release, free := gate(t)
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, r *http.Request) {
		answerSSE(openaiStream[0])(w, r)
		<-release
	})
	e.mu.Lock()
	before := e.periodic
	e.mu.Unlock()
	done := make(chan result)
	go func() { done <- e.do(t, "POST", chat, "{}") }()
	envoytest.Eventually(t, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.periodic < before+2 {
			return errors.New("no heartbeats")
		}
		return nil
	})
	free()
	<-done
	e.logged(t, e.lastID(t)) // one line in the file, which has no heartbeats
}

// TestScriptThatDoesNothing: the refusal of an unedited request must not rest
// on the script.
func TestScriptThatDoesNothing(t *testing.T) {
	for name, lua := range map[string]string{
		"does nothing": "function envoy_on_request(h) end",
		"fails":        `function envoy_on_request(h) error("no") end`,
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, envoy.BootstrapConfig{}, envoy.BootstrapWithLua(lua))
			e.set(allow("fake", envoy.Decision{Token: "t", Edits: []envoy.Edit{{Ins: " "}}}), answerJSON("{}"))
			wantEnvelope(t, e.do(t, "POST", chat, "{}"), 503, "service_unavailable", "edit_failed", "true")
			if _, got := e.recorded(); len(got) != 0 {
				t.Errorf("the provider was called: %+v", got)
			}
		})
	}
}

// TestScriptFailsOnAnError breaks the script while it reads what is no answer:
// neither the status, which may speak of our key, nor the text reaches the client.
func TestScriptFailsOnAnError(t *testing.T) {
	const errors, redirects = "local function speaks_of_us(status, text)\n", "local function on_redirect(h, status, anthropic, credentials)\n"
	lua := envoy.LuaSource()
	for _, at := range []string{errors, redirects} {
		if strings.Count(lua, at) != 1 {
			t.Fatalf("the script no longer has %q", at)
		}
		lua = strings.Replace(lua, at, at+"  if status then error(\"no\") end\n", 1)
	}
	e := start(t, envoy.BootstrapConfig{}, envoy.BootstrapWithLua(lua))
	for _, status := range []int{401, 402, 403, 307} {
		e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://elsewhere/")
			w.WriteHeader(status)
			io.WriteString(w, "Incorrect API key: sk-ours")
		})
		r := e.do(t, "POST", chat, "{}")
		wantEnvelope(t, r, 502, "provider_error", "upstream_error", "false")
		if strings.Contains(r.body, "sk-ours") || r.header.Get("Location") != "" {
			t.Errorf("%d: %v %s", status, r.header, r.body)
		}
	}
}

// TestScriptThatFailsOnAnAnswer: what the script is told of an answer, the
// provider's credentials among it, must not reach a client whatever the script
// does.
func TestScriptThatFailsOnAnAnswer(t *testing.T) {
	for name, lua := range map[string]string{
		"does nothing": "",
		"fails":        `function envoy_on_response(h) error("no") end`,
		"recurses":     `function envoy_on_response(h) return 1 + envoy_on_response(h) end`,
		"fails later":  `function envoy_on_response(h) for chunk in h:bodyChunks() do error("no") end end`,
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, envoy.BootstrapConfig{}, envoy.BootstrapWithLua("function envoy_on_request(h) end\n"+lua))
			for _, status := range []int{200, 400, 401, 307} {
				e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(status)
					io.WriteString(w, "{}")
				})
				r := e.do(t, "POST", chat, "{}")
				if _, got := e.recorded(); len(got) != 1 || r.status != status {
					t.Fatalf("status %d, %d provider calls", r.status, len(got))
				}
				for header := range r.header {
					if strings.HasPrefix(strings.ToLower(header), "x-aig-int-") {
						t.Errorf("the client got %s with a %d", header, status)
					}
				}
			}
		})
	}
}
