package accounting_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/accounting"
	"aigateway/budget"
)

// rig is a spool on a real file, with a writer that behaves like Envoy: it
// appends to the file it opened until it is told to reopen.
type rig struct {
	t       testing.TB
	ledger  *fakeLedger
	path    string
	now     time.Time
	w       *os.File
	spool   *accounting.Spool
	metrics *prometheus.Registry
	max     int64
	reopens int
	reopen  func() error // instead of opening anew
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, ledger: &fakeLedger{}, path: filepath.Join(t.TempDir(), "access.jsonl"), now: noon}
	r.start()
	t.Cleanup(func() { r.spool.Close() })
	return r
}

// start begins anew, as after kill -9: only file and ledger remain.
func (r *rig) start() {
	r.t.Helper()
	if r.spool != nil {
		r.spool.Close()
	}
	c, metrics := config(r.t, r.ledger)
	c.Now = func() time.Time { return r.now }
	r.metrics = metrics
	r.spool = newSpool(r.t, c, accounting.File{Path: r.path, MaxBytes: r.max, Reopen: func(context.Context) error {
		r.reopens++
		if r.reopen != nil {
			return r.reopen()
		}
		r.open()
		return nil
	}})
	r.spool.Begin()
}

func (r *rig) open() {
	r.t.Helper()
	if r.w != nil {
		r.must(r.w.Close())
	}
	var err error
	r.w, err = os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	r.must(err)
}

func (r *rig) write(text ...string) {
	r.t.Helper()
	if r.w == nil {
		r.open()
	}
	_, err := r.w.WriteString(strings.Join(text, ""))
	r.must(err)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// drain steps until there is nothing to do but wait.
func (r *rig) drain() {
	r.t.Helper()
	for range 1000 {
		more, err := r.spool.Step(r.t.Context())
		r.must(err)
		if !more {
			return
		}
	}
	r.t.Fatal("the spool never rests")
}

func (r *rig) want(ids ...int) {
	r.t.Helper()
	if ids == nil {
		ids = []int{}
	}
	if diff := cmp.Diff(ids, r.ledger.ids()); diff != "" {
		r.t.Errorf("settled -want +got:\n%s", diff)
	}
}

func (r *rig) files() []string {
	r.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(r.path))
	r.must(err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func (r *rig) lines(ids ...int) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(line(r.t, id))
	}
	return b.String()
}

func TestSpoolSettlesWholeLines(t *testing.T) {
	r := newRig(t)
	third := line(t, 3)
	r.write(r.lines(1, 2), third[:40])
	r.drain()
	r.want(1, 2)
	whole := int64(len(r.lines(1, 2)))
	if got := r.ledger.position.Offset; got != whole {
		t.Errorf("position %d, want %d, behind the last whole line", got, whole)
	}
	r.write(third[40:100])
	r.drain()
	r.want(1, 2)
	r.write(third[100:])
	r.drain()
	r.want(1, 2, 3)
	if got := counted(t, r.metrics, "aig_spool_lag_bytes"); got != 0 {
		t.Errorf("lag %v at the end", got)
	}
}

func TestSpoolRestartsAtItsPosition(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1, 2))
	r.drain()
	r.ledger.closed = nil // a ledger that would take them again
	r.start()
	r.write(r.lines(3))
	r.drain()
	r.want(1, 2, 3)
}

func TestSpoolWaitsForAMissingFile(t *testing.T) {
	r := newRig(t)
	r.drain()
	if !r.spool.CaughtUp() || r.reopens != 0 {
		t.Errorf("caught up %v, %d reopens; want true, 0", r.spool.CaughtUp(), r.reopens)
	}
	r.write(r.lines(1))
	r.drain()
	r.want(1)
}

func TestSpoolCountsMalformedLines(t *testing.T) {
	r := newRig(t)
	r.write("garbage\n", r.lines(1), "\n", "{}\n", `{"v":2}`+"\n", "\x00\xff\n", r.lines(2))
	r.drain()
	r.want(1, 2)
	if got := counted(t, r.metrics, "aig_log_malformed_total", "file"); got != 4 {
		t.Errorf("%v malformed, want 4", got)
	}
}

