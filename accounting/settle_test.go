package accounting_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/pricing"
)

// A fault in our own reading must cost the caller no more and no less than what
// was held for the call, and must not stop the channel.
func TestAFaultInPricingChargesTheBound(t *testing.T) {
	r := newRig(t)
	c, metrics := config(t, r.ledger)
	c.Catalog = func() *pricing.Catalog { panic("a fault of ours") }
	r.spool = accounting.NewSpool(c, accounting.File{Path: r.path})
	r.spool.Begin()
	r.write(r.lines(1, 2))
	r.drain()
	r.want(1, 2)
	for _, s := range r.ledger.settled {
		if s.Basis != budget.BasisBound || s.Cost != 1000 {
			t.Errorf("%s is charged %s by %s, want its bound", s.RequestID, s.Cost, s.Basis)
		}
	}
	if got := counted(t, metrics, "aig_charge_flags_total", "file", "charge_failed"); got != 2 {
		t.Errorf("%v charges are flagged, want 2", got)
	}
}

// Rotated files are let go of: a gateway rotates for years.
func TestSpoolClosesWhatItHasRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/self/fd")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector closes files, too
	r := newRig(t)
	r.max = 1
	r.start()
	for id := 1; id <= 8; id++ {
		r.write(r.lines(id))
		r.drain()
		r.now = r.now.Add(time.Minute)
		r.drain()
	}
	r.want(1, 2, 3, 4, 5, 6, 7, 8)
	atMost := func(most int, when string) {
		t.Helper()
		if r.w != nil { // the writer's own
			r.must(r.w.Close())
			r.w = nil
		}
		if open := openIn(t, filepath.Dir(r.path)); len(open) > most {
			t.Errorf("%s: %d files are open, want at most %d: %v", when, len(open), most, open)
		}
	}
	atMost(1, "after eight rotations")
	// A start looks into files that are not the one of its position.
	for id := 9; id <= 12; id++ {
		r.write(r.lines(id))
		atMost(1, "between starts")
		r.must(os.Rename(r.path, fmt.Sprintf("%s.%06d", r.path, 900000+id)))
	}
	r.ledger.position = budget.SpoolPosition{File: "another", Offset: 10}
	r.start()
	r.drain()
	atMost(1, "after a start")
	r.spool.Close()
	atMost(0, "after the end")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.must(r.spool.Run(ctx))
	atMost(0, "after Run")
}

// openIn lists what this process has open in dir, deleted files included.
func openIn(t testing.TB, dir string) []string {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir+"/") {
			out = append(out, to)
		}
	}
	return out
}
