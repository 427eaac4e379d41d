package envoy_test

import (
	"encoding/binary"
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

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

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
	wantEnvelope(t, e.do(t, "POST", "/v1/%00chat", "{}"), 400, "invalid_request_error", "malformed_request", "")

	// The provider goes away after it got the request: it may have billed it.
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	wantEnvelope(t, e.do(t, "POST", chat, "{}"), 502, "provider_error", "upstream_disconnected", "false")
	if l := e.logged(t, e.lastID(t)); !l.Sent || !l.Cut() || l.ViaUpstream() {
		t.Errorf("entry of a broken provider: %+v", l)
	}

	// A direct response of ours stays as it is.
	if r := e.do(t, "POST", "/v1/rerank", "{}"); r.status != 404 || r.body != `{"error":"ours"}` {
		t.Errorf("direct response: %d %s", r.status, r.body)
	}
}

// wantAnthropic checks an error of Anthropic's own API.
func wantAnthropic(t *testing.T, r result, status int, typ, reason, retry string) {
	t.Helper()
	var e struct {
		Type  string
		Error struct {
			Type, Message string
			Code          *int
			Metadata      struct{ Reason string }
		}
	}
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Errorf("no envelope: %v %s", err, r.body)
	}
	if r.status != status || e.Type != "error" || e.Error.Type != typ || e.Error.Metadata.Reason != reason || e.Error.Message == "" || e.Error.Code != nil ||
		r.header.Get("Content-Type") != "application/json" || r.header.Get(envoy.HeaderShouldRetry) != retry {
		t.Errorf("got %d %s %v, want %d %s %s, retry %q", r.status, r.body, r.header, status, typ, reason, retry)
	}
}

// testAnthropicReplies: what Envoy answers by itself on Anthropic's own API.
func testAnthropicReplies(t *testing.T, e *env) {
	e.set(allow("dead", envoy.Decision{Token: "t", Anthropic: true}), answerJSON("{}"))
	wantAnthropic(t, e.do(t, "POST", messages+"?beta=true", "{}"), 502, "api_error", "upstream_unreachable", "true")

	wantAnthropic(t, e.do(t, "POST", messages, strings.Repeat("x", envoy.DefaultMaxBodyBytes+1)), 413, "request_too_large", "body_too_large", "")
	wantAnthropic(t, e.do(t, "POST", "/v1//messages/none", "{}"), 404, "not_found_error", "route_unknown", "")
	wantEnvelope(t, e.do(t, "POST", "/v1/messagesx", "{}"), 404, "not_found", "route_unknown", "")
	if r := e.do(t, "POST", messages+"/x", "{}"); !strings.Contains(r.body, `"request_id":"`+r.header.Get(envoy.HeaderClientRequestID)+`"`) {
		t.Errorf("no request id: %s", r.body)
	}

	e.set(allow("fake", envoy.Decision{Token: "t", Anthropic: true}), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	wantAnthropic(t, e.do(t, "POST", messages, "{}"), 502, "api_error", "upstream_disconnected", "false")

	for _, status := range []int{401, 402, 403} {
		e.set(allow("fake", envoy.Decision{Token: "t", Anthropic: true}), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key sk-secret"}}`)
		})
		r := e.do(t, "POST", messages, "{}")
		wantAnthropic(t, r, 502, "api_error", "upstream_auth", "false")
		if l := e.logged(t, e.lastID(t)); l.UpstreamStatus != status || strings.Contains(r.body, "sk-secret") {
			t.Errorf("entry %+v of %s", l, r.body)
		}
	}
	// A refusal of Check stays as it is, and so does a provider's own error.
	e.set(deny(402, `{"type":"error"}`), answerJSON("{}"))
	if r := e.do(t, "POST", messages, "{}"); r.status != 402 || r.body != `{"type":"error"}` {
		t.Errorf("denied: %d %s", r.status, r.body)
	}
	e.set(allow("fake", envoy.Decision{Token: "t", Anthropic: true}), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(529)
		io.WriteString(w, "busy")
	})
	if r := e.do(t, "POST", messages, "{}", "Anthropic-Beta", "x", "X-Api-Key", "sk-aig-client"); r.status != 529 || r.body != "busy" {
		t.Errorf("overloaded: %d %s", r.status, r.body)
	}
	checks, got := e.recorded()
	if h := got[0].Header; h.Get("Anthropic-Beta") != "" || h.Get("X-Api-Key") != "" {
		t.Errorf("the provider saw %v", h)
	}
	seen := map[string]string{}
	for _, h := range checks[0].GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		seen[h.GetKey()] = string(h.GetRawValue())
	}
	if seen["anthropic-beta"] != "x" || seen["x-api-key"] != "sk-aig-client" {
		t.Errorf("the check saw %v", seen)
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

// TestNoDecisionInTime: what is not decided is not sent.
func TestNoDecisionInTime(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{CheckTimeout: 50 * time.Millisecond}, nil)
	block := make(chan struct{})
	defer close(block)
	e.set(func(*authv3.CheckRequest) *authv3.CheckResponse { <-block; return nil }, answerJSON("{}"))
	wantEnvelope(t, e.do(t, "POST", chat, "{}"), 503, "service_unavailable", "decision_timeout", "true")
	wantAnthropic(t, e.do(t, "POST", messages, "{}"), 503, "api_error", "decision_timeout", "true")
	if _, got := e.recorded(); len(got) != 0 {
		t.Errorf("the provider was called without a decision")
	}
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
			envoytest.Eventually(t, func() error { // a slow machine may not send it in time
				wantEnvelope(t, e.do(t, "POST", chat, "{}"), 504, "timeout_error", "upstream_timeout", "false")
				l := e.logged(t, e.lastID(t))
				if l.ViaUpstream() || !l.Cut() {
					t.Errorf("entry %+v", l)
				}
				if !l.Sent {
					return fmt.Errorf("not sent: %+v", l)
				}
				return nil
			})
		})
	}
}

