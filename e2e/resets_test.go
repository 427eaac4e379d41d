package e2e_test

import (
	bigendian "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestResetsStarveNobody opens streams without a key on eight connections and resets
// them as fast as Envoy takes them, on a new connection where one is closed: who has a
// key is served, and Envoy keeps to its memory.
func TestResetsStarveNobody(t *testing.T) {
	t.Parallel()
	const memory, connections = 128, 8 // MiB
	g := serveWith(t, fmt.Sprintf("limits: {envoy_memory: %dMiB}", memory))
	stop := make(chan struct{})
	var strangers sync.WaitGroup
	for range connections {
		strangers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					resetStreams(strings.TrimPrefix(g.url, "http://"))
				}
			}
		})
	}
	var slowest time.Duration
	var most int64
	calls, served := 0, 0
	for began := time.Now(); time.Since(began) < 6*time.Second; calls++ {
		sent := time.Now()
		switch r := g.chat("fake/m1", "tag", "hi", `,"max_tokens":9`); r.status {
		case http.StatusOK:
			served++
		case http.StatusServiceUnavailable: // a busy machine's decision came late
		default:
			t.Errorf("with a key: %d %s %v", r.status, r.body, r.err)
		}
		slowest, most = max(slowest, time.Since(sent)), max(most, anonymousMiB(t, g.envoy.pid()))
	}
	close(stop)
	strangers.Wait()
	t.Logf("%d calls, %d served, the slowest took %v, Envoy used %d MiB, %d questions", calls, served, slowest, most, g.checks())
	if most > memory*3/4 {
		t.Errorf("Envoy uses %d MiB of %d for streams that were reset", most, memory)
	}
	if 2*served < calls {
		t.Errorf("%d of %d calls with a key were served", served, calls)
	}
	if slowest > 10*time.Second {
		t.Errorf("a call with a key took %v", slowest)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// resetStreams does so on one connection, until that is closed or has taken 16 MiB. The
// headers are entries of HPACK's tables (RFC 7541), the smallest there are.
func resetStreams(address string) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		time.Sleep(10 * time.Millisecond)
		return
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(30 * time.Second))
	go io.Copy(io.Discard, c)
	frame := func(b []byte, kind, flags byte, stream uint32, payload string) []byte {
		b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
		return append(bigendian.BigEndian.AppendUint32(b, stream), payload...)
	}
	const method, scheme = "\x83", "\x86" // POST, http
	first, again := method+scheme, method+scheme
	for i, h := range [][2]string{{":authority", "x"}, {":path", "/v1/chat/completions"}, {"content-length", "99"}} {
		first += "\x40" + string(rune(len(h[0]))) + h[0] + string(rune(len(h[1]))) + h[1]
		again += string([]byte{byte(0x80 | 64 - i)})
	}
	b := frame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 4, 0, 0, "") // SETTINGS
	for id, sent := uint32(1), 0; sent < 16<<20; id += 2 {
		headers := again
		if id == 1 {
			headers = first
		}
		b = frame(frame(b, 1, 4, id, headers), 3, 0, id, "\x00\x00\x00\x08") // HEADERS, RST_STREAM: CANCEL
		if len(b) >= 1500 {
			n, err := c.Write(b)
			if err != nil {
				return
			}
			sent += n
			b = b[:0]
		}
	}
}
