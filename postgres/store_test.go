package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

var by = budget.Author{Actor: "key_test"}

// world is a store of a test's own, in a schema of a server that tests share.
type world struct {
	*testing.T
	server *pgtest.Server
	url    string
	schema string
	store  *postgres.Store
	db     *pgx.Conn // looks behind the store
	// allowed is what leases of a budget may have above its cap: facts.
	allowed map[string]budget.Amount
}

// TestStore tries the store on one real server, each test in a schema of its own.
func TestStore(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "max_connections = 200")
	for name, test := range map[string]func(*world){
		"join":               testJoin,
		"grants":             testGrants,
		"share":              testShare,
		"facts":              testFacts,
		"recall":             testRecall,
		"windows":            testWindows,
		"opened meanwhile":   testOpenedMeanwhile,
		"put back":           testPutBack,
		"put back restarted": testPutBackRestarted,
		"put back rules":     testPutBackRules,
		"silent":             testSilent,
		"tight":              testTight,
		"old":                testOldProgram,
		"budgets":            testBudgets,
		"budget lists":       testBudgetLists,
		"counting":           testCounting,
		"counting is left":   testCountingIsLeft,
		"cut":                testCut,
		"zone":               testZone,
		"keys":               testKeys,
		"audit":              testAudit,
		"bills":              testBills,
		"sessions":           testSessions,
		"await":              testAwait,
		"usage":              testUsage,
		"forget":             testForget,
		"forget who is gone": testForgetGone,
		"many":               testMany,
		"questions":          testQuestions,
		"replicas":           testReplicas,
		"import":             testImport,
		"slow":               testSlow,
		"many reports":       testManyReports,
		"adjust":             testAdjust,
		"adjust at once":     testAdjustAtOnce,
		"adjust too much":    testAdjustTooMuch,
		"history":            testHistory,
		"tidy":               testTidy,
		"scopes":             testScopes,
		"scopes beside old":  testScopesBesideOld,
		"tidy by its clock":  testTidyByItsClock,
		"fold":               testFold,
		"fold beside old":    testFoldBesideOld,
		"fold in two zones":  testFoldOfTwoZones,
		"changed":            testChanged,
		"lost reply":         testLostReply,
		"late exchange":      testLateExchange,
		"partition":          testPartition,
		"migration":          testMigration,
		"upgrade":            testUpgradeBesideDump,
		"round trips":        testRoundTrips,
		"silent server":      testSilentServer,
		"slow handshake":     testSlowHandshake,
		"silent midway":      testSilentMidway,
		"cut anywhere":       testCutAnywhere,
		"cut opening":        testCutOpening,
		"cut edit":           testCutEdit,
		"linearizable":       testLinearizable,
		"weather":            testWeather,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newWorldOn(t, server, postgres.Config{}))
		})
	}
}

func newWorldOn(t *testing.T, server *pgtest.Server, c postgres.Config) *world {
	t.Helper()
	schema := fmt.Sprintf("s%016x", rand.Uint64())
	w := &world{T: t, server: server, url: server.URL("admin", "search_path", schema), schema: schema, allowed: map[string]budget.Amount{}}
	w.connect()
	t.Cleanup(func() { w.db.Close(context.Background()) })
	w.exec("CREATE SCHEMA " + schema)
	w.store = w.open(c)
	t.Cleanup(w.sums)
	return w
}

func (w *world) connect() {
	w.Helper()
	var err error
	w.db, err = pgx.Connect(w.Context(), w.url)
	w.must(err)
}

