package pricing_test

import (
	"strings"
	"testing"

	"aigateway/pricing"
)

// OpenAI's SDKs send moderations without a model: it is the one that the API's
// reference names, and is sent by its name.
func TestModerationsWithoutAModel(t *testing.T) {
	c := mustLoad(t)
	for body, want := range map[string]string{
		`{"input":"a"}`:              `{"model":"omni-moderation-latest","input":"a"}`,
		` { "input": ["a"] }`:        ` {"model":"omni-moderation-latest", "input": ["a"] }`,
		`{"input":"a","model":null}`: `{"input":"a","model":"omni-moderation-latest"}`,
		`{"input":"a","model":"openai/omni-moderation-latest"}`: `{"input":"a","model":"omni-moderation-latest"}`,
	} {
		b, err := tryBound(c, pricing.Moderations, body, noon())
		if err != nil || b.Amount != 0 {
			t.Errorf("%s: %v", body, err)
			continue
		}
		got := body
		for i := len(b.Edits) - 1; i >= 0; i-- {
			e := b.Edits[i]
			got = got[:e.At] + e.Ins + got[e.At+e.Del:]
		}
		if got != want {
			t.Errorf("%s becomes %s, want %s", body, got, want)
		}
	}
	for body, e := range map[string]pricing.Endpoint{
		`{}`:            pricing.Moderations,
		`{"input":"a"}`: pricing.Embeddings,
		`{"messages":[{"role":"user","content":"a"}],"model":null}`: pricing.Chat,
	} {
		if _, err := tryBound(c, e, body, noon()); err == nil || !strings.Contains(err.Error(), "model is missing") {
			t.Errorf("%s: %v", body, err)
		}
	}
}
