package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"aigateway/budget"
	"aigateway/internal/tcpproxy"
	"aigateway/postgres"
)

// impatient is a MaxStale of which a third is soon over, but not for a busy machine.
const impatient = 9 * time.Second

// behind is a store on the other side of a network of its own.
func (w *world) behind() (*tcpproxy.Proxy, *postgres.Store) {
	w.Helper()
	socket := w.server.Socket()
	dir := w.TempDir()
	p := tcpproxy.New(w, "unix", filepath.Join(dir, filepath.Base(socket)), socket)
	escape := strings.NewReplacer("/", "%2F")
	url := strings.Replace(w.url, escape.Replace(filepath.Dir(socket)), escape.Replace(dir), 1)
	s, err := postgres.Open(w.Context(), postgres.Config{URL: url, Durability: postgres.SingleNode, MaxStale: impatient})
	w.must(err)
	w.Cleanup(s.Close)
	return p, s
}

func (w *world) joinOn(s *postgres.Store, id string) *postgres.Member {
	w.Helper()
	m, err := s.Join(w.Context(), budget.Replica{ID: id})
	w.must(err)
	w.Cleanup(m.Close)
	w.acknowledge(m)
	return m
}

// testSlow has a disk that takes longer than an exchange or an edit may: nobody waits
// behind an import or a report, so they get their time.
func testSlow(w *world) {
	ctx := w.Context()
	s, err := postgres.Open(ctx, postgres.Config{URL: w.url, Durability: postgres.SingleNode, MaxStale: impatient})
	w.must(err)
	w.Cleanup(s.Close)
	w.exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3.5); RETURN NULL; END'`)
	w.exec(`CREATE TRIGGER slow AFTER INSERT ON aig_audit FOR EACH ROW EXECUTE FUNCTION slow()`)
	_, err = s.Import(ctx, budget.Replica{ID: "one"}, budget.Rules{}, nil, nil, nil, by)
	w.must(err)
	if _, _, _, err := s.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day}, by); err == nil {
		w.Error("an edit took more than its time")
	}
	w.exec(`ALTER TABLE aig_usage RENAME TO told`)
	w.exec(`CREATE VIEW aig_usage AS SELECT told.* FROM pg_sleep(3.5), told`)
	now := time.Now()
	_, err = s.TagCosts(ctx, budget.Month.WindowAt(now, time.UTC), budget.AllTags)
	w.must(err)
}

// testManyReports has more reports at once than there are connections, all held up: what
// makes a gateway obey an edit does not wait behind them.
func testManyReports(w *world) {
	ctx := w.Context()
	s, err := postgres.Open(ctx, postgres.Config{URL: w.url, Durability: postgres.SingleNode, MaxStale: impatient})
	w.must(err)
	w.Cleanup(s.Close)
	w.exec("BEGIN")
	w.exec("LOCK TABLE aig_usage")
	month := budget.Month.WindowAt(time.Now(), time.UTC)
	reports := errgroup.Group{}
	for range 5 {
		reports.Go(func() error { _, err := s.TagCosts(ctx, month, budget.AllTags); return err })
	}
	for w.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'aig_usage'::regclass") < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	if _, _, err := s.Rules(ctx, 0); err != nil {
		w.Errorf("rules behind reports: %v", err)
	}
	w.exec("ROLLBACK")
	w.must(reports.Wait())
}

// testLostReply loses the answer to an exchange that the store has kept.
func testLostReply(w *world) {
	b := w.budget("a", 100)
	p, s := w.behind()
	m, o := w.joinOn(s, "m"), w.join("o")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	release := p.Hold(tcpproxy.ToClient)
	if grants, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 60, 60, 0, 0)}); err == nil {
		w.Errorf("an answer that never came: %+v", grants)
	}
	if n := w.number("SELECT lease FROM aig_lease WHERE holder = 'm'"); n != 60 {
		w.Errorf("the store has %d", n)
	}
	release()
	if g := w.exchange(m, ask(b, 60, 60, 5, 0)); g.Lease != 60 {
		w.Errorf("%+v", g)
	}
	if g := w.exchange(o, ask(b, 41, 41, 0, 0)); g.Lease != 0 {
		w.Errorf("%+v", g)
	}
	// The same for a return: what it gave back is another's, and is not had again.
	release = p.Hold(tcpproxy.ToClient)
	if _, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 10, 0, 10, 0)}); err == nil {
		w.Error("an answer that never came")
	}
	w.exchange(o, ask(b, 80, 80, 0, 0))
	if g := w.exchange(m, ask(b, 60, 60, 10, 0)); g.Lease != 10 {
		w.Errorf("%+v", g)
	}
	release()
	if n := s.LostCommits(); n != 0 {
		w.Errorf("%d lost commits", n)
	}
}

// testLateExchange has an exchange arrive after the ones that followed it: its
// process has given back what it asks for, and another one has it.
func testLateExchange(w *world) {
	b := w.budget("a", 100)
	p, s := w.behind()
	m, o := w.joinOn(s, "m"), w.join("o")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	release := p.Hold(tcpproxy.ToServer)
	if _, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 60, 60, 0, 0)}); err == nil {
		w.Error("an exchange that never arrived was answered")
	}
	w.exchange(m, ask(b, 5, 0, 5, 0))
	w.exchange(o, ask(b, 50, 50, 0, 0))
	release()
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		w.sums()
	}
	if n := w.number("SELECT lease FROM aig_lease WHERE holder = 'm'"); n != 5 {
		w.Errorf("an exchange that came late left %d", n)
	}
}

