package ledger

import (
	"context"
	"slices"

	"aigateway/budget"
)

// Defaults are the smallest of the budgets that watch a call with this tag and
// key. It reads memory only.
func (l *Ledger) Defaults(tag budget.Tag, keyID string) budget.Defaults {
	l.mu.Lock()
	defer l.mu.Unlock()
	var least budget.Defaults
	for rules := range l.core.rules.watching(tag, keyID) {
		for _, r := range rules {
			if !r.counting {
				least = least.Least(r.Defaults)
			}
		}
	}
	return least
}

// refresh asks the Lessor what all have used of the accounts of a call, unless it said
// so a moment ago, and waits for its answer.
func (l *Ledger) refresh(ctx context.Context, tag budget.Tag, keyID string) {
	for {
		at := l.instant()
		l.mu.Lock()
		asked := l.core.refresh(tag, keyID, at)
		l.exchangeSoon()
		exchanged := l.exchanged
		l.mu.Unlock()
		if !asked {
			return
		}
		select {
		case <-exchanged:
		case <-ctx.Done():
			return
		case <-l.failure:
			return
		case <-l.done:
			return
		}
	}
}

// refresh reports whether an exchange is to tell what all have used of the accounts of
// a call.
func (c *core) refresh(tag budget.Tag, keyID string, at instant) (asked bool) {
	c.advance(&at)
	if c.leases == nil || c.leases.isDown(at) {
		return false
	}
	for rules := range c.rules.watching(tag, keyID) {
		for _, r := range rules {
			if r.counting {
				continue
			}
			a := c.account(r, at.wall)
			if at.mono < a.share.toldAt+shortFor {
				continue
			}
			a.share.look, asked = true, true
			c.tell(a)
		}
	}
	c.leases.urgent = c.leases.urgent || asked
	return asked
}

// Watched reports whether a budget watches a call with this tag and key. It reads
// memory only.
func (l *Ledger) Watched(tag budget.Tag, keyID string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rules := range l.core.rules.watching(tag, keyID) {
		if slices.ContainsFunc(rules, func(r *rule) bool { return !r.counting }) {
			return true
		}
	}
	return false
}

// Tightest is the budget with the least left of those that watch a call with
// this tag and key; ok is false when none does. It reads memory only, but for what
// other ledgers have used of a shared cap: that is asked for if nobody asked a moment
// ago, for as long as ctx lasts.
func (l *Ledger) Tightest(ctx context.Context, tag budget.Tag, keyID string) (tightest budget.Status, ok bool) {
	l.refresh(ctx, tag, keyID)
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.advance(&at)
	for rules := range l.core.rules.watching(tag, keyID) {
		for _, r := range rules {
			if r.counting {
				continue
			}
			if st := l.core.status(r, at.wall); !ok || st.Remaining() < tightest.Remaining() {
				tightest, ok = *st, true
			}
		}
	}
	return tightest, ok
}
