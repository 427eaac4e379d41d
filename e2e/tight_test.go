package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDefaultOutputCap: a budget's and a key's default reach the provider as
// the call's cap, and the client is told.
func TestDefaultOutputCap(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.post("/v1/budgets", `{"tag":"short/**","monthly_cap_cents":100000,"default_max_tokens":55}`, &struct{}{})
	var made struct{ Secret string }
	g.post("/v1/keys", `{"name":"shorter","scopes":["inference"],"default_max_tokens":33}`, &made)
	for i, tc := range []struct {
		secret, more string
		want         string
		most         int64 // tokens of the answer, of which the provider makes the most
	}{
		{adminKey, ``, "55", 55},
		{made.Secret, ``, "33", 33},
		{made.Secret, `,"max_tokens":77`, "", 77},
	} {
		tag := fmt.Sprintf("short/%d", i)
		header := tagged(tag)
		header.Set("Authorization", "Bearer "+tc.secret)
		r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", tag, "fault:max", tc.more), header)
		if got := r.header.Get("X-Aig-Injected-Max-Tokens"); r.status != http.StatusOK || got != tc.want {
			t.Fatalf("case %d: %d, announced %q, want %q: %s", i, r.status, got, tc.want, r.body)
		}
		var answer struct {
			Usage struct {
				Output int64 `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal(r.body, &answer); err != nil || answer.Usage.Output != tc.most {
			t.Errorf("case %d: the answer has %d tokens, %v; want %d", i, answer.Usage.Output, err, tc.most)
		}
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestTokenizerBound: a provider whose input is counted holds less than half of
// what bytes would, and explain says so and what was learned.
func TestTokenizerBound(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	urls, ok := g.settings["URL"].(map[string]string)
	if !ok {
		t.Fatal("no provider addresses")
	}
	g.settings["Extra"] = `  words: {preset: openai_compatible, base_url: "` + urls["fake"] + `/v1", api_key: ` + providerKey + `, input_bound: tokenizer}`
	g.settings["Models"] = append(slices.Clone(pricedModels), "words/m1\n  tokenizer: o200k_base")
	g.writeConfig()
	g.startRun()
	g.setBudget("**", 100_000)
	text := strings.Repeat("The committee met on Tuesday, and it did not agree on much. ", 200)
	held := map[string]int64{}
	for _, model := range []string{"fake/m1", "words/m1"} {
		r := g.chat(model, "tight", text, `,"max_tokens":9`)
		if r.err != nil || r.status != http.StatusOK {
			t.Fatalf("%s: %d %s %v", model, r.status, r.body, r.err)
		}
		held[model] = mustNano(t, r.header.Get("X-Aig-Bound-Usd"))
	}
	if 2*held["words/m1"] > held["fake/m1"] {
		t.Errorf("%d nano-USD held with the tokenizer, %d by bytes", held["words/m1"], held["fake/m1"])
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
	r := g.try(http.MethodPost, g.rest+"/v1/explain", `{"tag":"tight","body":`+chatBody("words/m1", "tight", text, `,"max_tokens":9`)+`}`, nil)
	var x struct {
		Lines   []struct{ Label string }
		Learned struct{ Calls int64 }
	}
	if err := json.Unmarshal(r.body, &x); err != nil || r.status != http.StatusOK || len(x.Lines) == 0 || x.Lines[0].Label != "counted text" || x.Learned.Calls < 2 {
		t.Errorf("explained: %d %s %v", r.status, r.body, err)
	}
}
