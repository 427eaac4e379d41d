package ledger

import (
	"slices"
	"testing"
	"time"

	"aigateway/budget"
)

// TestWhoIsKeptWaitingGoesOn: when a call whose patience is over leaves one line, those
// behind it in its other lines go on, wherever the look at the lines began.
func TestWhoIsKeptWaitingGoesOn(t *testing.T) {
	for name, todo := range map[string][]int{"where it left": {0}, "there first": {0, 1}, "there last": {1, 0}} {
		c := newCore(forever / 4)
		c.epoch, c.waiting.most = 1, 1<<30
		at := leaseNow
		c.advance(&at)
		var accounts []*account
		for i, tags := range []budget.TagPattern{"b/1", "b/**"} {
			r := &rule{Budget: budget.Budget{ID: string(tags), Target: budget.Target{Tags: tags}, Period: budget.Total, Cap: budget.Amount(100 + 50*i)}, num: int64(i + 1), loc: time.UTC}
			c.rules.add(r)
			accounts = append(accounts, c.account(r, at.wall))
		}
		c.apply(c.begin(at, 0))
		for i, held := range []budget.Amount{90, 140} {
			accounts[i].held, accounts[i].hw, accounts[i].usable = held, 1000, 1000
		}
		wait := func(tag budget.Tag, bound budget.Amount, lines int, at instant) *waiter {
			r := &budget.Request{Attribution: budget.Attribution{Tag: tag}, Bound: bound, Wait: time.Minute}
			out, _, _, blocked := c.reserve(r, at)
			if out != held || len(blocked) != lines {
				t.Fatalf("%s: outcome %d, in %d lines", tag, out, len(blocked))
			}
			return c.wait(r, blocked, at)
		}
		large := wait("b/1", 50, 2, at)
		at = at.later(30 * second)
		small := wait("b/2", 5, 1, at) // it fits, and passes nobody
		accounts[0].limit = 10
		var look []*account
		for _, i := range todo {
			look = append(look, accounts[i])
		}
		if over := c.serve(look, at); !slices.Equal(over, []*waiter{large, small}) || large.out != refused || small.out != admitted || c.waiting.count != 0 {
			t.Errorf("%s: %d wait no more, with outcomes %d and %d", name, len(over), large.out, small.out)
		}
	}
}
