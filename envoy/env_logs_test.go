package envoy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

// envelope is the error envelope of every answer that is not the provider's.
type envelope struct {
	Error struct {
		Message, Type string
		Code          int
		Metadata      map[string]any
	}
}

func wantEnvelope(t *testing.T, r result, status int, typ, reason, retry string) {
	t.Helper()
	var env envelope
	if err := json.Unmarshal([]byte(r.body), &env); err != nil {
		t.Fatalf("status %d, body %q: %v", r.status, r.body, err)
	}
	if r.status != status || env.Error.Code != status || env.Error.Type != typ || env.Error.Metadata["reason"] != reason || env.Error.Message == "" {
		t.Errorf("got status %d, %s; want %d %s %s", r.status, r.body, status, typ, reason)
	}
	if got := r.header.Get(envoy.HeaderShouldRetry); got != retry {
		t.Errorf("%s: %q, want %q", envoy.HeaderShouldRetry, got, retry)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content-type %q", got)
	}
}

// logged returns a call's entry from both channels, and checks that they agree.
func (e *env) logged(t *testing.T, id string) envoy.LogLine {
	t.Helper()
	var file, stream envoy.LogLine
	envoytest.Eventually(t, func() error {
		e.mu.Lock()
		entry := e.entries[id]
		e.mu.Unlock()
		if entry == nil {
			return fmt.Errorf("no stream entry for %q", id)
		}
		var err error
		stream, err = envoytest.FromStream(entry)
		return err
	})
	envoytest.Eventually(t, func() error {
		text, err := os.ReadFile(e.SpoolPath)
		if err != nil {
			return err
		}
		found := 0
		for line := range bytes.Lines(text) {
			if !bytes.Contains(line, []byte(`"id":"`+id+`"`)) {
				continue
			}
			found++
			if file, err = envoy.ParseLogLine(line); err != nil {
				return err
			}
			token, ok := envoy.PeekToken(line)
			if string(token) != file.Token || ok != (file.Token != "") {
				t.Errorf("PeekToken = %q, %v; the line has %q", token, ok, file.Token)
			}
		}
		if found != 1 {
			return fmt.Errorf("%d file entries for %q, want 1", found, id)
		}
		return nil
	})
	if d := (file.Duration - stream.Duration).Abs(); d > 2*time.Millisecond {
		t.Errorf("durations differ: file %v, stream %v", file.Duration, stream.Duration)
	}
	if d := file.Start.Sub(stream.Start).Abs(); d > time.Microsecond {
		t.Errorf("start times differ: file %v, stream %v", file.Start, stream.Start)
	}
	both := stream
	stream.Start, stream.Duration = file.Start, file.Duration
	if diff := cmp.Diff(file, stream); diff != "" {
		t.Errorf("the channels differ (-file +stream):\n%s", diff)
	}
	return both
}

// lastID is the request id of the last Check.
func (e *env) lastID(t *testing.T) string {
	t.Helper()
	checks, _ := e.recorded()
	if len(checks) == 0 {
		t.Fatal("no check")
	}
	for _, kv := range checks[len(checks)-1].GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		if kv.Key == envoy.HeaderRequestID {
			return string(kv.RawValue) + kv.Value
		}
	}
	t.Fatal("no request id in the check")
	return ""
}
