package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"aigateway/budget"
)

// leaseSim is a life of some ledgers that share one cap, from a seed: real cores, each
// with a disk, and one store whose requests and answers get lost.
type leaseSim struct {
	rng     *rand.Rand
	cap     budget.Amount
	store   *lender
	ledgers []simLender
	now     instant
	calls   []simLent
	cost    budget.Amount // of calls that ended, and corrections
	reached map[string]int
}

type simLender struct {
	leaseLedger
	batch   *batch
	waiting []budget.Amount // bounds of calls that wait
}

type simLent struct {
	who   int
	id    budget.ReservationID
	bound budget.Amount
}

func newLeaseSim(seed uint64) *leaseSim {
	s := &leaseSim{rng: rand.New(rand.NewPCG(seed, 14)), now: leaseNow, reached: map[string]int{}}
	s.cap = budget.Amount(20 + s.rng.IntN(300))
	s.ledgers = make([]simLender, 2+s.rng.IntN(4))
	s.store = newLender(budget.Amount(1 + s.rng.IntN(2*len(s.ledgers))))
	s.store.budgets["bud"] = s.cap
	for i := range s.ledgers {
		s.ledgers[i].disk = newLeaseDisk()
		s.ledgers[i].start(s.cap, 1, s.now)
	}
	return s
}

// step does something at random; faults are left out at the end.
func (s *leaseSim) step(faults bool) {
	who := s.rng.IntN(len(s.ledgers))
	l := &s.ledgers[who]
	switch n := s.rng.IntN(100); {
	case n < 30:
		s.reserve(who, budget.Amount(1+s.rng.IntN(10)))
	case n < 50:
		s.settle()
	case n < 65:
		s.sync(l)
	case n < 90:
		s.exchange(who, faults)
	case n < 91:
		s.correct()
	case n < 97:
		d := int64(s.rng.IntN(int(second) / 2))
		if s.rng.IntN(20) == 0 {
			d = 11 * second
		}
		s.now.wall += d
		s.now.mono += d
	case faults:
		s.crash(l)
	}
}

func (s *leaseSim) reserve(who int, bound budget.Amount) outcome {
	l := &s.ledgers[who]
	out, h, _, _ := l.c.reserve(&budget.Request{Bound: bound}, s.now)
	s.reached[fmt.Sprint("outcome ", out)]++
	switch out {
	case admitted:
		s.calls = append(s.calls, simLent{who, h.id, bound})
	case waitLease, waitMark, waitSettle:
		l.waiting = append(l.waiting, bound)
	}
	return out
}

// correct refunds some of what the store was told of, or charges what is free.
func (s *leaseSim) correct() {
	g := s.store.grant(leaseName, corrections)
	if s.store.lent[leaseName] == nil || g.Free+g.Spent <= 0 {
		return
	}
	amount := budget.Amount(s.rng.IntN(int(g.Free+g.Spent)+1)) - g.Spent
	s.store.correct(leaseName, amount)
	s.cost += amount
	switch {
	case amount < 0:
		s.reached["a refund"]++
	case amount > 0:
		s.reached["a charge"]++
	}
}

// again lets those who wait at a ledger try again.
func (s *leaseSim) again(who int) {
	waiting := s.ledgers[who].waiting
	s.ledgers[who].waiting = nil
	for _, bound := range waiting {
		s.reserve(who, bound)
	}
}

func (s *leaseSim) settle() {
	if len(s.calls) == 0 {
		return
	}
	i := s.rng.IntN(len(s.calls))
	k := s.calls[i]
	s.calls[i] = s.calls[len(s.calls)-1]
	s.calls = s.calls[:len(s.calls)-1]
	cost := budget.Amount(s.rng.IntN(int(k.bound) + 1))
	s.cost += cost
	s.ledgers[k.who].c.settle(&budget.Settlement{Basis: budget.BasisUsage, Cost: cost,
		Reservation: &budget.Reservation{ID: k.id, Bound: k.bound, Accounts: []int64{1}}}, s.now)
}

// sync does the next part of a commit.
func (s *leaseSim) sync(l *simLender) {
	if l.batch == nil {
		l.c.lowerIdle(s.now, false)
		if l.c.pending() {
			l.batch = l.c.begin(s.now, second/50)
		}
		return
	}
	l.write(l.batch)
	l.c.apply(l.batch)
	l.batch = nil
	for i := range s.ledgers {
		if &s.ledgers[i] == l {
			s.again(i)
		}
	}
}

// exchange does the next part of one.
func (s *leaseSim) exchange(who int, faults bool) {
	l := &s.ledgers[who]
	lost := faults && s.rng.IntN(10) == 0
	if !l.asking {
		l.asks, l.asking, l.grants = l.c.ask(s.now, !faults || s.rng.IntN(2) == 0), true, nil
		if lost {
			s.reached["a request is lost"]++
			l.c.unanswered(s.now)
			l.asking = false
			s.again(who)
			return
		}
		l.grants = s.store.exchange(who, l.asks)
		for _, g := range l.grants {
			if g.Recall {
				s.reached["a lease is recalled"]++
			}
		}
		return
	}
	l.asking = false
	if lost {
		s.reached["an answer is lost"]++
		l.c.unanswered(s.now)
	} else {
		l.c.told(l.grants, s.now)
	}
	s.again(who)
}

