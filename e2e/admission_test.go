package e2e_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFilesArePrivate starts the gateway with an umask that hides nothing, over a
// log file that an earlier one left open: nobody else may read what is there.
func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	data := filepath.Join(g.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(data, "access.jsonl")
	if err := os.WriteFile(spool, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(spool, 0o644); err != nil {
		t.Fatal(err)
	}
	g.program = startProcess(t, g.dir, "run", nil, "sh", "-c", `umask 0; exec "$0" "$@"`, binary, "run", "--config", g.config)
	g.waitReady()
	if r := g.chat("fake/m1", "private", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	files := 0
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has mode %o", path, mode)
		}
		files++
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files: %v", files, err)
	}
}

// TestOneKeyCannotStarveTheOthers: one key sends bodies of 8 MiB with 760,000
// members, many at once. Each is refused before it costs anything, and another
// key's calls are answered meanwhile.
func TestOneKeyCannotStarveTheOthers(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	var members strings.Builder
	for i := range 760_000 {
		fmt.Fprintf(&members, `,"%d":0`, i)
	}
	body := `{"model":"fake/m1","messages":[{"role":"user","content":"hi"}],"metadata":{"a":0` + members.String() + `}}`
	if len(body) > 8<<20 {
		body = body[:len(body)-(len(body)-8<<20)]
	}
	before := residentMiB(t, g.program.pid())
	const senders, each = 6, 4
	done := make(chan reply, senders*each)
	for range senders {
		go func() {
			for range each {
				done <- g.try(http.MethodPost, g.url+"/v1/chat/completions", body, tagged("greedy"))
			}
		}()
	}
	refused, most := 0, before
	for refused < senders*each {
		select {
		case r := <-done:
			refused++
			// 413 for the members; 503 where Envoy's own wait for a decision ended.
			if r.err == nil && r.status != http.StatusRequestEntityTooLarge && r.status != http.StatusTooManyRequests && r.status != http.StatusServiceUnavailable {
				t.Errorf("%d %.300s", r.status, r.body)
			}
		default:
			if r := g.chat("fake/m1", "modest", "hello", `,"max_tokens":9`); r.err != nil || r.status != http.StatusOK {
				t.Errorf("another's call: %d %s %v", r.status, r.body, r.err)
			}
		}
		most = max(most, residentMiB(t, g.program.pid()))
	}
	if most-before > 300 {
		t.Errorf("the control plane grew by %d MiB", most-before)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}
