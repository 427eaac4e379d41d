package pricing_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"pgregory.net/rapid"
)

func TestEndpointsRefuse(t *testing.T) {
	c := settleCatalog(t)
	const sol, sonnet = "openai/gpt-6-sol", "anthropic/claude-sonnet-4.6"
	resp := func(members string) string { return `{"model":"` + sol + `",` + members + `}` }
	msgs := func(members string) string { return `{"model":"` + sonnet + `","max_tokens":10,` + members + `}` }
	block := func(b string) string { return msgs(`"messages":[{"role":"user","content":[` + b + `]}]`) }
	elsewhere := func(b string) string { // where nobody has published what a page takes
		return strings.Replace(block(b), sonnet, "vllm/instruct", 1)
	}
	for _, tt := range []struct {
		e                         pricing.Endpoint
		name, body, reason, field string
	}{
		{pricing.Responses, "duplicate cap", resp(`"max_output_tokens":1,"max_output_tokens":2`), "duplicate_key", "max_output_tokens"},
		{pricing.Responses, "cap of 0", resp(`"max_output_tokens":0`), "field_invalid", "max_output_tokens"},
		{pricing.Responses, "cap in capitals", resp(`"Max_Output_Tokens":9`), "field_invalid", "Max_Output_Tokens"},
		{pricing.Responses, "stored prompt", resp(`"prompt":{"id":"p"}`), "unbounded_input", "prompt"},
		{pricing.Responses, "background", resp(`"background":true`), "unsupported_feature", "background"},
		{pricing.Responses, "compaction", resp(`"context_management":[{"type":"compaction"}]`), "unsupported_feature", "context_management"},
		{pricing.Responses, "search without a limit", resp(`"tools":[{"type":"web_search"}]`), "unbounded_tool", "tools[0]"},
		{pricing.Responses, "max_uses is no limit there", resp(`"tools":[{"type":"web_search","max_uses":1}]`), "unbounded_tool", "tools[0]"},
		{pricing.Responses, "images have no fee", resp(`"max_tool_calls":1,"tools":[{"type":"image_generation"}]`), "unbounded_tool", "tools[0]"},
		{pricing.Responses, "MCP", resp(`"max_tool_calls":1,"tools":[{"type":"mcp","server_url":"https://a"}]`), "unbounded_tool", "tools[0]"},
		{pricing.Responses, "file by id", resp(`"input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]`), "unbounded_media", "input[0].content[0].file_id"},
		{pricing.Responses, "file by URL", resp(`"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://a"}]}]`), "unbounded_media", "input[0].content[0].file_url"},
		{pricing.Responses, "image by id", resp(`"input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]`), "unbounded_media", "input[0].content[0].file_id"},
		{pricing.Responses, "file in a tool's output", resp(`"input":[{"type":"function_call_output","output":[{"type":"input_file","file_id":"f"}]}]`), "unbounded_media", "input[0].output[0].file_id"},
		{pricing.Responses, "PDF", resp(`"input":[{"role":"user","content":[{"type":"input_file","file_data":"data:application/pdf;base64,AAAA"}]}]`), "unbounded_media", "input[0].content[0].file_data"},
		{pricing.Responses, "unknown item", resp(`"input":[{"type":"time_machine"}]`), "unbounded_input", "input[0].type"},
		{pricing.Responses, "input number", resp(`"input":7`), "field_invalid", "input"},
		{pricing.Messages, "no cap", `{"model":"` + sonnet + `","messages":[]}`, "max_tokens_required", "max_tokens"},
		{pricing.Messages, "null cap", `{"model":"` + sonnet + `","max_tokens":null}`, "max_tokens_required", "max_tokens"},
		{pricing.Messages, "MCP servers", msgs(`"mcp_servers":[{"url":"https://a"}]`), "unbounded_tool", "mcp_servers"},
		{pricing.Messages, "fallbacks", msgs(`"fallbacks":[{"model":"x"}]`), "unsupported_feature", "fallbacks"},
		{pricing.Messages, "compaction", msgs(`"context_management":{"edits":[{"type":"compact_20260112"}]}`), "unsupported_feature", "context_management"},
		{pricing.Messages, "search without a limit", msgs(`"tools":[{"type":"web_search_20250305","name":"web_search"}]`), "unbounded_tool", "tools[0]"},
		{pricing.Messages, "code execution", msgs(`"tools":[{"type":"code_execution_20250825","name":"x"}]`), "unbounded_tool", "tools[0]"},
		{pricing.Messages, "file by id", elsewhere(`{"type":"image","source":{"type":"file","file_id":"f"}}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "document by URL", elsewhere(`{"type":"document","source":{"type":"url","url":"https://a/b.pdf"}}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "image without a source", block(`{"type":"image"}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "image whose source is a text", block(`{"type":"image","source":"https://a/b.png"}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "image from a source unheard of", block(`{"type":"image","source":{"type":"uri","uri":"s3://a/b"}}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "image with a small and a large source", block(`{"type":"image","source":{"type":"url","url":"https://a","media_type":"image/png","data":"AAAA"}}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "document from a source unheard of", block(`{"type":"document","source":{"type":"uri","file_id":null,"uri":"s3://a/b"}}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "PDF", elsewhere(`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}`), "unbounded_media", "messages[0].content[0].source"},
		{pricing.Messages, "file in a tool result", elsewhere(`{"type":"tool_result","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}`), "unbounded_media", "messages[0].content[0].content[0].source"},
		{pricing.Messages, "container upload", block(`{"type":"container_upload","file_id":"f"}`), "unbounded_media", "messages[0].content[0].file_id"},
		{pricing.Messages, "unknown block", block(`{"type":"hologram"}`), "unbounded_media", "messages[0].content[0].type"},
		{pricing.Messages, "block without a type", block(`{"text":"x"}`), "field_invalid", "messages[0].content[0]"},
		{pricing.Messages, "unpriced speed", msgs(`"speed":"fast"`), "tier_not_priced", "speed"},
		{pricing.Completions, "cap of 0", `{"model":"vllm/instruct","prompt":"a","max_tokens":0}`, "field_invalid", "max_tokens"},
		{pricing.Completions, "mixed prompts", `{"model":"vllm/instruct","prompt":["a",[1]]}`, "field_invalid", "prompt"},
		{pricing.Completions, "embedded prompt", `{"model":"vllm/instruct","prompt_embeds":"AAAA"}`, "unbounded_input", "prompt_embeds"},
		{pricing.Rerank, "no documents", `{"model":"jina/reranker","query":"q"}`, "field_invalid", "documents"},
		{pricing.Rerank, "no query", `{"model":"jina/reranker","documents":["a"]}`, "field_invalid", "query"},
		{pricing.Rerank, "image document", `{"model":"jina/reranker","query":"q","documents":[{"image":"https://a"}]}`, "unbounded_media", "documents[0].image"},
		{pricing.Rerank, "chat model's endpoint", `{"model":"voyage/voyage-4","query":"q","documents":["a"]}`, "unsupported_feature", "model"},
	} {
		t.Run(string(tt.e)+"/"+tt.name, func(t *testing.T) {
			_, err := tryBound(c, tt.e, tt.body, noon())
			if err == nil {
				t.Fatal("it has a bound")
			}
			if e := refusal(t, err); e.Reason != tt.reason || e.Field != tt.field {
				t.Errorf("got %s at %q, want %s at %q: %s", e.Reason, e.Field, tt.reason, tt.field, e.Message)
			}
		})
	}
}

func TestEndpointsBoundAndEdit(t *testing.T) {
	c := settleCatalog(t)
	for _, tt := range []struct {
		e               pricing.Endpoint
		name, body      string
		in, inPico      int64 // tokens beyond the body
		out, outPico    int64
		fees            budget.Amount
		injected, strip bool
	}{
		{pricing.Responses, "plain", `{"model":"openai/gpt-6-sol","max_output_tokens":100,"input":"hi"}`, 1000, 2_500_000, 100, 10_000_000, 0, false, false},
		{pricing.Responses, "injected", `{"model":"openai/gpt-5.5","input":"hi"}`, 1000, 5_000_000, 32_768, 30_000_000, 0, true, false},
		{pricing.Responses, "no option on its streams", `{"model":"openai/gpt-5.5","max_output_tokens":1,"input":"hi","stream":true}`, 1000, 5_000_000, 1, 30_000_000, 0, false, false},
		{pricing.Responses, "image URL", `{"model":"openai/gpt-5.5","max_output_tokens":1,"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a/b"}]}]}`, 13_000, 5_000_000, 1, 30_000_000, 0, false, false},
		{pricing.Responses, "one detail bounds its image", `{"model":"openai/gpt-6-sol","max_output_tokens":1,"input":[{"role":"user","content":[{"detail":"low","type":"input_image","image_url":"https://a/b"}]}]}`, 4000, 2_500_000, 1, 10_000_000, 0, false, false},
		// 2 rounds of a full context at the upper tier behind the first, one answer, 2 + 2 uses.
		{pricing.Responses, "hosted tools share a limit", `{"model":"openai/gpt-5.5","max_output_tokens":10,"max_tool_calls":2,"input":"hi","tools":[{"type":"web_search"},{"type":"file_search"}]}`, 1000 + 2*1500 + 120 + 2*1_050_000, 10_000_000, 10, 45_000_000, 25_000_000, false, false},
		{pricing.Messages, "plain", `{"model":"anthropic/claude-sonnet-4.6","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`, 1000, 3_000_000, 100, 15_000_000, 0, false, false},
		{pricing.Messages, "a cap of 0 writes the cache", `{"model":"anthropic/claude-sonnet-4.6","max_tokens":0,"messages":[]}`, 1000, 3_750_000, 0, 15_000_000, 0, false, false},
		{pricing.Messages, "image in a tool result", `{"model":"anthropic/claude-sonnet-4.6","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"url","url":"https://a"}}]}]}]}`, 2600, 3_000_000, 1, 15_000_000, 0, false, false},
		{pricing.Messages, "clearing adds nothing", `{"model":"anthropic/claude-sonnet-4.6","max_tokens":1,"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},"tools":[{"name":"f","input_schema":{}}]}`, 1000 + 48 + 18, 3_000_000, 1, 15_000_000, 0, false, false},
		// A round of a full context behind the first, 2 answers, 1 use.
		{pricing.Messages, "search", `{"model":"anthropic/claude-sonnet-4.6","max_tokens":10,"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":1}]}`, 1000 + 1500 + 71 + 1_000_000, 3_000_000, 20, 15_000_000, budget.Cent, false, false},
		{pricing.Completions, "choices and prompts", `{"model":"vllm/instruct","prompt":["a","b","c"],"n":2,"best_of":4,"max_tokens":5}`, 3000, 1_500_000, 60, 2_000_000, 0, false, false},
		{pricing.Completions, "the documented default", `{"model":"vllm/instruct","prompt":"a"}`, 1000, 1_500_000, 16, 2_000_000, 0, true, false},
		{pricing.Completions, "stream", `{"model":"vllm/instruct","prompt":"a","max_tokens":5,"stream":true}`, 1000, 1_500_000, 5, 2_000_000, 0, false, true},
	} {
		t.Run(string(tt.e)+"/"+tt.name, func(t *testing.T) {
			b := mustBound(t, c, tt.e, tt.body, noon())
			in := tt.in + int64(len(tt.body))
			if want := tokensAt(in, tt.inPico, tt.out, tt.outPico) + tt.fees; b.Amount != want {
				t.Errorf("bound is %s, want %s\n%+v", b.Amount, want, b.Lines())
			}
			edited := apply(t, tt.body, b.Edits)
			if (b.InjectedCap > 0) != tt.injected || b.StripUsage != tt.strip || strings.Contains(edited, "stream_options") != tt.strip {
				t.Errorf("injected %d, strip %t: %s", b.InjectedCap, b.StripUsage, edited)
			}
			provider, _, _ := strings.Cut(strings.TrimPrefix(tt.body, `{"model":"`), "/")
			if tt.injected { // what was inserted is the cap of the edited body
				edited = strings.Replace(edited, `"model":"`, `"model":"`+provider+"/", 1)
				if again := mustBound(t, c, tt.e, edited, noon()); again.InjectedCap != 0 {
					t.Errorf("the cap was not understood in %s", edited)
				}
			}
		})
	}
}

func TestRerankUnits(t *testing.T) {
	c := settleCatalog(t)
	docs := func(n, size int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("x", size-2)+`",`, n), ",") + "]"
	}
	for _, tt := range []struct {
		name, query, docs, more string
		units                   int64
	}{
		{"one", "q", docs(1, 10), "", 1},
		{"a hundred", "q", docs(100, 10), "", 1},
		{"one more", "q", docs(101, 10), "", 2},
		// query 3 bytes: chunks of 497; 4096 / 497 = 8.2 -> 9 each, 900 / 100
		{"long documents are cut", "q", docs(100, 9000), "", 9},
		// 8000 / 497 = 16.1 -> 17
		{"unless the body says otherwise", "q", docs(100, 8000), `,"max_tokens_per_doc":10000`, 17},
		// query over 250: chunks of 250; 4000 / 250 = 16
		{"a long query", strings.Repeat("q", 300), docs(100, 4000), "", 16},
	} {
		b := mustBound(t, c, pricing.Rerank, `{"model":"cohere/rerank-v4.0-fast","query":"`+tt.query+`","documents":`+tt.docs+tt.more+`}`, noon())
		if want := budget.Amount(tt.units * 2_000_000); b.Amount != want {
			t.Errorf("%s: bound is %s, want %s", tt.name, b.Amount, want)
		}
	}
}

func TestUpstreamRules(t *testing.T) {
	load := func(change func(*pricing.Upstream)) *pricing.Catalog {
		u := pricing.Upstream{Provider: "openai", CapField: "max_completion_tokens"}
		change(&u)
		c, err := pricing.Load(nil, []pricing.Upstream{u}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const stored = `{"model":"openai/gpt-5.5","max_output_tokens":10,"previous_response_id":"r"}`
	c := load(func(u *pricing.Upstream) { u.AllowStoredInput = true })
	if got, want := mustBound(t, c, pricing.Responses, stored, noon()).Amount, tokensAt(1_050_000, 10_000_000, 10, 45_000_000); got != want {
		t.Errorf("stored input: bound is %s, want a whole context at its dearest tier, %s", got, want)
	}
	c = load(func(u *pricing.Upstream) { u.AllowPDF = true })
	pdf := `{"model":"openai/gpt-5.5","max_output_tokens":10,"input":[{"role":"user","content":[{"type":"input_file","file_data":"AAAA"}]}]}`
	if got, want := mustBound(t, c, pricing.Responses, pdf, noon()).Amount, tokensAt(1_050_000, 10_000_000, 10, 45_000_000); got != want {
		t.Errorf("PDF: bound is %s, want %s", got, want)
	}
	for _, tt := range []struct {
		change              func(*pricing.Upstream)
		body, reason, field string
	}{
		{func(u *pricing.Upstream) { u.StrictBody = true }, chatBody("openai/gpt-5.5", `"max_tokens":1,"temperature":1,"odd":1`), "unknown_field", "odd"},
		{func(u *pricing.Upstream) { u.RequireMaxTokens = true }, chatBody("openai/gpt-5.5", ""), "max_tokens_required", "max_completion_tokens"},
		{func(u *pricing.Upstream) { u.RequireMaxTokens = true }, chatBody("openai/gpt-5.5", `"max_tokens":null`), "max_tokens_required", "max_completion_tokens"},
		{func(u *pricing.Upstream) { u.DenyOmittedImageDetail = true }, content("openai/gpt-5.5", `{"type":"image_url","image_url":{"url":"https://a"}}`), "unbounded_media", "messages[0].content[0].image_url"},
	} {
		_, err := tryBound(load(tt.change), pricing.Chat, tt.body, noon())
		if err == nil {
			t.Errorf("%s was accepted", tt.body)
			continue
		}
		if e := refusal(t, err); e.Reason != tt.reason || e.Field != tt.field {
			t.Errorf("got %s at %q, want %s at %q", e.Reason, e.Field, tt.reason, tt.field)
		}
	}
	for _, tt := range []struct {
		change func(*pricing.Upstream)
		e      pricing.Endpoint
		body   string
	}{
		{func(u *pricing.Upstream) { u.StrictBody = true }, pricing.Chat, chatBody("openai/gpt-5.5", `"max_tokens":1,"temperature":1`)},
		{func(u *pricing.Upstream) { u.RequireMaxTokens = true }, pricing.Chat, chatBody("openai/gpt-5.5", `"max_tokens":1`)},
		{func(u *pricing.Upstream) { u.RequireMaxTokens = true }, pricing.Embeddings, `{"model":"openai/text-embedding-3-small","input":"x"}`},
		{func(u *pricing.Upstream) { u.DenyOmittedImageDetail = true }, pricing.Chat, chatBody("openai/gpt-5.5", `"max_tokens":1`)},
	} {
		mustBound(t, load(tt.change), tt.e, tt.body, noon())
	}
	_, err := tryBound(load(func(u *pricing.Upstream) { u.RequireMaxTokens, u.CapField = true, pricing.CapFieldNone }), pricing.Chat, chatBody("openai/gpt-5.5", ""), noon())
	if e := refusal(t, err); e.Field != "max_tokens" || !strings.Contains(e.Message, "send max_tokens") {
		t.Errorf("got %v, want a word about max_tokens", e)
	}
}

// An upstream that is never asked for a stream's usage gets the body as it is,
// and is charged the bound unless a client asked by itself.
func TestChargeBound(t *testing.T) {
	c, err := pricing.Load(nil, []pricing.Upstream{{Provider: "openai", StreamUsage: pricing.StreamUsageChargeBound}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	body := chatBody("openai/gpt-5.5", `"max_tokens":100,"stream":true`)
	b := mustBound(t, c, pricing.Chat, body, noon())
	if got, want := apply(t, body, b.Edits), strings.Replace(body, "openai/", "", 1); got != want || b.StripUsage {
		t.Errorf("sent %s, strip %t; want %s", got, b.StripUsage, want)
	}
	ended := pricing.Evidence{Sent: true, Status: 200, Stream: true, Done: true}
	if got := pricing.Charge(b.Pin, b.Amount, ended, nil); got.Basis != budget.BasisBound || got.Cost != b.Amount {
		t.Errorf("without a report it is charged %+v, want the bound %s", got, b.Amount)
	}
	ended.Usage = `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}`
	if got := pricing.Charge(b.Pin, b.Amount, ended, nil); got.Basis != budget.BasisUsage || got.Cost != 200_000 { // 10 x 5 + 5 x 30 micro-USD
		t.Errorf("with a report it is charged %+v", got)
	}
}

func TestCallersDefaultCap(t *testing.T) {
	call, err := pricing.ParseCall(pricing.Chat, []byte(chatBody(kimi, "")))
	if err != nil {
		t.Fatal(err)
	}
	call.DefaultCap = 500
	m, err := mustLoad(t).Resolve(kimi, noon())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := m.Bound(call, noon()); err != nil || b.InjectedCap != 500 {
		t.Errorf("injected %+v, %v; want the caller's 500", b, err)
	}
}

// slowCost is the bill of a provider that counts everything it may, in exact
// rationals and by a way of its own: prices by name, one token kind at a time.
func slowCost(m pricing.Model, tier int64, counts map[string]int64) budget.Amount {
	price := map[string]*big.Rat{}
	for _, r := range m.Row.Rates() {
		if r.FromTokens <= tier {
			price[r.Kind] = big.NewRat(r.PicoPerToken, 1000) // nano-USD
		}
	}
	sum := new(big.Rat)
	for kind, n := range counts {
		p := price[kind]
		if p == nil {
			p = price["input"]
		}
		sum.Add(sum, new(big.Rat).Mul(p, new(big.Rat).SetInt64(n)))
	}
	up := new(big.Int).Add(sum.Num(), new(big.Int).Sub(sum.Denom(), big.NewInt(1)))
	return budget.Amount(up.Div(up, sum.Denom()).Int64())
}

// On every generating endpoint and for every model: whatever the body allows is
// at most the bound, and the charge is what an independent count says.
func TestEveryEndpointsBoundCoversItsCost(t *testing.T) {
	c := settleCatalog(t)
	models := slices.DeleteFunc(c.Models(noon()), func(m pricing.Model) bool {
		return endpointOf(m.Slug) != pricing.Chat || mediaModel(m) || m.Slug == "jina/reranker" || m.Provider == "odd" || m.Provider == "openrouter" || m.Provider == "deepseek"
	})
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(models).Draw(t, "model")
		limit := rapid.SampledFrom([]int64{1, 16, 4096, 128_000}).Draw(t, "cap")
		text := strings.Repeat("x", rapid.SampledFrom([]int{0, 500, 99_000, 199_500, 271_900}).Draw(t, "size"))
		e := rapid.SampledFrom([]pricing.Endpoint{pricing.Responses, pricing.Messages, pricing.Completions}).Draw(t, "endpoint")
		var body string
		switch e {
		case pricing.Responses:
			body = fmt.Sprintf(`{"model":%q,"max_output_tokens":%d,"input":%q}`, m.Slug, limit, text)
		case pricing.Messages:
			body = fmt.Sprintf(`{"model":%q,"max_tokens":%d,"messages":[{"role":"user","content":[{"type":"text","text":%q,"cache_control":{"type":"ephemeral"}}]}]}`, m.Slug, limit, text)
		default:
			body = fmt.Sprintf(`{"model":%q,"max_tokens":%d,"prompt":%q}`, m.Slug, limit, text)
		}
		b, err := tryBound(c, e, body, noon())
		if err != nil {
			t.Fatal(err)
		}
		var most int64
		for _, l := range b.Lines() {
			if l.Label == "input" {
				most = l.Quantity
			}
		}
		in := rapid.OneOf(rapid.Just(most), rapid.Int64Range(0, most)).Draw(t, "in")
		read := rapid.Int64Range(0, in).Draw(t, "read")
		written := int64(0)
		if e == pricing.Messages || m.Row.Family == "gpt-5.6" {
			written = rapid.Int64Range(0, in-read).Draw(t, "written")
		}
		out := rapid.OneOf(rapid.Just(limit), rapid.Int64Range(0, limit)).Draw(t, "out")
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Stream: true}
		switch e {
		case pricing.Responses:
			ev.Usage = fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d},"output_tokens":%d,"total_tokens":%d}`, in, read, written, out, in+out)
		case pricing.Messages:
			ev.FirstUsage = fmt.Sprintf(`{"input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation_input_tokens":%d,"output_tokens":1}`, in-read-written, read, written)
			ev.Usage = fmt.Sprintf(`{"output_tokens":%d}`, out)
			out = max(out, 1)
		default:
			ev.Usage = fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d}}`, in, out, in+out, read, written)
		}
		got := pricing.Charge(b.Pin, b.Amount, ev, nil)
		want := slowCost(m, in, map[string]int64{"input": in - read - written, "cache_read": read, "cache_write": written, "output": out})
		if got.Basis != budget.BasisUsage || got.Cost != want || got.Cost > b.Amount {
			t.Fatalf("%s %s: %+v, want %s within %s\n%s", e, m.Slug, got, want, b.Amount, ev.Usage)
		}
	})
}

// What a provider does for nothing has no bound to hold: any body of a model
// passes, with the model's real name.
func TestFreeEndpoints(t *testing.T) {
	c := mustLoad(t)
	for _, body := range []string{
		`{"model":"anthropic/claude-sonnet-4.6","messages":[{"role":"user","content":"hi"}]}`,
		`{"model":"anthropic/claude-sonnet-4.6","max_tokens":10,"tools":[{"type":"web_search_20250305","name":"web_search"}],"mcp_servers":[{"url":"https://a"}]}`,
		`{"model":"anthropic/claude-sonnet-4.6","messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://a/b.pdf"}}]}]}`,
	} {
		b := mustBound(t, c, pricing.CountTokens, body, noon())
		if b.Amount != 0 || len(b.Edits) != 1 || b.Edits[0].Ins != `"claude-sonnet-4-6"` {
			t.Errorf("%s: %s, %v", body, b.Amount, b.Edits)
		}
	}
	b := mustBound(t, c, pricing.InputTokens, `{"model":"openai/gpt-5.5","input":"hi","previous_response_id":"r","tools":[{"type":"mcp","server_url":"https://a"}]}`, noon())
	if b.Amount != 0 || len(b.Edits) != 1 || b.Edits[0].Ins != `"gpt-5.5"` {
		t.Errorf("%s, %v", b.Amount, b.Edits)
	}
	for _, e := range pricing.Endpoints() {
		if e.Free() != (e == pricing.CountTokens || e == pricing.InputTokens) {
			t.Errorf("%s is free: %v", e, e.Free())
		}
	}
}

// Making an input short is one answer as long as any, which no member caps; no
// tool runs for it.
func TestCompactIsBounded(t *testing.T) {
	c := limited(t, 3)
	m, err := c.Resolve(storing, noon())
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"", `"max_output_tokens":5,`, `"tools":[{"type":"web_search"},{"type":"function","name":"f"}],`, `"instructions":"short",`} {
		body := `{"model":"` + storing + `",` + more + `"input":[{"role":"user","content":"hi"}]}`
		b := mustBound(t, c, pricing.Compact, body, noon())
		if outputOf(t, b) != m.Row.MaxOutput || inputOf(t, b) < int64(len(body)) || inputOf(t, b) > int64(len(body))+1500 || b.InjectedCap != 0 || b.InjectedToolCalls != 0 {
			t.Errorf("%s: %+v", body, b.Lines())
		}
		if sent := apply(t, body, b.Edits); sent != strings.Replace(body, storing, "gpt-5.5", 1) {
			t.Errorf("sent as %s", sent)
		}
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"input_tokens":100,"output_tokens":50,"total_tokens":150}`}, nil)
		if got.Basis != budget.BasisUsage || got.Cost != 100*5000+50*30000 {
			t.Errorf("charged %s %s", got.Basis, got.Cost)
		}
	}
	named := mustBound(t, c, pricing.Compact, `{"model":"`+storing+`","previous_response_id":"resp_1"}`, noon())
	if inputOf(t, named) != m.Row.Context {
		t.Errorf("what is only named: %+v", named.Lines())
	}
	if most, ok := named.LargestCap(named.Amount - 1); ok {
		t.Errorf("a cap of %d is said to fit", most)
	}
}