func (w *world) open(c postgres.Config) *postgres.Store {
	w.Helper()
	if c.Durability = postgres.SingleNode; c.URL == "" {
		c.URL = w.url
	}
	s, err := postgres.Open(w.Context(), c)
	w.must(err)
	w.Cleanup(s.Close)
	return s
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	if _, err := w.db.Exec(context.Background(), sql, args...); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) number(sql string, args ...any) (n int64) {
	w.Helper()
	w.must(w.db.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// sums checks the store's invariant: leases are within the cap, and an account has
// the sums of its leases.
func (w *world) sums() {
	w.Helper()
	rows, err := w.db.Query(context.Background(), `SELECT a.budget_id, a.cap, a.allocated, a.spent, a.reserved,
		coalesce(sum(l.lease), 0)::bigint, coalesce(sum(l.spent), 0)::bigint, coalesce(sum(l.reserved), 0)::bigint
		FROM aig_account a LEFT JOIN aig_lease l USING (budget_id, start, scope) GROUP BY a.budget_id, a.start, a.scope`)
	w.must(err)
	var id string
	var limit, allocated, spent, reserved, leases, leaseSpent, leaseReserved budget.Amount
	_, err = pgx.ForEachRow(rows, []any{&id, &limit, &allocated, &spent, &reserved, &leases, &leaseSpent, &leaseReserved}, func() error {
		if leases > limit+w.allowed[id] {
			w.Errorf("leases of %s are %d, above its cap %d and %d", id, leases, limit, w.allowed[id])
		}
		if allocated != leases || spent != leaseSpent || reserved != leaseReserved {
			w.Errorf("account of %s has %d, %d, %d; its leases %d, %d, %d", id, allocated, spent, reserved, leases, leaseSpent, leaseReserved)
		}
		return nil
	})
	w.must(err)
}

// join makes a replica that obeys the rules of now.
func (w *world) join(id string) *postgres.Member {
	w.Helper()
	m, err := w.store.Join(w.Context(), budget.Replica{ID: id, Name: "host of " + id})
	w.must(err)
	w.Cleanup(m.Close)
	w.acknowledge(m)
	return m
}

func (w *world) acknowledge(members ...*postgres.Member) {
	w.Helper()
	r, _, err := w.store.Rules(w.Context(), 0)
	w.must(err)
	for _, m := range members {
		w.must(m.Acknowledge(w.Context(), r.Version))
	}
}

// budget makes a total budget that limits, before any replica has joined.
func (w *world) budget(tag string, limit budget.Amount) budget.AccountName {
	w.Helper()
	id, _, made, err := w.store.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: budget.TagPattern(tag)}, Period: budget.Total, Cap: limit}, by)
	w.must(err)
	if made {
		_, err = w.store.Enforce(w.Context(), id)
		w.must(err)
	}
	return budget.AccountName{BudgetID: id}
}

func ask(n budget.AccountName, lease, least, spent, reserved budget.Amount) budget.Ask {
	return budget.Ask{AccountName: n, Lease: lease, Least: least, Spent: spent, Reserved: reserved}
}

// exchange is one of a single account.
func (w *world) exchange(m *postgres.Member, a budget.Ask) budget.Grant {
	w.Helper()
	grants, _, err := m.Exchange(w.Context(), []budget.Ask{a})
	w.must(err)
	for _, g := range grants {
		if g.AccountName == a.AccountName {
			w.sums()
			return g
		}
	}
	w.Fatalf("no grant for %+v in %+v", a, grants)
	return budget.Grant{}
}

func testJoin(w *world) {
	b := w.budget("a", 100)
	first, err := w.store.Join(w.Context(), budget.Replica{ID: "r"})
	w.must(err)
	if _, _, err := first.Exchange(w.Context(), []budget.Ask{ask(b, 10, 10, 0, 0)}); !errors.Is(err, budget.ErrRulesBehind) {
		w.Errorf("exchange before the rules were acknowledged: %v", err)
	}
	w.acknowledge(first)
	if g := w.exchange(first, ask(b, 10, 10, 0, 0)); g.Lease != 10 {
		w.Errorf("%+v", g)
	}
	second := w.join("r")
	if _, _, err := first.Exchange(w.Context(), []budget.Ask{ask(b, 20, 20, 0, 0)}); !errors.Is(err, budget.ErrFenced) {
		w.Errorf("exchange of a process that was replaced: %v", err)
	}
	if err := first.Acknowledge(w.Context(), 1); !errors.Is(err, budget.ErrFenced) {
		w.Errorf("acknowledgement of a process that was replaced: %v", err)
	}
	if err := first.PushUsage(w.Context(), nil, 0); !errors.Is(err, budget.ErrFenced) {
		w.Errorf("usage of a process that was replaced: %v", err)
	}
	if g := w.exchange(second, ask(b, 10, 0, 3, 2)); g.Lease != 10 || g.Spent != 3 || g.Reserved != 2 {
		w.Errorf("the same disk's next process has %+v", g)
	}
}

