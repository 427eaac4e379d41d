package pricing_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"

	"pgregory.net/rapid"
)

// asking is a body whose output cap can be set as a client would that was told
// one.
type asking struct {
	e     pricing.Endpoint
	body  string
	field string // to add to a body without a cap
	sent  string // digits of the cap the body has; empty: none
}

// newAsking finds the caps that the model's provider obeys.
func newAsking(e pricing.Endpoint, m pricing.Model, body string) asking {
	a := asking{e: e, body: body, field: "max_tokens"}
	switch {
	case e == pricing.Responses:
		a.field = "max_output_tokens"
	case e == pricing.Chat && m.Upstream.CapField == "max_completion_tokens":
		a.field = m.Upstream.CapField
	}
	for _, match := range a.caps(m).FindAllStringSubmatch(body, -1) {
		if match[2] != "null" && atoi(match[2]) >= atoi(a.sent) {
			a.sent = match[2]
		}
	}
	return a
}

func (a *asking) caps(m pricing.Model) *regexp.Regexp {
	names := a.field
	if a.e == pricing.Chat {
		names = "max_tokens|max_completion_tokens"
		if len(m.Upstream.Honours) > 0 {
			names = strings.Join(m.Upstream.Honours, "|")
		}
	}
	return regexp.MustCompile(`("(?:` + names + `)":)(null|[\d.eE+-]+)`)
}

// atoi reads a number as a client may spell it.
func atoi(digits string) int64 {
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0
	}
	return int64(n)
}

// with is the body with another cap, and so many bytes longer where it had none.
func (a *asking) with(m pricing.Model, limit int64, length int) string {
	text := strconv.FormatInt(limit, 10)
	caps := a.caps(m)
	if a.sent != "" { // of two caps the larger one counts: it is lowered, or one is raised
		raised := false
		return caps.ReplaceAllStringFunc(a.body, func(member string) string {
			name, value, _ := strings.Cut(member, ":")
			if value != "null" && (atoi(value) > limit || value == a.sent && !raised) {
				raised = raised || value == a.sent
				return name + ":" + text
			}
			return member
		})
	}
	body := caps.ReplaceAllString(a.body, "") // no more nulls
	body = regexp.MustCompile(`,(\s*,)+`).ReplaceAllString(body, ",")
	body = regexp.MustCompile(`,\s*}$`).ReplaceAllString(body, "}")
	body = regexp.MustCompile(`^{\s*,`).ReplaceAllString(body, "{")
	body = fmt.Sprintf(`{%q:%s,%s`, a.field, text, body[1:])
	if room := len(a.body) + length - len(body); room > 0 {
		body = "{" + strings.Repeat(" ", room) + body[1:]
	}
	return body
}

func inputTokensOf(b *pricing.Bound) int64 {
	for _, l := range b.Lines() {
		if l.Label == "input" {
			return l.Quantity
		}
	}
	return 0
}

// At every endpoint and for every model: a client that sends the cap it was told
// is admitted, and one token more would not have fitted.
func TestTheCapThatFitsIsTheLargest(t *testing.T) {
	c, _ := oracleSides(t)
	seen := map[pricing.Endpoint]int{}
	for range searches {
		rapid.Check(t, func(t *rapid.T) { largest(t, c, seen) })
	}
	if testing.Short() {
		return // a fifth of the draws: too few to be sure of every endpoint
	}
	for _, e := range []pricing.Endpoint{pricing.Chat, pricing.Responses, pricing.Messages, pricing.Completions} {
		if seen[e] < searches-1 { // one search alone may miss any
			t.Errorf("%s was seen %d times only", e, seen[e])
		}
	}
}