func (s *leaseSim) crash(l *simLender) {
	if l.batch != nil && s.rng.IntN(2) == 0 {
		s.reached["a crash behind a commit"]++
		l.write(l.batch)
	}
	s.reached["a crash"]++
	l.batch, l.waiting = nil, nil
	l.start(s.cap, l.c.epoch+1, s.now)
}

// broken names the first invariant that does not hold.
func (s *leaseSim) broken() string {
	corrected := s.store.lent[leaseName][corrections].lease
	exposure, all := s.cost, corrected
	for _, k := range s.calls {
		exposure += k.bound
	}
	for i := range s.ledgers {
		l := &s.ledgers[i]
		all += l.a.used()
		lent := s.store.lent[leaseName][i].lease
		if l.a.share.lease > lent || l.a.floor() > lent || l.disk.row.hw > lent {
			return fmt.Sprintf("I10: ledger %d has %d, its mark is %d, the store has lent %d", i, l.a.share.lease, l.disk.row.hw, lent)
		}
	}
	switch {
	case exposure > s.cap:
		return fmt.Sprintf("I4: overspend, %d of %d", exposure, s.cap)
	case all > s.cap || exposure > all:
		return fmt.Sprintf("I10: %d is used of %d, the provider may bill %d", all, s.cap, exposure)
	case s.store.allocated(leaseName) > s.cap:
		return fmt.Sprintf("I10: %d is lent of %d", s.store.allocated(leaseName), s.cap)
	}
	return ""
}

// end lets all calls end and wants what is left to be had by one call on any ledger,
// and not a nano-dollar more.
func (s *leaseSim) end() string {
	round := func() {
		s.now.wall += second
		s.now.mono += second
		for i := range s.ledgers {
			for range 2 {
				s.exchange(i, false)
				s.sync(&s.ledgers[i])
				s.sync(&s.ledgers[i])
			}
		}
	}
	for range 5 {
		for i := range s.ledgers {
			s.ledgers[i].waiting = nil
		}
		for len(s.calls) > 0 {
			s.settle()
		}
		round()
	}
	left := s.cap - s.store.lent[leaseName][corrections].lease
	for i := range s.ledgers {
		left -= s.ledgers[i].a.used()
	}
	who := s.rng.IntN(len(s.ledgers))
	before := len(s.calls)
	for range 10 {
		if left == 0 {
			break
		}
		s.ledgers[who].waiting = nil
		s.reserve(who, left)
		round()
		if len(s.calls) > before {
			break
		}
	}
	if left > 0 && len(s.calls) != before+1 {
		return fmt.Sprintf("I15: %d are left, and no call gets them", left)
	}
	for range 8 { // until all have told what they have
		round()
	}
	for i := range s.ledgers {
		s.now.mono += second
		s.now.wall += second
		if out := s.reserve(i, 1); out == waitLease {
			s.ledgers[i].waiting = nil
			s.ledgers[i].asking = false
			s.exchange(i, false)
			s.exchange(i, false)
			out = s.reserve(i, 1)
			if out != refused {
				return fmt.Sprintf("I11: a call above the cap at ledger %d: outcome %d", i, out)
			}
		}
	}
	return s.broken()
}

func (s *leaseSim) run(steps int) string {
	for range steps {
		s.step(true)
		if broken := s.broken(); broken != "" {
			return broken
		}
	}
	return s.end()
}

// TestLeaseSimulation runs lives of two to five ledgers on one cap from seeds: some
// that are always the same, then others for as long as sim.seconds says. sim.seed is
// the only one that is run.
func TestLeaseSimulation(t *testing.T) {
	t.Parallel()
	began, seeds := time.Now(), uint64(20_000)
	if testing.Short() {
		seeds = 1000
	}
	reached := map[string]int{}
	run := func(seed uint64) {
		t.Helper()
		s := newLeaseSim(seed)
		if broken := s.run(400); broken != "" {
			t.Fatalf("-sim.seed=%d: %s", seed, broken)
		}
		for k, n := range s.reached {
			reached[k] += n
		}
	}
	if *simSeed > 0 {
		run(*simSeed)
		return
	}
	for seed := range seeds {
		run(seed)
	}
	for seed := uint64(began.UnixNano()); time.Since(began).Seconds() < *simSeconds && !testing.Short(); seed++ {
		run(seed)
		seeds++
	}
	t.Logf("%d seeds in %s", seeds, time.Since(began).Round(time.Millisecond))
	for _, path := range []string{"a crash", "a crash behind a commit", "a request is lost", "an answer is lost", "a lease is recalled", "a refund", "a charge",
		fmt.Sprint("outcome ", admitted), fmt.Sprint("outcome ", refused), fmt.Sprint("outcome ", contended), fmt.Sprint("outcome ", waitLease), fmt.Sprint("outcome ", waitMark), fmt.Sprint("outcome ", unreachable)} {
		if reached[path] == 0 {
			t.Errorf("never reached: %s", path)
		}
	}
	t.Log(reached)
}
