package gatewayconfig_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"aigateway/envoy"
)

// rawProvider answers every request with the same bytes and closes.
type rawProvider struct {
	net.Listener
	mu     sync.Mutex
	answer string
}

func newRawProvider(t *testing.T) *rawProvider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &rawProvider{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *rawProvider) serve(c net.Conn) {
	defer c.Close()
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	_, _ = io.WriteString(c, answer)
}

func (p *rawProvider) set(answer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// head is an answer's status line and headers, closed after the body.
func head(status string, headers ...string) string {
	return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

func rawPlane(t *testing.T) (*dataPlane, *rawProvider) {
	t.Helper()
	p := newRawProvider(t)
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf(
		"providers: {up: {base_url: 'http://%s/v1', api_key: sk-the/provider-key, apis: [chat, messages], headers: {x-team-token: tok-12345678, x-team: research-team}}}", p.Addr())))
	return d, p
}

// wantProviderError checks our envelope, in the dialect of the path.
func wantProviderError(t *testing.T, name, path string, code int, header http.Header, body, reason string) {
	t.Helper()
	var e struct {
		Type  string
		Error struct {
			Type     string
			Metadata struct{ Reason string }
		}
	}
	kind, outer := "provider_error", ""
	if path == "/v1/messages" {
		kind, outer = "api_error", "error"
	}
	if json.Unmarshal([]byte(body), &e) != nil || code != 502 || e.Type != outer || e.Error.Type != kind || e.Error.Metadata.Reason != reason ||
		header.Get("Location") != "" || header.Get(envoy.HeaderShouldRetry) != "false" {
		t.Errorf("%s on %s: %d %.300s %v, want 502 %s", name, path, code, body, header, reason)
	}
}

// TestRedirectsAreNoAnswers: an inference API has no 3xx, and a client that
// followed would send its key and the prompt elsewhere.
func TestRedirectsAreNoAnswers(t *testing.T) {
	d, p := rawPlane(t)
	for _, status := range []string{"300 Multiple Choices", "301 Moved Permanently", "302 Found", "303 See Other", "304 Not Modified", "305 Use Proxy", "307 Temporary Redirect", "308 Permanent Redirect", "399 None", "101 Switching Protocols"} {
		for _, body := range []string{"", "<a href='https://evil.test'>here</a>"} {
			if (status[:3] == "304" || status[:3] == "101") && body != "" {
				continue
			}
			for _, path := range []string{"/v1/chat/completions", "/v1/messages"} {
				p.set(head(status, "Location: https://evil.test/v1", "Refresh: 0; url=https://evil.test", "Content-Type: text/html", "Retry-After: 1", fmt.Sprintf("Content-Length: %d", len(body))) + body)
				code, header, got, err := d.call("POST", path, "up", "{}")
				if err != nil {
					t.Fatalf("%s: %v", status, err)
				}
				wantProviderError(t, status, path, code, header, got, "upstream_redirect")
				if strings.Contains(got, "evil") || header.Get("Refresh") != "" {
					t.Errorf("%s: %v %s", status, header, got)
				}
			}
		}
	}
}

