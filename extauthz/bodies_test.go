package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/pricing"
)

const mib = 1 << 20

// enterer waits for turns and writes down who had them.
type enterer struct {
	enter func(context.Context, string, int) (func(), error)
	mu    sync.Mutex
	had   []string
	leave map[string][]func()
}

func newEnterer(most int64) *enterer {
	return &enterer{enter: extauthz.Bodies(most), leave: map[string][]func(){}}
}

// start begins n bodies of a key, and returns once each has a turn or waits.
func (e *enterer) start(t *testing.T, ctx context.Context, key string, n, size int) {
	for range n {
		go func() {
			leave, err := e.enter(ctx, key, size)
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("%s: %v", key, err)
				}
				return
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			e.had = append(e.had, key)
			e.leave[key] = append(e.leave[key], leave)
		}()
		synctest.Wait()
	}
}

// end ends the oldest body of a key that has a turn.
func (e *enterer) end(key string) {
	e.mu.Lock()
	leave := e.leave[key][0]
	e.leave[key] = e.leave[key][1:]
	e.mu.Unlock()
	leave()
	synctest.Wait()
}

// endAll ends bodies until none has a turn or waits.
func (e *enterer) endAll() {
	for {
		e.mu.Lock()
		key := ""
		for k, leave := range e.leave {
			if len(leave) > 0 {
				key = k
			}
		}
		e.mu.Unlock()
		if key == "" {
			return
		}
		e.end(key)
	}
}

func (e *enterer) count(key string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.leave[key])
}

// TestOneKeyStarvesNobody: a key with fifty bodies of 8 MiB has one turn at a
// time, and each other key has its own at once.
func TestOneKeyStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnterer(8 << 30)
		e.start(t, t.Context(), "greedy", 50, 32*mib)
		if n := e.count("greedy"); n != 1 {
			t.Fatalf("%d of 50 are decided at once, want 1", n)
		}
		e.start(t, t.Context(), "b", 1, 32*mib)
		if e.count("b") != 1 {
			t.Fatal("another key waits")
		}
		e.start(t, t.Context(), "c", 2, extauthz.LargeBody) // all is taken: after one of the two
		e.start(t, t.Context(), "d", 1, 32*mib)
		e.end("b")
		if e.count("c") != 1 || e.count("greedy") != 1 {
			t.Errorf("c has %d turns, greedy %d; want 1 and 1", e.count("c"), e.count("greedy"))
		}
		e.end("c")
		if e.count("d") != 1 || e.count("c") != 0 {
			t.Errorf("smaller bodies keep a large one waiting: %v", e.had)
		}
		e.end("d")
		for range 50 { // all have their turn in the end
			e.end("greedy")
		}
		e.end("c")
		if len(e.had) != 50+1+2+1 {
			t.Errorf("%d turns", len(e.had))
		}
	})
}

// TestKeysTakeTurns: of two that wait, neither goes twice before the other.
func TestKeysTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnterer(8 << 30)
		e.start(t, t.Context(), "x", 1, 32*mib)
		e.start(t, t.Context(), "y", 1, 32*mib)
		for _, key := range []string{"a", "b", "c"} {
			e.start(t, t.Context(), key, 3, 32*mib)
		}
		e.end("y")
		for range 8 {
			last := e.had[len(e.had)-1]
			e.end(last)
		}
		if got, want := strings.Join(e.had[2:], ""), "abcabcabc"; got != want {
			t.Errorf("turns %s, want %s", got, want)
		}
	})
}

// TestHeldBytesAreBounded: a key gets half of what is left, so another always
// finds room; who is alone is never refused.
func TestHeldBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnterer(64 * mib)
		e.start(t, t.Context(), "one", 1, 100*mib) // larger than all there is
		e.end("one")
		e.start(t, t.Context(), "greedy", 4, 8*mib)
		_, err := e.enter(t.Context(), "greedy", 8*mib)
		if b := (*budget.Error)(nil); !errors.As(err, &b) || b.Kind != budget.KindRateLimited || b.Reason != "too_many_at_once" {
			t.Errorf("a fifth: %v", err)
		}
		e.start(t, t.Context(), "b", 2, 8*mib)
		e.start(t, t.Context(), "c", 1, 8*mib)
		_, err = e.enter(t.Context(), "d", 9*mib)
		if b := (*budget.Error)(nil); !errors.As(err, &b) || b.Kind != budget.KindUnavailable {
			t.Errorf("no room at all: %v", err)
		}
		e.endAll()
		if len(e.had) != 1+4+2+1 {
			t.Errorf("%d turns: %v", len(e.had), e.had)
		}
		e.start(t, t.Context(), "greedy", 1, 8*mib)
		e.endAll()
		e.start(t, t.Context(), "e", 1, 60*mib) // nothing is left behind
		e.end("e")
	})
}

