package pricing_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const routedModels = `
- model: openrouter/a/b
  family: bytes
  limits: {context: 100000}
  image: {max_tokens: 1600, high_tokens: 400}
  audio: {tokens_per_second: 10}
  prices: [{input: "0.95", output: "4", input_audio: "7", fees: {request: "0.002"}}]
- model: openrouter/a/free
  family: bytes
  prices: [{input: "0", output: "0"}]
- model: openrouter/a/pieces
  family: bytes
  limits: {context: 100000}
  prices: [{input: "1", output: "2", fees: {image_input: "0.003"}}]
- model: openrouter/a/tiers
  family: bytes
  prices: [{input: "1", cache_write: "1.25", output: "2", tiers: [{from: 1000, input: "3", cache_write: "4", output: "5"}]}]
`

// No host may cost more than the bound assumes, and what the client allows less
// of stays.
func TestOpenRouterHostsAreLimited(t *testing.T) {
	c := mustOverlay(t, routedModels)
	const ours = `{"prompt":0.95,"completion":4.00,"request":0.002}`
	for _, tt := range []struct{ name, model, members, want string }{
		{"nothing said", "a/b", ``, `{"max_price":` + ours + `}`},
		{"null", "a/b", `"provider":null`, `{"max_price":` + ours + `}`},
		{"empty", "a/b", `"provider": { }`, `{"max_price":` + ours + `}`},
		{"other preferences", "a/b", `"provider":{"order":["x"],"allow_fallbacks":false}`, `{"order":["x"],"allow_fallbacks":false,"max_price":` + ours + `}`},
		{"null price", "a/b", `"provider":{"max_price": null,"sort":"price"}`, `{"max_price":` + ours + `,"sort":"price"}`},
		{"no price", "a/b", `"provider":{"max_price":{}}`, `{"max_price":` + ours + `}`},
		{"lower prices stay", "a/b", `"provider":{"max_price":{"prompt":0.5,"completion":"1e-1","request":0}}`, `{"max_price":{"prompt":0.5,"completion":"1e-1","request":0}}`},
		{"equal prices stay", "a/b", `"provider":{"max_price":{"prompt":0.950,"completion":4,"request":"0.002"}}`, `{"max_price":{"prompt":0.950,"completion":4,"request":"0.002"}}`},
		{"higher ones are lowered", "a/b", `"provider":{"max_price":{"prompt":"0.9500000001","completion":1,"image":9,"request":1e99}}`, `{"max_price":{"prompt":0.95,"completion":1,"request":0.002,"image":9}}`},
		{"free: free hosts only", "a/free", ``, `{"max_price":{"prompt":0,"completion":0,"request":0}}`},
		{"a host's list price is that of its first tier", "a/tiers", `"x":"` + strings.Repeat("x", 2000) + `"`, `{"max_price":{"prompt":1,"completion":2,"request":0}}`},
		// 400 tokens at 0.95 and 1,600 at 0.95: the least of all images.
		{"images", "a/b", `"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a","detail":"high"}},{"type":"image_url","image_url":"https://b"}]}]`,
			`{"max_price":{"prompt":0.95,"completion":4,"request":0.002,"image":0.00038}}`},
		{"images of a free model", "a/free", `"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://b"}]}]`,
			`{"max_price":{"prompt":0,"completion":0,"request":0,"image":0}}`},
		{"images billed by the piece", "a/pieces", `"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://b"}]}]`,
			`{"max_price":{"prompt":1,"completion":2,"request":0,"image":0.003}}`},
		{"audio", "a/b", `"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"//sQAAAA","format":"mp3"}}]}]`,
			`{"max_price":{"prompt":0.95,"completion":4,"request":0.002,"audio":7}}`},
	} {
		for _, stream := range []string{"", `"stream":true,`} { // beside other edits
			body := `{` + stream + `"model":"openrouter/` + tt.model + `"`
			if tt.members != "" {
				body += "," + tt.members
			}
			body += `}`
			b := mustBound(t, c, pricing.Chat, body, noon())
			if got, want := decoded(t, member(t, apply(t, body, b.Edits), "provider")), decoded(t, json.RawMessage(tt.want)); !cmp.Equal(want, got) {
				t.Errorf("%s: provider is %v, want %v", tt.name, got, want)
			}
		}
	}
}

