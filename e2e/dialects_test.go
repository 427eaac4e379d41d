package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

// upstreams are the presets and the dialect of the provider behind each.
var upstreams = map[string]fakeprovider.Dialect{
	"openai": fakeprovider.OpenAI, "anthropic": fakeprovider.Anthropic, "gemini": fakeprovider.Gemini, "moonshot": fakeprovider.Moonshot,
	"deepseek": fakeprovider.DeepSeek, "xai": fakeprovider.XAI, "mistral": fakeprovider.Mistral, "groq": fakeprovider.Groq,
	"openrouter": fakeprovider.OpenRouter, "vllm": fakeprovider.VLLM, "cohere": fakeprovider.Cohere, "voyage": fakeprovider.Voyage,
}

// dialectPrice has no write price: most upstreams write their caches for nothing.
var dialectPrice = fakeprovider.Price{Input: 2_500_001, CacheRead: 300_007, Output: 10_000_003, SearchUnit: 2_001_000_000}

// dialectGateway has a provider of every preset.
func dialectGateway(t *testing.T) *gateway {
	t.Helper()
	g := newGateway(t)
	var extra, models strings.Builder
	for name, dialect := range upstreams {
		p, address := startProvider(t, fakeprovider.Config{Dialect: dialect, Models: map[string]fakeprovider.Price{"m1": dialectPrice}})
		g.provider[name] = p
		fmt.Fprintf(&extra, "  %s: {base_url: %q, api_key: %s}\n", name, address+"/v1", providerKey)
		rates := `input: "2.500001", cache_read: "0.300007", output: "10.000003"`
		if dialect == fakeprovider.Cohere {
			rates = `input: "0", output: "0", fees: {search_unit: "0.002001"}`
		}
		fmt.Fprintf(&models, "\n- model: %s/m1\n  limits: {context: 400000, max_output: 64000}\n  prices:\n  - {from: 2026-01-01, source: e2e, checked_at: 2026-01-01, %s}\n", name, rates)
	}
	g.settings["Extra"] = extra.String()
	g.writeConfig()
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	g.replaceConfig(string(text) + models.String())
	g.startRun()
	return g
}

// TestDialects calls every preset's endpoints, plain and streamed, honestly and
// at the most a call can cost: all books equal, and no call costs more than was
// reserved for it.
func TestDialects(t *testing.T) {
	t.Parallel()
	g := dialectGateway(t)
	for name, dialect := range upstreams {
		for _, fault := range []string{"fault:out=20 cached=3 reasoning=7", "fault:max"} {
			for _, more := range []string{`,"max_tokens":40`, `,"max_tokens":40,"stream":true`} {
				if dialect != fakeprovider.Cohere && dialect != fakeprovider.Voyage {
					g.wantWithinBound(t, name, g.chat(name+"/m1", name+"/chat", fault, more))
				}
			}
			documents := `,"query":"what? ` + fault + `","documents":["` + strings.Repeat("long ", 900) + `","short"]}`
			if dialect == fakeprovider.Cohere || dialect == fakeprovider.Voyage || dialect == fakeprovider.VLLM {
				g.wantWithinBound(t, name, g.call("/v1/rerank", name, "rerank", documents))
			}
			if dialect == fakeprovider.Cohere { // where its SDK posts
				g.wantWithinBound(t, name, g.call("/v2/rerank", name, "rerank-v2", documents))
			}
			if dialect == fakeprovider.Mistral {
				g.wantWithinBound(t, name, g.call("/v1/moderations", name, "moderations", `,"input":["hello","`+fault+`"]}`))
			}
			if dialect == fakeprovider.VLLM {
				for _, rest := range []string{`}`, `,"stream":true}`} {
					g.wantWithinBound(t, name, g.call("/v1/completions", name, "completions", `,"n":2,"max_tokens":9,"prompt":["hello there","`+fault+`"]`+rest))
				}
			}
		}
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// call posts a body of a model and a user, both named after the provider.
func (g *gateway) call(path, provider, tag, rest string) reply {
	tag = provider + "/" + tag
	body := fmt.Sprintf(`{"model":%q,"user":%q%s`, provider+"/m1", tag, rest)
	return g.insist(http.MethodPost, g.url+path, body, tagged(tag))
}

// wantWithinBound checks an answer, and the provider's newest bill against what
// the gateway said the call could cost at most.
func (g *gateway) wantWithinBound(t *testing.T, name string, r reply) {
	t.Helper()
	if r.err != nil || r.status != http.StatusOK {
		t.Errorf("%s: %d %s %v", name, r.status, r.body, r.err)
		return
	}
	eventually(t, time.Minute, "the provider has entered the call", func() bool { return g.provider[name].InFlight() == 0 })
	calls := g.provider[name].Calls()
	last := calls[len(calls)-1]
	if bound := mustNano(t, r.header.Get("X-Aig-Bound-Usd")); bound < last.Billed.NanoUSD {
		t.Errorf("%s: %s costs %d nano-USD, reserved were %d", name, last.Path, last.Billed.NanoUSD, bound)
	}
}