// testPartition cuts a replica off: others go on, and its lease is not lent again.
func testPartition(w *world) {
	b := w.budget("a", 100)
	p, s := w.behind()
	m, o := w.joinOn(s, "m"), w.join("o")
	w.exchange(m, ask(b, 60, 60, 0, 0))
	heal := p.Partition()
	begun := time.Now()
	if _, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 70, 70, 0, 0)}); err == nil {
		w.Error("an exchange through a partition")
	} else {
		w.isKind(err, budget.KindUnavailable, "store_unreachable")
	}
	if d := time.Since(begun); d > 30*time.Second {
		w.Errorf("an exchange was given up after %s", d)
	}
	if _, _, _, err := s.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: "b"}, Period: budget.Day}, by); err == nil {
		w.Error("an edit through a partition")
	}
	if g := w.exchange(o, ask(b, 41, 41, 0, 0)); g.Lease != 0 {
		w.Errorf("%+v", g)
	}
	if g := w.exchange(o, ask(b, 40, 40, 0, 0)); g.Lease != 40 {
		w.Errorf("%+v", g)
	}
	heal()
	w.acknowledge(m)
	if g := w.exchange(m, ask(b, 70, 70, 60, 0)); g.Lease != 60 {
		w.Errorf("%+v", g)
	}
}

// testWeather has replicas call through networks that hold, lose and cut at random.
// Each admits only within what it was told; all they spend must be within the caps.
func testWeather(w *world) {
	const bound = 7
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	var names []budget.AccountName
	for i := range 5 {
		names = append(names, w.budget(fmt.Sprintf("w/%d", i), 1000))
	}
	stop, cancel := context.WithCancel(w.Context())
	var callers, storms sync.WaitGroup
	for i := range 4 {
		p, s := w.behind()
		m := w.joinOn(s, fmt.Sprintf("r%d", i))
		storms.Go(func() { storm(stop, p, rand.New(rand.NewPCG(uint64(i), 2))) })
		callers.Go(func() { callThrough(w, m, names, rounds, bound, uint64(i)) })
		w.Cleanup(func() {
			if n := s.LostCommits(); n != 0 {
				w.Errorf("%d lost commits", n)
			}
		})
	}
	done := make(chan struct{})
	go func() { callers.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(50 * time.Millisecond):
		}
		w.sums()
	}
	cancel()
	storms.Wait()
}

func storm(ctx context.Context, p *tcpproxy.Proxy, r *rand.Rand) {
	for ctx.Err() == nil {
		over := func() {}
		switch r.IntN(4) {
		case 0:
			over = p.Hold(tcpproxy.ToClient)
		case 1:
			over = p.Hold(tcpproxy.ToServer)
		case 2:
			p.Cut()
		case 3:
			over = p.Partition()
		}
		wait(ctx, time.Duration(r.IntN(4000))*time.Millisecond)
		if r.IntN(2) == 0 {
			p.Cut()
		}
		over()
		wait(ctx, time.Duration(r.IntN(500))*time.Millisecond)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// callThrough is callTight until so many exchanges are answered, where exchanges may fail: what is not answered is not had.
func callThrough(w *world, m *postgres.Member, names []budget.AccountName, rounds int, bound budget.Amount, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	spent, lease := map[budget.AccountName]budget.Amount{}, map[budget.AccountName]budget.Amount{}
	for answered := 0; answered < rounds && w.Context().Err() == nil; {
		var asks []budget.Ask
		for _, n := range names {
			a := budget.Ask{AccountName: n, Lease: spent[n] + 20*bound, Least: spent[n] + bound, Spent: spent[n]}
			if r.IntN(3) == 0 { // gives back, first
				lease[n] = min(lease[n], spent[n])
				a = budget.Ask{AccountName: n, Lease: spent[n], Spent: spent[n]}
			}
			a.Lease = max(a.Lease, lease[n])
			if r.IntN(2) == 0 {
				a.Has = lease[n]
			}
			asks = append(asks, a)
		}
		grants, _, err := m.Exchange(w.Context(), asks)
		switch {
		case errors.Is(err, budget.ErrRulesBehind):
			w.acknowledge(m)
		case err == nil:
			answered++
			for _, g := range grants {
				lease[g.AccountName] = g.Lease
			}
		}
		for _, n := range names {
			for range r.IntN(4) {
				if spent[n]+bound <= lease[n] {
					spent[n] += bound
				}
			}
		}
	}
}

// testRoundTrips counts how often an exchange crosses the network: once, and no more
// for what else its replica tells at the same time.
func testRoundTrips(w *world) {
	const trip = 800 * time.Millisecond
	b := w.budget("a", 100)
	p, s := w.behind()
	m := w.joinOn(s, "m")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	w.must(m.PushUsage(w.Context(), nil, 0)) // from now on there are connections
	p.Delay(trip / 2)
	defer p.Delay(0)
	version := w.rules().Version
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			if err := errors.Join(m.PushUsage(w.Context(), []budget.UsageTotal{{UsageRow: budget.UsageRow{Attribution: budget.Attribution{Tag: "a"}, Requests: 1}}}, 0), m.Acknowledge(w.Context(), version)); err != nil {
				w.Error(err)
			}
		})
	}
	for n := range 4 {
		begun := time.Now()
		w.exchange(m, ask(b, budget.Amount(20+n), 20, 0, 0))
		if trips := time.Since(begun) / trip; trips != 1 {
			w.Errorf("exchange %d took %d round trips", n, trips)
		}
	}
	others.Wait()
}
