package main

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/accounting"
	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/pricing"
)

// sixtyKB is a chat body of exactly 60,000 bytes with one image, as in the
// worked example of the design.
func sixtyKB(t *testing.T) string {
	t.Helper()
	const head = `{"model":"openai/gpt-6-sol","n":2,"max_tokens":4000,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}},{"type":"text","text":"`
	const tail = `"}]}]}`
	return head + strings.Repeat("a", 60_000-len(head)-len(tail)) + tail
}

func TestExplain(t *testing.T) {
	body := writeFile(t, "body.json", sixtyKB(t))
	for _, format := range []string{"table", "json", "csv"} {
		r := runCLI(t, nil, "explain", "-f", body, "--room", "0.30", "-o", format)
		if r.code != 0 {
			t.Fatalf("%s: %+v", format, r)
		}
		// The hash and the day change with every import into the catalog.
		stdout := regexp.MustCompile(`"(catalog_version|prices_checked_at)": "[0-9a-f-]+"`).ReplaceAllString(r.stdout, `"$1": "…"`)
		golden(t, "explain."+format+".golden", stdout)
	}
}

func TestExplainSmall(t *testing.T) {
	body := writeFile(t, "body.json", `{"model":"moonshot/kimi-k2.6","messages":[{"role":"user","content":"Hello"}]}`)
	r := runCLI(t, nil, "explain", "-f", body)
	if r.code != 0 || !strings.Contains(r.stdout, "the gateway inserts 32768 tokens") || !strings.Contains(r.stderr, "moonshot/kimi-k2.6 (sent as kimi-k2.6), chat; prices checked 20") {
		t.Errorf("%+v", r)
	}
	r = runCLI(t, nil, "explain", "-f", body, "--model", "openai/gpt-6-luna", "--room", "0")
	if r.code != 0 || !strings.Contains(r.stderr, "gpt-6-luna") || !strings.Contains(r.stdout, "With $0.00 left it is refused; no max_tokens would make it fit.") {
		t.Errorf("%+v", r)
	}
	r = runCLI(t, nil, "explain", "-f", body, "--room", "1000")
	if r.code != 0 || !strings.Contains(r.stdout, "With $1000.00 left it is admitted; the largest max_tokens that fits is ") {
		t.Errorf("%+v", r)
	}
}

func TestExplainEmbeddingsFromStandardInput(t *testing.T) {
	var stdout, stderr bytes.Buffer
	root := newRootCommand(newApp(&stdout, &stderr, func(string) string { return "" }))
	root.SetIn(strings.NewReader(`{"model":"openai/text-embedding-3-small","input":"Hello"}`))
	root.SetArgs([]string{"explain", "-f", "-", "--endpoint", "embeddings"})
	if err := root.ExecuteContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), "bound") || strings.Contains(stdout.String(), "output") {
		t.Errorf("got %s", stdout.String())
	}
}

// TestExplainIsWhatTheGatewayDoes: the largest cap it names fits, and one more
// does not.
func TestExplainIsWhatTheGatewayDoes(t *testing.T) {
	a := newApp(nil, nil, func(string) string { return "" })
	catalog, err := a.catalog("")
	if err != nil {
		t.Fatal(err)
	}
	const room = 300_000_000 * budget.Amount(1)
	explained := func(body string) *adminapi.Explanation {
		t.Helper()
		doc, err := explain(t.Context(), catalog, pricing.Query{Endpoint: "chat", Body: []byte(body), At: time.Now()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		doc.compare("", room)
		return doc.Explanation
	}
	doc := explained(sixtyKB(t))
	if doc.Room == nil || doc.Room.MaxTokensThatFit == nil {
		t.Fatalf("no cap fits: %+v", doc.Room)
	}
	most := *doc.Room.MaxTokensThatFit
	for _, tc := range []struct {
		cap  int64
		fits bool
	}{{most, true}, {most + 1, false}} {
		body := strings.Replace(sixtyKB(t), `"max_tokens":4000`, `"max_tokens":`+decimal(tc.cap*100, 2)[:4], 1)
		if got := explained(body); got.Room.Fits != tc.fits {
			t.Errorf("max_tokens %d: fits %v, want %v (bound %s)", tc.cap, got.Room.Fits, tc.fits, got.BoundUSD)
		}
	}
}

func TestExplainRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		words      []string
	}{
		{"empty", "", []string{"body_missing"}},
		{"no JSON", "hello", []string{"body_not_json"}},
		{"duplicate key", `{"model":"openai/gpt-6-sol","max_tokens":1,"max_tokens":100000,"messages":[]}`, []string{"duplicate_key"}},
		{"unknown provider", `{"model":"acme/x","messages":[]}`, []string{"provider_unknown", "--config"}},
		{"no price", `{"model":"openai/no-such-model","max_tokens":1,"messages":[{"role":"user","content":"a"}]}`, []string{"model_not_priced", "--config"}},
		{"escape sequences", "{\"model\":\"openai/\\u001b[2Jx\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := runCLI(t, nil, "explain", "-f", writeFile(t, "body.json", tc.body))
			wantError(t, r, exitError, tc.words...)
			if strings.Contains(r.stderr, "\x1b") {
				t.Errorf("stderr %q has a raw escape", r.stderr)
			}
		})
	}
}

func TestExplainWithoutItsFiles(t *testing.T) {
	body := writeFile(t, "body.json", "{}")
	wantError(t, runCLI(t, nil, "explain", "-f", body+".missing"), exitError, "read the body")
	wantError(t, runCLI(t, nil, "explain", "-f", body, "--config", body+".missing"), exitError, "read file")
}

