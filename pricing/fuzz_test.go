package pricing_test

import (
	"encoding/json"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// A body that is accepted has a bound or a reason, and its edits leave JSON.
func FuzzParseCall(f *testing.F) {
	c, words := published(f), counting(f)
	for _, seed := range []string{
		string(benchBody("openai/gpt-6-sol")), chatBody(kimi, `"stream":true,"stream_options":{"include_usage":null},"n":2`),
		content("openai/gpt-5.5", `{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}`),
		chatBody("anthropic/claude-sonnet-4.6", `"user":"\ufdfa\\u","x":{"cache_control":{"ttl":"1h"}}`),
		`{"model":"openai/text-embedding-3-small","input":[[1,2],[3]]}`,
		`{"model":"openai/gpt-6-sol","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a"}]}],"tools":[{"type":"web_search"}],"max_tool_calls":1}`,
		`{"model":"anthropic/claude-sonnet-4.6","max_tokens":0,"messages":[{"content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]}]}`,
		`{"model":"cohere/rerank-v4.0-fast","query":"q","documents":["a",{"text":"b"}],"max_tokens_per_doc":5}`, `{"model":"a/b","model":"c"}`, `{`, ``,
		`{"model":"openai/gpt-5.5","max_tokens":1,"messages":[{"content":[{"type":"text","text":"Words that are counted, \u4e2d\u6587 too."}],"role":"tool"}],"tools":[{"function":{"description":"Lines\nof a long description\n"}}]}`,
		`{"model":"openai/gpt-5.5","messages":[{},{"role":"tool","content":"<|end|>","tool_call_id":"c"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1e9}"}}]}],"tools":[{"function":{"parameters":{"enum":["é<"]}}}],"temperature":1}`,
		`{"model":"openai/gpt-5.6-sol","input":["a",{"type":"function_call","arguments":"{}","name":"f"},{"type":"function_call_output","output":[{"type":"input_text","text":"x"}]}],"text":{"format":{"schema":{}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, e := range pricing.Endpoints() {
			call, err := pricing.ParseCall(e, body)
			if err != nil {
				refusal(t, err)
				continue
			}
			m, err := c.Resolve(call.Model, noon())
			if err != nil {
				refusal(t, err)
				continue
			}
			b, err := m.Bound(call, noon())
			if err != nil {
				refusal(t, err)
				b = m.Unbounded(call, noon())
			}
			if b.Amount < 0 || b.Amount > budget.MaxAmount {
				t.Errorf("bound is %d", b.Amount)
			}
			if m, err := words.Resolve(call.Model, noon()); err == nil {
				if fewer, err := m.Bound(call, noon()); err == nil && fewer.Amount > b.Amount {
					t.Errorf("%s with the tokenizer, %s by bytes", fewer.Amount, b.Amount)
				}
			}
			b.Lines()
			b.LargestCap(b.Amount)
			edited := []byte(apply(t, string(body), b.Edits))
			again, err := pricing.ParseCall(e, edited)
			if err != nil || !json.Valid(edited) || again.Model != m.UpstreamModel {
				t.Errorf("edits break the body: %v\n%s\n%s", err, body, edited)
			}
		}
	})
}

// Whatever an access log says, a charge is at least 0, and at most the bound
// unless the provider's own report says more.
func FuzzCharge(f *testing.F) {
	b := mustBound(f, mustLoad(f), pricing.Chat, string(benchBody("openai/gpt-6-sol")), noon())
	f.Add(b.Pin, `{"prompt_tokens":1,"completion_tokens":2,"cost":1e-7}`, `"priority"`, 200, uint8(0xff), int64(time.Second))
	f.Add(b.Pin, `{"prompt_tokens":1,"prompt_cache_hit_tokens":2,"prompt_cache_miss_tokens":2}`, `null`, 0, uint8(3), int64(-1))
	for _, text := range []string{
		`{"model":"anthropic/claude-sonnet-4.6","max_tokens":9,"tools":[{"type":"web_search_20250305","max_uses":1}]}`,
		`{"model":"cohere/rerank-v4.0-fast","max_tokens":9,"query":"q","documents":["a"],"max_output_tokens":9}`,
	} {
		for _, e := range pricing.Endpoints() {
			if b, err := tryBound(mustLoad(f), e, text, noon()); err == nil {
				f.Add(b.Pin, `{"input_tokens":1,"output_tokens":2,"iterations":[{"input_tokens":1,"output_tokens":2}],"web_search":{"num_requests":1},"billed_units":{"search_units":1.5}}`, `"priority"`, 200, uint8(13), int64(time.Second))
			}
		}
	}
	f.Add("AQA", ``, ``, 500, uint8(1), int64(0))
	f.Fuzz(func(t *testing.T, pin, usage, tier string, status int, bits uint8, duration int64) {
		for _, p := range []string{pin, b.Pin} {
			ev := pricing.Evidence{FirstUsage: usage, ToolUsage: usage, Model: tier, Sent: bits&1 != 0, Cut: bits&2 != 0, Stream: bits&4 != 0, Done: bits&8 != 0,
				Status: status, Duration: time.Duration(duration), Usage: usage, ServiceTier: tier}
			out := pricing.Charge(p, b.Amount, ev, nil)
			if out.Cost < 0 || out.Cost > budget.MaxAmount {
				t.Errorf("%+v costs %d", ev, out.Cost)
			}
			if out.Cost > b.Amount && usage == "" {
				t.Errorf("%+v without a report costs %s, more than its bound", ev, out.Cost)
			}
			if out.Basis == "" {
				t.Errorf("%+v has no basis", ev)
			}
		}
	})
}
