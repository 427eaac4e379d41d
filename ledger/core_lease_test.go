package ledger

import (
	"fmt"
	"testing"
	"time"

	"aigateway/budget"
)

// lending is a core that shares the caps of n budgets of 100 each, with their
// accounts at leaseNow.
func lending(n int, p budget.Period) (*core, []*account) {
	c := newCore(forever / 4)
	c.epoch = 1
	c.lend(forever / 4)
	at := leaseNow
	c.advance(&at)
	accounts := make([]*account, n)
	for i := range accounts {
		r := &rule{Budget: budget.Budget{ID: fmt.Sprintf("bud_%06d", i), Target: budget.Target{Tags: budget.TagPattern(fmt.Sprintf("tag%d", i))}, Period: p, Cap: 100}, num: int64(i + 1), loc: time.UTC}
		c.rules.add(r)
		accounts[i] = c.account(r, at.wall)
	}
	return c, accounts
}

// granted ends an exchange by which each account of budgets has lease.
func granted(c *core, lease, free budget.Amount, at instant, accounts ...*account) {
	var grants []budget.Grant
	for _, a := range accounts {
		grants = append(grants, budget.Grant{AccountName: budget.AccountName{BudgetID: a.rule.ID, Start: a.start}, Lease: lease, Free: free, Cap: a.rule.Cap})
	}
	c.told(grants, at)
	c.apply(c.begin(at, 0)) // rows, and marks
}

// later is leaseNow and some time.
func (at instant) later(d int64) instant { return instant{at.wall + d, at.mono + d} }

// TestLeaseOfARestart is what the last process may have used of it: its mark. No
// lease is below that, or below what is used or is about to become the mark.
func TestLeaseOfARestart(t *testing.T) {
	l := leaseLedger{disk: newLeaseDisk()}
	l.disk.row.hw, l.disk.row.spent = 30, 12
	l.start(100, 2, leaseNow)
	a := l.a
	if a.share.lease != 30 || a.limit != 30 || a.floor() != 30 {
		t.Errorf("a lease of %d, a limit of %d, not below %d; want the mark of 30", a.share.lease, a.limit, a.floor())
	}
	if a.share.planned = 31; a.floor() != 31 {
		t.Errorf("not below %d while a mark of 31 is committed", a.floor())
	}
	if a.rise = 70; a.floor() != a.used() || a.floor() < 82 {
		t.Errorf("not below %d of %d used", a.floor(), a.used())
	}
}

// TestExchangesAreBounded: an exchange asks of so many accounts at most, of those
// first for which somebody waits, and of none whose window is to come.
func TestExchangesAreBounded(t *testing.T) {
	c, accounts := lending(maxAsks+2, budget.Day)
	last := accounts[len(accounts)-1]
	last.share.lack = 1
	r := accounts[0].rule
	start, end := windowAt(budget.Day, time.UTC, accounts[0].end)
	r.next = c.newAccount(r, start, end)
	if asks := c.ask(leaseNow, false); len(asks) != 1 || asks[0].BudgetID != last.rule.ID {
		t.Fatalf("%d are in a hurry", len(asks))
	}
	c.unanswered(leaseNow)
	last.share.lack = 1
	asks := c.ask(leaseNow, true)
	if len(asks) != maxAsks || asks[0].BudgetID != last.rule.ID {
		t.Errorf("asked of %d, of %s first", len(asks), asks[0].BudgetID)
	}
	c.told(nil, leaseNow)
	rest := c.ask(leaseNow, true)
	if len(rest) != 2 {
		t.Errorf("then of %d, want the two that are left", len(rest))
	}
	for _, k := range rest {
		if k.Start != accounts[0].start {
			t.Errorf("asked of a window that begins %s later", time.Duration(k.Start-leaseNow.wall))
		}
	}
	c.told(nil, leaseNow)
	at := leaseNow.later(start - leaseNow.wall)
	if asks := c.ask(at, true); len(asks) != 1 || asks[0].Start != start {
		t.Errorf("once it has begun: %+v", asks)
	}
}