func testGrants(w *world) {
	b := w.budget("a", 100)
	m, o := w.join("m"), w.join("o")
	for _, step := range []struct {
		who  *postgres.Member
		ask  budget.Ask
		want budget.Amount
	}{
		{m, ask(b, 40, 40, 0, 0), 40},
		{m, ask(b, 40, 40, 0, 0), 40}, // again
		{o, ask(b, 61, 61, 0, 0), 0},  // less than it needs is nothing
		{o, ask(b, 60, 60, 0, 0), 60},
		{m, ask(b, 41, 41, 20, 10), 40},
		{m, ask(b, 30, 0, 20, 10), 30}, // a return
		{m, ask(b, 10, 0, 20, 10), 30}, // but what is used stays
		{o, ask(b, 70, 70, 0, 0), 70},
		{m, ask(b, 31, 31, 20, 11), 31}, // a bound that was passed is a fact
	} {
		if step.want == 31 {
			w.allowed[b.BudgetID] = 1
		}
		if g := w.exchange(step.who, step.ask); g.Lease != step.want || g.Cap != 100 {
			w.Errorf("%+v: %+v, want %d", step.ask, g, step.want)
		}
	}
}

func testShare(w *world) {
	b := w.budget("a", 1000)
	m := w.join("m")
	w.join("o")
	w.join("gone")
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'gone'")
	if g := w.exchange(m, ask(b, 900, 10, 0, 0)); g.Lease != 250 || g.Free != 750 {
		w.Errorf("the share of one of two is %+v", g)
	}
	if g := w.exchange(m, ask(b, 900, 0, 250, 0)); g.Lease != 250+750/4 {
		w.Errorf("the next share is %+v", g)
	}
	if g := w.exchange(m, ask(b, 990, 990, 250, 0)); g.Lease != 990 {
		w.Errorf("what a call cannot do without is %+v", g)
	}
	if g := w.exchange(m, ask(b, 2000, 0, 990, 0)); g.Lease != 992 {
		w.Errorf("a quarter of the rest is %+v", g)
	}
	if g := w.exchange(m, ask(b, 2000, 995, 992, 0)); g.Lease != 995 {
		w.Errorf("at least what a call needs is %+v", g)
	}
}

func testFacts(w *world) {
	b := w.budget("a", 100)
	m, o := w.join("m"), w.join("o")
	w.exchange(m, ask(b, 100, 100, 0, 0))
	w.allowed[b.BudgetID] = 50
	if g := w.exchange(o, ask(b, 50, 50, 30, 20)); g.Lease != 50 || g.Free != -50 {
		w.Errorf("what was spent elsewhere is %+v", g)
	}
	if g := w.exchange(m, ask(b, 100, 0, 0, 0)); !g.Recall {
		w.Errorf("more is leased than the cap, and nothing called back: %+v", g)
	}
	if g := w.exchange(m, ask(b, 40, 0, 0, 0)); g.Lease != 40 || g.Recall {
		w.Errorf("%+v", g)
	}
	if _, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, -1, 0, 0, 0)}); err == nil {
		w.Error("a negative lease was taken")
	}
}

func testRecall(w *world) {
	b, other := w.budget("a", 100), w.budget("b", 100)
	m, o := w.join("m"), w.join("o")
	w.exchange(m, ask(b, 100, 100, 10, 0))
	w.exchange(o, ask(other, 10, 10, 0, 0))
	if g := w.exchange(o, ask(b, 20, 20, 0, 0)); g.Lease != 0 || g.Recall {
		w.Errorf("%+v", g)
	}
	// The one who has it asks about something else, or nothing.
	for _, asks := range [][]budget.Ask{nil, {ask(other, 10, 10, 0, 0)}} {
		grants, _, err := m.Exchange(w.Context(), asks)
		w.must(err)
		i := slices.IndexFunc(grants, func(g budget.Grant) bool { return g.AccountName == b })
		if i < 0 || !grants[i].Recall || grants[i].Lease != 100 || len(grants) != len(asks)+1 {
			w.Fatalf("%+v", grants)
		}
	}
	w.exchange(m, ask(b, 80, 0, 10, 0))
	if g := w.exchange(o, ask(b, 20, 20, 0, 0)); g.Lease != 20 {
		w.Errorf("%+v", g)
	}
	w.exec("UPDATE aig_account SET recall_until = recall_until - interval '1 minute'")
	if g := w.exchange(m, ask(b, 80, 0, 10, 0)); g.Recall {
		w.Errorf("a recall does not end: %+v", g)
	}
	// One who is silent may have reserved all it has: that is no recall either.
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'm'")
	if g := w.exchange(o, ask(b, 30, 30, 0, 0)); g.Spent != 10 || g.Reserved != 70 || g.Free != 0 {
		w.Errorf("%+v", g)
	}
	if n := w.number("SELECT count(*) FROM aig_account WHERE recall_until > now()"); n != 0 {
		w.Errorf("%d accounts call back what a silent replica has", n)
	}
	// Nobody has anything unused: that is a refusal, not a recall.
	w.exchange(m, ask(b, 80, 0, 80, 0))
	w.exchange(o, ask(b, 20, 0, 0, 20))
	w.exchange(o, ask(b, 30, 30, 0, 20))
	if n := w.number("SELECT count(*) FROM aig_account WHERE recall_until > now()"); n != 0 {
		w.Errorf("%d accounts call back what nobody has", n)
	}
}

