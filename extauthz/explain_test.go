package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"aigateway/budget"
	"aigateway/internal/goldentest"
)

func refusing(reason string, remaining budget.Amount) *fakeLedger {
	shared := &budget.Error{Kind: budget.KindBudgetExceeded, Reason: reason, Message: "no", Refusal: &budget.Refusal{
		Budget: budget.Budget{ID: "bud_7", Target: budget.Target{Tags: "summarize"}, Period: budget.Month, Cap: 500 * budget.Dollar},
		Spent:  500*budget.Dollar - 150*budget.Cent - remaining, Reserved: 150 * budget.Cent,
		ResetsAt: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	}}
	return &fakeLedger{reserve: func(_ context.Context, r budget.Request) (budget.Reservation, error) {
		shared.Refusal.Bound = r.Bound
		return budget.Reservation{}, fmt.Errorf("reserve: %w", shared)
	}}
}

// TestContended: what other gateways hold of a budget is back within a second, and
// clients are told to try then.
func TestContended(t *testing.T) {
	ledger := &fakeLedger{reserve: func(context.Context, budget.Request) (budget.Reservation, error) {
		return budget.Reservation{}, budget.Contended(&budget.Refusal{Budget: budget.Budget{Target: budget.Target{Tags: "summarize"}, Cap: budget.Dollar}})
	}}
	out := check(t, newServer(t, keysWith(nil), ledger), authorized("req-1", goodBody))
	e, err := refusal(out)
	if err != nil || e.Error.Code != 429 || e.reason() != "budget_contended" || e.Error.Type != "rate_limit_error" {
		t.Errorf("%+v, %v", e, err)
	}
	if got := headerOf(out.GetDeniedResponse().GetHeaders(), "retry-after"); got != "1" {
		t.Errorf("retry-after is %q, want 1", got)
	}
}

func TestRefusalExplainsItself(t *testing.T) {
	body := `{"model":"moonshot/kimi-k2.6","max_tokens":100000,"messages":[{"role":"user","content":"hi"}]}`
	out := check(t, newServer(t, keysWith(nil), refusing("cap_would_be_crossed", 30*budget.Cent)), authorized("req-9", body))
	e, err := refusal(out)
	if err != nil {
		t.Fatal(err)
	}
	fits, ok := e.Error.Metadata["max_tokens_that_fit"].(float64)
	if !ok || fits <= 0 || fits >= 100_000 {
		t.Fatalf("max_tokens_that_fit is %v", e.Error.Metadata["max_tokens_that_fit"])
	}
	for _, want := range []string{"Budget 'summarize' has $0.30 of 50,000 cents left", "could cost $0.40", fmt.Sprintf("max_tokens %d fits", int(fits)), "2026-12-01T00:00:00Z"} {
		if !strings.Contains(e.Error.Message, want) {
			t.Errorf("message %q lacks %q", e.Error.Message, want)
		}
	}
	lines, _ := e.Error.Metadata["lines"].([]any)
	if len(lines) < 3 || lines[len(lines)-1].(map[string]any)["amount_usd"] != e.Error.Metadata["bound"] {
		t.Errorf("lines are %v, want the bound's arithmetic", lines)
	}
	if got := headerOf(out.GetDeniedResponse().GetHeaders(), "x-should-retry"); got != "false" {
		t.Errorf("x-should-retry is %q", got)
	}
	// What is said to fit has a bound within the room, and one more has not.
	for _, tt := range []struct {
		cap  int64
		fits bool
	}{{int64(fits), true}, {int64(fits) + 1, false}} {
		ledger := &fakeLedger{}
		check(t, newServer(t, keysWith(nil), ledger), authorized("r", strings.Replace(body, "100000", fmt.Sprintf("%06d", tt.cap)[6-len(fmt.Sprint(tt.cap)):], 1)))
		if seen := ledger.take(); len(seen) != 1 || (seen[0].Bound <= 30*budget.Cent) != tt.fits {
			t.Errorf("max_tokens %d reserves %+v, fits should be %v", tt.cap, seen, tt.fits)
		}
	}
}

// TestWording holds what refusals say; other tests look at code and reason only.
func TestWording(t *testing.T) {
	var said strings.Builder
	say := func(name string, out *authv3.CheckResponse) {
		e, err := refusal(out)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		fmt.Fprintf(&said, "%s\n\t%d %s: %s\n", name, e.Error.Code, e.reason(), e.Error.Message)
	}
	for _, tt := range refusedCalls() {
		say(tt.name, check(t, newServer(t, keysWith(tt.key), &fakeLedger{}), tt.in))
	}
	for _, tt := range []struct {
		reason    string
		remaining budget.Amount
	}{{"cap_held", 30 * budget.Cent}, {"cap_would_be_crossed", 30 * budget.Cent}, {"cap_would_be_crossed", 1}, {"cap_reached", 0}} {
		say(tt.reason+" with "+tt.remaining.String()+" left", check(t, newServer(t, keysWith(nil), refusing(tt.reason, tt.remaining)), authorized("r", goodBody)))
	}
	goldentest.Equal(t, "testdata/refusals.golden", said.String())
}

// The ledger repeats one error to every repeat of a request id.
func TestSharedRefusalIsNotWritten(t *testing.T) {
	l := refusing("cap_would_be_crossed", 30*budget.Cent)
	s := newServer(t, keysWith(nil), l)
	check(t, s, authorized("r", goodBody))
	_, err := l.Reserve(t.Context(), budget.Request{})
	var e *budget.Error
	if !errors.As(err, &e) || e.Refusal.MaxTokensThatFit != nil || e.Message != "no" {
		t.Errorf("the shared error was changed: %+v", e)
	}
}
