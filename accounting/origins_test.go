package accounting_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/accounting"
	"aigateway/pricing"
)

// storedPin is the pin of a call of the Responses API.
func storedPin(t *testing.T, more string) string {
	t.Helper()
	c, err := pricing.Load(nil, []pricing.Upstream{{Provider: "openai"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	q, err := c.Quote(t.Context(), pricing.Query{
		Endpoint: pricing.Responses, Body: []byte(`{"model":"openai/gpt-5.5","max_output_tokens":10,"input":"hi"` + more + `}`), At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Bound.Pin
}

func openOrigins(t *testing.T, path string) *accounting.Origins {
	t.Helper()
	o, err := accounting.OpenOrigins(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// TestForeign: what is known to be another key's, at that provider; what is
// unknown, or of two keys, is nobody's.
func TestForeign(t *testing.T) {
	o, a := openOrigins(t, filepath.Join(t.TempDir(), "responses")), accounting.NewAnswers()
	accounting.ObserveOrigin(o, "key_1", "openai", "resp_1", storedPin(t, ""))
	accounting.ObserveOrigin(o, "key_1", "openai", "resp_2", storedPin(t, ""))
	accounting.ObserveOrigin(o, "key_2", "openai", "resp_2", storedPin(t, ""))
	accounting.ObserveAny(a, "resp_1", []string{"msg_1"}) // of key k at m
	for _, tt := range []struct {
		key, provider, id string
		foreign, part     bool
	}{
		{"key_1", "openai", "resp_1", false, false}, {"key_2", "openai", "resp_1", true, false}, {"key_2", "azure", "resp_1", false, false},
		{"key_3", "openai", "resp_2", false, false}, {"key_3", "openai", "resp_9", false, false},
		{"k", "m", "msg_1", false, false}, {"other", "m", "msg_1", false, true}, {"other", "n", "msg_1", false, false}, {"other", "m", "msg_9", false, false},
	} {
		if o.Foreign(tt.key, tt.provider, tt.id) != tt.foreign || a.Foreign(tt.key, tt.provider, tt.id) != tt.part {
			t.Errorf("%+v: %t and %t", tt, o.Foreign(tt.key, tt.provider, tt.id), a.Foreign(tt.key, tt.provider, tt.id))
		}
	}
	if (*accounting.Origins)(nil).Foreign("k", "m", "x") || (*accounting.Answers)(nil).Foreign("k", "m", "x") {
		t.Error("nobody knows of a response")
	}
}

// now asks without waiting for what is not known.
func now(o *accounting.Origins, key, id string) string {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	provider, ok := o.Provider(ctx, key, id)
	if !ok {
		return ""
	}
	return provider
}

// A response is found by the key that made it, at the provider that made it, also
// by the next process, whose predecessor was killed.
func TestOrigins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "responses")
	o := openOrigins(t, path)
	pin := storedPin(t, "")
	see := func(key, provider, id, pin string) { accounting.ObserveOrigin(o, key, provider, id, pin) }
	see("key_1", "openai", "resp_1", pin)
	see("key_1", "openai", "resp_1", pin) // by the other channel
	see("key_2", "azure", "resp_2", pin)
	see("key_1", "openai", "resp_twice", pin)
	see("key_2", "openai", "resp_twice", pin)
	see("key_1", "openai", "resp_unstored", storedPin(t, `,"store":false`))
	see("key_1", "openai", "resp_unbounded", storedPin(t, `,"tools":[{"type":"mcp","server_url":"https://a"}]`))
	see("key_1", "openai", "", pin)
	see("key_1", "openai", "resp with a blank", pin)
	check := func(o *accounting.Origins) {
		t.Helper()
		for _, tt := range []struct{ key, id, want string }{
			{"key_1", "resp_1", "openai"}, {"key_2", "resp_1", ""}, {"key_2", "resp_2", "azure"}, {"key_1", "resp_2", ""},
			{"key_1", "resp_unstored", ""}, {"key_1", "resp_unbounded", "openai"}, {"key_1", "", ""}, {"key_1", "resp_3", ""}, {"", "resp_1", ""},
		} {
			if got := now(o, tt.key, tt.id); got != tt.want {
				t.Errorf("%s of %s is at %q, want %q", tt.id, tt.key, got, tt.want)
			}
		}
	}
	check(o)
	if got := now(o, "key_1", "resp_twice") + now(o, "key_2", "resp_twice"); got != "" {
		t.Errorf("an id that two keys have is at %q", got)
	}
	check(openOrigins(t, path)) // o was never closed

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// A line that a kill tore, one that a disk altered, and junk are passed over.
	damaged := strings.Replace(string(text), "key_2 azure", "key_1 azure", 1) + "junk\n\n" + strings.Repeat("x", 1<<17) + "\n" + string(text[:20])
	if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
		t.Fatal(err)
	}
	again := openOrigins(t, path)
	if now(again, "key_1", "resp_1") != "openai" || now(again, "key_1", "resp_2") != "" || now(again, "key_2", "resp_2") != "" {
		t.Error("a damaged file is not read as far as it is whole")
	}
	see = func(key, provider, id, pin string) { accounting.ObserveOrigin(again, key, provider, id, pin) }
	see("key_1", "openai", "resp_9", pin)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	see("key_1", "openai", "resp_10", pin) // in memory only
	if last := openOrigins(t, path); now(last, "key_1", "resp_9") != "openai" || now(again, "key_1", "resp_10") != "openai" {
		t.Error("what was made after the damage is lost")
	}
}

// The newest are kept, in memory and in the file.
func TestOriginsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "responses")
	o := openOrigins(t, path)
	pin := storedPin(t, "")
	const more = 5
	for i := range 2*accounting.MaxOrigins + more {
		accounting.ObserveOrigin(o, "key_1", "openai", fmt.Sprintf("resp_%d", i), pin)
	}
	for _, o := range []*accounting.Origins{o, openOrigins(t, path)} {
		if now(o, "key_1", fmt.Sprintf("resp_%d", accounting.MaxOrigins+more-1)) != "" || now(o, "key_1", fmt.Sprintf("resp_%d", accounting.MaxOrigins+more)) != "openai" {
			t.Error("not the newest are kept")
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2*accounting.MaxOrigins*64 {
		t.Errorf("%v, %v", info, err)
	}
}

// Who asks for a response that was just made waits until its log is there.
func TestOriginsWaitForTheLog(t *testing.T) {
	o := openOrigins(t, filepath.Join(t.TempDir(), "responses"))
	pin := storedPin(t, "")
	time.AfterFunc(60*time.Millisecond, func() { accounting.ObserveOrigin(o, "key_1", "openai", "resp_1", pin) })
	if provider, ok := o.Provider(t.Context(), "key_1", "resp_1"); !ok || provider != "openai" {
		t.Errorf("%q, %t", provider, ok)
	}
	began := time.Now()
	if _, ok := o.Provider(t.Context(), "key_1", "resp_none"); ok || time.Since(began) < accounting.OriginWait/2 {
		t.Errorf("found, or not waited for: %s", time.Since(began))
	}
	began = time.Now()
	if _, ok := o.Provider(t.Context(), "key_2", "resp_1"); ok || time.Since(began) < accounting.OriginWait/2 {
		t.Errorf("another key's response is found, or the time tells that it is there: %s", time.Since(began))
	}
	var none *accounting.Origins
	if _, ok := none.Provider(t.Context(), "key_1", "resp_1"); ok {
		t.Error("nothing knows a response")
	}
}
