package ledger

import (
	"slices"
	"strings"

	"aigateway/budget"
)

// snapshot is everything a restart knows: the rows of the journal.
type snapshot struct {
	epoch       uint64 // the new one
	closed      uint64
	marks       map[uint64]uint64
	wall        int64
	rules       []*rule
	accounts    []accountRow
	lastAccount int64
	open        []savedHold
	expired     []savedHold
	orphaned    []budget.ReservationID
	strays      []string
	rolledBack  bool                    // restored from a backup: everything above the records is undecided
	restored    map[int64]budget.Amount // by account: what the last restore held
	exact       bool                    // open has every reservation that was granted: nothing is undecided
}

// savedHold is a hold as the journal has it: legs by id.
type savedHold struct {
	hold
	accounts []int64
}

// restore builds the state that the rows prove and holds back what they do
// not (R4). It returns the rows whose counters that changed; they must be
// durable, together with the new epoch, before anything is admitted.
func restore(s *snapshot, timeout int64, at instant) (*core, []accountRow) {
	c := newCore(timeout)
	c.rules = newRuleIndex(len(s.rules))
	c.accounts = make(map[int64]*account, len(s.accounts))
	c.open = make(map[budget.ReservationID]*hold, len(s.open))
	c.requests = make(map[string]*hold, len(s.open)+len(s.expired))
	c.epoch, c.closed, c.marks = s.epoch, s.closed, s.marks
	c.wall, c.lastAccount = s.wall, s.lastAccount
	c.advance(&at)
	c.poolUntil = at.mono + timeout
	c.restoreRules(s, at)
	for i := range s.open {
		h := c.restoreHold(&s.open[i])
		h.deadline = at.mono + timeout
		c.open[h.id] = h
		c.expiry.push(h)
		for _, a := range h.legs {
			a.held += h.bound
		}
	}
	for i := range s.expired {
		h := c.restoreHold(&s.expired[i])
		h.state = holdExpired
		c.expired[h.id] = h
	}
	for _, id := range s.orphaned {
		c.orphaned[id] = struct{}{}
	}
	for _, k := range s.strays {
		c.strays[k] = struct{}{}
	}
	rows := c.holdBack(s)
	if s.rolledBack {
		rows = append(rows, c.holdForgotten()...)
	}
	return c, rows
}

// forgottenAccounts is how many accounts may have been opened after a backup:
// a late log must not find another one under its number.
const forgottenAccounts = 1 << 20

// holdForgotten opens, after a rollback, the windows that began after what the
// database knows, and holds them up to their caps.
func (c *core) holdForgotten() []accountRow {
	c.lastAccount += forgottenAccounts
	var rows []accountRow
	for _, id := range c.rules.ids {
		r := c.rules.byID[id]
		if r.peek(c.wall) != nil {
			continue
		}
		a := c.account(r, c.wall)
		a.hw, a.fresh = a.limit, false
		a.counters.recover(0)
		if a.orphan > 0 {
			c.pools = append(c.pools, a)
		}
		rows = append(rows, accountRow{id: a.id, budget: r.num, start: a.start, end: a.end, orphan: a.orphan, hw: a.hw})
	}
	return rows
}

func (c *core) restoreRules(s *snapshot, at instant) {
	byNum := make(map[int64]*rule, len(s.rules))
	slices.SortFunc(s.rules, func(a, b *rule) int { return strings.Compare(a.ID, b.ID) })
	for _, r := range s.rules {
		byNum[r.num] = r
		c.rules.add(r)
	}
	for _, row := range s.accounts {
		r := byNum[row.budget]
		if r == nil {
			continue // its budget was deleted
		}
		a := &account{id: row.id, rule: r, start: row.start, end: row.end}
		a.limit, a.spent, a.orphan, a.residue, a.hw = r.limit(), row.spent, row.orphan, row.residue, row.hw
		a.restored = s.restored[a.id]
		c.accounts[a.id] = a
		switch {
		case a.start <= at.wall && at.wall < a.end:
			if r.cur == nil || r.cur.start < a.start {
				r.cur = a
			}
		case a.start > at.wall && (r.next == nil || a.start < r.next.start):
			r.next = a
		}
	}
}

func (c *core) restoreHold(s *savedHold) *hold {
	h := &s.hold
	var buf [8]*account
	legs := buf[:0]
	for _, id := range s.accounts {
		if a := c.accounts[id]; a != nil {
			legs = append(legs, a)
		}
	}
	h.setLegs(legs)
	c.addRefs(h)
	if h.requestID != "" {
		c.requests[h.requestID] = h
	}
	return h
}

func (c *core) holdBack(s *snapshot) []accountRow {
	var rows []accountRow
	for _, row := range s.accounts {
		a := c.accounts[row.id]
		if a == nil {
			continue
		}
		if s.rolledBack && a.end > c.wall {
			a.hw = max(a.hw, a.limit)
		}
		if s.exact {
			a.hw = min(a.hw, a.spent+a.orphan+a.held)
		}
		a.counters.recover(a.held)
		if a.orphan > 0 {
			c.pools = append(c.pools, a)
		}
		if a.orphan > row.orphan {
			a.restored = 0 // a crash added to it, and nobody can tell what is whose
			delete(s.restored, a.id)
		}
		if a.orphan != row.orphan || a.hw != row.hw {
			row.orphan, row.hw = a.orphan, a.hw
			rows = append(rows, row)
		}
		c.forget(a)
	}
	return rows
}
