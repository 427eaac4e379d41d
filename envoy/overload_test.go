package envoy_test

import (
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
