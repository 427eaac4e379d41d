package ledger

import (
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
// this tag and key; ok is false when none does. It reads memory only.
func (l *Ledger) Tightest(tag budget.Tag, keyID string) (tightest budget.Status, ok bool) {
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
