package pricing_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"aigateway/budget"
	"aigateway/pricing"
)

// fromDefault is a caller whose calls without an output cap get this one.
type fromDefault int64

func (fromDefault) MayCall(string) error           { return nil }
func (fromDefault) Watched() bool                  { return false }
func (d fromDefault) DefaultCap() int64            { return int64(d) }
func (fromDefault) DefaultToolCalls() int64        { return 0 }
func (fromDefault) MayName(string, []string) error { return nil }
func (fromDefault) Settled(string, []pricing.StoredName, bool) (int64, bool) {
	return 0, false
}

// A cap that was inserted shrinks to the largest that fits, and the call is then
// exactly what it is with that default: amount, edits and pin.
func TestInsertedCapShrinks(t *testing.T) {
	c := mustLoad(t)
	models := slices.DeleteFunc(c.Models(noon()), func(m pricing.Model) bool {
		return m.Upstream.CapField == pricing.CapFieldNone || endpointOf(m.Slug) != pricing.Chat
	})
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(models).Draw(t, "model")
		body := []byte(`{"model":"` + m.Slug + `","stream":` + rapid.SampledFrom([]string{"true", "false"}).Draw(t, "stream") + `,"messages":[{"role":"user","content":"hello"}]}`)
		quote := func(limit int64) pricing.Quote {
			q, err := c.Quote(t.Context(), pricing.Query{Endpoint: pricing.Chat, Body: body, At: noon()}, fromDefault(limit))
			if err != nil || q.Unbounded != nil {
				t.Skip(err, q.Unbounded)
			}
			return q
		}
		q := quote(rapid.Int64Range(1, 100_000).Draw(t, "default"))
		most := q.Bound.InjectedCap
		floor := rapid.Int64Range(1, max(2, most)).Draw(t, "floor")
		least, ok := q.Bound.Least(floor)
		if !ok {
			if most > floor {
				t.Fatalf("a cap of %d does not shrink to %d", most, floor)
			}
			return
		}
		room := budget.Amount(rapid.Int64Range(0, int64(q.Bound.Amount)).Draw(t, "room"))
		held := q.Bound.Within(room, floor)
		if held < 0 {
			if room >= least {
				t.Fatalf("nothing is within %s, and %d tokens cost %s", room, floor, least)
			}
			return
		}
		if held > room || held < least {
			t.Fatalf("%s is within %s, and %d tokens cost %s", held, room, floor, least)
		}
		q.Shrink(held)
		b := q.Bound
		want := quote(b.InjectedCap).Bound
		if b.InjectedCap < floor || b.Amount != held || want.Amount != held || b.Pin != want.Pin || !cmp.Equal(b.Edits, want.Edits) {
			t.Fatalf("a cap of %d for %s: %s %v, by itself %s %v", b.InjectedCap, held, b.Amount, b.Edits, want.Amount, want.Edits)
		}
		if b.InjectedCap < most {
			if more := quote(b.InjectedCap + 1).Bound; more.InjectedCap == b.InjectedCap+1 && more.Amount <= room {
				t.Fatalf("a cap of %d fits %s, too", more.InjectedCap, room)
			}
		}
	})
}

// The least is the bound at the floor, to the token, and none where the cap that
// was inserted is not above it.
func TestLeastIsExact(t *testing.T) {
	c := mustOverlay(t, "- {model: openai/flat2, family: bytes, limits: {context: 100000, max_output: 50}, prices: [{input: \"1\", output: \"2\"}]}\n")
	b := mustBound(t, c, pricing.Chat, chatBody("openai/flat2", ""), noon())
	if b.InjectedCap != 50 {
		t.Fatalf("a cap of %d was inserted", b.InjectedCap)
	}
	if got, ok := b.Least(20); !ok || got != b.Amount-30*2000 {
		t.Errorf("with 20 tokens of 50: %s, %v; with all %s", got, ok, b.Amount)
	}
	if got, ok := b.Least(50); ok {
		t.Errorf("with all of them: %s", got)
	}
}