func testWindows(w *world) {
	id, _, _, err := w.store.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day, Cap: 100}, by)
	w.must(err)
	_, err = w.store.Enforce(w.Context(), id)
	w.must(err)
	m := w.join("m")
	today := budget.Day.WindowAt(time.Now(), time.UTC)
	for start, want := range map[time.Time]bool{
		today.Start:                       true,
		today.Start.AddDate(0, 0, -1):     true, // calls that run over midnight
		today.Start.AddDate(0, 0, -3):     false,
		today.End:                         false, // not begun
		today.Start.Add(time.Hour):        false,
		today.Start.Add(-time.Nanosecond): false,
	} {
		grants, _, err := m.Exchange(w.Context(), []budget.Ask{ask(budget.AccountName{BudgetID: id, Start: start.UnixNano()}, 10, 10, 0, 0)})
		w.must(err)
		if got := len(grants) == 1; got != want {
			w.Errorf("a lease for the window of %s: %+v, want one: %t", start, grants, want)
		}
	}
	grants, _, err := m.Exchange(w.Context(), []budget.Ask{ask(budget.AccountName{BudgetID: "bud_none"}, 10, 10, 0, 0)})
	if err != nil || len(grants) != 0 {
		w.Errorf("a budget that is not there: %+v, %v", grants, err)
	}
}

