package pricing_test

import (
	"fmt"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// TestMarkedMessagesExactly counts bodies of one message each, so that every rule
// of theirs shows in a number of its own: text by the vocabulary, marks by the
// template, and bytes for what nobody has published.
func TestMarkedMessagesExactly(t *testing.T) {
	c := counting(t)
	base := map[pricing.Endpoint]int64{}
	size := func(e pricing.Endpoint, member string) int64 {
		model, more := "openai/gpt-4o", `"max_tokens":1,`
		if e == pricing.Embeddings {
			model, more = "openai/text-embedding-3-small", ""
		}
		return inputOf(t, mustBound(t, c, e, `{"model":"`+model+`",`+more+member+`}`, noon()))
	}
	base[pricing.Chat] = size(pricing.Chat, `"messages":[]`)
	for name, tt := range map[string]struct {
		e      pricing.Endpoint
		member string
		want   int64 // above that of no message at all
	}{
		"a user's text":        {pricing.Chat, `"messages":[{"role":"user","content":"one two three"}]`, 7},
		"in two parts":         {pricing.Chat, `"messages":[{"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":" two three"}]}]`, 19},
		"instructions":         {pricing.Chat, `"messages":[{"role":"system","content":"one two three"}]`, 22},
		"a role nobody knows":  {pricing.Chat, `"messages":[{"role":"robot","content":"one two three"}]`, 37},
		"a tool's":             {pricing.Chat, `"messages":[{"role":"tool","tool_call_id":"c","content":"one two three"}]`, 33},
		"a call of a tool":     {pricing.Chat, `"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":\"one two three\"}"}}]}]`, 50},
		"an item that calls":   {pricing.Responses, `"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":\"one two three\"}"}]`, 64},
		"an item that answers": {pricing.Responses, `"input":[{"type":"function_call_output","call_id":"c","output":"one two three"}]`, 39},
		"a text":               {pricing.Responses, `"input":"one two three"`, 28},
		"a text, and silence":  {pricing.Responses, `"input":"one two three","truncation":"auto"`, 28},
		"escaped arguments":    {pricing.Chat, `"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"\u007b\"a\":\"\u4e2d\"}"}}]}]`, 52},
		"numbers of a schema":  {pricing.Chat, `"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"enum":[1e+5,9e2,"e"]}}}]`, 850},
		"an item of text":      {pricing.Responses, `"input":["one two three"]`, 20},
		"a picture":            {pricing.Chat, `"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}]}]`, 12086},
		"texts to embed":       {pricing.Embeddings, `"input":["one two three","four"]`, 4},
	} {
		if got := size(tt.e, tt.member) - base[tt.e]; got != tt.want {
			t.Errorf("%s: %d tokens, want %d", name, got, tt.want)
		}
	}
}

// TestShortMessagesExactly counts what is too short to pay for its marks, wherever
// it stands in an array, and tools of old.
func TestShortMessagesExactly(t *testing.T) {
	c := published(t)
	size := func(members string) int64 {
		body := `{"model":"openai/gpt-4o","max_tokens":1,` + members + `}`
		return inputOf(t, mustBound(t, c, pricing.Chat, body, noon())) - int64(len(members))
	}
	none := size(`"messages":[]`)
	for members, want := range map[string]int64{
		`"messages":[{}]`:                                        22,
		`"messages":[{},{}]`:                                     44,
		`"messages":[{} , {} ]`:                                  44,
		`"messages":[],"functions":[{"name":"f"}]`:               93,
		`"messages":[],"response_format":{"type":"json_schema"}`: 6,
		`"messages":[],"response_format":{"type":"json_schema","json_schema":{}}`: 110,
	} {
		if got := size(members) - none; got != want {
			t.Errorf("%s: %d tokens beside its bytes, want %d", members, got, want)
		}
	}
}

// TestLargestCapStaysBelowTheTier: what rounds of a hosted tool may add counts
// against the threshold, above which all of a call costs more.
func TestLargestCapStaysBelowTheTier(t *testing.T) {
	c := mustOverlay(t, `- {model: openai/stepped, family: gpt, limits: {context: 1000000, max_output: 10000000}, prices: [{input: "1", output: "1", fees: {web_search: "0.01"}, tiers: [{from: 900000, input: "2", output: "2"}]}]}`)
	bound := func(limit int64) *pricing.Bound {
		return mustBound(t, c, pricing.Responses, fmt.Sprintf(`{"model":"openai/stepped","max_output_tokens":%d,"max_tool_calls":2,"tools":[{"type":"web_search"}],"input":"x"}`, limit), noon())
	}
	most, ok := bound(16).LargestCap(budget.MaxAmount)
	if !ok || most < 1000 || most > 900_000 {
		t.Fatalf("%d, %v", most, ok)
	}
	// Its digits may stand twice, so it may be a little less than what would do.
	at, above := bound(most).Amount, bound(most+100).Amount
	if at > 2*budget.Dollar || above < 2*budget.Dollar {
		t.Errorf("caps of %d and %d cost %s and %s", most, most+100, at, above)
	}
}