// TestSilentConnectionsEnd: who connects and asks for nothing, or never to the end
// of its headers, is let go within seconds; who speaks is served.
func TestSilentConnectionsEnd(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{FirstByteTimeout: 300 * time.Millisecond}, nil)
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, said := range []string{
		"", "P", "POST /v1/chat", "PRI * HTTP/2.0\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nX-A: ", preface, preface + settings,
		preface + settings + "\x00\x00\x06\x06\x00\x00\x00\x00\x00",     // half a PING
		preface + settings + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x83", // HEADERS that do not end
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, said); err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		// Byte by byte, for as long as it may.
		drip := time.AfterFunc(0, func() {
			for strings.HasSuffix(said, "X-A: ") {
				if _, err := io.WriteString(c, "a"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection that said %q stays open", said)
		}
		drip.Stop()
	}
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON("{}"))
	if r := e.do(t, "POST", chat, "{}"); r.status != 200 {
		t.Errorf("one that speaks: %d %s", r.status, r.body)
	}
}

// TestStreamsPerConnection reads what Envoy allows an HTTP/2 client.
func TestStreamsPerConnection(t *testing.T) {
	for set, want := range map[int]uint32{0: envoy.DefaultMaxStreams, 7: 7} {
		e := start(t, envoy.BootstrapConfig{MaxStreams: set}, nil)
		c, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		// The preface, and an empty SETTINGS frame (RFC 9113, section 3.4).
		if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 9)
		if _, err := io.ReadFull(c, head); err != nil || head[3] != 4 {
			t.Fatalf("no SETTINGS: %x %v", head, err)
		}
		settings := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, settings); err != nil {
			t.Fatal(err)
		}
		var got uint32
		for ; len(settings) >= 6; settings = settings[6:] {
			if binary.BigEndian.Uint16(settings) == 3 { // SETTINGS_MAX_CONCURRENT_STREAMS
				got = binary.BigEndian.Uint32(settings[2:])
			}
		}
		if got != want {
			t.Errorf("with %d set, a client may have %d streams, want %d", set, got, want)
		}
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