// TestBrokenAnswersAreTheProviders: what is no valid HTTP is no fault of ours.
func TestBrokenAnswersAreTheProviders(t *testing.T) {
	d, p := rawPlane(t)
	big := strings.Repeat("a", 10_000)
	var long []string
	for i := range 20 {
		long = append(long, fmt.Sprintf("X-Long-%d: %s", i, big))
	}
	for name, answer := range map[string]string{
		"garbage":                 "\x16\x03\x01\x02\x00garbage\r\n\r\n",
		"text":                    "hello\r\n\r\n",
		"an SSH banner":           "SSH-2.0-OpenSSH_9.6\r\n",
		"a TLS alert":             "\x15\x03\x01\x00\x02\x02\x46",
		"no status":               "HTTP/1.1 abc OK\r\n\r\n",
		"200 KB of headers":       head("200 OK", append(long, "Content-Length: 2")...) + "{}",
		"one long header":         head("200 OK", "X-Long: "+strings.Repeat("a", 200_000), "Content-Length: 2") + "{}",
		"10,000 headers":          head("200 OK", strings.Repeat("X-A: b\r\n", 10_000)+"Content-Length: 2") + "{}",
		"two lengths":             head("200 OK", "Content-Length: 2", "Content-Length: 3") + "{} ",
		"length and chunked":      head("200 OK", "Content-Length: 2", "Transfer-Encoding: chunked") + "2\r\n{}\r\n0\r\n\r\n",
		"no number for a length":  head("200 OK", "Content-Length: x") + "{}",
		"a negative length":       head("200 OK", "Content-Length: -1") + "{}",
		"an unknown coding":       head("200 OK", "Transfer-Encoding: gzip") + "{}",
		"a zero byte in a header": head("200 OK", "X-A: a\x00b", "Content-Length: 2") + "{}",
		"a header without colon":  head("200 OK", "nonsense", "Content-Length: 2") + "{}",
		"nothing":                 "",
		"half a status line":      "HTTP/1.1 20",
		"headers without an end":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
	} {
		p.set(answer)
		for _, path := range []string{"/v1/chat/completions", "/v1/messages"} {
			code, header, body, err := d.call("POST", path, "up", "{}")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			reason := "upstream_malformed"
			if strings.Contains(body, "upstream_disconnected") && (answer == "" || !strings.Contains(answer, "\r\n\r\n")) {
				reason = "upstream_disconnected"
			}
			wantProviderError(t, name, path, code, header, body, reason)
		}
	}
	p.set(head("400 Bad Request") + strings.Repeat("x", 10<<20))
	code, header, body, err := d.call("POST", "/v1/chat/completions", "up", "{}")
	if err != nil {
		t.Fatal(err)
	}
	wantProviderError(t, "an error of 10 MiB", "/v1/chat/completions", code, header, body, "upstream_malformed")
}