// An Envoy that is killed leaves half a line; the next Envoy appends to it.
func TestSpoolFindsTheLineGluedToATornOne(t *testing.T) {
	for cut := 1; cut < len(line(t, 1))-1; cut += 7 {
		r := newRig(t)
		r.write(line(t, 1)[:cut], r.lines(2, 3))
		r.drain()
		r.want(2, 3)
	}
}

func TestSpoolPassesOverAnOverlongLine(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("x", accounting.MaxLine+3<<20)
	r.write(r.lines(1), long)
	r.drain()
	r.want(1)
	r.write(long, "\n", r.lines(2))
	r.drain()
	r.want(1, 2)
	if got := counted(t, r.metrics, "aig_log_malformed_total", "file"); got != 1 {
		t.Errorf("%v malformed, want 1", got)
	}
}

func TestSpoolCrashBetweenReadAndCommit(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1))
	r.drain()
	before := r.ledger.position
	r.write(r.lines(2, 3))
	r.ledger.fail = errors.New("disk full")
	if _, err := r.spool.Step(t.Context()); err == nil || r.ledger.position != before {
		t.Errorf("step: %v, position %+v; want the ledger's error and %+v", err, r.ledger.position, before)
	}
	r.ledger.fail = nil
	r.start()
	r.drain()
	r.want(1, 2, 3)
}

func TestSpoolSkipsWhatTheStreamSettled(t *testing.T) {
	r := newRig(t)
	r.ledger.closed = map[budget.ReservationID]bool{1: true}
	r.write(r.lines(1, 2), line(t, 2))
	r.drain()
	r.want(2)
	if got := counted(t, r.metrics, "aig_log_duplicates_total", "file"); got != 1 {
		t.Errorf("%v duplicates, want 1", got) // the second is in the same batch: the ledger's to see
	}
	if r.ledger.position.Offset != int64(len(r.lines(1, 2, 2))) {
		t.Errorf("position %+v does not cover the duplicates", r.ledger.position)
	}
}

func TestSpoolRun(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1, 2))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.spool.Run(ctx) }()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !r.spool.CaughtUp() {
		select {
		case <-deadline:
			t.Fatal("never caught up")
		case <-tick.C:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run at the end of its context: %v", err)
	}
	r.want(1, 2)
}

func TestSpoolRunStopsWithTheLedger(t *testing.T) {
	r := newRig(t)
	r.ledger.fail = errors.New("no space")
	r.write(r.lines(1))
	if err := r.spool.Run(t.Context()); !errors.Is(err, r.ledger.fail) {
		t.Errorf("Run: %v, want the ledger's error", err)
	}
}

func FuzzSpoolReader(f *testing.F) {
	f.Add([]byte("w1\nw2\n"), []byte{3, 0, 200, 1, 2})
	f.Add([]byte("\n\n{\"v\":1}\n\xff"), []byte{1, 1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, noise, plan []byte) {
		r := newRig(t)
		r.max = 900
		r.start()
		noise = append(noise, '\n') // else it would be glued to a line
		if len(plan) > 40 {
			plan = plan[:40]
		}
		var want []int
		for id, p := range plan {
			l := line(t, id+1)
			if p%5 == 0 {
				l = string(noise) + l
			}
			cut := min(int(p)*3, len(l))
			r.write(l[:cut])
			if p%2 == 0 {
				r.drain()
			}
			if p%3 == 0 {
				r.start()
			}
			r.write(l[cut:])
			r.now = r.now.Add(time.Minute)
			r.drain()
			want = append(want, id+1)
		}
		got := r.ledger.ids()
		for _, id := range want {
			if !slices.Contains(got, id) {
				t.Errorf("call %d was lost", id)
			}
		}
	})
}

// TestRunReadsTheRest stands for a clean stop: Envoy writes its last lines while
// it drains, and the reader is told to end before it has seen them.
func TestRunReadsTheRest(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1, 2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.must(r.spool.Run(ctx))
	r.want(1, 2)
}
