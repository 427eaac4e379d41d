package ledger

import (
	"testing"
	"time"

	"aigateway/budget"
)

// TestServedInOrderOfArrival: where one moment makes room at several budgets,
// whoever came first goes first, wherever it waited. What it needs beside that is
// not given to one that came later, because its line was looked at first.
func TestServedInOrderOfArrival(t *testing.T) {
	at := instant{wall: time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC).UnixNano(), mono: 1}
	c := newCore(forever / 4)
	c.epoch = 1
	c.waiting.most = 1 << 30
	open := func(num int64, tags budget.TagPattern, limit budget.Amount) *account {
		r := &rule{Budget: budget.Budget{Target: budget.Target{Tags: tags}, Period: budget.Total, Cap: limit}, num: num, loc: time.UTC}
		c.rules.add(r)
		return c.account(r, at.wall)
	}
	team, part := open(1, "team/**", 100), open(2, "team/b", 30)
	team.need, part.need = 100, 30
	c.apply(c.begin(at, 0)) // the marks are as high as the caps
	reserve := func(tag budget.Tag, bound budget.Amount) *hold {
		t.Helper()
		out, h, _, _ := c.reserve(&budget.Request{Attribution: budget.Attribution{Tag: tag}, Bound: bound}, at)
		if out != admitted {
			t.Fatalf("%s: outcome %d", tag, out)
		}
		return h
	}
	wait := func(tag budget.Tag, bound budget.Amount, where *account) *waiter {
		t.Helper()
		r := &budget.Request{Attribution: budget.Attribution{Tag: tag}, Bound: bound, Wait: time.Minute}
		out, _, _, blocked := c.reserve(r, at)
		if out != held || len(blocked) != 1 || blocked[0] != where {
			t.Fatalf("%s: outcome %d, blocked by %d accounts", tag, out, len(blocked))
		}
		return c.wait(r, blocked, at)
	}
	a, b := reserve("team/a", 40), reserve("team/b", 20)
	early := wait("team/a", 90, team) // so that this line is looked at first
	first := wait("team/b", 20, part)
	second := wait("team/a", 90, team)
	c.leave(early)

	for _, h := range []*hold{a, b} {
		c.settle(&budget.Settlement{Reservation: new(h.reservation())}, at)
	}
	c.apply(c.begin(at, 0)) // room for either of the two
	over := c.serve(c.waiting.at, at)
	if len(over) != 1 || over[0] != first || first.out != admitted {
		t.Fatalf("%d turns are over; the first's outcome is %d", len(over), first.out)
	}
	if len(second.at) != 1 || second.at[0] != team {
		t.Errorf("the second waits at %d accounts", len(second.at))
	}
}