// TestOnlyNamedHeadersReturn: of what a provider answers, clients get what they
// live by, and nothing that speaks for this gateway or binds a browser.
func TestOnlyNamedHeadersReturn(t *testing.T) {
	d, p := rawPlane(t)
	pass := []string{
		"Content-Type: application/json", "X-Ratelimit-Limit-Requests: 1", "X-Ratelimit-Remaining-Tokens: 1", "X-Ratelimit-Reset-Tokens: 6ms",
		"Anthropic-Ratelimit-Input-Tokens-Remaining: 1", "Anthropic-Priority-Input-Tokens-Limit: 1", "Ratelimit-Limit: 1", "Ratelimit: \"a\";r=1", "Ratelimit-Policy: \"a\";q=1",
		"X-Rate-Limit-Limit: 1", "Retry-After: 3", "Retry-After-Ms: 3000", "X-Should-Retry: false", "X-Request-Id: req_1", "Request-Id: req_2",
		"Openai-Processing-Ms: 12", "Openai-Version: 2020-10-01", "Cf-Ray: 1-FRA", "X-Groq-Region: x", "Apim-Request-Id: 1", "Msh-Request-Id: 1",
		"X-Ds-Trace-Id: 1", "Mistral-Correlation-Id: 1", "X-Amzn-Requestid: 1", "Nvcf-Reqid: 1", "Server-Timing: gfet4t7; dur=1", "X-Metrics-E2e-Ms: 1", "X-Inference-Time: 1", "X-Gemini-Service-Tier: flex", "Deprecation: @1", "Cache-Control: no-cache",
	}
	drop := []string{
		"X-Aig-Request-Id: forged", "X-Aig-Bound-Usd: 0", "X-Aig-Int-Upstream: x", "X-Aig-Remaining-Usd: 9", "X-Aig-Ratelimit: 1", "X-Envoy-Upstream-Service-Time: 1", "X-Envoy-Overloaded: true", "X-Envoy-Ratelimited: true", "X-Envoy-Retry-Ms: 1",
		"Set-Cookie: a=b", "Set-Cookie2: a=b", "Clear-Site-Data: \"*\"", "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "Refresh: 0;url=https://evil.test",
		"Www-Authenticate: Bearer", "Proxy-Authenticate: Basic", "Authentication-Info: x", "Location: https://evil.test", "Content-Location: /x", "Link: <https://evil.test>; rel=preload", "Alt-Svc: h3=\":443\"",
		"Strict-Transport-Security: max-age=1", "Public-Key-Pins: x", "Content-Security-Policy: default-src *", "Report-To: x", "Nel: x", "Sourcemap: /x", "X-Accel-Redirect: /x", "X-Sendfile: /etc/passwd",
		"Openai-Organization: org", "Openai-Project: p", "Anthropic-Organization-Id: o", "Service-Worker-Allowed: /", "Upgrade: h2c", "Via: 1.1 x", "X-Powered-By: x", "Keep-Alive: timeout=5", "Trailer: x", "Etag: 1", "Last-Modified: x",
	}
	for _, status := range []string{"200 OK", "429 Too Many Requests", "500 Oops"} {
		p.set(head(status, append(append([]string{}, pass...), drop...)...) + "{}")
		code, header, body, err := d.call("POST", "/v1/chat/completions", "up", "{}")
		if err != nil || fmt.Sprint(code) != status[:3] || body != "{}" {
			t.Fatalf("%s: %d %q %v", status, code, body, err)
		}
		for _, line := range pass {
			name, value, _ := strings.Cut(line, ": ")
			if header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", status, name, header.Get(name), value)
			}
		}
		for _, line := range drop {
			name, value, _ := strings.Cut(line, ": ")
			if header.Get(name) == value {
				t.Errorf("%s: the client got %s", status, line)
			}
		}
		for name := range header {
			if strings.HasPrefix(name, "X-Aig-Int") {
				t.Errorf("%s: the client got %s", status, name)
			}
		}
	}
	// An interim answer is not passed on, and the last one is.
	p.set("HTTP/1.1 103 Early Hints\r\nLink: <https://evil.test>; rel=preload\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + head("200 OK", "Content-Length: 2") + "{}")
	if code, header, body, err := d.call("POST", "/v1/chat/completions", "up", "{}"); code != 200 || body != "{}" || header.Get("Link") != "" || err != nil {
		t.Errorf("interim answers: %d %v %q %v", code, header, body, err)
	}
	// Nothing follows an answer that has no body.
	p.set(head("204 No Content") + "{}")
	if code, _, body, err := d.call("POST", "/v1/chat/completions", "up", "{}"); code != 204 || body != "" || err != nil {
		t.Errorf("204 with a body: %d %q %v", code, body, err)
	}
}

// TestErrorsQuoteNoCredential: a provider's words reach the client, but for the
// keys in them; what is refused for its content is not our key's fault.
func TestErrorsQuoteNoCredential(t *testing.T) {
	d, p := rawPlane(t)
	const key, escaped, token = "sk-the/provider-key", `sk-the\/provider-key`, "tok-12345678"
	for _, status := range []string{"400 Bad Request", "404 Not Found", "403 Forbidden", "422 Unprocessable", "429 Slow", "500 Oops", "529 Busy"} {
		for _, body := range []string{
			`{"error":{"message":"content flagged; you sent ` + key + `, in full Bearer ` + key + ` and ` + token + `"}}`,
			`{"error":{"message":"flagged: ` + escaped + `"}}`,
			`{"error":{"message":"flagged ` + strings.Repeat("long ", 20_000) + key + `"}}`,
		} {
			p.set(head(status, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body))) + body)
			code, _, got, err := d.call("POST", "/v1/chat/completions", "up", "{}")
			want := strings.NewReplacer(key, "[redacted]", escaped, "[redacted]", token, "[redacted]").Replace(body)
			if err != nil || fmt.Sprint(code) != status[:3] || got != want {
				t.Errorf("%s: %d %.300q %v, want %.300q", status, code, got, err, want)
			}
		}
	}
	clean := `{"error":{"message":"no model for research-team","type":"invalid_request_error","x":[1, 2]}}`
	p.set(head("400 Bad Request", "Content-Type: application/json", "Transfer-Encoding: chunked") + fmt.Sprintf("5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", clean[:5], len(clean)-5, clean[5:]))
	if code, _, got, err := d.call("POST", "/v1/chat/completions", "up", "{}"); code != 400 || got != clean || err != nil {
		t.Errorf("an error without a key: %d %q %v", code, got, err)
	}
	p.set(head("400 Bad Request", "Content-Encoding: gzip", "Content-Length: 5") + "\x1f\x8b\x08ab")
	if code, header, got, err := d.call("POST", "/v1/chat/completions", "up", "{}"); code != 400 || !strings.Contains(got, `"type":"provider_error"`) || header.Get("Content-Encoding") != "" || err != nil {
		t.Errorf("an error that cannot be read: %d %q %v %v", code, got, header, err)
	}
}

