package extauthz

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"time"

	"aigateway/budget"
)

const (
	// keptCounts is how many sums wait to be taken at most. There is one for each
	// budget, reason and quarter of an hour; what has no room is not counted.
	keptCounts = 10_000
	// keptSeen is how many calls are known at most for one to two times repeatWithin,
	// twice this many in some 4 MB. When there are more, new ones count as calls, but
	// not as distinct: too little is said to be kept, never too much.
	keptSeen = 50_000
)

// refusedCounts adds up refused calls by budget, reason and quarter of an hour.
type refusedCounts struct {
	sums map[refusedKey]budget.RefusedSum
	// seen is when a call was refused last, by hash: those of this time and of the one
	// before.
	seen [2]map[uint64]time.Time
	turn time.Time // when seen turned
}

type refusedKey struct {
	at               int64 // Unix seconds
	budgetID, reason string
}

// add counts n. The caller holds the lock of Refusals.
func (c *refusedCounts) add(seed maphash.Seed, n *refusedCall) {
	one := budget.Refused{Reason: n.Reason, Time: n.DecidedAt.Truncate(15 * time.Minute), RefusedSum: budget.RefusedSum{Calls: 1}}
	if n.Refusal != nil {
		one.BudgetID = n.Refusal.Budget.ID
	}
	if c.first(seed, n) {
		one.Distinct, one.Kept = 1, n.Bound
	}
	c.count(&one)
}

// first reports whether the key of n has not sent its body within repeatWithin.
func (c *refusedCounts) first(seed maphash.Seed, n *refusedCall) bool {
	if n.DecidedAt.Sub(c.turn) >= repeatWithin || c.seen[0] == nil {
		c.seen[0], c.seen[1], c.turn = map[uint64]time.Time{}, c.seen[0], n.DecidedAt
	}
	h := maphash.Bytes(seed, append(binary.LittleEndian.AppendUint64(nil, n.body), n.KeyID...))
	last, known := c.seen[0][h]
	if !known {
		last, known = c.seen[1][h]
	}
	if _, here := c.seen[0][h]; !here && len(c.seen[0]) >= keptSeen {
		return false
	}
	c.seen[0][h] = n.DecidedAt
	return !known || n.DecidedAt.Sub(last) >= repeatWithin
}

func (c *refusedCounts) count(r *budget.Refused) {
	k := refusedKey{r.Time.Unix(), r.BudgetID, r.Reason}
	sum, ok := c.sums[k]
	if !ok && len(c.sums) >= keptCounts {
		return
	}
	if c.sums == nil {
		c.sums = map[refusedKey]budget.RefusedSum{}
	}
	sum.Add(r.RefusedSum)
	c.sums[k] = sum
}

func (c *refusedCounts) take() []budget.Refused {
	out := make([]budget.Refused, 0, len(c.sums))
	for k, sum := range c.sums {
		out = append(out, budget.Refused{BudgetID: k.budgetID, Reason: k.reason, Time: time.Unix(k.at, 0), RefusedSum: sum})
	}
	c.sums = nil
	slices.SortFunc(out, func(a, b budget.Refused) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.BudgetID, b.BudgetID), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
