package e2e_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// unending is all of a body but its last byte.
type unending struct {
	left  int
	drawn *atomic.Int64
	done  <-chan struct{}
}

func (u *unending) Read(p []byte) (int, error) {
	if u.left == 0 {
		u.drawn.Add(1)
		<-u.done
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), u.left)
	clear(p[:n])
	u.left -= n
	return n, nil
}

// TestStrangersHoldHalf opens HTTP/2 requests without a key whose bodies never
// end, more than Envoy has memory for: Envoy takes them while half of it is free,
// and asks the rest for a key. Who has one is served, and pays one question while
// memory is free.
func TestStrangersHoldHalf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ connections, size int }{{30, 99_999}, {4, 999_999}} {
		t.Run(strconv.Itoa(tc.size), func(t *testing.T) { strangersHoldHalf(t, tc.connections, tc.size) })
	}
}

func strangersHoldHalf(t *testing.T, connections, size int) {
	const memory, each = 256, 90 // MiB, requests
	g := serveWith(t, fmt.Sprintf("limits: {envoy_memory: %dMiB}", memory))
	for _, words := range []int{12_000, 100_000} {
		before := g.checks()
		if r := g.chat("fake/m1", "tag", strings.Repeat("long ", words), `,"max_tokens":9`); r.status != http.StatusOK {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
		if asked := g.checks() - before; asked != 1 {
			t.Errorf("a call of %d kB cost %d questions", words/200, asked)
		}
	}

	s := strangers{done: make(chan struct{})}
	defer close(s.done)
	for range connections {
		s.connect(t, g.url, each, size, nil)
	}
	eventually(t, time.Minute, "strangers are asked for a key", func() bool {
		return s.refused.Load() >= int64(connections*each/9) && s.held.Load()+s.refused.Load()+s.failed.Load() >= int64(connections*each)
	})
	used := anonymousMiB(t, g.envoy.pid())
	t.Logf("held at most %d, refused %d, failed %d, Envoy uses %d MiB", s.held.Load(), s.refused.Load(), s.failed.Load(), used)
	if used > memory*3/4 {
		t.Errorf("Envoy uses %d MiB of %d for strangers", used, memory)
	}
	for _, words := range []int{10, 12_000, 100_000, 300_000} {
		if r := g.chat("fake/m1", "tag", strings.Repeat("long ", words), `,"max_tokens":9`); r.status != http.StatusOK {
			t.Errorf("with a key: %d %s %v", r.status, r.body, r.err)
		}
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestStrangersHeadersHoldHalf opens as many requests with 56 kB of headers each,
// which are a few bytes on their way, and a body of which the last byte never
// comes. That is more than all of Envoy's memory.
func TestStrangersHeadersHoldHalf(t *testing.T) {
	t.Parallel()
	const memory, calls = 128, 30 // MiB
	g := serveWith(t, fmt.Sprintf("limits: {envoy_memory: %dMiB}", memory))
	header := http.Header{"X-Large": slices.Repeat([]string{strings.Repeat("~", 4000)}, 14)}
	s := strangers{done: make(chan struct{})}
	defer close(s.done)
	for range calls {
		s.connect(t, g.url, 90, 9, header)
		if r := g.chat("fake/m1", "tag", "hi", `,"max_tokens":9`); r.status != http.StatusOK {
			t.Errorf("with a key: %d %s %v", r.status, r.body, r.err)
		}
	}
	// A call with a key may cost two questions. What half of the memory has room
	// for is not asked.
	eventually(t, 2*time.Minute, "strangers are asked for a key", func() bool { return g.checks() >= 2*calls+1400 })
	used := anonymousMiB(t, g.envoy.pid())
	t.Logf("%d questions, Envoy uses %d MiB", g.checks(), used)
	if used > memory*3/4 {
		t.Errorf("Envoy uses %d MiB of %d for strangers", used, memory)
	}
	for range calls {
		if r := g.chat("fake/m1", "tag", "hi", `,"max_tokens":9`); r.status != http.StatusOK {
			t.Errorf("with a key: %d %s %v", r.status, r.body, r.err)
		}
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestRequestsPerAddress sends more requests from one address than it may, as if
// for others; another address is served, and the first again when it waited.
func TestRequestsPerAddress(t *testing.T) {
	t.Parallel()
	g := serveWith(t, "limits: {requests_per_address: 2}")
	loud, other := clientAt(t, "127.0.0.2"), clientAt(t, "127.0.0.3")
	send := func(c *http.Client, path, key, forwarded string) (int, http.Header, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+path, strings.NewReader(chatBody("fake/m1", "tag", "hi", `,"max_tokens":9`)))
		if err != nil {
			t.Error(err)
			return 0, nil, ""
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + key}, "X-Forwarded-For": {forwarded}, "X-Aig-Tag": {"tag"}}
		resp, err := c.Do(req)
		if err != nil {
			t.Error(err)
			return 0, nil, ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header, string(body)
	}
	for path, envelope := range map[string]string{"/v1/chat/completions": `"code":429`, "/v1/messages": `"type":"error"`, "/no/such/path": `"code":429`} {
		var refused atomic.Int64
		eventually(t, time.Minute, "an address is told to wait", func() bool {
			var wave sync.WaitGroup
			for i := range 20 {
				wave.Go(func() {
					status, header, body := send(loud, path, "nobody's", fmt.Sprintf("10.0.0.%d", i))
					if status != http.StatusTooManyRequests {
						return
					}
					refused.Add(1)
					if !strings.Contains(body, `"too_many_requests"`) || !strings.Contains(body, envelope) || header.Get("Retry-After") == "" {
						t.Errorf("%s: %v %s", path, header, body)
					}
				})
			}
			wave.Wait()
			return refused.Load() > 0
		})
	}
	if status, _, body := send(other, "/v1/chat/completions", adminKey, "127.0.0.2"); status != http.StatusOK {
		t.Errorf("another address: %d %s", status, body)
	}
	eventually(t, time.Minute, "the address is served again", func() bool {
		status, _, _ := send(loud, "/v1/chat/completions", adminKey, "10.0.0.9")
		return status == http.StatusOK
	})
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// clientAt connects from a local address.
func clientAt(t *testing.T, address string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: d.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// strangers have no key; done lets them go.
type strangers struct {
	held, refused, failed atomic.Int64
	done                  chan struct{}
}

// connect opens a connection with so many requests, which end before their last
// byte.
func (s *strangers) connect(t *testing.T, url string, requests, size int, header http.Header) {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: p}
	t.Cleanup(transport.CloseIdleConnections)
	for range requests {
		body := &unending{left: size - 1, drawn: &s.held, done: s.done}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = int64(size)
		maps.Copy(req.Header, header)
		go func() {
			resp, err := transport.RoundTrip(req)
			if err != nil {
				s.failed.Add(1)
				return
			}
			resp.Body.Close()
			switch resp.StatusCode {
			case http.StatusUnauthorized, http.StatusServiceUnavailable: // a busy machine's answer came late
				s.refused.Add(1)
			default:
				s.failed.Add(1)
			}
		}()
	}
}

// checks is how many questions Envoy has asked.
func (g *gateway) checks() int {
	g.t.Helper()
	return g.metric("aig_decision_seconds_count")
}

// metric is the whole number that a metric without labels has now.
func (g *gateway) metric(name string) int {
	g.t.Helper()
	r := g.try(http.MethodGet, g.rest+"/metrics", "", nil)
	m := regexp.MustCompile(`(?m)^` + name + ` (\d+)$`).FindSubmatch(r.body)
	if m == nil {
		g.t.Fatalf("no %s: %d %.500s", name, r.status, r.body)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}
