package e2e_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

const rankingProvider = `  cohere: {base_url: "URL", api_key: ` + providerKey + `}
`

const rankingModel = `
- model: cohere/m1
  prices: [{source: e2e, checked_at: 2026-01-01, input: "0", output: "0", fees: {search_unit: "0.002001"}}]
`

// The unmodified SDK of Cohere ranks through the gateway, by its vendor's own
// preset: the provider's bill is that of the books, and a refusal is final.
func TestSDKRanking(t *testing.T) {
	t.Parallel()
	const name = "cohere-python"
	g := newGateway(t)
	p, address := startProvider(t, fakeprovider.Config{
		Dialect: fakeprovider.Cohere, Models: map[string]fakeprovider.Price{"m1": dialectPrice}, KeepAnswers: true,
	})
	g.provider["cohere"] = p
	g.settings["Extra"] = strings.Replace(rankingProvider, "URL", strings.TrimSuffix(address, "/v1"), 1)
	g.writeConfig()
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	g.replaceConfig(string(text) + rankingModel)
	g.startRun()
	r := startRecorder(t, g.url)
	g.setBudget(name+"/broke", 1)
	g.setBudget(name+"/long", 1000)
	results := runSuite(t, r.url, name, []string{"python/bin/python", "ranking.py"})
	for what, want := range map[string]sdkError{
		"refused":       {402, "ApiError", "budget_exceeded", "broke"},
		"wrong_key":     {401, "UnauthorizedError", "authentication_error", "key"},
		"unknown_model": {404, "NotFoundError", "model_not_found", "nobody"},
		"bad_field":     {400, "BadRequestError", "invalid_request_error", "top_n"},
	} {
		got := results[what]
		if got.Status != want.status || got.Class != want.class || got.Type != want.kind || !strings.Contains(got.Message, want.message) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		delete(results, what)
	}
	if n := len(r.of(name + "/broke")); n != 1 {
		t.Errorf("the SDK sent %d requests for one refusal: no retry can help", n)
	}
	calls := g.enteredCalls(t, "cohere", name, results)
	for what, got := range results {
		call, sent := calls[name+"/"+what], r.of(name+"/"+what)
		if len(sent) != 1 || !bytes.Equal(call.Answer, sent[0].answer) {
			t.Errorf("%s: the SDK sent %d requests, or got other bytes than the provider sent", what, len(sent))
		}
		if got.Text == "" || got.Output != call.Billed.SearchUnits || call.Billed.NanoUSD == 0 {
			t.Errorf("%s: %+v, billed %+v", what, got, call.Billed)
		}
	}
	if got := results["long"].Output; got < 2 {
		t.Errorf("long documents were billed %d units: they are cut into several", got)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}
