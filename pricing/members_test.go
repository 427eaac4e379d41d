package pricing_test

import (
	"errors"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// llama.cpp obeys n_predict over max_tokens, Azure fetches data_sources, vLLM
// embeds a chat: each would cost more than the members that were bounded.
func TestMembersThatOutbidTheBound(t *testing.T) {
	c := mustLoad(t)
	chat := func(more string) string { return chatBody("openai/gpt-6-sol", `"max_tokens":1,`+more) }
	for _, tt := range []struct {
		endpoint     pricing.Endpoint
		body, reason string
	}{
		{pricing.Chat, chat(`"n_predict":100000`), "unsupported_feature"},
		{pricing.Chat, chat(`"n_predict":-1`), "unsupported_feature"},
		{pricing.Chat, chat(`"n_cmpl":50`), "unsupported_feature"},
		{pricing.Chat, chat(`"max_new_tokens":100000`), "unsupported_feature"},
		{pricing.Chat, chat(`"data_sources":[{"type":"azure_search"}]`), "unbounded_input"},
		{pricing.Embeddings, `{"model":"openai/text-embedding-3-small","input":"a","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}`, "unbounded_media"},
	} {
		call, err := pricing.ParseCall(tt.endpoint, []byte(tt.body))
		if err != nil {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		m, err := c.Resolve(call.Model, noon())
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Bound(call, noon())
		var e *budget.Error
		if !errors.As(err, &e) || e.Reason != tt.reason {
			t.Errorf("%s: %v, want %s", tt.body, err, tt.reason)
		}
	}
}

// Usage reports show models that have no price, in the client's own words.
func TestModelIsPrintable(t *testing.T) {
	for _, model := range []string{`x/\u001b[2J`, `x/a\nb`, `x/a\u0000`, `x/\u202eb`} {
		_, err := pricing.ParseCall(pricing.Chat, []byte(`{"model":"`+model+`","messages":[]}`))
		var e *budget.Error
		if !errors.As(err, &e) || e.Reason != "field_invalid" || e.Field != "model" {
			t.Errorf("%s: %v, want field_invalid", model, err)
		}
	}
}

// spellings are other ways to write a name that careless servers take for it.
func spellings(name string) []string {
	words := strings.Split(name, "_")
	capital := func(w string) string { return strings.ToUpper(w[:1]) + w[1:] }
	camel := words[0]
	pascal := capital(words[0])
	snake := capital(words[0])
	for _, w := range words[1:] {
		camel, pascal, snake = camel+capital(w), pascal+capital(w), snake+"_"+capital(w)
	}
	out := []string{strings.ToUpper(name), pascal, snake, strings.ReplaceAll(name, "s", "ſ"), strings.ReplaceAll(name, "k", "\u212a")}
	if len(words) > 1 {
		out = append(out, camel, strings.Join(words, "-"), strings.Join(words, ""), strings.Join(words, "__"))
	}
	return out
}

// Whatever the parser acts on, it acts on or refuses in every spelling.
func TestEverySpellingIsGuarded(t *testing.T) {
	c := mustLoad(t)
	base := map[pricing.Endpoint]string{
		pricing.Chat: `"model":"openai/gpt-6-sol"`, pricing.Responses: `"model":"openai/gpt-6-sol"`, pricing.Completions: `"model":"openai/gpt-6-sol","max_tokens":1`,
		pricing.Messages: `"model":"anthropic/claude-sonnet-4.6","max_tokens":1`, pricing.Embeddings: `"model":"openai/text-embedding-3-small"`,
		pricing.Rerank: `"model":"cohere/rerank-v4.0-fast","query":"q","documents":["a"]`, pricing.Moderations: `"model":"mistral/mistral-moderation-2603"`,
		pricing.Images: `"model":"openai/gpt-image-2"`, pricing.Speech: `"model":"openai/tts-1","input":"a"`, pricing.ImageEdits: `"model":"openai/gpt-image-2"`, pricing.Compact: `"model":"openai/gpt-6-sol"`,
	}
	for _, e := range billed() {
		if base[e] == "" { // of forms alone
			continue
		}
		mustBound(t, c, e, "{"+base[e]+"}", noon())
		read, refused := pricing.Acting(e)
		if len(read) < 5 || len(refused) < 50 {
			t.Fatalf("%s acts on %d and %d members", e, len(read), len(refused))
		}
		for _, name := range read {
			for _, other := range spellings(name) {
				if other == name {
					continue
				}
				if _, err := pricing.ParseCall(e, []byte("{"+base[e]+`,"`+other+`":1}`)); err == nil || refusal(t, err).Reason != "field_invalid" {
					t.Errorf("%s: %s, like %s: %v", e, other, name, err)
				}
			}
		}
		for _, name := range refused {
			for _, other := range append(spellings(name), name) {
				_, err := tryBound(c, e, "{"+base[e]+`,"`+other+`":"x"}`, noon())
				if err == nil || refusal(t, err).Field != other {
					t.Errorf("%s: %s, like %s: %v", e, other, name, err)
				}
				if b, err := tryBound(c, e, "{"+base[e]+`,"`+other+`":null}`, noon()); err != nil || b == nil {
					t.Errorf("%s: %s of null asks for nothing: %v", e, other, err)
				}
			}
		}
	}
}

// The same below the top level.
func TestEverySpellingInsideIsGuarded(t *testing.T) {
	c := mustLoad(t)
	const sol, sonnet = `"model":"openai/gpt-6-sol","max_tokens":1,`, `"model":"anthropic/claude-sonnet-4.6","max_tokens":1,`
	for in, names := range map[string][]string{
		`{` + sol + `"messages":[{"role":"user",%}]}`:                                                    {"content", "role", "tools", "audio", "images", "file_ids"},
		`{` + sol + `"messages":[{"role":"user","content":[{"type":"text",%}]}]}`:                        {"type", "image_url", "input_audio", "video_url", "document_url", "audio_url", "file_id"},
		`{` + sol + `"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a",%}}]}]}`: {"url", "detail"},
		`{` + sol + `"tools":[{"type":"function",%}]}`:                                                   {"type", "tools", "max_uses", "function", "google_search", "code_execution", "server_url"},
		`{` + sol + `"prompt_cache_options":{%}}`:                                                        {"mode", "ttl", "prewarm"},
		`{` + sol + `"tools":[{"type":"code_interpreter","container":{%}}]}`:                             {"memory_limit"},
		`{` + sol + `"options":{%}}`:                                                                     {"num_predict", "num_ctx", "max_tokens"},
		`{` + sonnet + `"messages":[{"role":"user",%}]}`:                                                 {"content", "tools", "images", "attachments"},
		`{` + sonnet + `"system":[{"type":"text",%}]}`:                                                   {"type", "source", "content", "image_url", "file_id"},
		`{` + sonnet + `"system":[{"type":"image","source":{"type":"url","url":"https://a",%}}]}`:        {"media_type", "data", "content", "file_id"},
	} {
		e := pricing.Chat
		if strings.Contains(in, "anthropic") {
			e = pricing.Messages
		}
		for _, name := range names {
			for _, other := range spellings(name) {
				if other != name {
					mustNotPass(t, c, e, strings.Replace(in, "%", `"`+other+`":"x"`, 1))
				}
			}
		}
	}
	const response = `{"model":"openai/gpt-6-sol","max_output_tokens":1,`
	for in, names := range map[string][]string{
		response + `"input":[{"type":"message",%}]}`:                  {"type", "id", "content", "summary", "output", "result", "tools", "encrypted_content", "arguments", "file_ids"},
		response + `"input":[{"content":[{"type":"input_text",%}]}]}`: {"type", "image_url", "detail", "file_data", "input_audio", "file_id", "file_url"},
	} {
		for _, name := range names {
			for _, other := range spellings(name) {
				if other != name {
					mustNotPass(t, c, pricing.Responses, strings.Replace(in, "%", `"`+other+`":"x"`, 1))
				}
			}
		}
	}
}

func mustNotPass(t *testing.T, c *pricing.Catalog, e pricing.Endpoint, body string) {
	t.Helper()
	if _, err := tryBound(c, e, body, noon()); err == nil {
		t.Errorf("%s: %s has a bound", e, body)
	}
}

// What can move money and is none of the members that are bounded.
func TestMembersThatMoveMoney(t *testing.T) {
	c := mustLoad(t)
	for _, member := range []string{
		`"multi_agent":{"enabled":true}`, `"multiAgent":{"enabled":true}`, `"thread":{"id":"t"}`, `"thread":"t"`, `"thread_id":"t"`, `"cached_content":"cachedContents/x"`, `"cachedContent":"cachedContents/x"`,
		`"conversation_id":"c"`, `"agent":{"name":"a","type":"agent_reference"}`, `"agent_count":16`, `"safety_model":"m"`, `"connectors":[{"id":"web-search"}]`, `"search_options":{"forced_search":true}`,
		`"enable_code_interpreter":true`, `"images":["https://a"]`, `"image_data":[{"id":1}]`, `"vl_high_resolution_images":true`, `"mm_processor_kwargs":{"max_pixels":9999999}`, `"generationConfig":{"maxOutputTokens":9999}`,
		`"parameters":{"max_new_tokens":9999}`, `"options":{"num_predict":9999}`, `"options":{"Num_Predict":-1}`, `"guardrailConfig":{"id":"g"}`, `"performanceConfig":{"latency":"optimized"}`, `"candidateCount":8`, `"max_tokens_to_sample":9999`,
		`"anthropic_beta":["context-1m-2025-08-07"]`, `"betas":["fast-mode"]`, `"extra_headers":{"anthropic-beta":"x"}`, `"user_config":{"model_list":[]}`, `"model_list":[{"model_name":"m"}]`, `"amazon-bedrock-guardrailConfig":{"tagSuffix":"x"}`,
	} {
		mustNotPass(t, c, pricing.Chat, chatBody("openai/gpt-6-sol", `"max_tokens":1,`+member))
		mustNotPass(t, c, pricing.Responses, `{"model":"openai/gpt-6-sol","max_output_tokens":1,"input":"hi",`+member+`}`)
		mustNotPass(t, c, pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":1,"messages":[],`+member+`}`)
	}
	mustNotPass(t, c, pricing.Chat, `{"model":"moonshot/kimi-k2.6","max_tokens":1,"messages":[{"role":"cache","content":"cache_id=1"}]}`)
	for _, other := range []string{`"inputs":["a"]`, `"texts":["a"]`, `"contents":["a"]`, `"instances":[{"content":"a"}]`, `"images":["https://a"]`} {
		mustNotPass(t, c, pricing.Embeddings, `{"model":"openai/text-embedding-3-small","input":"a",`+other+`}`)
	}
	// What only looks like them still passes, and so does what nobody knows.
	for _, member := range []string{`"options":{"temperature":1}`, `"options":"x"`, `"Temperature":1`, `"topP":1`, `"agentic":true`, `"threads":4`, `"multi_agent":false`, `"images":[]`, `"images":null`, `"x_max_tokens":9`} {
		mustBound(t, c, pricing.Chat, chatBody("openai/gpt-6-sol", `"max_tokens":1,`+member), noon())
	}
}

// Another API's cap is not taken for this one's, but where it is larger a server
// may obey it.
func TestTheLargerOfTwoCapsCounts(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		e           pricing.Endpoint
		model, caps string
		want        int64
	}{
		{pricing.Responses, "openai/gpt-6-sol", `"max_output_tokens":10,"max_tokens":5000`, 5000},
		{pricing.Responses, "openai/gpt-6-sol", `"max_output_tokens":10,"max_completion_tokens":5`, 10},
		{pricing.Messages, "anthropic/claude-sonnet-4.6", `"max_tokens":10,"max_completion_tokens":5000`, 5000},
		{pricing.Chat, "openai/gpt-6-sol", `"max_tokens":10,"max_output_tokens":5000`, 5000},
	} {
		b := mustBound(t, c, tt.e, `{"model":"`+tt.model+`",`+tt.caps+`}`, noon())
		lines := b.Lines()
		for _, l := range lines {
			if l.Label == "output" && l.Quantity != tt.want {
				t.Errorf("%s %s: %d output tokens, want %d", tt.e, tt.caps, l.Quantity, tt.want)
			}
		}
		if most, ok := b.LargestCap(b.Amount - 1); ok && tt.want == 5000 {
			t.Errorf("%s %s: a cap of %d is said to fit", tt.e, tt.caps, most)
		}
	}
	mustNotPass(t, c, pricing.Responses, `{"model":"openai/gpt-6-sol","max_output_tokens":10,"max_tokens":-1}`)
}
