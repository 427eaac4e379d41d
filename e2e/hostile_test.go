package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// attack is one hostile input.
type attack struct {
	name string
	send func(g *gateway) reply
	raw  bool // bytes on a socket: the answer may be Envoy's codec's, or none
}

// TestHostileInputs sends 1,000 inputs that no honest client sends. None may
// crash anything, be answered by a fault of ours, or reach a provider without
// a price.
func TestHostileInputs(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.setBudget("**", 100_000_000)
	pid := g.childEnvoy()
	attacks := append(rawAttacks(), bodyAttacks(400)...) // first those of which some wait a minute for nothing
	attacks = append(attacks, headerAttacks()...)
	attacks = append(attacks, restAttacks(1000-len(attacks))...)
	if len(attacks) != 1000 {
		t.Fatalf("%d attacks", len(attacks))
	}
	g.sendAll(t, attacks)
	if g.program.ended() || g.childEnvoy() != pid {
		t.Errorf("the gateway or its Envoy was restarted")
	}
	if r := g.chat("fake/m1", "after", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Errorf("after the attacks: %d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	usage, bills := g.usage(), g.bills()
	if left, billed := usage["left!!!"].nano, bills["left!!!"].NanoUSD; left < billed {
		t.Errorf("calls whose clients left are charged %d nano-USD, billed %d", left, billed)
	}
	delete(bills, "left!!!")
	var charged int64
	for tag, u := range usage {
		if tag != "left!!!" {
			charged += u.nano
		}
		if u.unpriced != 0 {
			t.Errorf("tag %s: %d requests left without a price", tag, u.unpriced)
		}
	}
	if billed := sum(bills); charged != billed {
		t.Errorf("charged %d nano-USD, billed %d", charged, billed)
	}
	if strings.Contains(g.program.output(), adminKey) || strings.Contains(g.program.output(), providerKey) {
		t.Error("a secret is in the log")
	}
}

// sendAll sends attacks, eight at a time.
func (g *gateway) sendAll(t *testing.T, attacks []attack) {
	t.Helper()
	work := make(chan attack)
	var workers sync.WaitGroup
	statuses := make([]map[int]int, 8)
	for w := range statuses {
		statuses[w] = map[int]int{}
		workers.Go(func() {
			for a := range work {
				r := a.send(g)
				statuses[w][r.status]++
				if problem := judge(a, r); problem != "" {
					t.Errorf("%s: %s: %d %.300q", a.name, problem, r.status, r.body)
				}
			}
		})
	}
	for _, a := range attacks {
		work <- a
	}
	close(work)
	workers.Wait()
	total := map[int]int{}
	for _, s := range statuses {
		for status, n := range s {
			total[status] += n
		}
	}
	t.Logf("answers by status: %v", total)
}

// judge says what is wrong with the answer to an attack.
func judge(a attack, r reply) string {
	switch {
	case r.err != nil && !a.raw:
		return "no answer: " + r.err.Error()
	case r.status == 0:
		return ""
	case r.status >= 500:
		return "a fault of ours"
	case r.status < 400:
		return ""
	case strings.HasPrefix(r.header.Get("X-Request-Id"), "req_fake_"):
		return "" // the provider's own words
	case a.raw && len(r.body) == 0, r.header.Get("X-Was") == http.MethodHead:
		return ""
	}
	_, problem := ours(r)
	return problem
}

func attackf(send func(g *gateway) reply, format string, args ...any) attack {
	return attack{name: fmt.Sprintf(format, args...), send: send}
}

// post sends a body to the chat endpoint under a valid tag.
func postAttack(body string, format string, args ...any) attack {
	return attackf(func(g *gateway) reply {
		return g.insist(http.MethodPost, g.url+"/v1/chat/completions", body, tagged("hostile"))
	}, format, args...)
}

// rawAttack writes bytes to a socket and reads what comes back as HTTP.
func rawAttack(name, text string) attack {
	return attack{name: "raw: " + name, raw: true, send: func(g *gateway) reply {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(g.url, "http://"), time.Minute)
		if err != nil {
			return reply{status: 599, err: err}
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return reply{status: 599, err: err}
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return reply{err: err} // cut off while sending: an answer, too
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return reply{err: err} // silence or a closed connection
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return reply{status: resp.StatusCode, header: resp.Header, body: body, err: err}
	}}
}

func rawAttacks() []attack {
	auth := "Host: x\r\nAuthorization: Bearer " + adminKey + "\r\nContent-Type: application/json\r\nX-Aig-Tag: hostile\r\n"
	body := chatBody("fake/m1", "hostile", "hi", `,"max_tokens":5`)
	head := "POST /v1/chat/completions HTTP/1.1\r\n" + auth
	sized := fmt.Sprintf("%sContent-Length: %d\r\n", head, len(body))
	var all []attack
	add := func(name, text string) { all = append(all, rawAttack(name, text)) }
	// These leave before their last answer, and are charged without a report.
	leave := func(text string) string { return strings.ReplaceAll(text, "hostile", "left!!!") }
	for name, text := range map[string]string{
		"garbage":              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\xff", 200),
		"h2 preface":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"h2 preface and junk":  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\x00\x01", 500),
		"no version":           "POST /v1/chat/completions\r\n\r\n",
		"http/0.9":             "GET /\r\n",
		"http/1.0":             strings.Replace(sized, "1.1", "1.0", 1) + "\r\n" + body,
		"http/9":               strings.Replace(sized, "1.1", "9.9", 1) + "\r\n" + body,
		"no host":              "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"two hosts":            "GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"bare LF":              strings.ReplaceAll(sized, "\r\n", "\n") + "\n" + body,
		"NUL in path":          "GET /v1/\x00models HTTP/1.1\r\nHost: x\r\n\r\n",
		"NUL in header":        head + "X-Evil: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"folded header":        head + "X-Evil: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"space before colon":   head + "X-Evil : a\r\nContent-Length: 0\r\n\r\n",
		"no colon":             head + "X-Evil\r\nContent-Length: 0\r\n\r\n",
		"empty header name":    head + ": a\r\nContent-Length: 0\r\n\r\n",
		"negative length":      head + "Content-Length: -1\r\n\r\n" + body,
		"huge length":          head + "Content-Length: 99999999999999999999\r\n\r\n" + body,
		"two lengths":          sized + "Content-Length: 3\r\n\r\n" + body,
		"same length twice":    sized + fmt.Sprintf("Content-Length: %d\r\n", len(body)) + "\r\n" + body,
		"length with plus":     head + fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(body)) + body,
		"length and chunked":   sized + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + body,
		"chunked, identity":    head + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":        head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unknown coding":       head + "Transfer-Encoding: gzip\r\n\r\n" + body,
		"bad chunk size":       head + "Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + body,
		"huge chunk size":      head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + body,
		"chunk without end":    head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"chunked body":         head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
		"chunks of one byte":   head + "Transfer-Encoding: chunked\r\n\r\n" + oneByteChunks(body),
		"trailers":             head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-Aig-Tag: other\r\nX-Aig-Int-Upstream: fake\r\n\r\n", len(body), body),
		"body too short":       head + "Content-Length: 100000\r\n\r\n" + body,
		"expect":               leave(sized + "Expect: 100-continue\r\n\r\n" + body),
		"upgrade":              sized + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + body,
		"h2c upgrade":          sized + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + body,
		"connection nominates": sized + "Connection: close, x-aig-tag, authorization\r\n\r\n" + body,
		"pipelined":            leave(sized + "\r\n" + body + sized + "\r\n" + body),
		"pipelined junk":       leave(sized + "\r\n" + body + "GARBAGE\r\n\r\n"),
		"absolute form":        "GET http://evil.test/v1/models HTTP/1.1\r\n" + auth + "\r\n",
		"authority form":       "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"asterisk form":        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"fragment":             "GET /v1/models#x HTTP/1.1\r\n" + auth + "\r\n",
		"space in path":        "GET /v1/mod els HTTP/1.1\r\n" + auth + "\r\n",
		"bytes in path":        "GET /v1/\xff\xfe HTTP/1.1\r\n" + auth + "\r\n",
		"dots":                 "POST /v1/usage/../chat/completions HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"escaped dots":         "POST /v1/usage/%2e%2e/chat/completions HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"escaped slash":        "POST /v1%2fchat/completions HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"double slashes":       "POST //v1///chat//completions HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"upper case path":      "POST /V1/CHAT/COMPLETIONS HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"trailing slash":       "POST /v1/chat/completions/ HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"query":                "POST /v1/chat/completions?model=x&api-version=1 HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"longer path":          "POST /v1/chat/completions/../../v1/chat/completionsX HTTP/1.1\r\n" + auth + "Content-Length: 0\r\n\r\n",
		"huge path":            "GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\n" + auth + "\r\n",
		"huge header":          head + "X-Evil: " + strings.Repeat("a", 200_000) + "\r\n\r\n",
		"many headers":         head + strings.Repeat("X-Evil: a\r\n", 2_000) + "\r\n",
		"lower case method":    strings.Replace(sized, "POST", "post", 1) + "\r\n" + body,
		"own method":           strings.Replace(sized, "POST", "BUDGET", 1) + "\r\n" + body,
		"tag, spaces":          strings.Replace(sized, "X-Aig-Tag: hostile", "X-Aig-Tag:   hostile   ", 1) + "\r\n" + body,
		"tag, latin-1":         strings.Replace(sized, "X-Aig-Tag: hostile", "X-Aig-Tag: h\xf6stile", 1) + "\r\n" + body,
		"tag, twice":           sized + "x-aig-tag: other\r\n\r\n" + body,
		"tag, tab":             strings.Replace(sized, "X-Aig-Tag: hostile", "X-Aig-Tag: a\tb", 1) + "\r\n" + body,
		"tag, DEL":             strings.Replace(sized, "X-Aig-Tag: hostile", "X-Aig-Tag: a\x7fb", 1) + "\r\n" + body,
		"underscore header":    sized + "x_aig_tag: other\r\n\r\n" + body,
		"authorization twice":  sized + "Authorization: Bearer sk-aig-other\r\n\r\n" + body,
	} {
		add(name, text)
	}
	return all
}

func oneByteChunks(body string) string {
	var b strings.Builder
	for _, c := range []byte(body) {
		fmt.Fprintf(&b, "1\r\n%c\r\n", c)
	}
	return b.String() + "0\r\n\r\n"
}