func TestOpenRouterRefusesUnknownPreferences(t *testing.T) {
	c := mustOverlay(t, routedModels)
	for _, tt := range []struct{ model, members, reason, field string }{
		{"openrouter/a/b", `"provider":{"teleport":true}`, "unsupported_feature", "provider.teleport"},
		{"openrouter/a/b", `"provider":{"max_price":{"thought":1}}`, "unsupported_feature", "provider.max_price.thought"},
		{"openrouter/a/b", `"provider":{"max_price":{"prompt":"cheap"}}`, "field_invalid", "provider.max_price.prompt"},
		{"openrouter/a/b", `"provider":{"max_price":{"prompt":-1}}`, "field_invalid", "provider.max_price.prompt"},
		{"openrouter/a/b", `"provider":{"max_price":{"prompt":[1]}}`, "field_invalid", "provider.max_price.prompt"},
		{"openrouter/a/b", `"provider":{"max_price":1}`, "field_invalid", "provider.max_price"},
		{"openrouter/a/b", `"provider":{"max_price":{"prompt":1,"prompt":2}}`, "duplicate_key", "provider.max_price.prompt"},
		{"openrouter/a/b", `"provider":"deepinfra"`, "field_invalid", "provider"},
		{"openrouter/a/b", `"Provider":{"max_price":{"prompt":9}}`, "field_invalid", "Provider"},
		{"openrouter/a/b", `"x":{"cache_control":{"type":"ephemeral"}}`, "tier_not_priced", "cache_control"},
		{"openrouter/a/b:online", ``, "unsupported_feature", "model"},
		{"openrouter/openrouter/auto", ``, "unsupported_feature", "model"},
		{kimi, `"provider":{"order":["x"]}`, "unsupported_feature", "provider"},
		{kimi, `"provider":"x"`, "unsupported_feature", "provider"},
	} {
		body := chatBody(tt.model, tt.members)
		if strings.Contains(tt.model, ":online") || strings.HasSuffix(tt.model, "/auto") {
			c = mustOverlay(t, routedModels+"- {model: "+tt.model+", prices: [{input: \"1\", output: \"1\"}]}\n")
		}
		_, err := tryBound(c, pricing.Chat, body, noon())
		if err == nil {
			t.Errorf("%s has a bound", body)
			continue
		}
		if e := refusal(t, err); e.Reason != tt.reason || e.Field != tt.field {
			t.Errorf("%s: got %s at %q, want %s at %q", body, e.Reason, e.Field, tt.reason, tt.field)
		}
	}
	for _, members := range []string{`"provider":null`, `"provider":false`} {
		mustBound(t, mustLoad(t), pricing.Chat, chatBody(kimi, members), noon())
	}
}