// TestWhoLeavesGivesTheirTurnBack, whether they had it or waited for it.
func TestWhoLeavesGivesTheirTurnBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnterer(4 << 30)
		ctx, leave := context.WithCancel(t.Context())
		e.start(t, t.Context(), "a", 1, 32*mib)
		e.start(t, ctx, "a", 5, 32*mib)
		e.start(t, t.Context(), "a", 1, 32*mib)
		leave()
		synctest.Wait()
		e.end("a")
		if len(e.had) != 2 {
			t.Errorf("%d had a turn, want those who stayed", len(e.had))
		}
		e.end("a")
		e.start(t, t.Context(), "a", 1, 900*mib)
		e.end("a")
	})
}

// TestLargeBodiesOfOneKey goes through decisions: while one key's large body is
// being decided its others wait or are told to, a small one and those of other
// keys are decided, and who hangs up while waiting holds nothing.
func TestLargeBodiesOfOneKey(t *testing.T) {
	const other = "sk-aig-other"
	keys := &keyring{map[string]*budget.Key{
		goodKey: {ID: "key_1", Scopes: []budget.Scope{budget.ScopeInference}},
		other:   {ID: "key_2", Scopes: []budget.Scope{budget.ScopeInference}},
	}}
	ledger := &fakeLedger{}
	catalog := newCatalog(t)
	inside, block := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(inside); <-block })
	s := serverOf(t, extauthz.Config{
		Keys: keys, Ledger: ledger, Sealer: newSealer(t), Now: func() time.Time { return noon },
		Catalog: func() *pricing.Catalog { first(); return catalog }, // the first call waits here, in its turn
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry(), BodyMemory: 64 * mib,
	})
	large := strings.Replace(goodBody, "hi", strings.Repeat("a", 15*mib), 1)
	ask := func(ctx context.Context, id, key, body string) <-chan *authv3.CheckResponse {
		out := make(chan *authv3.CheckResponse, 1)
		go func() {
			answer, err := s.Check(ctx, newCheck(id, body, "authorization", "Bearer "+key))
			if err != nil {
				t.Error(err)
			}
			out <- answer
		}()
		return out
	}
	held := ask(t.Context(), "held", goodKey, large)
	<-inside
	ctx, hangUp := context.WithCancel(t.Context())
	waits := ask(ctx, "waits", goodKey, large)
	larger := strings.Replace(goodBody, "hi", strings.Repeat("a", 33*mib), 1) // fits beside one of them, not two
	var refused *envelope
	for i := 0; refused == nil; i++ { // until the second waits
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		e, err := refusal(<-ask(soon, fmt.Sprint("more", i), goodKey, larger))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if e.Error.Code != 503 {
			refused = e
		}
	}
	if refused.Error.Code != 429 || refused.reason() != "too_many_at_once" || refused.Error.Type != "rate_limit_error" {
		t.Errorf("%+v", refused)
	}
	hangUp()
	if e, err := refusal(<-waits); err != nil || e.Error.Code != 503 {
		t.Errorf("who hung up: %+v, %v", e, err)
	}
	close(block)
	if out := <-held; out.GetOkResponse() == nil {
		t.Errorf("the first: %v", out)
	}
	for _, key := range []string{goodKey, other} {
		if out := <-ask(t.Context(), "again-"+key, key, large); out.GetOkResponse() == nil {
			t.Errorf("afterwards: %s", out.GetDeniedResponse().GetBody())
		}
	}
	if seen := ledger.take(); len(seen) != 3 {
		t.Errorf("%d reservations, want 3", len(seen))
	}
}
