package postgres_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"aigateway/budget"
	"aigateway/internal/tcpproxy"
	"aigateway/postgres"
)

const linearMembers, linearAccounts, linearExchanges = 4, 2, 12

// linearBooks are accounts as a store has them that does one thing at a time.
type linearBooks struct {
	caps [linearAccounts]budget.Amount
	have [linearAccounts][linearMembers]linearShare
	// last are the numbers of each member's exchanges: an older one changes nothing.
	last [linearMembers]int
}

type linearShare struct{ lease, spent, reserved budget.Amount }

// linearInput is an exchange of a member, or with cap an edit.
type linearInput struct {
	who, no int
	asks    []budget.Ask
	cap     bool
}

// linearOutput is what a caller was told; nothing where no answer came.
type linearOutput struct{ grants []budget.Grant }

// exchange is the arithmetic of an exchange, which PostgreSQL has to do for many at once.
func (b *linearBooks) exchange(account, who int, a budget.Ask) budget.Grant {
	var all linearShare
	for _, h := range b.have[account] {
		all.lease, all.spent, all.reserved = all.lease+h.lease, all.spent+h.spent, all.reserved+h.reserved
	}
	h := &b.have[account][who]
	want, fact := max(a.Lease, a.Has), max(a.Has, a.Spent+a.Reserved)
	base := max(h.lease, fact)
	if want < h.lease {
		base = max(want, fact)
	}
	free := b.caps[account] - (all.lease - h.lease + base)
	gets := base
	if want > base {
		gets += max(0, min(want-base, max(a.Least-base, free/(2*linearMembers)), free))
	}
	if gets < a.Least {
		gets = base
	}
	g := budget.Grant{AccountName: a.AccountName, Lease: gets, Cap: b.caps[account], Free: b.caps[account] - all.lease + h.lease - gets,
		Spent: all.spent - h.spent + a.Spent, Reserved: all.reserved - h.reserved + a.Reserved}
	*h = linearShare{gets, a.Spent, a.Reserved}
	return g
}

func sequentialStore(names []budget.AccountName, limit budget.Amount) porcupine.Model {
	account := map[budget.AccountName]int{}
	for i, n := range names {
		account[n] = i
	}
	return porcupine.Model{
		Init: func() any { return linearBooks{caps: [linearAccounts]budget.Amount{limit, limit}} },
		Step: func(state, input, output any) (bool, any) {
			b, in, out := state.(linearBooks), input.(linearInput), output.(linearOutput)
			switch {
			case in.cap:
				b.caps[account[in.asks[0].AccountName]] = in.asks[0].Lease
				return true, b
			case in.no <= b.last[in.who]: // it comes too late
				return out.grants == nil, b
			}
			b.last[in.who] = in.no
			for i, a := range in.asks {
				if g := b.exchange(account[a.AccountName], in.who, a); out.grants != nil && g != out.grants[i] {
					return false, b
				}
			}
			return true, b
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	}
}

// testLinearizable has replicas lend, use and return at once, through connections that
// end anywhere, where what was sent may still arrive a moment later. What they are told
// must be what a store tells that does one exchange at a time, in an order that agrees
// with the clock. EXCHANGES is how many histories are run.
func testLinearizable(w *world) {
	histories := 12
	if testing.Short() {
		histories = 4
	}
	if n, err := strconv.Atoi(os.Getenv("EXCHANGES")); err == nil {
		histories = n
	}
	const limit = 400
	names := make([][]budget.AccountName, histories)
	for h := range names {
		for i := range linearAccounts {
			n := w.budget(fmt.Sprintf("l/%d/%d", h, i), limit)
			w.allowed[n.BudgetID] = limit // caps are cut below what is lent
			names[h] = append(names[h], n)
		}
	}
	var members [linearMembers]*linearMember
	for i := range members {
		k, s := w.cuttable(time.Hour) // whoever is silent has no share
		members[i] = &linearMember{world: w, who: i, scissors: k, store: s, Member: w.joinOn(s, fmt.Sprintf("m%d", i))}
	}
	began, cuts, unanswered, hard := time.Now(), 0, 0, 0
	for h, names := range names {
		history := w.history(members, fmt.Sprint("l/", h), names, began)
		if w.Failed() {
			return
		}
		switch porcupine.CheckOperationsTimeout(sequentialStore(names, limit), history, 20*time.Second) {
		case porcupine.Illegal:
			var lines []string
			for _, op := range history {
				lines = append(lines, fmt.Sprintf("%d..%d %+v -> %+v", op.Call, op.Return, op.Input, op.Output))
			}
			w.Fatalf("history %d is not linearizable:\n%s", h, strings.Join(lines, "\n"))
		case porcupine.Unknown:
			hard++
		}
	}
	for _, m := range members {
		cuts, unanswered = cuts+m.cuts, unanswered+m.unanswered
		if n := m.store.LostCommits(); n != 0 {
			w.Errorf("%d lost commits", n)
		}
	}
	w.Logf("%d histories, %d connections cut, %d exchanges without an answer, %d too hard to check, in %s", histories, cuts, unanswered, hard, time.Since(began).Round(time.Millisecond))
	if exchanges := histories * linearMembers * linearExchanges; cuts < histories || unanswered == 0 || unanswered > exchanges/2 || hard > histories/3 {
		w.Errorf("that is not what this is about, of %d exchanges", exchanges)
	}
}

// history is what members and somebody who edits the caps did at once, and were told.
func (w *world) history(members [linearMembers]*linearMember, tag string, names []budget.AccountName, began time.Time) []porcupine.Operation {
	seed := uint64(time.Now().UnixNano())
	parts := make([][]porcupine.Operation, linearMembers+1)
	var all sync.WaitGroup
	for i, m := range members {
		m.names, m.have, m.rng = names, make([]linearShare, linearAccounts), rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() { parts[i] = m.run(began) })
	}
	r := rand.New(rand.NewPCG(seed, linearMembers))
	for range 3 {
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
		i, limit := r.IntN(linearAccounts), budget.Amount(200+r.IntN(400))
		op := porcupine.Operation{ClientId: linearMembers, Call: int64(time.Since(began)), Output: linearOutput{}}
		op.Input = linearInput{cap: true, asks: []budget.Ask{{AccountName: names[i], Lease: limit}}}
		w.budget(fmt.Sprint(tag, "/", i), limit)
		op.Return = int64(time.Since(began))
		parts[linearMembers] = append(parts[linearMembers], op)
	}
	all.Wait()
	return slices.Concat(parts...)
}

