package extauthz_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/extauthz"
	"aigateway/pricing"
)

// Whoever settles has the token only: it says everything about the call.
func TestTheTokenSaysEverythingAboutTheCall(t *testing.T) {
	ledger := &fakeLedger{reserve: func(_ context.Context, r budget.Request) (budget.Reservation, error) {
		res := admitted(r)
		res.ID, res.ReservedAt, res.Accounts = 77, noon.Add(time.Minute+1), []int64{3, 9}
		return res, nil
	}}
	out := check(t, newServer(t, keysWith(nil), ledger), authorized("req-1", goodBody, "x-aig-tag", "team/a"))
	got, err := newSealer(t).Open(out.GetDynamicMetadata().GetFields()["rsv"].GetStringValue())
	if err != nil {
		t.Fatal(err)
	}
	if got.Bound <= 0 || got.Pin == "" {
		t.Errorf("bound %d, pin %q", got.Bound, got.Pin)
	}
	want := envoy.Token{
		ID: 77, Accounts: []int64{3, 9}, Bound: got.Bound, ReservedAt: noon.Add(time.Minute + 1).UnixNano(),
		KeyID: "key_1", Tag: "team/a", Model: "moonshot/kimi-k2.6", Provider: "moonshot", Pin: got.Pin,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRequestIDs(t *testing.T) {
	s := newServer(t, keysWith(nil), &fakeLedger{})
	for id, good := range map[string]bool{
		"!": true, "~": true, strings.Repeat("x", 128): true,
		"": false, " ": false, "a b": false, "a\x7f": false, "ä": false, "a\n": false, strings.Repeat("x", 129): false,
	} {
		out := check(t, s, authorized(id, goodBody))
		e, err := refusal(out)
		if good != (out.GetOkResponse() != nil) || !good && (err != nil || e.reason() != "request_id_missing" || e.Error.Code != 500) {
			t.Errorf("request id %q: %v", id, out)
		}
	}
}

// Every refusal names its request and the member at fault, and is counted as
// refused or failed.
func TestRefusalsNameTheirRequestAndField(t *testing.T) {
	for _, tt := range []struct {
		name    string
		key     func(*budget.Key)
		reserve func(context.Context, budget.Request) (budget.Reservation, error)
		body    string
		field   string
		outcome string
	}{
		{name: "model", key: func(k *budget.Key) { k.AllowedModels = []string{"openai/*"} }, body: goodBody, field: "model", outcome: "refused"},
		{name: "tag", key: func(k *budget.Key) { k.AllowedTags = []budget.TagPattern{"b"} }, body: goodBody, field: "x-aig-tag", outcome: "refused"},
		{name: "scope", key: func(k *budget.Key) { k.Scopes = nil }, body: goodBody, field: "authorization", outcome: "refused"},
		{name: "store", reserve: func(context.Context, budget.Request) (budget.Reservation, error) {
			return budget.Reservation{}, budget.Unavailable("store_unavailable", "try again", nil)
		}, body: goodBody, outcome: "failed"},
	} {
		catalog, registry := newCatalog(t), prometheus.NewRegistry()
		s := serverOf(t, extauthz.Config{
			Keys: keysWith(tt.key), Ledger: &fakeLedger{reserve: tt.reserve},
			Catalog: func() *pricing.Catalog { return catalog }, Sealer: newSealer(t), Now: func() time.Time { return noon },
			Log: slog.New(slog.DiscardHandler), Metrics: registry,
		})
		out := check(t, s, authorized("req-9", tt.body))
		e, err := refusal(out)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if e.Error.Param != tt.field {
			t.Errorf("%s: names %q, want %q", tt.name, e.Error.Param, tt.field)
		}
		if got := headerOf(out.GetDeniedResponse().GetHeaders(), "x-aig-request-id"); got != "req-9" {
			t.Errorf("%s: request id %q", tt.name, got)
		}
		if got := counted(t, registry, "aig_decisions_total", tt.outcome, e.reason()); got != 1 {
			t.Errorf("%s: counted %v times as %s for %s, want once", tt.name, got, tt.outcome, e.reason())
		}
	}
}

// A refusal repeats a model's name, but no hostile megabyte.
func TestLongModelNamesAreShortened(t *testing.T) {
	s := newServer(t, keysWith(func(k *budget.Key) { k.AllowedModels = []string{"openai/*"} }), &fakeLedger{})
	for _, n := range []int{99, 100, 101, 250} {
		model := "moonshot/" + strings.Repeat("m", n-len("moonshot/"))
		e, err := refusal(check(t, s, authorized("r", `{"model":"`+model+`","messages":[]}`)))
		if err != nil {
			t.Fatal(err)
		}
		whole, cut := strings.Contains(e.Error.Message, `"`+model+`"`), strings.Contains(e.Error.Message, `"`+model[:min(n, 100)]+`…"`)
		if whole != (n <= 100) || cut != (n > 100) {
			t.Errorf("a name of %d bytes: %s", n, e.Error.Message)
		}
	}
}

func TestContentAtItsEdges(t *testing.T) {
	length := fmt.Sprint(len(goodBody))
	for _, tt := range []struct {
		name, body string
		headers    []string
		reason     string
	}{
		{"one byte", "1", nil, "body_not_json"},
		{"one byte too many", goodBody, []string{"content-length", fmt.Sprint(len(goodBody) - 1)}, "body_missing"},
		{"two equal lengths", goodBody, []string{"content-length", length, "content-length", length}, "body_missing"},
		{"an upgrade with a body", goodBody, []string{"upgrade", "h2c"}, "body_missing"},
	} {
		if e, err := refusal(check(t, newServer(t, keysWith(nil), &fakeLedger{}), authorized("r", tt.body, tt.headers...))); err != nil || e.reason() != tt.reason {
			t.Errorf("%s: %+v, %v; want %s", tt.name, e, err, tt.reason)
		}
	}
}

func TestJoinedTagsWithEmptyEnds(t *testing.T) {
	for _, tag := range []string{",a", "a,", ",", ",,"} {
		in := authorized("r", goodBody)
		http := in.GetAttributes().GetRequest().GetHttp()
		http.Headers = map[string]string{"x-aig-tag": tag}
		for _, h := range http.GetHeaderMap().GetHeaders() {
			http.Headers[h.GetKey()] = string(h.GetRawValue())
		}
		http.HeaderMap = nil
		if e, err := refusal(check(t, newServer(t, keysWith(nil), &fakeLedger{}), in)); err != nil || e.reason() != "tag_repeated" {
			t.Errorf("%q: %+v, %v; want tag_repeated", tag, e, err)
		}
	}
}

// Where a provider gets no betas, what a client sends of them does not matter.
func TestBetasOfAnyNumber(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: "thinking-2025", 2: "thinking-2025,caching-2024"} {
		catalog := newCatalog(t)
		s := serverOf(t, extauthz.Config{
			Keys: keysWith(nil), Ledger: &fakeLedger{}, Catalog: func() *pricing.Catalog { return catalog }, Sealer: newSealer(t),
			Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
			Betas: func(string) []string { return []string{"thinking-2025", "caching-2024"}[:n] },
		})
		ask := func(headers ...string) *authv3.CheckResponse {
			return check(t, s, on(pricing.Messages, newCheck("r", messagesBody, append([]string{"x-api-key", goodKey}, headers...)...)))
		}
		out := ask("anthropic-beta", "thinking-2025,caching-2024,thinking-2025")
		if got := out.GetDynamicMetadata().GetFields()["betas"].GetStringValue(); out.GetOkResponse() == nil || got != want {
			t.Errorf("of %d allowed: %q, want %q", n, got, want)
		}
		twice := ask("anthropic-beta", "thinking-2025", "anthropic-beta", "caching-2024")
		if (twice.GetOkResponse() != nil) != (n == 0) {
			t.Errorf("of %d allowed, sent twice: %v", n, twice)
		}
	}
}

// What cannot be a message is an error of the call, and no decision.
func TestCheckOfWhatIsNoMessage(t *testing.T) {
	in := authorized("r", goodBody)
	in.Attributes.Request.Http.Path = "\xff"
	if out, err := newServer(t, keysWith(nil), &fakeLedger{}).Check(t.Context(), in); err == nil {
		t.Errorf("answered %v", out)
	}
}

func TestAnInjectedCapOfOneIsTold(t *testing.T) {
	for def, want := range map[int64]string{1: "1", 2: "2"} {
		s := newServer(t, keysWith(func(k *budget.Key) { k.DefaultMaxTokens = def }), &fakeLedger{})
		out := check(t, s, authorized("r", `{"model":"moonshot/kimi-k2.6","messages":[]}`))
		if got := headerOf(out.GetOkResponse().GetResponseHeadersToAdd(), "x-aig-injected-max-tokens"); got != want {
			t.Errorf("a default of %d tokens is told as %q", def, got)
		}
	}
}

// For a caller that left before it was decided nothing is held.
func TestWhoLeftHoldsNothing(t *testing.T) {
	asked := 0
	ledger := &fakeLedger{reserve: func(_ context.Context, r budget.Request) (budget.Reservation, error) {
		asked++
		return admitted(r), nil
	}}
	ctx, leave := context.WithCancel(t.Context())
	s := newServer(t, keysWith(nil), ledger, func(c *extauthz.Config) {
		c.Betas = func(string) []string { leave(); return nil } // it has been bounded
	})
	out, err := s.Check(ctx, on(pricing.Messages, newCheck("req-1", messagesBody, "x-api-key", goodKey)))
	if err == nil && out.GetOkResponse() != nil || asked > 0 || ctx.Err() == nil {
		t.Errorf("%v, %v; %d reservations", out, err, asked)
	}
}
