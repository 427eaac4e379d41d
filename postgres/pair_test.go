package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

// pair is a primary and a standby, and a store that knows both by name.
type pair struct {
	*world
	primary, standby *pgtest.Server
}

func newPair(t *testing.T, synchronous bool) *pair {
	t.Helper()
	primary := pgtest.Start(t)
	standby := primary.Standby()
	if synchronous {
		run(t, primary.URL("admin"), "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	}
	w := newWorldOn(t, primary, postgres.Config{MaxStale: impatient})
	return &pair{w, primary, standby}
}

// both is an address that names both servers.
func (p *pair) both() string {
	u, err := url.Parse(p.url)
	p.must(err)
	q := u.Query()
	q.Set("host", filepath.Dir(p.primary.Socket())+","+filepath.Dir(p.standby.Socket()))
	u.RawQuery = q.Encode()
	return u.String()
}

// eventually exchanges until the store answers, which takes as long as servers take
// to find each other.
func (p *pair) eventually(m *postgres.Member, a budget.Ask) budget.Grant {
	p.Helper()
	var err error
	for range 100 {
		var grants []budget.Grant
		if grants, _, err = m.Exchange(p.Context(), []budget.Ask{a}); err == nil && len(grants) > 0 {
			p.sums()
			return grants[0]
		}
		time.Sleep(200 * time.Millisecond)
	}
	p.Fatalf("no answer: %v", err)
	return budget.Grant{}
}

func (p *pair) unanswered(m *postgres.Member, a budget.Ask) {
	p.Helper()
	if grants, _, err := m.Exchange(p.Context(), []budget.Ask{a}); err == nil {
		p.Errorf("%+v is granted though no standby has it", grants)
	}
}

// TestUnknownCommits has commits wait for a standby that is not there (traps 1 to 4
// of what PostgreSQL does under a store).
func TestUnknownCommits(t *testing.T) {
	t.Parallel()
	p := newPair(t, true)
	b, other := p.budget("a", 100), p.budget("b", 100)
	m, o := p.join("m"), p.join("o")
	p.exchange(m, ask(b, 10, 10, 0, 0))
	p.exchange(o, ask(other, 10, 10, 0, 0))
	p.standby.Kill()

	// Given up, and not cancelled: a cancel would make it visible.
	p.unanswered(m, ask(b, 20, 20, 0, 0))
	lease := func(holder string) int64 { return p.number("SELECT lease FROM aig_lease WHERE holder = $1", holder) }
	if n := lease("m"); n != 10 {
		p.Errorf("a commit that was given up is visible: %d", n)
	}
	// Cancelled by somebody: the server says that it is kept, with a notice.
	done := make(chan struct{})
	go func() { defer close(done); p.unanswered(o, ask(other, 20, 20, 0, 0)) }()
	for range 600 {
		if p.number(`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`) > 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.exec(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
	<-done
	if m, o := lease("m"), lease("o"); m != 20 || o != 20 {
		p.Errorf("commits that were cancelled left %d and %d: the server does not do what this test is about", m, o)
	}
	// No limit of the server's ends that wait.
	limited, err := pgx.Connect(t.Context(), p.url+"&statement_timeout=200")
	p.must(err)
	waiting, enough := context.WithTimeout(t.Context(), 2*time.Second)
	defer enough()
	if _, err := limited.Exec(waiting, "SELECT pg_logical_emit_message(true, 'wait', '')"); !errors.Is(err, context.DeadlineExceeded) {
		p.Errorf("a wait for a standby ended by itself: %v", err)
	}
	limited.Close(context.Background())
	// After a crash they are visible too, and reading them is no proof.
	p.primary.Kill()
	p.primary.Revive()
	p.reconnect(p.url)
	if n := lease("m"); n != 20 {
		p.Errorf("the crash has left %d", n)
	}
	p.unanswered(m, ask(b, 20, 20, 0, 0))
	p.standby.Revive()
	if g := p.eventually(m, ask(b, 20, 20, 0, 0)); g.Lease != 20 {
		p.Errorf("%+v", g)
	}
	if g := p.eventually(o, ask(other, 20, 20, 0, 0)); g.Lease != 20 {
		p.Errorf("%+v", g)
	}
	if n := p.store.LostCommits(); n != 0 {
		p.Errorf("%d lost commits", n)
	}
}

// TestPromotion promotes a standby that has all that was acknowledged, and lacks what
// was not (traps 5 to 8).
func TestPromotion(t *testing.T) {
	t.Parallel()
	p := newPair(t, true)
	strict, err := postgres.Open(t.Context(), postgres.Config{URL: p.both(), Durability: postgres.SynchronousStandby, MaxStale: impatient})
	p.must(err)
	t.Cleanup(strict.Close)
	p.store = p.open(postgres.Config{URL: p.both(), MaxStale: impatient})
	b := p.budget("a", 100)
	m, o, s := p.join("m"), p.join("o"), p.joinOn(strict, "s")
	p.exchange(m, ask(b, 40, 40, 30, 0))
	p.exchange(o, ask(b, 10, 10, 0, 0))
	p.exchange(s, ask(b, 10, 10, 0, 0))
	p.standby.Kill()
	p.unanswered(m, ask(b, 60, 60, 30, 0))
	p.primary.Kill()
	p.standby.Revive()
	p.standby.Promote()
	p.reconnect(p.urlOf(p.standby))

	if _, _, err := s.Exchange(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "synchronous_standby_names is empty") {
		p.Errorf("a promoted server that waits for no standby: %v", err)
	}
	p.must(p.store.Forget(t.Context(), "s", true, by))
	if g := p.eventually(m, ask(b, 60, 60, 30, 0)); g.Lease != 40 || g.Free != 0 {
		p.Errorf("a raise before all have told their leases: %+v", g)
	}
	p.eventually(m, ask(b, 60, 60, 30, 0))
	p.eventually(o, ask(b, 10, 0, 0, 0))
	p.eventually(o, ask(b, 10, 0, 0, 0))
	if g := p.eventually(m, ask(b, 60, 60, 30, 0)); g.Lease != 60 {
		p.Errorf("a raise after all have told their leases: %+v", g)
	}
	if f, l := p.store.Failovers(), p.store.LostCommits(); f != 1 || l != 0 {
		p.Errorf("%d failovers and %d lost commits", f, l)
	}
	// The old primary is back, and waits for a standby that follows another one.
	p.primary.Revive()
	old, err := postgres.Open(t.Context(), postgres.Config{URL: p.urlOf(p.primary), Durability: postgres.SingleNode, MaxStale: impatient})
	p.must(err)
	t.Cleanup(old.Close)
	if _, err := old.Join(t.Context(), budget.Replica{ID: "new"}); err == nil {
		p.Error("a second primary answers")
	}
}

// TestLostCommits promotes a standby that lacks what was acknowledged: what breaks
// assumption A5. Nothing can undo that; it is noticed, and nothing is added to it.
func TestLostCommits(t *testing.T) {
	t.Parallel()
	p := newPair(t, false)
	p.store = p.open(postgres.Config{URL: p.both(), MaxStale: impatient})
	b := p.budget("a", 100)
	m, o := p.join("m"), p.join("o")
	p.exchange(m, ask(b, 30, 30, 0, 0))
	p.exchange(o, ask(b, 10, 10, 0, 0))
	p.arrived()
	p.standby.Kill()
	if g := p.exchange(m, ask(b, 80, 80, 0, 0)); g.Lease != 80 {
		p.Errorf("%+v", g)
	}
	n := p.join("n")
	p.exchange(n, ask(b, 5, 5, 0, 0))
	known := p.rules().Version
	p.primary.Kill()
	p.standby.Revive()
	p.standby.Promote()
	p.reconnect(p.urlOf(p.standby))

	if g := p.eventually(o, ask(b, 60, 60, 0, 0)); g.Lease != 10 || g.Free > 0 {
		p.Errorf("a lease that is another's: %+v", g)
	}
	if g := p.eventually(m, ask(b, 80, 0, 70, 0)); g.Lease != 80 {
		p.Errorf("what was acknowledged is not had: %+v", g)
	}
	// One whom the store does not know any more takes the rules again.
	if _, _, err := n.Exchange(t.Context(), []budget.Ask{ask(b, 5, 0, 5, 0)}); err == nil {
		p.Error("an unknown replica exchanges")
	}
	if r := p.rules(); r.Version == known {
		p.Error("rules that may be lost have the same version")
	}
	p.acknowledge(m, o, n)
	for range 3 {
		p.eventually(n, ask(b, 5, 0, 5, 0))
		p.eventually(m, ask(b, 80, 0, 70, 0))
		p.eventually(o, ask(b, 10, 0, 0, 0))
	}
	if g := p.eventually(o, ask(b, 16, 16, 0, 0)); g.Lease != 10 || g.Free != 5 {
		p.Errorf("%+v", g)
	}
	if g := p.eventually(o, ask(b, 15, 15, 0, 0)); g.Lease != 15 {
		p.Errorf("raises stay frozen: %+v", g)
	}
	if l := p.store.LostCommits(); l < 2 {
		p.Errorf("%d lost commits", l)
	}
}

// arrived waits until the standby has all that there is.
func (p *pair) arrived() {
	p.Helper()
	for range 600 {
		if p.number(`SELECT count(*) FROM pg_stat_replication WHERE flush_lsn = pg_current_wal_lsn()`) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Fatal("the standby does not follow")
}

func (p *pair) urlOf(s *pgtest.Server) string {
	u, err := url.Parse(p.url)
	p.must(err)
	q := u.Query()
	q.Set("host", filepath.Dir(s.Socket()))
	u.RawQuery = q.Encode()
	return u.String()
}

// reconnect looks behind the store at another server from now on.
func (w *world) reconnect(url string) {
	w.Helper()
	w.db.Close(context.Background())
	w.url = url
	w.connect()
}