// linearMember is a replica whose admission obeys what it was told.
type linearMember struct {
	*world
	*scissors
	*postgres.Member
	store *postgres.Store
	who   int
	names []budget.AccountName
	have  []linearShare // what it may use, and uses
	rng   *rand.Rand

	cuts, unanswered int
}

// run returns the history of its exchanges. One without an answer may have happened
// until the next one that is answered: behind that it changes nothing, so that it may
// be in the order there whether it has or not.
func (m *linearMember) run(began time.Time) (history []porcupine.Operation) {
	now := func() int64 { return int64(time.Since(began)) }
	for n := 1; n <= linearExchanges; n++ {
		asks := m.asks(n == linearExchanges)
		if n < linearExchanges && m.rng.IntN(3) == 0 {
			m.delay(m.rng.IntN(4) > 0, time.Duration(m.rng.IntN(2))*20*time.Millisecond)
			m.arm(tcpproxy.Direction(m.rng.IntN(2)), m.rng.IntN(25))
		}
		call := now()
		grants, _, err := m.Exchange(m.Context(), asks)
		cut := m.heal()
		op := porcupine.Operation{ClientId: m.who, Call: call, Return: math.MaxInt64}
		if cut { // it may have been sent twice
			m.cuts++
			op.Input, op.Output = linearInput{who: m.who, no: 2*n - 1, asks: asks}, linearOutput{}
			history = append(history, op)
		}
		op.Input, op.Output = linearInput{who: m.who, no: 2 * n, asks: asks}, linearOutput{m.obey(asks, grants)}
		if history = append(history, op); err != nil {
			m.unanswered++
			continue
		}
		for i, end := 0, now(); i < len(history); i++ {
			history[i].Return = min(history[i].Return, end)
		}
	}
	return history
}

// asks are about some of the accounts: what it uses now, and more or less lease. The
// last ones give everything back.
func (m *linearMember) asks(last bool) (asks []budget.Ask) {
	one := m.rng.IntN(2 * linearAccounts) // or all of them
	for i, n := range m.names {
		if !last && one < linearAccounts && i != one {
			continue
		}
		h := &m.have[i]
		h.reserved = budget.Amount(m.rng.Int64N(int64(h.lease-h.spent) + 1))
		done := budget.Amount(m.rng.Int64N(int64(h.reserved)/4 + 1))
		h.spent, h.reserved = h.spent+done, h.reserved-done
		if last {
			h.reserved = 0
		}
		used := h.spent + h.reserved
		a := budget.Ask{AccountName: n, Spent: h.spent, Reserved: h.reserved}
		if last || m.rng.IntN(3) == 0 {
			h.lease = used // at once, whatever becomes of the exchange
		} else if a.Lease = h.lease + budget.Amount(m.rng.IntN(100)); m.rng.IntN(2) == 0 {
			a.Least = used + budget.Amount(m.rng.IntN(100))
		}
		a.Has = h.lease
		a.Lease = max(a.Lease, a.Least, a.Has)
		asks = append(asks, a)
	}
	return asks
}

// obey is what the store said of asks, which holds from now on; nil if it said nothing.
// Whether it wants something back depends on its clock.
func (m *linearMember) obey(asks []budget.Ask, grants []budget.Grant) (said []budget.Grant) {
	for _, g := range grants {
		if i := slices.Index(m.names, g.AccountName); slices.ContainsFunc(asks, func(a budget.Ask) bool { return a.AccountName == g.AccountName }) {
			m.have[i].lease = g.Lease
			g.Recall = false
			said = append(said, g)
		}
	}
	slices.SortFunc(said, func(a, b budget.Grant) int {
		return slices.Index(m.names, a.AccountName) - slices.Index(m.names, b.AccountName)
	})
	return said
}
