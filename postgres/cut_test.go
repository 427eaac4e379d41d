package postgres_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/internal/tcpproxy"
	"aigateway/postgres"
)

// scissors passes messages of the protocol on, and can cut a connection between any two.
type scissors struct {
	target string

	mu   sync.Mutex
	left [2]int // messages that still pass, in each direction; -1: all
	done bool   // it has cut, and accepts nobody until heal
	once bool   // it accepts again at once
	// late is how long what was not passed on to the server is on its way; 0: it is lost.
	late time.Duration
}

// cuttable is a store behind scissors.
func (w *world) cuttable(maxStale time.Duration) (*scissors, *postgres.Store) {
	w.Helper()
	k := &scissors{target: w.server.Socket(), left: [2]int{-1, -1}}
	dir := w.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, filepath.Base(k.target)))
	w.must(err)
	w.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go k.serve(c)
		}
	}()
	escape := strings.NewReplacer("/", "%2F")
	url := strings.Replace(w.url, escape.Replace(filepath.Dir(k.target)), escape.Replace(dir), 1)
	s, err := postgres.Open(w.Context(), postgres.Config{URL: url, Durability: postgres.SingleNode, MaxStale: maxStale})
	w.must(err)
	w.Cleanup(s.Close)
	return k, s
}

func (k *scissors) serve(client net.Conn) {
	defer client.Close()
	k.mu.Lock()
	shut := k.done && !k.once
	k.mu.Unlock()
	if shut {
		return
	}
	server, err := net.Dial("unix", k.target)
	if err != nil {
		return
	}
	defer server.Close()
	pump := func(from, to net.Conn, d tcpproxy.Direction, kind int) {
		defer client.Close()
		defer server.Close()
		for ; ; kind = 1 {
			m, err := message(from, kind)
			if err != nil {
				return
			}
			passes, late := k.passes(d)
			if !passes && d == tcpproxy.ToServer && late > 0 {
				deliverLate(client, server, m, late)
			}
			if !passes {
				return
			}
			if _, err := to.Write(m); err != nil && late == 0 {
				return
			}
		}
	}
	go pump(client, server, tcpproxy.ToServer, 0)
	pump(server, client, tcpproxy.ToClient, 1)
}

// deliverLate ends the connection for the client, and has the server read the rest of
// what was sent a while later.
func deliverLate(client, server net.Conn, m []byte, late time.Duration) {
	client.(*net.UnixConn).CloseWrite()
	rest, _ := io.ReadAll(client)
	time.Sleep(late)
	server.Write(append(m, rest...))
	time.Sleep(late) // it would not go on for somebody who has left
}

func (k *scissors) passes(d tcpproxy.Direction) (passes bool, late time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.left[d] == 0 && !(k.once && k.done):
		k.done = true
		return false, k.late
	case k.left[d] > 0:
		k.left[d]--
	}
	return true, k.late
}

// arm makes k cut behind the next n messages in d.
func (k *scissors) arm(d tcpproxy.Direction, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left[d] = n
}

// delay says of the next cut whether k accepts again at once, and how much later what was
// sent to the server arrives; 0: not at all.
func (k *scissors) delay(once bool, late time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.once, k.late = once, late
}

// heal lets all pass again, and reports whether k has cut.
func (k *scissors) heal() (cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	cut, k.done, k.left = k.done, false, [2]int{-1, -1}
	return cut
}

// everyCut runs f once for each message of what it does, which the connection ends
// behind, in either direction.
func (w *world) everyCut(k *scissors, least int, f func(d tcpproxy.Direction, n int) (cut bool)) {
	w.Helper()
	for _, d := range []tcpproxy.Direction{tcpproxy.ToServer, tcpproxy.ToClient} {
		n := 0
		for ; f(d, n); n++ {
			if n > 1000 || w.Failed() {
				w.Fatalf("direction %d, cut behind %d messages", d, n)
			}
		}
		if n < least {
			w.Errorf("in direction %d there were %d messages: the cut missed what this is about", d, n)
		}
	}
}

