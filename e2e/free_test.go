package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

// counting is a provider that counts tokens, and one that does not.
const counting = `  counts: {preset: anthropic, base_url: "URL/v1", api_key: ` + providerKey + `}
  cannot: {preset: anthropic, base_url: "URL/v1", api_key: ` + providerKey + `, apis: [messages]}
`

// Counting the tokens of a message, as Claude Code does for each list of tools,
// costs nothing: it passes with an empty budget, and is in no usage.
func TestCountTokens(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	p, address := startProvider(t, fakeprovider.Config{Models: map[string]fakeprovider.Price{"m1": fullPrice}})
	g.settings["Extra"] = strings.ReplaceAll(counting, "URL", address)
	g.writeConfig()
	g.startRun()
	g.setBudget("count/**", 0)
	count := func(path, model string, more map[string]string) reply {
		h := http.Header{"X-Api-Key": {adminKey}, "X-Aig-Tag": {"count/" + model}, "Anthropic-Version": {"2023-06-01"}, "Content-Type": {"application/json"}}
		for k, v := range more {
			h.Set(k, v)
		}
		return g.insist(http.MethodPost, g.url+path, fmt.Sprintf(`{"model":"%s/m1","messages":[{"role":"user","content":"how many tokens are these?"}]}`, model), h)
	}
	for _, path := range []string{"/v1/messages/count_tokens", "/v1/messages/count_tokens?beta=true"} {
		r := count(path, "counts", map[string]string{"Anthropic-Beta": "token-counting-2024-11-01,context-1m-2025-08-07"})
		var got struct {
			Input int64 `json:"input_tokens"`
		}
		if err := json.Unmarshal(r.body, &got); r.status != 200 || err != nil || got.Input < 5 {
			t.Fatalf("%s: %d %s", path, r.status, r.body)
		}
		calls := p.Calls()
		if last := calls[len(calls)-1]; last.Path != "/v1/messages/count_tokens" || last.Model != "m1" || last.Header.Get("Anthropic-Beta") != "token-counting-2024-11-01" || last.Header.Get("X-Api-Key") != providerKey {
			t.Errorf("the provider got %s, %s, %v", last.Path, last.Model, last.Header)
		}
	}
	for _, tt := range []struct {
		model  string
		header map[string]string
		status int
		kind   string
	}{
		{"cannot", nil, 404, "not_found_error"},
		{"nobody", nil, 404, "not_found_error"},
		{"counts", map[string]string{"X-Api-Key": "sk-aig-wrong"}, 401, "authentication_error"},
		{"counts", map[string]string{"X-Aig-Tag": ""}, 400, "invalid_request_error"},
	} {
		r := count("/v1/messages/count_tokens", tt.model, tt.header)
		if r.status != tt.status || !strings.Contains(string(r.body), `"`+tt.kind+`"`) {
			t.Errorf("%s %v: %d %s, want %d %s", tt.model, tt.header, r.status, r.body, tt.status, tt.kind)
		}
	}
	g.settle(time.Minute)
	if usage := g.usage(); len(usage) != 0 {
		t.Errorf("it is in the usage: %+v", usage)
	}
	var metrics string
	if r := g.insist(http.MethodGet, g.rest+"/metrics", "", http.Header{"Authorization": {"Bearer " + adminKey}}); r.status == 200 {
		metrics = string(r.body)
	}
	for _, want := range []string{`aig_decisions_total{outcome="free",reason=""}`, `aig_log_untokened_total{channel="stream",kind="free"}`, "aig_unpriced_requests_total 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}