// TestNothingSentIsNotAwaited: nobody takes the store for down because there was
// nothing to ask it in a hurry.
func TestNothingSentIsNotAwaited(t *testing.T) {
	c, accounts := lending(1, budget.Total)
	c.ask(leaseNow, true)
	granted(c, 50, 50, leaseNow, accounts...)
	for i, sent := range []bool{false, true} {
		at := leaseNow.later(int64(i+1) * slowFor)
		if asks := c.ask(at, sent); len(asks) > 0 && !sent {
			t.Fatalf("%+v", asks)
		}
		if down := c.leases.isDown(at.later(slowFor)); down != sent {
			t.Errorf("sent: %t, down: %t", sent, down)
		}
	}
}

// TestUnusedLeasesGoBack: of an account that is idle, or whose window is over.
func TestUnusedLeasesGoBack(t *testing.T) {
	for name, tt := range map[string]struct {
		idle, after int64
		want        budget.Amount
	}{
		"in use":           {idleAfter - 1, 0, 80},
		"idle":             {idleAfter, 0, 10},
		"its window ended": {0, 24 * 3600 * second, 10},
	} {
		c, accounts := lending(1, budget.Day)
		a := accounts[0]
		c.ask(leaseNow, true)
		granted(c, 80, 20, leaseNow, a)
		a.held, a.largest = 10, 30 // neither too little nor too much is ahead
		a.active = leaseNow.mono + tt.after - tt.idle
		c.tell(a)
		asks := c.ask(leaseNow.later(tt.after), true)
		if a.share.lease != tt.want || a.limit != tt.want || len(asks) != 1 || asks[0].Lease < a.floor() {
			t.Errorf("%s: lease %d, limit %d, asks %+v; want %d", name, a.share.lease, a.limit, asks, tt.want)
		}
	}
}

// TestLeasesNobodyCameForGoBack: what was lent for a call that left meanwhile.
func TestLeasesNobodyCameForGoBack(t *testing.T) {
	c, accounts := lending(1, budget.Day)
	a := accounts[0]
	for range 2 { // the commit of a new account has something to tell
		a.active, a.share.first, a.share.lack = leaseNow.mono, 10, 10
		c.tell(a)
		c.ask(leaseNow, true)
		granted(c, 80, 20, leaseNow, a)
	}
	c.ask(leaseNow, true)
	granted(c, 80, 20, leaseNow, a)
	for s := int64(1); s <= 12; s++ {
		at := leaseNow.later(s * second)
		c.housekeep(at)
		c.apply(c.begin(at, 0))
		asks := c.ask(at, true)
		c.told(nil, at)
		if s < 10 && a.share.lease != 80 {
			t.Fatalf("after %d s it is %d", s, a.share.lease)
		}
		if s == 12 && (a.share.lease != 0 || a.limit != 0) {
			t.Errorf("after %d s the lease is %d, the limit %d; last asked %+v", s, a.share.lease, a.limit, asks)
		}
	}
}

// TestLeaseRunsAhead of its use by some seconds at the pace of late, which rises at
// once and falls slowly.
func TestLeaseRunsAhead(t *testing.T) {
	_, accounts := lending(1, budget.Total)
	a := accounts[0]
	a.largest, a.held = 3, 1000
	for i, step := range []struct{ use, rate budget.Amount }{{0, 1000}, {400, 850}, {0, 636}, {2000, 2000}} {
		if i > 0 { // the first second had all of it
			a.held += step.use
		}
		at := leaseNow.later(int64(i) * second)
		if i == 0 {
			a.share.pacedAt = at.mono - second
		}
		if got, want := a.ahead(at), leaseAhead*step.rate+2*3; got != want || a.share.rate != step.rate {
			t.Errorf("second %d: %d ahead at %d a second, want %d at %d", i, got, a.share.rate, want, step.rate)
		}
	}
}

