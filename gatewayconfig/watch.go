package gatewayconfig

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/metricset"
)

// WatcherConfig is what a Watcher needs.
type WatcherConfig struct {
	Config  *Config             // the one in force, from Read or Default; required
	Getenv  func(string) string // as for Read; required
	Log     *slog.Logger        // required
	Metrics prometheus.Registerer
	// OnChange takes every new, valid configuration, one call at a time. An
	// error from it keeps the old one in force, as a bad file does. Its context
	// ends with Run's.
	OnChange func(context.Context, *Config) error
	// Debounce is how long after the first sign of a change the files are read,
	// as editors and deployments write several; 0: 200 ms.
	Debounce time.Duration
	// Poll is how often they are looked at without a notice, for network file
	// systems that give none; 0: 30 s.
	Poll time.Duration
}

// Watcher re-reads the configuration when its file, or a secret or CA file it
// names, changes. It watches their folders, so it sees a file that is written,
// renamed over, or reached through a link that is swapped, as Kubernetes does.
type Watcher struct {
	c       WatcherConfig
	trigger chan struct{}
	results *prometheus.CounterVec
	stale   prometheus.Gauge

	mu   sync.Mutex // guards last
	last error

	// Run's own.
	current *Config
	sources sources // being watched: those of the newest read, good or bad
}

// NewWatcher makes a Watcher; Run starts it.
func NewWatcher(c WatcherConfig) (*Watcher, error) {
	w := &Watcher{c: c, trigger: make(chan struct{}, 1), current: c.Config, sources: c.Config.sources, results: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aig_config_reloads_total", Help: "Configurations read after the start, by result: applied or refused.",
	}, []string{"result"})}
	w.stale = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "aig_config_stale", Help: "1 while the newest configuration is not in force, because it was refused.",
	})
	if w.c.Debounce == 0 {
		w.c.Debounce = 200 * time.Millisecond
	}
	if w.c.Poll == 0 {
		w.c.Poll = 30 * time.Second
	}
	set := metricset.New(c.Metrics)
	set.Add(w.results, w.stale)
	return w, set.Done()
}

// Reload reads the file now, changed or not, as on SIGHUP. It does not wait.
func (w *Watcher) Reload() {
	select {
	case w.trigger <- struct{}{}:
	default:
	}
}

// LastError says why the newest file is not in force, or nil.
func (w *Watcher) LastError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// Run watches until ctx ends and then returns nil. Without notices from the
// system it goes on with polling alone.
func (w *Watcher) Run(ctx context.Context) error {
	notices, watch, closeNotices := w.notices()
	defer closeNotices()
	watch(w.sources) // whether folders are new is no matter: the first check follows
	poll := time.NewTicker(w.c.Poll)
	defer poll.Stop()
	// The delay starts with the first sign of a change and is not prolonged: a
	// folder that never rests must not put a change off.
	delay, pending := time.NewTimer(w.c.Debounce), true // a change between Read and Run counts
	defer delay.Stop()
	await := func() {
		if !pending {
			pending = true
			delay.Reset(w.c.Debounce)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-notices:
			await()
			continue
		case <-delay.C:
			pending = false
			w.check(ctx, false)
		case <-poll.C:
			if w.sources.changed() {
				await()
			}
			continue
		case <-w.trigger:
			w.check(ctx, true)
		}
		if watch(w.sources) {
			await() // a file may have changed after it was read and before its folder was watched
		}
	}
}

// notices starts the system's file notices; watch sets the files whose folders
// are watched and reports whether one of these is new.
func (w *Watcher) notices() (events <-chan fsnotify.Event, watch func(sources) (added bool), stop func()) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		w.c.Log.Warn("no file notices from the system; changes are noticed by polling", "interval", w.c.Poll, "err", err)
		return nil, func(sources) bool { return false }, func() {}
	}
	watch = func(files sources) (added bool) {
		folders, before := foldersOf(files), notify.WatchList()
		for _, folder := range before {
			if !slices.Contains(folders, folder) {
				_ = notify.Remove(folder) // gone already: nothing to stop watching
			}
		}
		for _, folder := range folders {
			if err := notify.Add(folder); err != nil {
				w.c.Log.Debug("folder is not watched; polling sees its changes", "folder", folder, "err", err)
			} else if !slices.Contains(before, folder) {
				added = true
			}
		}
		return added
	}
	go func() {
		for err := range notify.Errors {
			w.c.Log.Warn("file notices were lost; polling sees what changed", "err", err)
		}
	}()
	return notify.Events, watch, func() { _ = notify.Close() } // nothing is left to do about an error at the end
}