// TestAnswersOfTrailersAlone: over HTTP/2 an answer may be headers and trailers,
// with nothing between them.
func TestAnswersOfTrailersAlone(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.Header.Get("X-Status"))
		w.Header().Set("Trailer", "X-After")
		w.Header().Set("Location", "https://evil.test")
		w.WriteHeader(status)
		w.(http.Flusher).Flush()
		w.Header().Set("X-After", "1")
	}))
	up.EnableHTTP2 = true
	up.StartTLS()
	t.Cleanup(up.Close)
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, status := range []int{200, 302, 400, 401, 402, 403, 429, 500} {
		fmt.Fprintf(&text, "  s%d: {base_url: '%s/v1', api_key: k, tls: {ca_file: %s}, headers: {x-status: '%[1]d', x-team-token: tok-12345678}}\n", status, up.URL, path)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", "providers:\n"+text.String()))
	for status, want := range map[int]int{200: 200, 302: 502, 400: 400, 401: 502, 402: 502, 403: 502, 429: 429, 500: 500} {
		code, header, body, err := d.call("POST", "/v1/chat/completions", fmt.Sprint("s", status), "{}")
		if code != want || header.Get("Location") != "" || err != nil {
			t.Errorf("%d: %d %v %q %v", status, code, header, body, err)
		}
	}
}

// framesProvider speaks HTTP/2 as far as frames go (RFC 9113), under TLS: answer makes
// the frames that answer a request, from its stream's number, and heard gets how many
// header blocks the request had. It returns its address and the file of its certificate.
func framesProvider(t *testing.T, answer func(stream []byte) []byte, heard func(blocks int)) (address, ca string) {
	t.Helper()
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	t.Cleanup(certificate.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificate.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerFrames(c, answer, heard)
		}
	}()
	return l.Addr().String(), ca
}

// TestRefusedUntouched: over HTTP/2 a provider can say that it did nothing with a
// request, which then may be sent again.
func TestRefusedUntouched(t *testing.T) {
	for name, answer := range map[string]func(id []byte) []byte{
		"RST_STREAM": func(id []byte) []byte { return slices.Concat([]byte{0, 0, 4, 3, 0}, id, []byte{0, 0, 0, 7}) },
		"GOAWAY":     func([]byte) []byte { return []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} },
	} {
		var sent atomic.Int32
		address, ca := framesProvider(t, answer, func(int) { sent.Add(1) })
		d := startDataPlane(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf("providers: {up: {base_url: 'https://%s/v1', api_key: k, apis: [chat, messages], tls: {ca_file: %s}}}", address, ca)))
		for _, path := range []string{"/v1/chat/completions", "/v1/messages"} {
			code, header, body, err := d.call("POST", path, "up", "{}")
			if err != nil || code != 502 || !strings.Contains(body, "upstream_refused") || header.Get(envoy.HeaderShouldRetry) != "true" {
				t.Errorf("%s on %s: %d %q %v %v", name, path, code, body, header, err)
			}
		}
		if n := sent.Load(); n != 6 {
			t.Errorf("%s: two requests were sent %d times, want each three times", name, n)
		}
	}
}

