package accounting_test

import (
	"testing"
	"time"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/internal/envoytest"
	"aigateway/pricing"
)

// xAI's fee is charged for content that it refuses, and not for a key that it
// refuses, of which the filter makes a 502.
func TestContentRefusalFee(t *testing.T) {
	c, sealed := pricedCall(t, "xai", pricing.Chat, `{"model":"xai/grok-4.6","max_tokens":10,"messages":[{"role":"user","content":"x"}]}`)
	for _, tt := range []struct {
		name   string
		change func(map[string]any)
		want   budget.Amount
	}{
		{"content", func(m map[string]any) { m["code"] = 403 }, 5 * budget.Cent},
		{"account", func(m map[string]any) {
			m["code"], m["report"] = 502, envoytest.ReportText(envoy.Report{UpstreamStatus: 403})
		}, 0},
		{"another error", func(m map[string]any) { m["code"] = 400 }, 0},
	} {
		l, err := envoy.ParseLogLine([]byte(line(t, 1, with("rsv", sealed), tt.change)))
		if err != nil {
			t.Fatal(err)
		}
		cfg, _ := config(t, &fakeLedger{})
		cfg.Catalog = func() *pricing.Catalog { return c }
		if got := accounting.Settlement(cfg, &l).Cost; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// pricedCall is the built-in price list for a provider, and the sealed token of a
// call that was bounded by it.
func pricedCall(t *testing.T, provider string, e pricing.Endpoint, body string) (*pricing.Catalog, string) {
	t.Helper()
	return pricedCallAt(t, noon, provider, e, body)
}

func pricedCallAt(t *testing.T, at time.Time, provider string, e pricing.Endpoint, body string) (*pricing.Catalog, string) {
	t.Helper()
	c, err := pricing.Load(nil, []pricing.Upstream{{Provider: provider}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	q, err := c.Quote(t.Context(), pricing.Query{Endpoint: e, Body: []byte(body), At: at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, newSealer(t).Seal(envoy.Token{
		ID: 1, Accounts: []int64{1}, Bound: int64(q.Bound.Amount), ReservedAt: at.UnixNano(),
		KeyID: "key_1", Tag: "a", Model: q.Model.Slug, Provider: q.Model.Provider, Pin: q.Bound.Pin,
	})
}
