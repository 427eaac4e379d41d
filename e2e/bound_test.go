package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBoundCoversTheMaximum makes calls of every shape to a provider that
// generates and bills the most each can cost: a token per byte, every choice
// up to its cap. No bill may pass its bound.
func TestBoundCoversTheMaximum(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.setBudget("**", 100_000_000)
	rnd := rand.New(rand.NewPCG(7, 11))
	texts := []string{"short", "日本語のテキスト", "\u2028\u0000\\\"", "😀😀😀", strings.Repeat("long ", 2000), "ﷺﷺﷺ", `{"json":["in","text"]}`}
	for i := range 60 {
		tag := fmt.Sprintf("bound/%02d", i)
		more := ""
		if rnd.IntN(4) > 0 {
			more += fmt.Sprintf(`,"max_tokens":%d`, 1+rnd.IntN(3000))
		}
		if rnd.IntN(3) == 0 {
			more += fmt.Sprintf(`,"max_completion_tokens":%d`, 1+rnd.IntN(3000))
		}
		if rnd.IntN(3) == 0 {
			more += fmt.Sprintf(`,"n":%d`, 1+rnd.IntN(5))
		}
		if rnd.IntN(2) == 0 {
			more += `,"stream":true`
		}
		model := []string{"fake/m1", "quick/m1", "gem/m1"}[rnd.IntN(3)]
		r := g.chat(model, tag, texts[rnd.IntN(len(texts))]+" fault:max", more)
		if r.err != nil || r.status != http.StatusOK {
			t.Fatalf("%s: %d %.300s %v", more, r.status, r.body, r.err)
		}
		eventually(t, time.Minute, "the call is billed", func() bool { return g.bills()[tag].Calls == 1 })
		if bill, bound := g.bills()[tag].NanoUSD, mustNano(t, r.header.Get("X-Aig-Bound-Usd")); bill > bound {
			t.Errorf("%s %s: bill %d > bound %d nano-USD", model, more, bill, bound)
		}
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestEmbeddings covers the forms of input, and the charge without a report.
func TestEmbeddings(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.setBudget("**", 1_000_000)
	for i, test := range []struct {
		input, more string
		charge      charge
	}{
		{`"one text"`, ``, billed},
		{`["one","two","three"]`, `,"encoding_format":"base64","dimensions":300`, billed},
		{`[1,2,3,4]`, ``, billed},
		{`[[1,2],[3],[4,5,6]]`, ``, billed},
		{`["fault:max","日本語 and more"]`, ``, billed},
		{`["fault:split=11","` + strings.Repeat("x", 20_000) + `"]`, `,"dimensions":4096`, billed},
		{`["fault:no_usage","two"]`, ``, wholeHold},
		{`["fault:status=500","two"]`, ``, free},
	} {
		tag := fmt.Sprintf("embed/%d", i)
		body := fmt.Sprintf(`{"model":"fake/m1","user":%q,"input":%s%s}`, tag, test.input, test.more)
		r := g.insist(http.MethodPost, g.url+"/v1/embeddings", body, tagged(tag))
		if r.err != nil || r.status != http.StatusOK && test.charge != free {
			t.Fatalf("%s: %d %.300s %v", test.input, r.status, r.body, r.err)
		}
		bound := mustNano(t, r.header.Get("X-Aig-Bound-Usd"))
		g.settle(time.Minute)
		got, bill := g.usage()[tag], g.bills()[tag].NanoUSD
		want := map[charge]int64{billed: bill, wholeHold: bound, free: 0}[test.charge]
		if got.nano != want || got.requests != 1 || bill > bound || test.charge == billed && bill == 0 {
			t.Errorf("%.40s: charged %+v, want %d (bill %d, bound %d)", test.input, got, want, bill, bound)
		}
	}
}