// TestStoresWordOnRoom: what the store had no room for is not asked again for a
// moment, and what is smaller is; without a word of it on the budget nothing is.
func TestStoresWordOnRoom(t *testing.T) {
	c, accounts := lending(1, budget.Total)
	a := accounts[0]
	try := func(bound budget.Amount, want outcome, at instant) {
		t.Helper()
		if got, _, _, _ := c.reserve(&budget.Request{Attribution: budget.Attribution{Tag: "tag0"}, Bound: bound}, at); got != want {
			t.Errorf("a call of %d: outcome %d, want %d", bound, got, want)
		}
	}
	c.ask(leaseNow, true)
	granted(c, 0, 0, leaseNow, a)
	at := leaseNow.later(shortFor)
	try(40, waitLease, at)
	c.ask(at, true)
	granted(c, 10, 60, at, a) // less than is free: another came first
	try(40, contended, at)
	try(39, waitLease, at)
	try(40, waitLease, at.later(shortFor))
	c.ask(at, true)
	granted(c, 0, 0, at) // it no longer knows the budget
	try(39, unreachable, at)
}

// TestFirstWhatLacks: a call waits for what comes last, the store ahead of a commit.
func TestFirstWhatLacks(t *testing.T) {
	c, accounts := lending(2, budget.Total)
	lacks, falls := accounts[0], accounts[1]
	c.ask(leaseNow, true)
	granted(c, 100, 0, leaseNow, falls)
	falls.held, falls.falling = 100, 50
	for _, tt := range []struct {
		legs  []*account
		want  outcome
		which *account
	}{{[]*account{falls}, waitSettle, nil}, {[]*account{lacks, falls}, waitLease, lacks}, {[]*account{falls, lacks}, waitLease, lacks}} {
		lacks.share.toldAt, lacks.share.absent = -forever, false
		if out, which := decide(tt.legs, 40, leaseNow); out != tt.want || which != tt.which {
			t.Errorf("%d legs: outcome %d, want %d", len(tt.legs), out, tt.want)
		}
	}
}

// TestWhoWaitsIsAskedForOnce: those who wait for a lease look at it again and again,
// and lack no more of it for that.
func TestWhoWaitsIsAskedForOnce(t *testing.T) {
	c, accounts := lending(1, budget.Total)
	c.waiting.most = 1 << 20
	a := accounts[0]
	c.ask(leaseNow, true)
	a.held = 50
	granted(c, 50, 0, leaseNow, a)
	r := &budget.Request{Attribution: budget.Attribution{Tag: "tag0"}, Bound: 40, Wait: time.Minute}
	out, _, _, blocked := c.reserve(r, leaseNow)
	if out != held || a.share.lack != 0 {
		t.Fatalf("outcome %d, lacks %d", out, a.share.lack)
	}
	c.wait(r, blocked, leaseNow)
	for range 3 {
		if over := c.serve(c.waiting.at, leaseNow.later(shortFor)); len(over) > 0 || a.share.lack != 40 || a.share.first != 40 {
			t.Errorf("%d wait no more, %d is lacking, %d first", len(over), a.share.lack, a.share.first)
		}
	}
}

// TestWordsOnScopes: the store's word on an account of another scope is no word on that
// of all calls, whether that was asked about or not.
func TestWordsOnScopes(t *testing.T) {
	c, accounts := lending(1, budget.Total)
	a := accounts[0]
	a.largest, a.active = 25, leaseNow.mono // it keeps what it has
	c.ask(leaseNow, true)
	granted(c, 50, 50, leaseNow, a)
	c.ask(leaseNow, true) // of what the commit has changed
	c.told([]budget.Grant{{AccountName: a.name(), Lease: 50, Cap: 100, Free: 50}}, leaseNow)
	for _, asked := range []bool{false, true} {
		if asked {
			c.tell(a)
		}
		asks := c.ask(leaseNow, true)
		if len(asks) > 0 != asked {
			t.Fatalf("%+v", asks)
		}
		other := a.name()
		other.Scope = "x"
		c.told([]budget.Grant{{AccountName: other, Lease: 7, Cap: 100, Recall: true}}, leaseNow)
		if a.share.lease != 50 || a.share.told.Lease != 50 || a.share.recall || a.share.absent != asked {
			t.Errorf("asked %t: a lease of %d, the store's word is %+v", asked, a.share.lease, a.share.told)
		}
	}
}
