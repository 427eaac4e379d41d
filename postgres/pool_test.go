package postgres_test

import (
	"net"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/postgres"
)

// silent is the folder of a socket that accepts and never answers, as a host that
// swallows packets does, and how often it was asked.
func silent(t *testing.T) (dir string, asked *atomic.Int64) {
	t.Helper()
	dir, asked = t.TempDir(), &atomic.Int64{}
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			t.Cleanup(func() { c.Close() })
		}
	}()
	return dir, asked
}

// testSilentServer has an address whose first servers never answer, at the least
// MaxStale that can be configured: the one that does is reached, by the check as well.
func testSilentServer(w *world) {
	one, asked := silent(w.T)
	other, _ := silent(w.T)
	u, err := url.Parse(w.url)
	w.must(err)
	behind := func(hosts string) string {
		q := u.Query()
		q.Set("host", hosts+","+filepath.Dir(w.server.Socket()))
		u.RawQuery = q.Encode()
		return u.String()
	}
	wants(w.T, behind(one), postgres.SingleNode)
	b := w.budget("a", 100)
	s, err := postgres.New(postgres.Config{URL: behind(one + "," + other), Durability: postgres.SingleNode, MaxStale: 5 * time.Second})
	w.must(err)
	w.Cleanup(s.Close)
	var m *postgres.Member
	for range 10 { // a machine may be busy
		if m, err = s.Join(w.Context(), budget.Replica{ID: "m"}); err == nil {
			break
		}
	}
	w.must(err)
	w.Cleanup(m.Close)
	for range 10 {
		if err = m.Acknowledge(w.Context(), w.rules().Version); err == nil {
			if _, _, err = m.Exchange(w.Context(), []budget.Ask{ask(b, 10, 10, 0, 0)}); err == nil {
				break
			}
		}
	}
	w.must(err)
	if asked.Load() == 0 {
		w.Error("the first server of the address was not asked")
	}
}

// testSlowHandshake makes connecting take longer than an exchange may: what one
// exchange began is there for a later one.
func testSlowHandshake(w *world) {
	b := w.budget("a", 100)
	p, s := w.behind()
	m := w.joinOn(s, "m")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	p.Delay(400 * time.Millisecond) // an exchange may take impatient/3
	p.Cut()
	begun, failed := time.Now(), 0
	for time.Since(begun) < time.Minute {
		if _, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 20, 20, 0, 0)}); err == nil {
			if failed == 0 {
				w.Error("connecting took no longer than an exchange may: this proves nothing")
			}
			return
		}
		failed++
	}
	w.Errorf("%d exchanges failed in a minute, and none was answered", failed)
}

// testSilentMidway has the server fall silent within transactions of callers that would
// wait for ever: they are given up, and let the next one have their place.
func testSilentMidway(w *world) {
	b := w.budget("a", 100)
	p, s := w.behind()
	m := w.joinOn(s, "m")
	w.exec("DELETE FROM aig_account") // the exchange has to open it
	for lock, f := range map[string]func() error{
		"UPDATE aig_state SET version = version": func() error {
			_, _, _, err := s.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: "b"}, Period: budget.Day}, by)
			return err
		},
		"SELECT FROM aig_budget FOR UPDATE": func() error {
			_, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 10, 10, 0, 0)})
			return err
		},
	} {
		w.exec("BEGIN")
		w.exec(lock)
		done := make(chan error, 1)
		go func() { done <- f() }()
		for w.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks WHERE relation IN ('aig_budget'::regclass, 'aig_state'::regclass))") == 0 {
			select {
			case err := <-done:
				w.Fatalf("%s does not hold it up: %v", lock, err)
			case <-time.After(5 * time.Millisecond):
			}
		}
		heal := p.Partition()
		w.exec("ROLLBACK")
		select {
		case err := <-done:
			if err == nil {
				w.Errorf("%s: an answer through a partition", lock)
			}
		case <-time.After(30 * time.Second): // some of impatient/3
			w.Fatalf("%s: who waits behind it waits for ever", lock)
		}
		heal()
	}
	for range 100 {
		if grants, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 10, 10, 0, 0)}); err == nil && len(grants) == 1 && grants[0].Lease == 10 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.Error("no exchange is answered after it")
}
