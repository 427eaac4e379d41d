package pricing_test

import (
	"errors"
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
