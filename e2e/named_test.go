package e2e_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// TestNamedAnswers: what a call only names holds what this gateway settled for
// it, whole or streamed, and a whole context where it settled nothing.
func TestNamedAnswers(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	urls, ok := g.settings["URL"].(map[string]string)
	if !ok {
		t.Fatal("no provider addresses")
	}
	g.settings["Extra"] = `  named: {preset: openai_compatible, base_url: "` + urls["fake"] + `/v1", api_key: ` + providerKey + `, apis: [responses]}`
	g.settings["Models"] = append(slices.Clone(pricedModels), "named/m1")
	g.writeConfig()
	g.startRun()
	g.setBudget("**", 10_000_00)
	ask := func(more string) (bound int64, answer struct {
		ID     string
		Output []struct{ ID string }
	}) {
		t.Helper()
		r := g.call("/v1/responses", "named", "turns", `,"max_output_tokens":50,`+more+`}`)
		// The fake provider stores nothing, so it may say that it does not know the name.
		if r.err != nil || r.header.Get("X-Aig-Bound-Usd") == "" || json.Unmarshal(r.body, &answer) != nil {
			t.Fatalf("%s: %d %s %v", more, r.status, r.body, r.err)
		}
		return mustNano(t, r.header.Get("X-Aig-Bound-Usd")), answer
	}
	plain, first := ask(`"input":"hello there, what do you think of this?"`)
	if first.ID == "" || len(first.Output) == 0 || first.Output[0].ID == "" {
		t.Fatalf("the answer is %+v", first)
	}
	g.settle(time.Minute)
	for what, more := range map[string]string{
		"the answer":  `"input":"go on","previous_response_id":"` + first.ID + `"`,
		"its items":   `"input":[{"role":"user","content":"go on"},{"type":"item_reference","id":"` + first.Output[0].ID + `"}]`,
		"a reasoning": `"input":[{"role":"user","content":"go on"},{"type":"reasoning","summary":[],"id":"` + first.Output[0].ID + `"}]`,
	} {
		if held, _ := ask(more); held > 2*plain {
			t.Errorf("naming %s holds %d nano-USD; the answer itself held %d", what, held, plain)
		}
	}
	if held, _ := ask(`"input":"go on","previous_response_id":"resp_nobody"`); held < 100*plain {
		t.Errorf("naming what nobody settled holds %d nano-USD", held)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}
