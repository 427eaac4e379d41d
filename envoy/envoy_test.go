package envoy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
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

// envelope is the error envelope of every answer that is not the provider's.
type envelope struct {
	Error struct {
		Message, Type string
		Code          int
		Metadata      map[string]any
	}
}

func wantEnvelope(t *testing.T, r result, status int, typ, reason, retry string) {
	t.Helper()
	var env envelope
	if err := json.Unmarshal([]byte(r.body), &env); err != nil {
		t.Fatalf("status %d, body %q: %v", r.status, r.body, err)
	}
	if r.status != status || env.Error.Code != status || env.Error.Type != typ || env.Error.Metadata["reason"] != reason || env.Error.Message == "" {
		t.Errorf("got status %d, %s; want %d %s %s", r.status, r.body, status, typ, reason)
	}
	if got := r.header.Get(envoy.HeaderShouldRetry); got != retry {
		t.Errorf("%s: %q, want %q", envoy.HeaderShouldRetry, got, retry)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content-type %q", got)
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
		{"what Check sees", testCheckSees}, {"what the provider sees", testProviderSees}, {"no extra attempts", testNoForcedRetries},
		{"JSON", testJSON}, {"stream", testStream}, {"strip", testStrip}, {"strip with content-length", testStripLength},
		{"unfinished last event", testUnfinished}, {"large embeddings", testEmbeddings}, {"provider refuses us", testRefusedUs},
		{"local replies", testLocalReplies}, {"denied", testDenied}, {"REST", testREST}, {"client leaves", testClientLeaves},
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
		"X-Aig-Other", "1", envoy.HeaderEdit, "1", envoy.HeaderUpstream, "dead", "X-Forwarded-For", "10.0.0.1", "Accept-Encoding", "gzip", "Openai-Beta", "yes", "x_api_key", "k")
	_, got := e.recorded()
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	h := got[0].Header
	h.Del("X-Request-Id")
	want := http.Header{
		"Accept-Encoding": {"identity"}, "Content-Length": {"2"}, "Content-Type": {"application/json"},
		"Openai-Beta": {"yes"}, "User-Agent": {"Go-http-client/1.1"},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("headers the provider sees (-want +got):\n%s", diff)
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

// logged returns a call's entry from both channels, and checks that they agree.
func (e *env) logged(t *testing.T, id string) envoy.LogLine {
	t.Helper()
	var file, stream envoy.LogLine
	envoytest.Eventually(t, func() error {
		e.mu.Lock()
		entry := e.entries[id]
		e.mu.Unlock()
		if entry == nil {
			return fmt.Errorf("no stream entry for %q", id)
		}
		var err error
		stream, err = envoy.FromStream(entry)
		return err
	})
	envoytest.Eventually(t, func() error {
		text, err := os.ReadFile(e.SpoolPath)
		if err != nil {
			return err
		}
		found := 0
		for line := range bytes.Lines(text) {
			if !bytes.Contains(line, []byte(`"id":"`+id+`"`)) {
				continue
			}
			found++
			if file, err = envoy.ParseLogLine(line); err != nil {
				return err
			}
			token, ok := envoy.PeekToken(line)
			if string(token) != file.Token || ok != (file.Token != "") {
				t.Errorf("PeekToken = %q, %v; the line has %q", token, ok, file.Token)
			}
		}
		if found != 1 {
			return fmt.Errorf("%d file entries for %q, want 1", found, id)
		}
		return nil
	})
	if d := (file.Duration - stream.Duration).Abs(); d > 2*time.Millisecond {
		t.Errorf("durations differ: file %v, stream %v", file.Duration, stream.Duration)
	}
	if d := file.Start.Sub(stream.Start).Abs(); d > time.Microsecond {
		t.Errorf("start times differ: file %v, stream %v", file.Start, stream.Start)
	}
	both := stream
	stream.Start, stream.Duration = file.Start, file.Duration
	if diff := cmp.Diff(file, stream); diff != "" {
		t.Errorf("the channels differ (-file +stream):\n%s", diff)
	}
	return both
}

// lastID is the request id of the last Check.
func (e *env) lastID(t *testing.T) string {
	t.Helper()
	checks, _ := e.recorded()
	if len(checks) == 0 {
		t.Fatal("no check")
	}
	for _, kv := range checks[len(checks)-1].GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		if kv.Key == envoy.HeaderRequestID {
			return string(kv.RawValue) + kv.Value
		}
	}
	t.Fatal("no request id in the check")
	return ""
}

func testJSON(t *testing.T, e *env) {
	e.set(allow("fake", envoy.Decision{Token: "tok-1"}), answerJSON("\n\n"+`{"model":"m","usage":`+use+`}`))
	body := `{"a":1}`
	r := e.do(t, "POST", chat, body)
	if want := "\n\n" + `{"model":"m","usage":` + use + `}`; r.body != want {
		t.Errorf("body %q", r.body)
	}
	l := e.logged(t, e.lastID(t))
	if l.Code != 200 || l.Cut() || !l.Sent || !l.ViaUpstream() || l.Route != "fake-v1/chat/completions" || l.Cluster != "fake" ||
		l.ContentType != "application/json" || l.Attempts != 1 || l.BytesIn != int64(len(body)) || l.Stream() || l.Periodic {
		t.Errorf("entry %+v", l)
	}
	want := envoy.Report{Token: "tok-1", Usage: use, FirstUsage: use, Model: `"m"`, Done: true}
	if diff := cmp.Diff(want, l.Report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
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
	want := envoy.Report{Token: "t2", Usage: use, FirstUsage: use, Model: `"m"`, Done: true}
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

func testRefusedUs(t *testing.T, e *env) {
	for _, status := range []int{401, 402, 403} {
		for _, body := range []string{"", `{"error":{"message":"key sk-secret is invalid"}}`} {
			e.set(allow("fake", envoy.Decision{Token: "t", StripUsage: true}), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Www-Authenticate", "Bearer")
				w.WriteHeader(status)
				io.WriteString(w, body)
			})
			r := e.do(t, "POST", chat, "{}")
			wantEnvelope(t, r, 502, "provider_error", "upstream_auth", "false")
			if strings.Contains(r.body, "sk-secret") || r.header.Get("Www-Authenticate") != "" {
				t.Errorf("the provider's words came through: %v %s", r.header, r.body)
			}
			if l := e.logged(t, e.lastID(t)); l.Code != 502 || l.UpstreamStatus != status || !l.ViaUpstream() || l.Usage != "" {
				t.Errorf("entry %+v", l)
			}
		}
	}
}

func testLocalReplies(t *testing.T, e *env) {
	e.set(allow("dead", envoy.Decision{Token: "t"}), answerJSON("{}"))
	wantEnvelope(t, e.do(t, "POST", chat, "{}"), 502, "provider_error", "upstream_unreachable", "true")
	if l := e.logged(t, e.lastID(t)); l.Sent || l.ViaUpstream() || !l.Cut() || l.Code != 502 || l.Token != "t" {
		t.Errorf("entry of an unreachable provider: %+v", l)
	}

	e.set(nil, nil)
	r := e.do(t, "POST", "/v1/nothing", "{}")
	wantEnvelope(t, r, 404, "not_found", "route_unknown", "")
	if len(r.header.Get(envoy.HeaderClientRequestID)) != 36 {
		t.Errorf("no request id: %v", r.header)
	}

	wantEnvelope(t, e.do(t, "POST", chat, strings.Repeat("x", envoy.DefaultMaxBodyBytes+1)), 413, "request_too_large", "body_too_large", "")
	wantEnvelope(t, e.do(t, "POST", "/v1/%2fchat", "{}"), 400, "invalid_request_error", "malformed_request", "")

	// The provider goes away after it got the request: it may have billed it.
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	wantEnvelope(t, e.do(t, "POST", chat, "{}"), 502, "provider_error", "upstream_disconnected", "false")
	if l := e.logged(t, e.lastID(t)); !l.Sent || !l.Cut() || l.ViaUpstream() {
		t.Errorf("entry of a broken provider: %+v", l)
	}

	// No decision in time.
	block := make(chan struct{})
	defer close(block)
	e.set(func(*authv3.CheckRequest) *authv3.CheckResponse { <-block; return nil }, answerJSON("{}"))
	wantEnvelope(t, e.do(t, "POST", chat, "{}"), 503, "service_unavailable", "decision_timeout", "true")
	if _, got := e.recorded(); len(got) != 0 {
		t.Errorf("the provider was called without a decision")
	}

	// A direct response of ours stays as it is.
	if r := e.do(t, "POST", "/v1/rerank", "{}"); r.status != 404 || r.body != `{"error":"ours"}` {
		t.Errorf("direct response: %d %s", r.status, r.body)
	}
}

func testDenied(t *testing.T, e *env) {
	for _, status := range []int{400, 401, 402, 403, 404, 413, 429, 503} {
		body := fmt.Sprintf(`{"error":{"code":%d}}`, status)
		e.set(deny(status, body), answerJSON("{}"))
		r := e.do(t, "POST", chat, "{}")
		if r.status != status || r.body != body || r.header.Get("Content-Type") != "application/json" || r.header.Get(envoy.HeaderShouldRetry) != "false" {
			t.Errorf("denied with %d: got %d %q %v", status, r.status, r.body, r.header)
		}
		if _, got := e.recorded(); len(got) != 0 {
			t.Errorf("the provider was called")
		}
	}
	if l := e.logged(t, e.lastID(t)); l.Token != "" || l.Sent {
		t.Errorf("entry of a refusal: %+v", l)
	}
}

func testREST(t *testing.T, e *env) {
	e.set(nil, nil)
	r := e.do(t, "GET", "/v1/usage", "", "Authorization", "Bearer k", envoy.HeaderUpstream, "forged")
	if r.status != 200 || r.body != `auth="Bearer k" int=""` {
		t.Errorf("REST: %d %s", r.status, r.body)
	}
}

func testRESTDown(t *testing.T, e *env) {
	e.rest.Close()
	wantEnvelope(t, e.do(t, "GET", "/v1/usage", ""), 503, "service_unavailable", "control_plane_unavailable", "true")
}

// TestTimers: what ends a call that the provider leaves hanging.
func TestTimers(t *testing.T) {
	for name, c := range map[string]envoy.BootstrapConfig{
		"idle":     {StreamIdleTimeout: 300 * time.Millisecond},
		"duration": {MaxStreamDuration: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, c, nil)
			e.set(allow("fake", envoy.Decision{Token: "t"}), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			wantEnvelope(t, e.do(t, "POST", chat, "{}"), 504, "timeout_error", "upstream_timeout", "false")
			if l := e.logged(t, e.lastID(t)); !l.Sent || l.ViaUpstream() || !l.Cut() {
				t.Errorf("entry %+v", l)
			}
		})
	}
}

// TestConnectionLimit: clients cannot take more connections than allowed, and
// the admin interface answers all the same.
func TestConnectionLimit(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{MaxConnections: 1}, nil)
	addr := strings.TrimPrefix(e.URL, "http://")
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	envoytest.Eventually(t, func() error {
		second, err := net.Dial("tcp", addr)
		if err != nil {
			return nil
		}
		defer second.Close()
		if err := second.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		_, err = second.Read(make([]byte, 1))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("a second connection stays open")
		}
		return nil
	})
	if _, err := e.Admin().Get(t.Context(), "/server_info"); err != nil {
		t.Error(err)
	}
}

func testClientLeaves(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e.set(allow("fake", envoy.Decision{Token: "t-left"}), func(w http.ResponseWriter, r *http.Request) {
		answerSSE(`data: {"choices":[{}],"usage":`+use+`}`+"\n\n")(w, r)
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
}

func testHeartbeats(t *testing.T, e *env) {
	release := make(chan struct{})
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
	close(release)
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
