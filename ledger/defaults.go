package ledger

import "aigateway/budget"

// DefaultMaxTokens is the smallest DefaultMaxTokens of the budgets that watch a
// call with this tag and key; 0 when none of them has one. It reads memory only.
func (l *Ledger) DefaultMaxTokens(tag budget.Tag, keyID string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.core.rules.defaultMaxTokens(tag, keyID)
}

func (x *ruleIndex) defaultMaxTokens(tag budget.Tag, keyID string) int64 {
	least := smallestDefault(0, x.all)
	least = smallestDefault(least, x.keys[keyID])
	least = smallestDefault(least, x.exact[tag])
	least = smallestDefault(least, x.subtree[tag])
	for i := range len(tag) {
		if tag[i] == '/' {
			least = smallestDefault(least, x.subtree[tag[:i]])
		}
	}
	return least
}

func smallestDefault(least int64, rules []*rule) int64 {
	for _, r := range rules {
		least = budget.SmallerDefault(least, r.DefaultMaxTokens)
	}
	return least
}
