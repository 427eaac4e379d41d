package envoy_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

// TestHeapLimit fills Envoy with bodies that never end: at its limit new
// requests are refused, those that run go on, and once the memory is free
// everybody is served again.
func TestHeapLimit(t *testing.T) {
	const limit = 96 << 20
	e := start(t, envoy.BootstrapConfig{MaxHeapBytes: limit}, nil)
	release, free := gate(t)
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == chat {
			<-release
		}
		answerJSON("{}")(w, r)
	})
	running := make(chan result, 1)
	go func() { running <- e.do(t, "POST", chat, "{}") }()
	envoytest.Eventually(t, func() error {
		if _, got := e.recorded(); len(got) == 0 {
			return errors.New("the provider has no call")
		}
		return nil
	})

	var held []net.Conn
	var refused result
	envoytest.Eventually(t, func() error {
		if len(held) < 60 {
			held = append(held, e.unfinished(t, 7<<20))
		}
		refused = e.do(t, "POST", messages, "{}")
		if refused.status == 200 {
			return fmt.Errorf("not refused with %d bodies held, %d bytes allocated", len(held), e.allocated(t))
		}
		return nil
	})
	wantAnthropic(t, refused, 503, "api_error", "overloaded", "true")
	wantEnvelope(t, e.do(t, "POST", chat, "{}"), 503, "service_unavailable", "overloaded", "true")
	if got := e.allocated(t); got > 2*limit { // it looks ten times a second
		t.Errorf("%d bytes allocated under a limit of %d", got, limit)
	}
	free()
	if r := <-running; r.status != 200 {
		t.Errorf("the call that ran: %d %s", r.status, r.body)
	}
	for _, c := range held {
		c.Close()
	}
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON("{}"))
	envoytest.Eventually(t, func() error {
		if r := e.do(t, "POST", chat, "{}"); r.status != 200 {
			return fmt.Errorf("after the bodies were gone: %d %s, %d bytes allocated", r.status, r.body, e.allocated(t))
		}
		return nil
	})
}

// unfinished sends all of a body but its end.
func (e *env) unfinished(t *testing.T, size int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// Refused, it is read no further.
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", chat, size+1)
	_, err = io.WriteString(c, head+strings.Repeat("x", size))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	return c
}

// allocated is the memory in use by Envoy.
func (e *env) allocated(t *testing.T) int64 {
	t.Helper()
	text, err := e.Admin().Get(t.Context(), "/memory")
	if err != nil {
		t.Fatal(err)
	}
	var memory struct {
		Allocated int64 `json:",string"`
	}
	if err := json.Unmarshal(text, &memory); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return memory.Allocated
}

// TestResetStreamsAreNotBegun: who opens streams and resets them at once has Envoy ask
// nothing for them, nor call anybody, while others wait.
func TestResetStreamsAreNotBegun(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{}, nil)
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON("{}"))
	frame := func(kind, flags byte, stream uint32, payload string) string {
		head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
		return string(binary.BigEndian.AppendUint32(head, stream)) + payload
	}
	var headers string // literals, not indexed: RFC 7541, section 6.2.2
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", chat}, {"content-length", "0"}, {"authorization", "Bearer sk-aig-client"}} {
		headers += "\x00" + string(rune(len(h[0]))) + h[0] + string(rune(len(h[1]))) + h[1]
	}
	const streams, connections = 90, 10 // Envoy cuts who reset 250
	for range connections {
		c, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		said := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "")
		for i := range uint32(streams) {
			said += frame(1, 5, 2*i+1, headers) + frame(3, 0, 2*i+1, "\x00\x00\x00\x08")
		}
		if _, err := io.WriteString(c, said+frame(6, 0, 0, "the end.")); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(c)
		for head := make([]byte, 9); ; {
			if _, err := io.ReadFull(answers, head); err != nil {
				t.Fatal(err)
			}
			if _, err := answers.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
				t.Fatal(err)
			}
			if head[3] == 6 && head[4] == 1 { // the PING's answer: all before it is read
				break
			}
		}
	}
	if r := e.do(t, "POST", chat, "{}"); r.status != 200 {
		t.Errorf("another client: %d %s", r.status, r.body)
	}
	e.mu.Lock()
	asked := len(e.checks)
	e.mu.Unlock()
	if asked > streams*connections/20 {
		t.Errorf("%d streams that were reset at once cost %d questions", streams*connections, asked)
	}
}