// testOpenedMeanwhile has another replica open an account, and be lent of it, while an
// exchange that asks about it waits for the lock of one that comes first.
func testOpenedMeanwhile(w *world) {
	first, b := w.budget("a", 100), w.budget("b", 100)
	if first.BudgetID > b.BudgetID { // locks come in this order
		first, b = b, first
	}
	w.exec("DELETE FROM aig_account WHERE budget_id = $1", b.BudgetID) // as if its window had just begun
	m, o := w.join("m"), w.join("o")
	w.exchange(m, ask(first, 10, 10, 0, 0))
	lock := func(sql string, args ...any) (release func()) {
		w.Helper()
		c, err := pgx.Connect(w.Context(), w.url)
		w.must(err)
		tx, err := c.Begin(w.Context())
		w.must(err)
		_, err = tx.Exec(w.Context(), sql, args...)
		w.must(err)
		return func() {
			w.Helper()
			w.must(tx.Commit(w.Context()))
			w.must(c.Close(w.Context()))
		}
	}
	waits := func() {
		w.Helper()
		for range 3000 {
			if w.number(`SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'aig_account' AND c.relnamespace = current_schema()::regnamespace
				AND EXISTS (SELECT 1 FROM pg_locks n WHERE n.pid = l.pid AND NOT n.granted)`) > 0 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		w.Fatal("nobody waits for a lock")
	}
	release := lock("SELECT 1 FROM aig_account WHERE budget_id = $1 FOR UPDATE", first.BudgetID)
	done := make(chan error, 1)
	var grants []budget.Grant
	go func() {
		var err error
		grants, _, err = m.Exchange(w.Context(), []budget.Ask{ask(first, 20, 20, 0, 0), ask(b, 60, 60, 0, 0)})
		done <- err
	}()
	waits()
	w.exchange(o, ask(b, 10, 10, 0, 0))                                                      // opens it
	raised := lock("UPDATE aig_account SET allocated = 50 WHERE budget_id = $1", b.BudgetID) // and is about to be lent more
	release()
	time.Sleep(200 * time.Millisecond) // it goes on
	waits()
	w.exec("UPDATE aig_lease SET lease = 50 WHERE budget_id = $1", b.BudgetID)
	raised()
	w.must(<-done)
	for _, g := range grants {
		if want := map[budget.AccountName]budget.Amount{first: 20, b: 0}[g.AccountName]; g.Lease != want {
			w.Errorf("%+v, want %d", g, want)
		}
	}
	w.sums()
}

// testPutBack puts the store back from a backup, of an hour ago, while its replicas go on:
// the first one to exchange, with whatever accounts, is lent nothing before all have told
// what they were lent since.
func testPutBack(w *world) {
	b, other := w.budget("a", 100), w.budget("b", 100)
	m, o, left := w.join("m"), w.join("o"), w.join("left")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	w.exchange(o, ask(b, 10, 10, 0, 0))
	w.exchange(o, ask(other, 5, 5, 0, 0))
	w.must(left.Leave(w.Context()))
	w.backUp()
	w.exchange(m, ask(b, 70, 70, 65, 0))
	w.exchange(o, ask(b, 30, 30, 30, 0))
	w.allowed[b.BudgetID] = 100 // what is told again is a fact
	w.putBack()
	if g := w.exchange(o, ask(other, 50, 50, 5, 0)); g.Lease != 5 {
		w.Errorf("lent before anybody has told what was lent since the backup: %+v", g)
	}
	// Rules may be others: they are acknowledged anew, as gateways do.
	for range 3 {
		if grants, _, err := o.Exchange(w.Context(), []budget.Ask{ask(b, 60, 60, 30, 0)}); err == nil && grants[0].Lease > 30 {
			w.Errorf("lent before m has told its own: %+v", grants)
		}
		w.acknowledge(o)
	}
	w.acknowledge(m)
	for range 4 {
		for _, r := range []*postgres.Member{m, o} {
			_, _, err := r.Exchange(w.Context(), nil)
			w.must(err)
			w.acknowledge(m, o)
		}
	}
	if g := w.exchange(o, ask(b, 60, 60, 30, 0)); g.Lease != 30 || g.Free != 0 || g.Spent != 95 {
		w.Errorf("%+v; want the cap used up by what m and o had", g)
	}
	if g := w.exchange(o, ask(other, 50, 50, 5, 0)); g.Lease != 50 {
		w.Errorf("not lent once all have told: %+v", g)
	}
	if n := w.store.LostCommits(); n == 0 {
		w.Error("no lost commits are counted")
	}
}

// testPutBackRestarted is testPutBack where the replicas are no longer the processes that
// the backup knows, nor in the state in which it knows them.
func testPutBackRestarted(w *world) {
	b := w.budget("a", 100)
	m, left := w.join("m"), w.join("left")
	w.join("o")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	w.must(left.Leave(w.Context()))
	w.backUp()
	m, o, left := w.join("m"), w.join("o"), w.join("left")
	w.exchange(o, ask(b, 30, 30, 30, 0))
	w.exchange(left, ask(b, 20, 20, 20, 0))
	w.exchange(m, ask(b, 40, 40, 40, 0))
	w.allowed[b.BudgetID] = 100 // what is told again is a fact
	w.putBack()
	// Each is alone with the store until it has done all that it can.
	for _, r := range []struct {
		*postgres.Member
		used budget.Amount
	}{{m, 40}, {left, 20}, {o, 30}} {
		if _, _, err := r.Exchange(w.Context(), nil); !errors.Is(err, budget.ErrRulesBehind) {
			w.Errorf("exchange of a process that the backup does not know: %v", err)
		}
		for range 3 {
			w.acknowledge(r.Member)
			if g := w.exchange(r.Member, ask(b, 100, 100, r.used, 0)); g.Lease != r.used {
				w.Errorf("lent before all have told what was lent since the backup: %+v", g)
			}
		}
	}
	for range 2 {
		for _, r := range []*postgres.Member{m, o, left} {
			_, _, err := r.Exchange(w.Context(), nil)
			w.must(err)
		}
	}
	if g := w.exchange(o, ask(b, 40, 40, 30, 0)); g.Lease != 40 || g.Spent != 90 {
		w.Errorf("not lent once all have told: %+v", g)
	}
}

// testPutBackRules puts the store back twice, after edits: gateways refuse rules that are
// older than theirs, and must not be left with them for ever.
func testPutBackRules(w *world) {
	w.budget("a", 100)
	w.join("m")
	w.backUp()
	w.budget("a", 50)
	known := w.rules().Version
	for range 2 {
		for _, s := range []*postgres.Store{w.store, w.open(postgres.Config{})} { // a new process, too
			w.putBack()
			r, changed, err := s.Rules(w.Context(), known)
			w.must(err)
			if !changed || r.Version <= known || r.Since != 0 || len(r.Budgets) != 1 || r.Budgets[0].Cap != 100 {
				w.Errorf("rules of a store that was put back, after version %d: %+v, %v", known, r, changed)
			}
			if lost := w.number("SELECT count(*) FROM aig_holder, aig_state WHERE asserted < generation"); lost != 1 || s.LostCommits() == 0 {
				w.Error("leases are not frozen, though edits were lost")
			}
		}
		w.budget("a", 60)
		w.budget("a", 70)
		known = w.rules().Version
		if r, changed, err := w.store.Rules(w.Context(), known); err != nil || changed {
			w.Errorf("%+v, %v, %v", r, changed, err)
		}
	}
	w.exec("UPDATE aig_state SET version = 1") // as of tables that were just made
	if r, _, err := w.store.Rules(w.Context(), known); err != nil || r.Version != 1 {
		w.Errorf("an empty store: %+v, %v", r, err)
	}
}

// backedUp are the tables that backUp copies, as of an hour ago, and putBack puts back.
var backedUp = []string{"aig_state", "aig_edit", "aig_deleted", "aig_budget", "aig_holder", "aig_account", "aig_lease"}

func (w *world) backUp() {
	w.Helper()
	for _, name := range backedUp {
		w.exec("CREATE TABLE backup_" + name + " AS TABLE " + name)
	}
	w.exec("UPDATE backup_aig_holder SET seen = seen - interval '1 hour'")
}

func (w *world) putBack() {
	w.Helper()
	for _, name := range backedUp {
		w.exec("TRUNCATE " + name)
		w.exec("INSERT INTO " + name + " SELECT * FROM backup_" + name)
	}
}

// testSilent lets a replica be silent until edits are answered without it.
func testSilent(w *world) {
	b := w.budget("a", 100)
	m := w.join("m")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	silence := func() { w.exec("UPDATE aig_holder SET seen = now() - interval '34 seconds'") }
	silence()
	w.exchange(m, ask(b, 11, 11, 0, 0)) // nothing was edited
	silence()
	id, version, _, err := w.store.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: "b"}, Period: budget.Day}, by)
	w.must(err)
	w.exchange(m, ask(b, 12, 12, 0, 0)) // it is nobody's answer yet
	silence()
	if silent, err := w.store.AwaitVersion(w.Context(), version); err != nil || len(silent) != 1 {
		w.Errorf("%q, %v", silent, err)
	}
	if _, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 12, 12, 0, 0)}); !errors.Is(err, budget.ErrRulesBehind) {
		w.Errorf("an exchange after an edit was answered without the replica: %v", err)
	}
	w.acknowledge(m)
	if g := w.exchange(m, ask(b, 13, 13, 0, 0)); g.Lease != 13 {
		w.Errorf("%+v", g)
	}
	w.must(m.Leave(w.Context()))
	if _, _, err := m.Exchange(w.Context(), nil); !errors.Is(err, budget.ErrRulesBehind) {
		w.Errorf("an exchange after it left: %v", err)
	}
	w.exchange(w.join("o"), ask(budget.AccountName{BudgetID: id, Start: budget.Day.WindowAt(time.Now(), time.UTC).Start.UnixNano()}, 0, 0, 0, 0))
	_, err = w.store.Enforce(w.Context(), id)
	w.must(err)
}