// testCutAnywhere ends the connection of an exchange between any two messages of the
// protocol, so before and behind each statement and its COMMIT. Whatever the store made
// of it, nobody else gets what the replica may use, and the next exchange has it right.
func testCutAnywhere(w *world) {
	b := w.budget("a", 100)
	k, s := w.cuttable(impatient)
	m, o := w.joinOn(s, "m"), w.join("o")
	for _, test := range []struct {
		name             string
		has, asks, after budget.Amount // without an answer
	}{
		{"raise", 10, 60, 10},
		{"return", 60, 10, 10},
	} {
		w.everyCut(k, 10, func(d tcpproxy.Direction, n int) bool {
			at := fmt.Sprintf("%s, cut behind message %d in direction %d", test.name, n, d)
			w.exchange(m, ask(b, test.has, test.has, 5, 0))
			k.arm(d, n)
			usable := test.after
			grants, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, test.asks, test.asks, 5, 0)})
			if err == nil {
				for _, g := range grants {
					usable = g.Lease
				}
			}
			cut := k.heal()
			if cut == (err == nil) {
				w.Errorf("%s: cut %v, error %v", at, cut, err)
			}
			w.exchange(o, ask(b, 100, 0, 0, 0)) // its share of what is free
			w.exchange(o, ask(b, 100, 30, 0, 0))
			if n := w.number("SELECT lease FROM aig_lease WHERE holder = 'm'"); budget.Amount(n) < usable {
				w.Errorf("%s: m may use %d, and the store has %d", at, usable, n)
			}
			w.exchange(o, ask(b, 0, 0, 0, 0))
			if g := w.exchange(m, ask(b, test.asks, test.asks, 5, 0)); g.Lease != test.asks {
				w.Errorf("%s: %+v", at, g)
			}
			return cut
		})
	}
	if n := s.LostCommits(); n != 0 {
		w.Errorf("%d lost commits", n)
	}
}

// testCutOpening does so with the first exchange of a replica, which connects, finds that
// the store does not know the account, opens it and asks again.
func testCutOpening(w *world) {
	b := w.budget("a", 100)
	k, s := w.cuttable(impatient)
	o := w.join("o")
	w.everyCut(k, 10, func(d tcpproxy.Direction, n int) bool {
		if testing.Short() {
			n *= 3
		}
		at := fmt.Sprintf("cut behind message %d in direction %d", n, d)
		// As if its window had just begun.
		w.exec("WITH gone AS (DELETE FROM aig_lease WHERE budget_id = $1) DELETE FROM aig_account WHERE budget_id = $1", b.BudgetID)
		m, err := s.Join(w.Context(), budget.Replica{ID: "m"})
		w.must(err)
		defer m.Close()
		w.acknowledge(m)
		k.arm(d, n)
		usable := budget.Amount(0)
		grants, _, err := m.Exchange(w.Context(), []budget.Ask{ask(b, 60, 60, 0, 0)})
		for _, g := range grants {
			usable = g.Lease
		}
		cut := k.heal()
		if cut == (err == nil) || !cut && usable != 60 {
			w.Errorf("%s: cut %v, error %v, %+v", at, cut, err, grants)
		}
		w.exchange(o, ask(b, 100, 30, 0, 0))
		if n := w.number("SELECT coalesce(sum(lease), 0)::bigint FROM aig_lease WHERE holder = 'm'"); budget.Amount(n) < usable {
			w.Errorf("%s: m may use %d, and the store has %d", at, usable, n)
		}
		w.exchange(o, ask(b, 0, 0, 0, 0))
		if g := w.exchange(m, ask(b, 60, 60, 0, 0)); g.Lease != 60 {
			w.Errorf("%s: %+v", at, g)
		}
		return cut
	})
	if n := s.LostCommits(); n != 0 {
		w.Errorf("%d lost commits", n)
	}
}

// testCutEdit does so with an edit, on a connection that is there, and on one that has to
// be opened: an error says whether it may be there.
func testCutEdit(w *world) {
	for _, connected := range []bool{true, false} {
		w.cutEdit(connected)
	}
	_, _, err := w.store.VerifyAudit(w.Context())
	w.must(err)
}

func (w *world) cutEdit(connected bool) {
	w.Helper()
	k, s := w.cuttable(impatient)
	w.everyCut(k, 10, func(d tcpproxy.Direction, n int) bool {
		at, tag := fmt.Sprintf("connected %t, cut behind message %d in direction %d", connected, n, d), fmt.Sprintf("t/%t/%d/%d", connected, d, n)
		if connected {
			w.must(s.Tidy(w.Context()))
		} // else the last cut has left no connection
		k.arm(d, n)
		_, _, _, err := s.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: budget.TagPattern(tag)}, Period: budget.Day, Cap: 100}, by)
		cut := k.heal()
		there := w.number("SELECT count(*) FROM aig_budget WHERE tags = $1", tag) == 1
		var known *budget.Error
		switch {
		case err == nil && !there:
			w.Errorf("%s: kept, and not there", at)
		case err != nil && !errors.As(err, &known):
			w.Errorf("%s: %v", at, err)
		case known != nil && known.Reason == "store_unreachable" && there:
			w.Errorf("%s: not kept, and there", at)
		}
		return cut
	})
}

// message reads one of the protocol, which has its length behind so many bytes.
func message(from io.Reader, kind int) ([]byte, error) {
	head := make([]byte, kind+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[kind:])-4)
	_, err := io.ReadFull(from, body)
	return append(head, body...), err
}
