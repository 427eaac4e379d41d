package accounting_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/accounting"
	"aigateway/budget"
)

// TestSpoolNoticesEveryFlip flips a bit of every byte of a line between two
// others. Whatever it was, the call is charged what the line said, or more, or
// the line is skipped, counted and logged; nothing is released, and the reader
// goes on behind it.
func TestSpoolNoticesEveryFlip(t *testing.T) {
	w := newWorld(t)
	for name, changes := range map[string][]func(map[string]any){
		"usage":    {with("report", answeredReport(usageText, asked))},
		"cut":      {with("flags", "DC"), with("details", "downstream_remote_disconnect"), with("report", nil)},
		"no error": {with("code", 400), with("details", "upstream_reset_before_response_started{connection_termination}"), with("flags", "UC"), with("report", nil)},
	} {
		t.Run(name, func(t *testing.T) {
			before, victim, after := w.reserve(), w.reserve(), w.reserve()
			text := line(t, 0, append(changes, with("id", victim.id), with("rsv", victim.token))...)
			r := &flipRig{t: t, w: w, path: filepath.Join(t.TempDir(), "access.jsonl"), victim: victim, first: before.line(t, usageText, asked), last: after.line(t, usageText, asked)}
			r.want = r.read(text)
			for i := range len(text) {
				flipped := []byte(text)
				flipped[i] ^= 1 << (i % 8)
				r.check(fmt.Sprintf("bit %d of byte %d (%q)", i%8, i, text[max(0, i-8):i+1]), string(flipped))
			}
		})
	}
}

type flipRig struct {
	t           *testing.T
	w           *world
	path        string
	victim      call
	first, last string
	want        budget.Settlement
	log         bytes.Buffer
	noticed     float64
}

// read settles the three lines and returns what the victim's said; zero if
// nothing.
func (r *flipRig) read(victim string) budget.Settlement {
	r.t.Helper()
	text := r.first + victim + r.last
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	l := &fakeLedger{}
	c, metrics := config(r.t, l)
	c.Sealer = r.w.sealer
	r.log.Reset()
	c.Log = slog.New(slog.NewTextHandler(&r.log, nil))
	s := newSpool(r.t, c, accounting.File{Path: r.path})
	s.Begin()
	defer s.Close()
	for more, n := true, 0; more; n++ {
		var err error
		if more, err = s.Step(r.t.Context()); err != nil || n > 10 {
			r.t.Fatalf("step %d: %v", n, err)
		}
	}
	if l.position.Offset != int64(len(text)) {
		r.t.Errorf("read up to %d of %d", l.position.Offset, len(text))
	}
	r.noticed = counted(r.t, metrics, "aig_log_malformed_total", "file") + counted(r.t, metrics, "aig_log_tokens_rejected_total", "file")
	if skipped := counted(r.t, metrics, "aig_log_malformed_total", "file") > 0; skipped != strings.Contains(r.log.String(), "could not be read") {
		r.t.Errorf("skipped %v, log %q", skipped, r.log.String())
	}
	var found budget.Settlement
	others := 0
	for _, s := range l.settled {
		if s.RequestID == r.victim.id || s.Reservation != nil && s.Reservation.ID == r.id() {
			found = s
		} else if s.Reservation != nil && s.Basis == budget.BasisUsage && s.Cost == usageCost {
			others++
		}
	}
	if others != 2 {
		r.t.Errorf("%d of the two lines around were settled", others)
	}
	return found
}

func (r *flipRig) id() budget.ReservationID {
	t, err := r.w.sealer.Open(r.victim.token)
	if err != nil {
		r.t.Fatal(err)
	}
	return budget.ReservationID(t.ID)
}

func (r *flipRig) check(what, line string) {
	r.t.Helper()
	got := r.read(line)
	same := got.Reservation != nil && got.Basis == r.want.Basis && got.Cost == r.want.Cost && got.Tokens == r.want.Tokens
	switch {
	case same:
	case r.noticed == 0:
		r.t.Errorf("%s: settled as %+v unnoticed", what, got)
	case got.Basis == "" || got.Basis == budget.BasisBound: // the hold stays, or is charged in full
	default:
		r.t.Errorf("%s: noticed, and settled as %+v", what, got)
	}
}

// TestSpoolDamage loses lines in every other way a file can lose them. What a
// lost line held is charged at its deadline, never released; what can be read
// costs what it says.
func TestSpoolDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, path string, text []byte)
		lost   []int // of the ten calls
	}{
		{"zeroed block", func(t *testing.T, path string, text []byte) {
			clear(text[lineStart(text, 3)+40 : lineStart(text, 6)+40])
			write(t, path, text)
		}, []int{3, 4, 5, 6}},
		{"block of noise", func(t *testing.T, path string, text []byte) {
			start, end := lineStart(text, 2)-1, lineStart(text, 4)+1
			for i := start; i < end; i++ {
				text[i] ^= byte(i*131 + i>>3 | 1)
			}
			write(t, path, text)
		}, []int{1, 2, 3, 4}},
		{"torn last line", func(t *testing.T, path string, text []byte) {
			write(t, path, text[:len(text)-9])
		}, []int{9}},
		{"end lost, then written on", func(t *testing.T, path string, text []byte) {
			write(t, path, append(text[:lineStart(text, 4)+100:lineStart(text, 4)+100], text[lineStart(text, 7):]...))
		}, []int{4, 5, 6}},
		{"file missing", func(t *testing.T, path string, _ []byte) {}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"file replaced by another", func(t *testing.T, path string, text []byte) {
			write(t, path, text[lineStart(text, 8):])
		}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var text []byte
			var bound budget.Amount
			for range 10 {
				c := w.reserve()
				bound = c.bound
				text = append(text, c.line(t, usageText, asked)...)
			}
			path := filepath.Join(t.TempDir(), "access.jsonl")
			tt.damage(t, path, text)
			w.file(path)
			lost := budget.Amount(len(tt.lost))
			w.eventually((10-lost)*usageCost, lost*bound)
			w.advance(6 * time.Minute) // past the hold timeout
			w.eventually((10-lost)*usageCost+lost*bound, 0)
		})
	}
}

// lineStart is where line i, counted from 0, begins.
func lineStart(text []byte, i int) int {
	at := 0
	for ; i > 0; i-- {
		at += bytes.IndexByte(text[at:], '\n') + 1
	}
	return at
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file that is gone, with a position in it, was lost: that is told.
func TestSpoolTellsOfALostFile(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1, 2))
	r.drain()
	r.must(os.Remove(r.path))
	r.start()
	r.drain()
	r.w = nil
	r.write(r.lines(3))
	r.drain()
	r.want(1, 2, 3)
	if got := counted(t, r.metrics, "aig_spool_truncations_total"); got != 1 {
		t.Errorf("%v lost files were counted, want 1", got)
	}
}

// The two channels may disagree, if one was damaged on its way: the first
// settles, the other is a repeat, whatever it says.
func TestFirstChannelDecides(t *testing.T) {
	w := newWorld(t)
	c := w.reserve()
	path := filepath.Join(t.TempDir(), "access.jsonl")
	other := line(t, 0, with("id", c.id), with("rsv", c.token), with("report",
		answeredReport(`{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}`, asked)))
	w.stream(c.entry(t, usageText, asked))
	w.eventually(usageCost, 0)
	w.file(path, other)
	w.eventually(usageCost, 0)
}
