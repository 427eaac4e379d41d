package pricing_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"

	"pgregory.net/rapid"
)

// drawn is a random priced call and what its provider may bill for it.
type drawn struct {
	body             string
	input            int64 // tokens the provider may count
	output           int64
	writes, hasImage bool
	tier             string
}

func draw(t *rapid.T, c *pricing.Catalog, m pricing.Model) drawn {
	var d drawn
	size := rapid.SampledFrom([]int{0, 1, 500, 99_000, 199_500, 271_900, 400_000}).Draw(t, "size")
	members := []string{`"model":"` + m.Slug + `"`}
	text := strings.Repeat("x", size)
	if endpointOf(m.Slug) == pricing.Embeddings {
		d.body = "{" + members[0] + `,"input":["` + text + `","b"]}`
		return d
	}
	n := rapid.Int64Range(1, 4).Draw(t, "n")
	limit := rapid.SampledFrom([]int64{1, 10, 4096, 128_000, 10_000_000}).Draw(t, "cap")
	field := rapid.SampledFrom([]string{"max_tokens", "max_completion_tokens"}).Draw(t, "field")
	if m.Provider == "mistral" {
		field = "max_tokens"
	}
	d.output = n * limit
	members = append(members, fmt.Sprintf(`"n":%d,"%s":%d`, n, field, limit))
	refusesWrites := m.Provider == "openrouter" && !slices.ContainsFunc(m.Row.Rates(), func(r pricing.Rate) bool { return r.Kind == "cache_write" })
	if rapid.Bool().Draw(t, "cache") && !refusesWrites {
		d.writes = true
		members = append(members, `"x":{"cache_control":{"type":"ephemeral"}}`)
	}
	d.writes = d.writes || m.Row.Family == "gpt-5.6"
	if s, ok := c.Sheet(m.Slug); ok && strings.HasPrefix(m.Row.Family, "gpt") {
		d.tier = rapid.SampledFrom(append([]string{"", "default"}, slices.Sorted(maps.Keys(s.ServiceTiers))...)).Draw(t, "tier")
		if d.tier != "" {
			members = append(members, `"service_tier":"`+d.tier+`"`)
		}
	}
	part := `{"type":"text","text":"` + text + `"}`
	if slices.Contains([]string{"gpt", "gpt-5.6", "claude", "claude-4", "gemini-3"}, m.Row.Family) && rapid.Bool().Draw(t, "image") {
		d.hasImage = true
		part += `,{"type":"image_url","image_url":{"url":"https://a/b"}}`
	}
	d.body = "{" + strings.Join(members, ",") + `,"messages":[{"role":"user","content":[` + part + `]}]}`
	return d
}

// The promise of the whole program rests on this: no usage within what the
// request allows costs more than its bound.
func TestBoundCoversEveryCost(t *testing.T) {
	c := mustLoad(t)
	models := slices.DeleteFunc(c.Models(noon()), func(m pricing.Model) bool { return endpointOf(m.Slug) == pricing.Rerank || mediaModel(m) })
	if len(models) < 28 {
		t.Fatalf("only %d models", len(models))
	}
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(models).Draw(t, "model")
		d := draw(t, c, m)
		call, err := pricing.ParseCall(endpointOf(m.Slug), []byte(d.body))
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Bound(call, noon())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range b.Lines() {
			if l.Label == "input" {
				d.input = l.Quantity
			}
		}
		prompt := rapid.OneOf(rapid.Just(d.input), rapid.Int64Range(0, d.input)).Draw(t, "prompt")
		completion := rapid.OneOf(rapid.Just(d.output), rapid.Int64Range(0, d.output)).Draw(t, "completion")
		cached := rapid.Int64Range(0, prompt).Draw(t, "cached")
		var written int64
		if d.writes {
			written = rapid.OneOf(rapid.Just(prompt-cached), rapid.Int64Range(0, prompt-cached)).Draw(t, "written")
		}
		billed := rapid.SampledFrom([]string{"", `"default"`, `"` + d.tier + `"`, `"surprise"`}).Draw(t, "billed")
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, ServiceTier: billed, Usage: fmt.Sprintf(
			`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d}}`,
			prompt, completion, prompt+completion, cached, written)}
		out := pricing.Charge(b.Pin, b.Amount, ev, nil)
		if slices.Contains(out.Flags, pricing.FlagTierUnpriced) { // at the dearest tier, whatever was asked for
			return
		}
		if out.Basis != budget.BasisUsage || out.Cost > b.Amount || slices.Contains(out.Flags, pricing.FlagBoundExceeded) {
			t.Fatalf("%+v passes the bound %s\n%s\n%+v", out, b.Amount, ev.Usage, b.Lines())
		}
		if prompt == d.input && completion == d.output && cached == 0 && (written == prompt || !d.writes) && billed == "" && out.Cost != b.Amount {
			t.Fatalf("the dearest usage costs %s, not the bound %s: %+v", out.Cost, b.Amount, b.Lines())
		}
	})
}