// TestExplainer: the API's answer is the command's, with what is left
// of the tightest budget of the key and the tag.
func TestExplainer(t *testing.T) {
	a := newApp(nil, nil, func(string) string { return "" })
	catalog, err := a.catalog("")
	if err != nil {
		t.Fatal(err)
	}
	watched := true
	tightest := func(_ context.Context, tag budget.Tag, keyID string) (budget.Status, bool) {
		if tag != "team/a" || keyID != "key_1" {
			return budget.Status{}, false
		}
		return budget.Status{Budget: budget.Budget{ID: "bud_3", Target: budget.Target{KeyID: "key_1"}, Cap: 31 * budget.Cent}, Spent: budget.Cent}, watched
	}
	settled := func(string, string, []pricing.StoredName, bool) (int64, bool) { return 0, false }
	learned := func(tag budget.Tag) (accounting.Ratio, bool) {
		return accounting.Ratio{Calls: 7, Bound: 10 * budget.Dollar, Cost: 3 * budget.Dollar}, tag == "team/a"
	}
	e := explainer{
		catalog:  func() *pricing.Catalog { return catalog },
		tightest: tightest,
		defaults: func(budget.Tag, string) budget.Defaults { return budget.Defaults{} },
		watched:  func(budget.Tag, string) bool { return watched },
		settled:  settled,
		learned:  learned,
		now:      time.Now,
	}
	key := &budget.Key{ID: "key_1", AllowedModels: []string{"openai/*"}}
	x, err := e.Explain(t.Context(), key, adminapi.ExplainQuery{Tag: "team/a", Body: []byte(sixtyKB(t))})
	if err != nil {
		t.Fatal(err)
	}
	if x.Room == nil || x.Room.Budget != "bud_3" || x.Room.RoomUSD != "0.30" || x.Room.Fits || x.Room.MaxTokensThatFit == nil || x.Endpoint != "chat" {
		t.Errorf("room %+v of %+v", x.Room, x)
	}
	likely := (amount(t, x.BoundUSD)*3 + 9) / 10
	if want := (&adminapi.ExplanationLearned{Tag: "team/a", Calls: 7, BoundUSD: "10.00", CostUSD: "3.00", BoundOverCost: "3.34", LikelyUSD: likely.String()}); *x.Learned != *want {
		t.Errorf("learned %+v, want %+v", x.Learned, want)
	}
	command, err := explain(t.Context(), catalog, pricing.Query{Endpoint: "chat", Body: []byte(sixtyKB(t)), At: time.Now()}, nil)
	if err != nil || command.BoundUSD != x.BoundUSD || !slices.Equal(command.Lines, x.Lines) {
		t.Errorf("the command says %+v, %v; the API %+v", command, err, x)
	}
	watched = false
	if x, err := e.Explain(t.Context(), key, adminapi.ExplainQuery{Body: []byte(sixtyKB(t))}); err != nil || x.Room != nil || x.Learned != nil {
		t.Errorf("without a budget: %+v, %v", x, err)
	}
	for reason, q := range map[string]adminapi.ExplainQuery{
		"field_invalid":     {Endpoint: "videos", Body: []byte("{}")},
		"body_missing":      {Body: []byte(" ")},
		"body_not_json":     {Body: []byte("{")},
		"duplicate_key":     {Body: []byte(`{"model":"a","model":"b"}`)},
		"model_not_allowed": {Body: []byte(sixtyKB(t)), Model: "moonshot/kimi-k2.6"},
		"model_not_priced":  {Body: []byte(`{"model":"openai/none","messages":[]}`)},
	} {
		_, err := e.Explain(t.Context(), key, q)
		var refused *budget.Error
		if !errors.As(err, &refused) || refused.Reason != reason {
			t.Errorf("%+.80v: %v, want %s", q, err, reason)
		}
	}
}

func amount(t *testing.T, usd string) budget.Amount {
	t.Helper()
	a, err := budget.ParseAmount("amount", usd)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestExplainAsksTheGateway: with a tag the running gateway explains.
func TestExplainAsksTheGateway(t *testing.T) {
	f := &fakeREST{answer: `{"model":"openai/gpt-6-sol","upstream_model":"gpt-6-sol","endpoint":"chat","stream":false,
		"lines":[{"label":"bound","quantity":1,"unit":"request","pico_usd_per_unit":0,"amount_usd":"0.40","note":""}],"bound_usd":"0.40",
		"room":{"budget":"bud_1","room_usd":"0.30","fits":false,"max_tokens_that_fit":7},"catalog_version":"c","prices_checked_at":"2026-11-01",
		"learned":{"tag":"a","calls":12,"bound_usd":"4.00","cost_usd":"1.00","bound_over_cost":"4.00","likely_usd":"0.10"}}`}
	env := f.start(t)
	body := writeFile(t, "body.json", `{"model":"openai/gpt-6-sol", "messages":[]}`)
	r := runCLI(t, env, "explain", "-f", body, "--tag", "a")
	if r.code != 0 || !strings.Contains(r.stdout, "12 calls with tag a held 4.00 times what they cost; this one likely costs $0.10.") || !strings.Contains(r.stdout, "With $0.30 left it is refused; the largest max_tokens that fits is 7.") {
		t.Errorf("%+v", r)
	}
	if want := `{"body":"{\"model\":\"openai/gpt-6-sol\", \"messages\":[]}","endpoint":"chat","model":"","tag":"a"}`; f.method+f.uri != "POST/v1/explain" || f.body != want {
		t.Errorf("asked %s %s %s", f.method, f.uri, f.body)
	}
	if r := runCLI(t, env, "explain", "-f", body, "--tag", "a", "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"bound_over_cost": "4.00"`) {
		t.Errorf("%+v", r)
	}
	wantError(t, runCLI(t, env, "explain", "-f", body, "--tag", "a", "--room", "1"), exitUsage, "leave --config and --room out")
}
