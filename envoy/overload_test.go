package envoy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
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

// TestCancelledCallsLeaveTheOthers gives up all calls of an HTTP/2 connection but one
// before they are a second old, as agents do: the one is answered, on that connection.
func TestCancelledCallsLeaveTheOthers(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{}, nil)
	release, free := gate(t)
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, r *http.Request) {
		<-release
		answerJSON("{}")(w, r)
	})
	var dials atomic.Int64
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	call := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL+chat, strings.NewReader("{}"))
		if err != nil {
			return err
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %d", response.StatusCode)
		}
		return nil
	}
	arrived := func(calls int) {
		envoytest.Eventually(t, func() error {
			if _, got := e.recorded(); len(got) != calls {
				return fmt.Errorf("the provider has %d calls of %d", len(got), calls)
			}
			return nil
		})
	}
	kept := make(chan error, 1)
	go func() { kept <- call(t.Context()) }()
	arrived(1)
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled sync.WaitGroup
	for range envoy.DefaultMaxStreams - 1 {
		cancelled.Go(func() { _ = call(ctx) })
	}
	arrived(envoy.DefaultMaxStreams)
	cancel()
	cancelled.Wait()
	free()
	if err := <-kept; err != nil {
		t.Errorf("the call that was kept: %v", err)
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
