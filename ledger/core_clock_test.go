package ledger

import (
	"testing"
	"time"

	"aigateway/budget"
)

// TestClockLeaps sets the wall clock while the monotonic one goes on.
func TestClockLeaps(t *testing.T) {
	const month = 31 * 24 * 3600 * second
	type leap struct {
		wall, mono int64 // how far both clocks go on
		want       int64 // how far window time then is, since the start
		leaping    bool
	}
	for name, steps := range map[string][]leap{
		"goes on":                   {{second, second, second, false}, {month, month, month + second, false}},
		"small step":                {{second + 50*second, second, 51 * second, false}},
		"back":                      {{-month, second, 0, false}, {month, second, 0, false}},
		"back and forth":            {{-month, second, 0, false}, {month + 10*second, 9 * second, 10 * second, false}},
		"a month ahead, taken back": {{month, 0, 0, true}, {100 * second, 100 * second, 100 * second, true}, {-month, 0, 100 * second, false}},
		"a month ahead, for good":   {{month, 0, 0, true}, {299 * second, 299 * second, 299 * second, true}, {second, second, month + 300*second, false}},
		"again and again":           {{month, 0, 0, true}, {200*second + month, 200 * second, 200 * second, true}, {200 * second, 200 * second, 400 * second, true}, {100 * second, 100 * second, 2*month + 500*second, false}},
		"creeping":                  {{60 * second, 0, 60 * second, false}, {60 * second, 0, 60 * second, true}, {60 * second, 0, 60 * second, true}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC).UnixNano()
			at := instant{wall: start, mono: 77}
			c := clock{wall: start - month}
			now := at
			c.advance(&now)
			for i, s := range steps {
				at.wall, at.mono = at.wall+s.wall, at.mono+s.mono
				now := at
				c.advance(&now)
				if got := c.wall - start; got != s.want || now.wall != c.wall || c.leaping != s.leaping {
					t.Errorf("step %d: window time is at %s, leaping %v; want %s, %v", i, time.Duration(got), c.leaping, time.Duration(s.want), s.leaping)
				}
			}
		})
	}
}

// TestRestartBehindItsClock: window time outlives a restart, also when the clock
// was set back meanwhile, and goes on once the clock is right again.
func TestRestartBehindItsClock(t *testing.T) {
	const day = 24 * 3600 * second
	c := clock{wall: 10 * day}
	for i, s := range []struct{ wall, mono, want int64 }{{3 * day, 5, 10 * day}, {3*day + second, 5 + second, 10 * day}, {10*day + 3*second, 5 + 2*second, 10*day + 3*second}} {
		at := instant{wall: s.wall, mono: s.mono}
		if c.advance(&at); c.wall != s.want {
			t.Errorf("step %d: %d, want %d", i, c.wall, s.want)
		}
	}
}

// TestFirstCallAfterRollover: a prepared window keeps its mark until its first
// call, which then waits for nothing.
func TestFirstCallAfterRollover(t *testing.T) {
	at := instant{wall: time.Date(2026, 4, 15, 23, 59, 1, 0, time.UTC).UnixNano(), mono: 1}
	c := newCore(forever / 4)
	c.epoch = 1
	r := &rule{Budget: budget.Budget{ID: "bud_1", Target: budget.Target{Tags: budget.AllTags}, Period: budget.Day, Cap: 1000}, num: 1, loc: time.UTC}
	c.rules.add(r)
	for range 62 * 5 { // five times a second, past midnight
		c.housekeep(at)
		c.apply(c.begin(at, 0))
		if out, _, _, _ := c.reserve(&budget.Request{Bound: 1}, at); out == waitMark {
			if at.wall > time.Date(2026, 4, 15, 23, 59, 2, 0, time.UTC).UnixNano() {
				t.Fatalf("the call at %s waits for a mark", time.Unix(0, at.wall).UTC())
			}
		}
		at.wall, at.mono = at.wall+second/5, at.mono+second/5
	}
	if got := r.peek(at.wall); got == nil || got.used() == 0 {
		t.Errorf("the new window has %+v", got)
	}
}
