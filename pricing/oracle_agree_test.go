package pricing_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// oracleUpstreams are the presets, some with an operator's settings.
func oracleUpstreams() []pricing.Upstream {
	list := settleUpstreams()
	for i := range list {
		u := &list[i]
		switch u.Provider {
		case "openai":
			u.AllowStoredInput, u.DefaultTier, u.DefaultMaxToolCalls = true, "priority", 3
		case "anthropic":
			u.AllowPDF, u.DefaultGeo, u.DefaultMaxToolCalls = true, "us", 2
		case "gemini":
			u.DefaultMaxTokens = 1234
		case "deepseek":
			u.PriceMultiplier = "1.1"
		}
	}
	return list
}

func oracleSides(t testing.TB) (*pricing.Catalog, *oracle) {
	t.Helper()
	return oracleCatalog(t, oracleUpstreams()), newOracle(t, oracleModels, oracleUpstreams(), time.Hour)
}

func oracleCatalog(t testing.TB, upstreams []pricing.Upstream) *pricing.Catalog {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(oracleModels), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, upstreams, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// oracleTimes are around every change of a price.
func oracleTimes() []time.Time {
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	var out []time.Time
	for _, clock := range []time.Duration{0, 30 * time.Minute, 3*time.Hour + 59*time.Minute, 4 * time.Hour, 12 * time.Hour, 12*time.Hour + time.Minute, 15*time.Hour + 30*time.Minute, 22*time.Hour + 59*time.Minute, 23 * time.Hour, 24 * time.Hour} {
		out = append(out, day.Add(clock))
	}
	for _, weekend := range []time.Duration{3*24*time.Hour + 22*time.Hour, 3*24*time.Hour + 23*time.Hour + time.Minute, 4*24*time.Hour + 2*time.Hour, 5*24*time.Hour + 23*time.Hour + 59*time.Minute, 6 * 24 * time.Hour, 6*24*time.Hour + time.Minute} {
		out = append(out, day.Add(weekend))
	}
	return append(out, time.Date(2026, 12, 31, 23, 30, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
}

// drawCall is a request for any model at any endpoint it may be sent to.
func drawCall(t *rapid.T, c *pricing.Catalog) (e pricing.Endpoint, body string, at time.Time, oneReason bool) {
	at = rapid.SampledFrom(oracleTimes()).Draw(t, "at")
	m := rapid.SampledFrom(c.Models(at)).Draw(t, "model")
	endpoints := drawable()
	if own := endpointOf(m.Slug); own != pricing.Chat && rapid.IntRange(1, 10).Draw(t, "another endpoint") > 1 {
		endpoints = []pricing.Endpoint{own}
	}
	e = rapid.SampledFrom(endpoints).Draw(t, "endpoint")
	body, oneReason = drawBody(t, e, m)
	return e, body, at, oneReason
}

func short(body string) string {
	if len(body) > 3000 {
		return fmt.Sprintf("%s... (%d bytes)", body[:3000], len(body))
	}
	return body
}

// The fast bound and the slow one agree to the nano-dollar, and on why there is
// none, for every model, endpoint and kind of request.
func TestBoundAgreesWithTheOracle(t *testing.T) {
	c, o := oracleSides(t)
	for range searches {
		rapid.Check(t, func(t *rapid.T) { agrees(t, c, o) })
	}
}

func agrees(t *rapid.T, c *pricing.Catalog, o *oracle) {
	e, body, at, oneReason := drawCall(t, c)
	want, reason := o.bound(e, body, at)
	b, err := tryBound(c, e, body, at)
	var why *budget.Error
	switch {
	case err == nil && reason != "":
		t.Fatalf("%s %s: bound is %s, the oracle refuses with %s", e, short(body), b.Amount, reason)
	case err == nil && b.Amount != want:
		t.Fatalf("%s %s: bound is %s, the oracle's %s\n%+v", e, short(body), b.Amount, want, b.Lines())
	case err == nil:
	case reason == "":
		t.Fatalf("%s %s: refused with %v, the oracle's bound is %s", e, short(body), err, want)
	case !errors.As(err, &why) || oneReason && why.Reason != reason:
		t.Fatalf("%s %s: refused with %v, by the oracle with %s", e, short(body), err, reason)
	}
}