// Whatever the client asks for: in the body that goes out, no price is above
// the catalog's or the client's own, and every other byte of provider is there.
func TestOpenRouterNeverAllowsADearerHost(t *testing.T) {
	c := mustOverlay(t, routedModels)
	row := map[string]string{"prompt": "0.95", "completion": "4", "request": "0.002"}
	rapid.Check(t, func(t *rapid.T) {
		asked := map[string]*big.Rat{}
		var prices []string
		for _, name := range []string{"prompt", "completion", "request", "image"} {
			if !rapid.Bool().Draw(t, name+" named") {
				continue
			}
			text := rapid.SampledFrom([]string{"0", "0.95", "0.94999999999", "0.9500000000000001", "4", "4.0", "400e-2", "1e300", "0.002", "2e-3", "0.0020001"}).Draw(t, name)
			r, ok := new(big.Rat).SetString(text)
			if !ok {
				t.Fatalf("%s is no number", text)
			}
			asked[name] = r
			if rapid.Bool().Draw(t, name+" quoted") {
				text = `"` + text + `"`
			}
			prices = append(prices, fmt.Sprintf("%q: %s", name, text))
		}
		members := []string{`"sort" : "throughput"`, `"max_price":{` + strings.Join(prices, ", ") + `}`}
		if rapid.Bool().Draw(t, "swap") {
			members[0], members[1] = members[1], members[0]
		}
		body := chatBody("openrouter/a/b", `"provider": {`+strings.Join(members, " ,")+`}`)
		b, err := tryBound(c, pricing.Chat, body, noon())
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Provider struct {
				Sort     string                     `json:"sort"`
				MaxPrice map[string]json.RawMessage `json:"max_price"`
			} `json:"provider"`
		}
		edited := apply(t, body, b.Edits)
		if err := json.Unmarshal([]byte(edited), &out); err != nil || out.Provider.Sort != "throughput" {
			t.Fatalf("%s: %v", edited, err)
		}
		for name, most := range row {
			got, ok := new(big.Rat).SetString(strings.Trim(string(out.Provider.MaxPrice[name]), `"`))
			want, _ := new(big.Rat).SetString(most)
			if a := asked[name]; a != nil && a.Cmp(want) < 0 {
				want = a
			}
			if !ok || got.Cmp(want) != 0 {
				t.Fatalf("%s is %s in %s, want %s", name, out.Provider.MaxPrice[name], edited, want.FloatString(12))
			}
		}
		if a := asked["image"]; (a != nil) != (out.Provider.MaxPrice["image"] != nil) {
			t.Fatalf("image appears or is lost in %s", edited)
		}
	})
}

// The edit decides what a host may list; the bound and the pin do not change.
func TestOpenRouterBoundIsTheRows(t *testing.T) {
	c := mustOverlay(t, routedModels)
	body := chatBody("openrouter/a/b", `"max_tokens":10,"provider":{"max_price":{"prompt":0.01}}`)
	b := mustBound(t, c, pricing.Chat, body, noon())
	if want := tokensAt(int64(len(body))+1000, 950_000, 10, 4_000_000) + 2_000_000; b.Amount != want {
		t.Errorf("bound is %s, want %s", b.Amount, want)
	}
	out := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10,"cost":0.0021}`}, nil)
	if out.Basis != budget.BasisUsage || out.Cost != 2_100_000 || len(out.Flags) > 0 {
		t.Errorf("got %+v", out)
	}
	noted := false
	for _, l := range b.Lines() {
		noted = noted || strings.Contains(l.Note, "provider.max_price")
	}
	if !noted {
		t.Errorf("%+v says nothing about hosts", b.Lines())
	}
}

func member(t *testing.T, body, name string) json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return m[name]
}

func decoded(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// What keeping a prompt costs comes on top of reading it: Gemini's cache writes have
// a price below the input's.
func TestCacheWritesBelowTheInputComeOnTop(t *testing.T) {
	c := mustLoad(t)
	const control = `"max_tokens":10,"x":{"cache_control":{"type":"ephemeral"}}`
	for model, want := range map[string]int64{"openrouter/google/gemini-2.5-pro": 1_625_000, "openrouter/anthropic/claude-sonnet-4.5": 3_750_000} {
		b := mustBound(t, c, pricing.Chat, chatBody(model, control), noon())
		for _, l := range b.Lines() {
			if l.Label == "input" && l.PicoPerUnit != want {
				t.Errorf("%s: a written token is held at %d, want %d", model, l.PicoPerUnit, want)
			}
		}
		usage := `{"prompt_tokens":100,"completion_tokens":1,"total_tokens":101,"prompt_tokens_details":{"cache_write_tokens":100}}`
		out := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage}, nil)
		if out.Cost < budget.Amount(100*want/1000) || out.Cost > b.Amount {
			t.Errorf("%s: charged %s, bound %s", model, out.Cost, b.Amount)
		}
	}
}
