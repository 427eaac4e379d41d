package gatewayconfig_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/gatewayconfig"
)

// watching is a running Watcher and what it reported.
type watching struct {
	*gatewayconfig.Watcher
	metrics *prometheus.Registry
	log     *lockedBuffer

	mu       sync.Mutex
	got      []*gatewayconfig.Config
	refuse   error
	onChange func() // while a configuration is being applied
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func watch(t *testing.T, path string, pollEvery time.Duration) *watching {
	t.Helper()
	return watchFrom(t, mustRead(t, path), pollEvery)
}

func mustRead(t *testing.T, path string) *gatewayconfig.Config {
	t.Helper()
	c, err := gatewayconfig.Read(path, env())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// watchFrom watches after a configuration was read.
func watchFrom(t *testing.T, first *gatewayconfig.Config, pollEvery time.Duration) *watching {
	t.Helper()
	var err error
	w := &watching{metrics: prometheus.NewRegistry(), log: &lockedBuffer{}}
	w.Watcher, err = gatewayconfig.NewWatcher(gatewayconfig.WatcherConfig{
		Config: first, Getenv: env(), Metrics: w.metrics, Log: slog.New(slog.NewTextHandler(io.MultiWriter(w.log), nil)),
		OnChange: w.change, Debounce: 20 * time.Millisecond, Poll: pollEvery,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	return w
}

func (w *watching) change(_ context.Context, c *gatewayconfig.Config) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	w.got = append(w.got, c)
	if w.onChange != nil {
		w.onChange()
	}
	return nil
}

// key is the newest reported key of the only provider.
func (w *watching) key() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.got) == 0 || len(w.got[len(w.got)-1].Providers) == 0 {
		return "" // no file was read, or one that was just being written
	}
	return w.got[len(w.got)-1].Providers[0].APIKey.Reveal()
}

func openai(key string) string { return "providers: {openai: {api_key: '" + key + "'}}\n" }

func TestWatchSeesEveryKindOfChange(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	write(t, path, openai("one"))
	w := watch(t, path, time.Hour)

	if err := os.WriteFile(path, []byte(openai("two")), 0o600); err != nil {
		t.Fatal(err)
	}
	poll(t, "a written file", func() bool { return w.key() == "two" })

	write(t, path, openai("three"))
	poll(t, "a renamed file", func() bool { return w.key() == "three" })

	secrets := t.TempDir()
	write(t, filepath.Join(secrets, "key"), "four")
	write(t, path, openai("file:"+secrets+"/key"))
	poll(t, "a secret file", func() bool { return w.key() == "four" })
	write(t, filepath.Join(secrets, "key"), "five\n")
	poll(t, "a changed secret", func() bool { return w.key() == "five" })

	if err := os.Remove(filepath.Join(secrets, "key")); err != nil {
		t.Fatal(err)
	}
	poll(t, "a missing secret", func() bool { return w.LastError() != nil })
	if w.key() != "five" {
		t.Errorf("a missing secret changed the key to %q", w.key())
	}
	write(t, filepath.Join(secrets, "key"), "six")
	poll(t, "the secret's return", func() bool { return w.key() == "six" && w.LastError() == nil })
}

// TestWatchSeesAChangeBeforeItWatches: the ledger may take a while to open
// between the first reading and the watch, and no notice tells of a change then.
func TestWatchSeesAChangeBeforeItWatches(t *testing.T) {
	path, secret := filepath.Join(t.TempDir(), "c.yaml"), filepath.Join(t.TempDir(), "key")
	write(t, secret, "one")
	write(t, path, openai("file:"+secret))
	first := mustRead(t, path)
	write(t, secret, "two")
	w := watchFrom(t, first, time.Hour)
	poll(t, "the change", func() bool { return w.key() == "two" })
}

// TestWatchSeesAChangeWhileItAdoptsAFolder changes a secret after it was read
// and before its folder is watched: no notice tells of that.
func TestWatchSeesAChangeWhileItAdoptsAFolder(t *testing.T) {
	path, secret := filepath.Join(t.TempDir(), "c.yaml"), filepath.Join(t.TempDir(), "key")
	write(t, path, openai("one"))
	w := watch(t, path, time.Hour)
	write(t, secret, "two")
	w.mu.Lock()
	w.onChange = func() {
		w.onChange = nil
		write(t, secret, "three")
	}
	w.mu.Unlock()
	write(t, path, openai("file:"+secret))
	poll(t, "the secret's change", func() bool { return w.key() == "three" })
}

// TestWatchSeesKubernetesSwap changes the file as a mounted ConfigMap does.
func TestWatchSeesKubernetesSwap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, key string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "c.yaml"), openai(key))
		if err := os.Symlink(name, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "one")
	path := filepath.Join(dir, "c.yaml")
	if err := os.Symlink("..data/c.yaml", path); err != nil {
		t.Fatal(err)
	}
	w := watch(t, path, time.Hour)
	for i, key := range []string{"two", "three", "four"} {
		version("..v"+string(rune('a'+i)), key)
		poll(t, "the swap to "+key, func() bool { return w.key() == key })
	}
}

func TestWatchKeepsTheLastGoodFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, openai("one"))
	w := watch(t, path, 10*time.Millisecond)
	write(t, path, openai("two"))
	poll(t, "the second file", func() bool { return w.key() == "two" })

	write(t, path, "providers: {openai: {api_kye: x}}\n")
	poll(t, "the refusal", func() bool { return w.LastError() != nil })
	var problems gatewayconfig.Problems
	if !errors.As(w.LastError(), &problems) || problems[0].Line != 1 {
		t.Errorf("last error: %v", w.LastError())
	}
	poll(t, "the log's line", func() bool { // it follows the error
		text := w.log.String()
		return strings.Contains(text, "the last good one stays in force") && strings.Contains(text, `did you mean`)
	})
	if w.key() != "two" {
		t.Errorf("key = %q", w.key())
	}

	// A callback that refuses keeps the old one too; Reload tries again.
	w.mu.Lock()
	w.refuse = errors.New("no such price")
	w.mu.Unlock()
	write(t, path, openai("three"))
	poll(t, "the callback's refusal", func() bool { return w.LastError() != nil && strings.Contains(w.LastError().Error(), "no such price") })
	w.mu.Lock()
	w.refuse = nil
	w.mu.Unlock()
	w.Reload()
	poll(t, "the reload", func() bool { return w.key() == "three" && w.LastError() == nil })
	if n := counter(t, w.metrics, "aig_config_reloads_total", "refused"); n < 2 {
		t.Errorf("refused reloads: %v", n)
	}
}

func TestNeedsRestart(t *testing.T) {
	a := mustParse(t, "")
	b := mustParse(t, "listen: {clients: 127.0.0.1:1, rest: 127.0.0.1:2, grpc: 127.0.0.1:3, control: 127.0.0.1:4, envoy_admin: 127.0.0.1:5}\ndata_dir: /d\ntime_zone: Asia/Tokyo\nlimits: {max_body_bytes: 1MiB}\nstreams: {idle_timeout: 1m}\ndrain: {accept: 1m}\nreservations: {timeout: 1m}\nstore: {postgres: postgres:///a?host=/run, durability: single_node}\nenvoy: {concurrency: 2}\nadmin_key: sk-aig-01234567890123456789\nproviders: {vllm: {}}\n")
	want := []string{"listen.clients", "listen.rest", "listen.grpc", "listen.control", "listen.envoy_admin", "data_dir", "time_zone", "limits.max_body_bytes", "streams", "drain", "reservations.timeout", "store", "envoy", "admin_key"}
	if diff := cmp.Diff(want, gatewayconfig.NeedsRestart(a, b)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if got := gatewayconfig.NeedsRestart(a, a); got != nil {
		t.Errorf("no difference: %v", got)
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, openai("one"))
	w := watch(t, path, time.Hour)
	write(t, path, "data_dir: /elsewhere\n"+openai("two"))
	poll(t, "the change", func() bool { return w.key() == "two" })
	poll(t, "the warning", func() bool {
		return strings.Contains(w.log.String(), "restart to apply") && strings.Contains(w.log.String(), "data_dir")
	})
}
