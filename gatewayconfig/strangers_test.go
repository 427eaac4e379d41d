package gatewayconfig_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// asked is how many questions for a key a call of so many bytes costs.
func (d *dataPlane) asked(t *testing.T, path string, size int) int {
	t.Helper()
	count := func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.keys
	}
	before := count()
	code, _, body, err := d.call("POST", path, "up", strings.Repeat("x", size))
	if err != nil || code != 200 {
		t.Fatalf("%s: %d %.200s %v", path, code, body, err)
	}
	return count() - before
}

// TestPromisesAddUp: what calls without a proven key announce counts once each,
// and together, whatever they call.
func TestPromisesAddUp(t *testing.T) {
	const memory, size = 128 << 20, 99_999
	up := newProvider(t, false)
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf("limits: {envoy_memory: 128MiB}\nproviders: {up: {preset: vllm, base_url: '%s/v1', apis: [chat, embeddings, responses, messages]}}", up.URL)))
	most := (memory/2 - usedBy(t, d.pid)) / size
	calls := 0
	for d.asked(t, "/v1/chat/completions", size) == 0 {
		if calls++; calls > most {
			t.Fatalf("%d calls came without a question for their key, want at most %d", calls, most)
		}
	}
	// It has grown meanwhile.
	if least := (memory/2 - usedBy(t, d.pid)) / size; calls < least-20 {
		t.Errorf("%d calls came without a question for their key, want %d", calls, least)
	}
	for _, path := range []string{"/v1/messages", "/v1/embeddings", "/v1/responses/", "/v1/chat/completions"} {
		if n := d.asked(t, path, size); n != 1 {
			t.Errorf("%s: %d questions for the key after all was promised", path, n)
		}
	}
}

// usedBy is the memory of a process without files, in bytes.
func usedBy(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident, shared int
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err != nil {
		t.Fatal(err)
	}
	return (resident - shared) * os.Getpagesize()
}