// foldersOf lists the folders a change of these files can show in: their own,
// and those of what links on the way point to.
func foldersOf(files sources) []string {
	var folders []string
	for file := range files {
		folders = append(folders, filepath.Dir(file))
		if target, err := filepath.EvalSymlinks(file); err == nil {
			folders = append(folders, filepath.Dir(target))
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// check reads the configuration if a file differs, or always.
func (w *Watcher) check(ctx context.Context, always bool) {
	if !always && !w.sources.changed() {
		return
	}
	next, err := w.readStable()
	if err == nil {
		err = w.apply(ctx, next)
	}
	if ctx.Err() != nil {
		return // nobody waits for an answer any more
	}
	w.finish(err)
}

// readStable reads until no file changes meanwhile: two files of one change must
// not be taken from its two sides. Files that never rest are looked at again
// later.
func (w *Watcher) readStable() (*Config, error) {
	for attempt := 1; ; attempt++ {
		before := w.sources.now()
		next, read, err := w.read()
		if err != nil { // which may have kept it from naming files
			maps.Copy(before, read)
			read = before
		}
		w.sources = read
		if attempt == 5 || !read.changed() {
			return next, err
		}
	}
}

// read also returns what it read, even when that is no configuration.
func (w *Watcher) read() (*Config, sources, error) {
	secrets := newSecretSource(w.c.Getenv)
	if w.c.Config.Path == "" {
		next, err := environment(secrets)
		return next, secrets.sources, err
	}
	next, err := read(w.c.Config.Path, secrets)
	return next, secrets.sources, err
}

func (w *Watcher) apply(ctx context.Context, next *Config) error {
	if fixed := NeedsRestart(w.c.Config, next); len(fixed) > 0 {
		w.c.Log.Warn("restart to apply: these fields are fixed while the program runs; all others are applied now", "fields", strings.Join(fixed, ", "))
	}
	if err := w.c.OnChange(ctx, next); err != nil {
		return fmt.Errorf("apply configuration: %w", err)
	}
	w.current = next
	return nil
}

func (w *Watcher) finish(err error) {
	w.mu.Lock()
	w.last = err
	w.mu.Unlock()
	if err != nil {
		w.results.WithLabelValues("refused").Inc()
		w.stale.Set(1)
		w.c.Log.Error("configuration refused; the last good one stays in force", "err", err)
		return
	}
	w.results.WithLabelValues("applied").Inc()
	w.stale.Set(0)
	w.c.Log.Info("configuration applied", "providers", len(w.current.Providers))
}

// NeedsRestart names the fields that differ and take effect only at the next
// start: they are part of sockets, the data folder or Envoy's bootstrap.
func NeedsRestart(running, next *Config) []string {
	var fields []string
	check := func(field string, same bool) {
		if !same {
			fields = append(fields, field)
		}
	}
	check("listen.clients", running.Listen.Clients == next.Listen.Clients)
	check("listen.rest", running.Listen.REST == next.Listen.REST)
	check("listen.grpc", running.Listen.GRPC == next.Listen.GRPC)
	check("listen.control", running.Listen.Control == next.Listen.Control)
	check("listen.control_group", running.Listen.ControlGroup == next.Listen.ControlGroup)
	check("listen.control_tls", running.Listen.ControlTLS == next.Listen.ControlTLS)
	check("listen.tls", running.Listen.TLS == next.Listen.TLS)
	check("listen.admin_tls", running.Listen.AdminTLS == next.Listen.AdminTLS)
	check("listen.envoy_admin", running.Listen.EnvoyAdmin == next.Listen.EnvoyAdmin)
	check("data_dir", running.DataDir == next.DataDir)
	check("time_zone", running.TimeZone.String() == next.TimeZone.String())
	check("limits.max_body_bytes", running.MaxBodyBytes == next.MaxBodyBytes)
	check("limits.connections", running.MaxConnections == next.MaxConnections)
	check("limits.streams_per_connection", running.MaxStreams == next.MaxStreams)
	check("limits.requests_per_address", running.AddressRate == next.AddressRate)
	check("limits.envoy_memory", running.EnvoyMemory == next.EnvoyMemory)
	check("streams", running.Streams == next.Streams)
	check("drain", running.Drain == next.Drain)
	check("reservations.timeout", running.ReservationTimeout == next.ReservationTimeout)
	check("reservations.max_wait", running.MaxWait == next.MaxWait)
	check("reservations.min_inserted_cap", running.MinInsertedCap == next.MinInsertedCap)
	check("retention", running.Retention == next.Retention)
	check("store", running.Store == next.Store)
	check("envoy", running.Envoy == next.Envoy)
	check("log_format", running.LogFormat == next.LogFormat)
	check("otlp", reflect.DeepEqual(running.OTLP, next.OTLP))
	check("oidc", reflect.DeepEqual(running.OIDC, next.OIDC))
	check("admin_key", running.AdminKey == next.AdminKey)
	return fields
}