func TestLargestCapFitsAndOneMoreDoesNot(t *testing.T) {
	c := mustLoad(t)
	models := slices.DeleteFunc(c.Models(noon()), func(m pricing.Model) bool { return endpointOf(m.Slug) != pricing.Chat })
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(models).Draw(t, "model")
		n := rapid.Int64Range(1, 128).Draw(t, "n")
		digits := func(limit int64) int { return len(fmt.Sprint(limit)) }
		bound := func(limit int64, more int) *pricing.Bound {
			// The same length for every cap: only the cap's effect counts.
			body := fmt.Sprintf(`{"model":"%s","n":%d,"pad":"%s","max_tokens":%d}`, m.Slug, n, strings.Repeat("x", 8-digits(limit)+more), limit)
			call, err := pricing.ParseCall(pricing.Chat, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := m.Bound(call, noon())
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		sent := rapid.Int64Range(1, 1_000_000).Draw(t, "cap")
		b := bound(sent, 0)
		room := budget.Amount(rapid.Int64Range(0, int64(b.Amount)*2).Draw(t, "room"))
		fit, ok := b.LargestCap(room)
		if !ok {
			if one := bound(1, 0).Amount; one <= room {
				t.Fatalf("a cap of 1 costs %s and fits %s", one, room)
			}
			return
		}
		if got := bound(fit, 0).Amount; got > room {
			t.Fatalf("a cap of %d costs %s, more than %s", fit, got, room)
		}
		if fit == 10_000_000 {
			return // the most a body may ask for
		}
		// Digits that were not sent may be in the body twice.
		if got := bound(fit+1, 2*max(0, digits(fit+1)-digits(sent))).Amount; got <= room {
			t.Fatalf("a cap of %d costs %s and still fits %s", fit+1, got, room)
		}
	})
}

// A client without a cap that is told a number can send it.
func TestLargestCapFitsOnceItIsSent(t *testing.T) {
	c := mustLoad(t)
	for _, m := range c.Models(noon()) {
		if endpointOf(m.Slug) != pricing.Chat {
			continue
		}
		b := mustBound(t, c, pricing.Chat, chatBody(m.Slug, ""), noon())
		room := b.Amount / 10 * 9 // above the fee that some bill at least
		fit, ok := b.LargestCap(room)
		if !ok {
			t.Errorf("%s: nothing fits nine tenths of the bound", m.Slug)
			continue
		}
		field := "max_tokens"
		if m.Upstream.CapField != "" {
			field = m.Upstream.CapField
		}
		sent := mustBound(t, c, pricing.Chat, chatBody(m.Slug, fmt.Sprintf(`"%s": %d `, field, fit)), noon())
		if sent.Amount > room {
			t.Errorf("%s: cap %d costs %s, more than %s", m.Slug, fit, sent.Amount, room)
		}
	}
}
