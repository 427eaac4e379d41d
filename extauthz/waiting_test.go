package extauthz_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/ledger"
)

// waits lets calls wait for d, and be content with a cap of 4096 tokens.
func waits(d time.Duration) func(*extauthz.Config) {
	return func(c *extauthz.Config) { c.MaxWait, c.MinInsertedCap = d, 4096 }
}

func header(out *authv3.CheckResponse, name string) string {
	headers := out.GetOkResponse().GetResponseHeadersToAdd()
	if d := out.GetDeniedResponse(); d != nil {
		headers = d.GetHeaders()
	}
	for _, h := range headers {
		if h.GetHeader().GetKey() == name {
			return h.GetHeader().GetValue()
		}
	}
	return ""
}

// With MinInsertedCap 0 a call without a cap has its default or is refused.
func TestNoSmallerCapWhereNoneIsAllowed(t *testing.T) {
	l := newLedger(t, budget.Cent)
	s := newServer(t, keysWith(nil), l)
	const body = `{"model":"moonshot/kimi-k2.6","messages":[{"role":"user","content":"hi"}]}`
	if e, err := refusal(check(t, s, authorized("1", body, "x-aig-tag", "a"))); err != nil || e.reason() != "cap_would_be_crossed" {
		t.Error(err, e)
	}
	smaller := newServer(t, keysWith(nil), l, func(c *extauthz.Config) { c.MinInsertedCap = 1 })
	if out := check(t, smaller, authorized("2", body, "x-aig-tag", "a")); out.GetOkResponse() == nil {
		t.Error("a cap of one token and more does not fit:", out)
	}
}

// A call that running ones keep out waits for them, says so, and is admitted once
// they end; one that waits in vain is refused as if it had not, but says it too.
func TestWaitForRoom(t *testing.T) {
	registry := prometheus.NewRegistry()
	l := newLedger(t, 10*budget.Cent, func(c *ledger.Config) { c.Metrics = registry })
	s := newServer(t, keysWith(nil), l, waits(time.Minute))
	body := `{"model":"moonshot/kimi-k2.6","max_tokens":15000,"messages":[{"role":"user","content":"hi"}]}`
	if out := check(t, s, authorized("first", body, "x-aig-tag", "a")); out.GetOkResponse() == nil || header(out, "x-aig-waited-ms") != "" {
		t.Fatal(out)
	}
	hasty := newServer(t, keysWith(func(k *budget.Key) { k.MaxWait = new(time.Duration) }), l, waits(time.Minute))
	if e, err := refusal(check(t, hasty, authorized("hasty", body, "x-aig-tag", "a"))); err != nil || e.reason() != "cap_held" {
		t.Fatal("a key that never waits:", err, e)
	}
	brief := newServer(t, keysWith(nil), l, waits(time.Millisecond))
	out := check(t, brief, authorized("brief", body, "x-aig-tag", "a"))
	if e, err := refusal(out); err != nil || e.reason() != "cap_held" || header(out, "x-aig-waited-ms") == "" {
		t.Fatal("waited in vain:", err, out)
	}
	answered := make(chan *authv3.CheckResponse, 1)
	go func() {
		out, err := s.Check(t.Context(), authorized("second", body, "x-aig-tag", "a"))
		if err != nil {
			t.Error(err)
		}
		answered <- out
	}()
	awaitWaiting(t, registry)
	release(t, l, "first")
	if out := <-answered; out.GetOkResponse() == nil || header(out, "x-aig-waited-ms") == "" {
		t.Fatal(out)
	}
}

// awaitWaiting returns once a call waits: nobody else is refused meanwhile.
func awaitWaiting(t *testing.T, metrics prometheus.Gatherer) {
	t.Helper()
	for {
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "aig_reservations_waiting" && f.GetMetric()[0].GetGauge().GetValue() > 0 {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func release(t *testing.T, l *ledger.Ledger, id string) {
	t.Helper()
	if err := l.Settle(t.Context(), budget.Settlement{RequestID: id, Basis: budget.BasisReleased}); err != nil {
		t.Fatal(err)
	}
}

// A call without an output cap gets its default where that fits, else the largest
// that does, down to the floor: announced, inserted, and held exactly. The hold of
// a client's own cap is never changed.
func TestTheLargestDefaultThatFits(t *testing.T) {
	const body = `{"model":"moonshot/kimi-k2.6","messages":[{"role":"user","content":"hi"}]}`
	full := newServer(t, keysWith(nil), newLedger(t, 100*budget.Dollar), waits(0))
	whole := header(check(t, full, authorized("whole", body, "x-aig-tag", "a")), "x-aig-bound-usd")
	most, err := budget.ParseAmount("", whole)
	if err != nil {
		t.Fatal(whole, err)
	}
	last := int64(0)
	for i := range int64(11) {
		room := most * budget.Amount(i) / 8
		s := newServer(t, keysWith(nil), newLedger(t, max(1, room)), waits(0))
		out := check(t, s, authorized(fmt.Sprint("r", i), body, "x-aig-tag", "a"))
		if out.GetOkResponse() == nil {
			if e, err := refusal(out); err != nil || e.Error.Code != 402 || room >= most/4 {
				t.Errorf("%s of %s: %v", room, most, out)
			}
			continue
		}
		n, err := strconv.ParseInt(header(out, "x-aig-injected-max-tokens"), 10, 64)
		if err != nil || n < 4096 || n > 32768 || n < last {
			t.Errorf("%s of %s: a cap of %d after %d, %v", room, most, n, last, err)
		}
		last = n
		held, err := budget.ParseAmount("", header(out, "x-aig-bound-usd"))
		if err != nil || held > room || held < min(room, most)-most/32768-1 {
			t.Errorf("%s is held of %s, %v", held, room, err)
		}
		if whole := n == 32768; whole != (held == most) || budget.Amount(n)*(most/32768) > held {
			t.Errorf("a cap of %d is sent, and %s is held", n, held)
		}
		if edits := headerOf(out.GetOkResponse().GetHeaders(), "x-aig-int-edit"); !strings.Contains(edits, fmt.Sprintf(`:%d,`, n)) {
			t.Errorf("a cap of %d is announced, edits are %q", n, edits)
		}
	}
	if last != 32768 {
		t.Errorf("with room for all the cap is %d", last)
	}
	capped := strings.Replace(body, `{`, `{"max_tokens":32768,`, 1)
	s := newServer(t, keysWith(nil), newLedger(t, most/2), waits(0))
	if e, err := refusal(check(t, s, authorized("capped", capped, "x-aig-tag", "a"))); err != nil || e.reason() != "cap_would_be_crossed" {
		t.Error(e, err)
	}
}

// A client that leaves while it waits holds nothing.
func TestLeaveWhileWaiting(t *testing.T) {
	registry := prometheus.NewRegistry()
	l := newLedger(t, 10*budget.Cent, func(c *ledger.Config) { c.Metrics = registry })
	s := newServer(t, keysWith(nil), l, waits(time.Minute))
	body := `{"model":"moonshot/kimi-k2.6","max_tokens":15000,"messages":[{"role":"user","content":"hi"}]}`
	check(t, s, authorized("first", body, "x-aig-tag", "a"))
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if out, err := s.Check(ctx, authorized("second", body, "x-aig-tag", "a")); err != nil || out.GetOkResponse() != nil {
			t.Error(out, err)
		}
	}()
	awaitWaiting(t, registry)
	leave()
	<-done
	if open := l.OpenReservations(10); len(open) != 1 {
		t.Errorf("%d reservations, want one", len(open))
	}
}
