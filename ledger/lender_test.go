package ledger

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"aigateway/budget"
)

// lender is a store in memory that does what Lessor asks of one. Replicas are
// numbers; share is what a raise that no call waits for may take of what is free:
// its 2N-th part.
type lender struct {
	mu      sync.Mutex
	budgets map[string]budget.Amount
	share   budget.Amount
	lent    map[budget.AccountName]map[int]holding
	lacker  map[budget.AccountName]int // who lacked last, plus 1: the others are to give back
	down    bool
	delay   time.Duration
	calls   int
	now     func() time.Time // its clock; nil: time.Now
}

type holding struct{ lease, spent, reserved budget.Amount }

func newLender(share budget.Amount) *lender {
	return &lender{budgets: map[string]budget.Amount{}, share: share, lent: map[budget.AccountName]map[int]holding{}, lacker: map[budget.AccountName]int{}}
}

// exchange is one transaction of replica who. It also tells of what was not asked
// about, where another lacks what is unused there.
func (s *lender) exchange(who int, asks []budget.Ask) []budget.Grant {
	var grants []budget.Grant
	for _, k := range asks {
		limit, known := s.budgets[k.BudgetID]
		if !known {
			continue
		}
		if s.lent[k.AccountName] == nil {
			s.lent[k.AccountName] = map[int]holding{}
		}
		h, free := s.lent[k.AccountName][who], limit-s.allocated(k.AccountName)
		floor := max(k.Has, k.Spent+k.Reserved)
		switch raise := min(k.Lease-h.lease, max(k.Least-h.lease, free/s.share), max(0, free)); {
		case k.Lease < h.lease:
			h.lease = k.Lease
		case h.lease+raise >= k.Least:
			h.lease += max(0, raise)
		}
		h = holding{max(h.lease, floor), k.Spent, k.Reserved}
		s.lent[k.AccountName][who] = h
		switch {
		case h.lease < k.Least:
			s.lacker[k.AccountName] = who + 1
		case s.lacker[k.AccountName] == who+1:
			delete(s.lacker, k.AccountName)
		}
		grants = append(grants, s.grant(k.AccountName, who))
	}
	for name, m := range s.lent {
		asked := slices.ContainsFunc(asks, func(k budget.Ask) bool { return k.AccountName == name })
		if h, ok := m[who]; ok && !asked && s.lacker[name] != 0 && s.lacker[name] != who+1 && h.lease > h.spent+h.reserved {
			grants = append(grants, s.grant(name, who))
		}
	}
	return grants
}

// corrections is the holder of what is charged and refunded.
const corrections = -1

// correct charges or refunds amount.
func (s *lender) correct(name budget.AccountName, amount budget.Amount) {
	h := s.lent[name][corrections]
	s.lent[name][corrections] = holding{lease: h.lease + amount, spent: h.spent + amount}
}

func (s *lender) allocated(name budget.AccountName) (sum budget.Amount) {
	for _, h := range s.lent[name] {
		sum += h.lease
	}
	return sum
}

func (s *lender) grant(name budget.AccountName, who int) budget.Grant {
	g := budget.Grant{AccountName: name, Lease: s.lent[name][who].lease, Cap: s.budgets[name.BudgetID], Refunded: max(0, -s.lent[name][corrections].lease)}
	g.Free = g.Cap - s.allocated(name)
	for _, h := range s.lent[name] {
		g.Spent += h.spent
		g.Reserved += h.reserved
	}
	l := s.lacker[name]
	g.Recall = l != 0 && l != who+1
	return g
}

// replica is the Lessor of one of them.
type replica struct {
	*lender
	who int
}

func (r replica) Exchange(ctx context.Context, asks []budget.Ask) (grants []budget.Grant, clock time.Time, err error) {
	r.mu.Lock()
	down, delay := r.down, r.delay
	r.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, clock, ctx.Err()
		}
	}
	if down {
		return nil, clock, errors.New("the store is down")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	return r.exchange(r.who, asks), r.clock(), nil
}

func (s *lender) clock() time.Time {
	if s.now == nil {
		return time.Now()
	}
	return s.now()
}

// Lent makes c a replica, the only one, of a store with these caps by budget.
func Lent(c Config, caps map[string]budget.Amount) Config {
	s := newLender(2)
	s.budgets = caps
	c.Lessor = replica{s, 0}
	return c
}