// testTight lets 20 replicas call on 50 budgets that are too small for all, sending
// again every fourth exchange, and watches that no budget is ever above its cap.
func testTight(w *world) {
	const accounts, bound = 50, 7
	replicas, calls := 20, 200
	if testing.Short() {
		calls = 25
	}
	limit := budget.Amount(replicas*calls*bound/accounts/2 + 3)
	var names []budget.AccountName
	for i := range accounts {
		names = append(names, w.budget(fmt.Sprintf("t/%d", i), limit))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for i := range replicas {
			m := w.join(fmt.Sprintf("r%d", i))
			wg.Go(func() { callTight(w, m, names, calls, bound, uint64(i)) })
		}
		wg.Wait()
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(50 * time.Millisecond):
		}
		w.sums()
	}
	if got, most := w.number("SELECT sum(spent)::bigint FROM aig_account"), int64(limit)*accounts; got < most*9/10 {
		w.Errorf("%d of %d were spent, though twice as much was wanted", got, most)
	}
}

// callTight is a replica: each call needs a lease for its bound, and spends it.
func callTight(w *world, m *postgres.Member, names []budget.AccountName, calls int, bound budget.Amount, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	spent, lease := map[budget.AccountName]budget.Amount{}, map[budget.AccountName]budget.Amount{}
	for range calls {
		var asks []budget.Ask
		for range 1 + r.IntN(4) {
			n := names[r.IntN(len(names))]
			if !slices.ContainsFunc(asks, func(a budget.Ask) bool { return a.AccountName == n }) {
				asks = append(asks, budget.Ask{AccountName: n, Has: lease[n], Lease: max(lease[n], spent[n]+bound*budget.Amount(1+r.IntN(3))), Least: spent[n] + bound, Spent: spent[n]})
			}
		}
		for range 1 + r.IntN(4)/3 { // sends again
			grants, _, err := m.Exchange(w.Context(), asks)
			if err != nil {
				w.Errorf("exchange: %v", err)
				return
			}
			for _, g := range grants {
				lease[g.AccountName] = g.Lease
			}
		}
		for _, a := range asks {
			if spent[a.AccountName]+bound <= lease[a.AccountName] {
				spent[a.AccountName] += bound
			}
		}
		if r.IntN(5) == 0 { // gives back
			for i := range asks {
				n := asks[i].AccountName
				lease[n] = spent[n]
				asks[i] = ask(n, spent[n], 0, spent[n], 0)
				asks[i].Has = spent[n]
			}
			if _, _, err := m.Exchange(w.Context(), asks); err != nil {
				w.Errorf("return: %v", err)
				return
			}
		}
	}
	var last []budget.Ask
	for n := range lease {
		a := ask(n, spent[n], 0, spent[n], 0)
		a.Has = spent[n]
		last = append(last, a)
	}
	if _, _, err := m.Exchange(w.Context(), last); err != nil {
		w.Errorf("last exchange: %v", err)
	}
}