// TestTrailersStayHere: a client's reach no provider, which over HTTP/2 could get them.
func TestTrailersStayHere(t *testing.T) {
	blocks := make(chan int, 1)                                                                            // of headers and trailers in a call
	ok := func(stream []byte) []byte { return slices.Concat([]byte{0, 0, 1, 1, 5}, stream, []byte{0x88}) } // :status 200
	address, ca := framesProvider(t, ok, func(n int) { blocks <- n })
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf("providers: {up: {base_url: 'https://%s/v1', api_key: k, tls: {ca_file: %s}}}", address, ca)))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	for _, trailers := range []http.Header{nil, {"X-Odd": {"1"}, "Authorization": {"Bearer theirs"}, "Anthropic-Beta": {"x"}}} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"/v1/chat/completions", io.NopCloser(strings.NewReader("{}")))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(envoy.HeaderTag, "up")
		request.Trailer = trailers
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if n := <-blocks; n != 1 || response.StatusCode != http.StatusOK {
			t.Errorf("with trailers %v the provider got %d blocks of headers, and the client %d", trailers, n, response.StatusCode)
		}
	}
}

// answerFrames serves one connection of framesProvider.
func answerFrames(c net.Conn, answer func(stream []byte) []byte, heard func(blocks int)) {
	defer c.Close()
	frames, n := bufio.NewReader(c), 0
	if _, err := frames.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	_, _ = io.WriteString(c, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
	for head := make([]byte, 9); ; {
		if _, err := io.ReadFull(frames, head); err != nil {
			return
		}
		if _, err := frames.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
			return
		}
		if head[3] == 1 {
			n++
		}
		if head[3] <= 1 && head[4]&1 != 0 { // DATA or HEADERS that end the stream
			heard(n)
			_, _ = c.Write(answer(head[5:9:9]))
			n = 0
		}
	}
}

// TestRefusedCredentials tells what providers refuse of us from what they refuse
// of the client. The bodies are as their documentation and reports have them.
func TestRefusedCredentials(t *testing.T) {
	d, p := rawPlane(t)
	for body, ours := range map[string]bool{
		"": true, "<html>Forbidden</html>": true, "error code: 1020": true,
		`{"error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}`: true,
		`{"error":{"message":"Country, region, or territory not supported","code":"unsupported_country_region_territory"}}`:      true,
		`{"error":{"code":403,"message":"Key limit exceeded","status":"PERMISSION_DENIED"}}`:                                     true,
		`{"error":{"message":"Your account is suspended: it violated the usage guidelines"}}`:                                    true,
		`{"error":"x"}`: true,
		`{"code":"x","error":"Your newly created team doesn't have any credits yet."}`:                                                                                                      true,
		`{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged","metadata":{"reasons":["hate"],"flagged_input":"x"}}}`:                           false,
		`{"code":"The caller does not have permission to execute the specified operation","error":"Content violates usage guidelines. Team: t, API key ID: k. SAFETY_CHECK_TYPE_VIOLENCE"}`: false,
		`{"error":{"code":"AccessDenied","message":"Your resource has been temporarily blocked because we detected behavior that may violate our content policy."}}`:                        true,
		`{"error":"API key is currently blocked"}`:                                                                   true,
		"{\"error\":{\"message\":\"`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 20000\"}}":             false,
		`{"message":"Guardrail intervened: blocked by topic policy"}`:                                                false,
		`{"error":{"message":"Content Exists Risk","type":"invalid_request_error"}}`:                                 false,
		`{"code":"DataInspectionFailed","message":"Input data may contain inappropriate content."}`:                  false,
		`{"contentFilter":[{"level":1,"role":"user"}],"error":{"code":"1301","message":"系统检测到输入或生成内容可能包含不安全或敏感内容"}}`: false,
		`{"base_resp":{"status_code":1026,"status_msg":"input new_sensitive"}}`:                                      false,
		`{"message":"blocked output: this generation may be potentially unsafe or make use of a blocklisted word"}`:  false,
		`{"error":{"message":"input token count + max_tokens parameter exceeds the context length"}}`:                false,
	} {
		for _, path := range []string{"/v1/chat/completions", "/v1/messages"} {
			p.set(head("403 Forbidden", "Content-Type: application/json") + body)
			code, header, got, err := d.call("POST", path, "up", "{}")
			if err != nil {
				t.Fatal(err)
			}
			if ours {
				wantProviderError(t, "403 "+body, path, code, header, got, "upstream_auth")
			} else if code != 403 || got != body {
				t.Errorf("403 %s: %d %s", body, code, got)
			}
		}
	}
}