// largest draws a call and what is left of a budget: the cap that is said to fit
// does, and the next one does not.
func largest(t *rapid.T, c *pricing.Catalog, seen map[pricing.Endpoint]int) {
	e, body, at, _ := drawCall(t, c)
	b, err := tryBound(c, e, body, at)
	if err != nil {
		return
	}
	room := budget.Amount(rapid.Int64Range(0, 2*int64(b.Amount)).Draw(t, "room"))
	fit, ok := b.LargestCap(room)
	if e == pricing.Embeddings || e == pricing.Rerank || media(e) {
		if ok {
			t.Fatalf("%s has no output to cap, but %d fits", e, fit)
		}
		return
	}
	call, err := pricing.ParseCall(e, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Resolve(call.Model, at)
	if err != nil {
		t.Fatal(err)
	}
	a := newAsking(e, m, body)
	bound := func(body string) *pricing.Bound {
		b, err := tryBound(c, e, body, at)
		if err != nil {
			t.Fatalf("%s: %v", short(body), err)
		}
		return b
	}
	if ok {
		if again := a.with(m, fit, 0); bound(again).Amount > room {
			t.Fatalf("the cap %d of %s costs %s, more than %s: %s", fit, short(body), bound(again).Amount, room, short(again))
		}
	}
	seen[e]++
	if ok && fit == 10_000_000 {
		return // the most a body may ask for
	}
	next := fit + 1 // fit is 0 when nothing fits
	more := a.with(m, next, 64)
	grown := int64(len(more) - len(body))
	switch {
	case a.sent == "0": // asks for cache writes, which another cap does not
	case a.sent != "" && len(strconv.FormatInt(next, 10)) != len(a.sent): // not the length the room was worked out for
	case a.sent == "" && inputTokensOf(bound(more)) != inputTokensOf(b)+grown: // limited by something else than the body's length
	case bound(more).Amount <= room:
		t.Fatalf("the cap %d costs %s and still fits %s: %s", next, bound(more).Amount, room, short(more))
	}
}

// The largest cap is exact: at its own cost it fits, with the digits that a longer
// one adds, up to the price tier of longer inputs, and up to the largest amount.
func TestLargestCapAtItsEdges(t *testing.T) {
	row := func(model, more, out string) string {
		return "- {model: capless/" + model + ", family: bytes, limits: {context: 1000000, max_output: 10000000}, prices: [{input: \"1\", output: \"" + out + "\"" + more + "}]}\n"
	}
	body := func(model string) string { return chatBody("capless/"+model, `"max_tokens":9`) }
	b := mustBound(t, mustOverlay(t, row("flat1", "", "2")), pricing.Chat, body("flat1"), noon())
	in := budget.Amount(inputOf(t, b))
	for _, tt := range []struct{ room, want budget.Amount }{{in + 2*1 - 1, 0}, {in + 2*1, 1}, {in + 2*9, 9}, {in + 2 + 2*10 - 1, 9}, {in + 2 + 2*10, 10}} {
		if got, ok := b.LargestCap(tt.room * 1000); budget.Amount(got) != tt.want || ok != (tt.want > 0) {
			t.Errorf("%d micro-USD hold a cap of %d, want %d", tt.room, got, tt.want)
		}
	}
	tiers := fmt.Sprintf(", tiers: [{from: %d, input: \"1\", output: \"2\"}]", in+2*2)
	stepped := mustBound(t, mustOverlay(t, row("tier1", tiers, "2")), pricing.Chat, body("tier1"), noon())
	if got, ok := stepped.LargestCap(budget.Dollar); got != 99 || !ok {
		t.Errorf("below the next tier %d fit, want 99", got)
	}
	dear := mustBound(t, mustOverlay(t, row("dear1", "", "1000000000")), pricing.Chat, chatBody("capless/dear1", `"max_tokens":9,"n":128`), noon())
	if got, ok := dear.LargestCap(budget.MaxAmount); !ok || got != int64(budget.MaxAmount/(128*1000*budget.Dollar)) {
		t.Errorf("%d of 128,000 dollars each fit", got)
	}
}

// Within looks from the floor to the cap that is inserted, and no further.
func TestWithinItsFloor(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Chat, chatBody(kimi, ""), noon())
	if b.InjectedCap < 2 {
		t.Fatalf("the inserted cap is %d", b.InjectedCap)
	}
	if got := b.Within(b.Amount, b.InjectedCap); got != b.Amount {
		t.Errorf("from the cap itself: %s, want %s", got, b.Amount)
	}
	if got := b.Within(budget.MaxAmount, b.InjectedCap+1); got >= 0 {
		t.Errorf("from above the cap: %s", got)
	}
}