// testOldProgram opens a store that a newer program has upgraded.
func testOldProgram(w *world) {
	w.exec("UPDATE aig_schema SET version = version + 1")
	w.open(postgres.Config{})
	w.exec("UPDATE aig_schema SET readable = version")
	if _, err := postgres.Open(w.Context(), postgres.Config{URL: w.url, Durability: postgres.SingleNode}); err == nil {
		w.Error("a store that needs a newer program was opened")
	}
}

// testMany exchanges more accounts than one transaction takes.
func testMany(w *world) {
	w.exec(`INSERT INTO aig_budget SELECT 'bud_' || i, 'm/' || i, '', 4, '', 100, 0, 0, 1, 1, false FROM generate_series(1, 1234) i`)
	m := w.join("m")
	var asks []budget.Ask
	for i := range 1234 {
		asks = append(asks, ask(budget.AccountName{BudgetID: fmt.Sprintf("bud_%d", i+1)}, 10, 10, 0, 0))
	}
	for range 2 {
		grants, _, err := m.Exchange(w.Context(), asks)
		w.must(err)
		if len(grants) != len(asks) {
			w.Fatalf("%d grants for %d asks", len(grants), len(asks))
		}
	}
	w.sums()
}

// testMigration: tables are made however long that takes; no watchdog ends it.
func testMigration(w *world) {
	other := strings.Replace(w.url, "search_path=s", "search_path=t", 1)
	u, err := url.Parse(other)
	w.must(err)
	w.exec("CREATE SCHEMA " + u.Query().Get("search_path"))
	w.open(postgres.Config{URL: other, MaxStale: time.Millisecond})
}
