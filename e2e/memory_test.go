package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStrangersCostNoMemory sends 80 bodies that never end, with keys that
// do not exist, or without a length: each is answered as any other call without
// a key, before it is read.
func TestStrangersCostNoMemory(t *testing.T) {
	t.Parallel()
	g := serveGateway(t)
	before := residentMiB(t, g.envoy.pid())
	for i := range 80 {
		head := "Content-Length: 8000000"
		body := strings.Repeat("x", 1<<20)
		if i >= 40 { // not so large
			head, body = "Content-Length: 1000000", strings.Repeat("x", 999_999)
		}
		if i%2 == 1 {
			head, body = "Transfer-Encoding: chunked", "100000\r\n"+body+"\r\n"
		}
		if i%4 < 2 {
			head += "\r\nAuthorization: Bearer sk-aig-stranger"
		}
		path := []string{"/v1/chat/completions", "/v1/messages"}[i%2]
		c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n", path, head); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(c, body) }() // as far as it is read
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s %s: %v", path, head, err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		wantError(t, reply{status: resp.StatusCode, header: resp.Header, body: text, err: err}, http.StatusUnauthorized, "authentication_error")
	}
	if grown := residentMiB(t, g.envoy.pid()) - before; grown > 60 {
		t.Errorf("Envoy grew by %d MiB for strangers", grown)
	}
	// Who has a key is served, whatever the length of the body.
	r := g.chat("fake/m1", "large", strings.Repeat("long ", 60_000), `,"max_tokens":9`)
	if r.err != nil || r.status != http.StatusOK {
		t.Errorf("a large body with a key: %d %.300s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// residentMiB is how much memory a process has.
func residentMiB(t testing.TB, pid int) int64 { return memoryMiB(t, pid, "VmRSS:") }

// anonymousMiB is that without files.
func anonymousMiB(t *testing.T, pid int) int64 { return memoryMiB(t, pid, "RssAnon:") }

func memoryMiB(t testing.TB, pid int, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), field)
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}
