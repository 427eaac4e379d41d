package pricing_test

import (
	"strings"
	"testing"

	"aigateway/pricing"
)

const kimi = "moonshot/kimi-k2.6"

// chatBody is a minimal request with more members.
func chatBody(model, members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"model":"` + model + `","messages":[{"role":"user","content":"hi"}]` + members + `}`
}

// content is a request whose one message has these parts.
func content(model, parts string) string {
	return `{"model":"` + model + `","max_tokens":100,"messages":[{"role":"user","content":[` + parts + `]}]}`
}

func TestParseCallRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, body, reason, field string
	}{
		{"empty", "", "body_missing", ""},
		{"blank", " \n", "body_missing", ""},
		{"array", `[1]`, "body_not_json", ""},
		{"string", `"x"`, "body_not_json", ""},
		{"bom", "\ufeff{}", "body_not_json", ""},
		{"cut", `{"model":"a/b"`, "body_not_json", ""},
		{"trailing comma", `{"model":"a/b",}`, "body_not_json", ""},
		{"trailing data", `{"model":"a/b"} {}`, "body_not_json", ""},
		{"trailing brace", `{"model":"a/b"}}`, "body_not_json", ""},
		{"comment", `{"model":"a/b"/**/}`, "body_not_json", ""},
		{"single quotes", `{'model':'a/b'}`, "body_not_json", ""},
		{"NaN", `{"model":"a/b","temperature":NaN}`, "body_not_json", "temperature"},
		{"control character", "{\"model\":\"a\tb\"}", "body_not_json", "model"},
		{"no model", `{}`, "model_missing", "model"},
		{"null model", `{"model":null}`, "model_missing", "model"},
		{"empty model", `{"model":""}`, "model_missing", "model"},
		{"number model", `{"model":5}`, "field_invalid", "model"},
		{"duplicate cap", chatBody(kimi, `"max_tokens":1,"max_tokens":100000`), "duplicate_key", "max_tokens"},
		{"duplicate cap, escaped", chatBody(kimi, `"max\u005ftokens":100000,"max_tokens":1`), "duplicate_key", "max_tokens"},
		{"duplicate model", `{"model":"a/b","model":"c/d"}`, "duplicate_key", "model"},
		{"duplicate deep inside", chatBody(kimi, `"metadata":{"a":[{"b":{"c":1,"c":2}}]}`), "duplicate_key", "metadata.a[0].b.c"},
		{"duplicate in a tool", chatBody(kimi, `"tools":[{"type":"function","type":"web_search"}]`), "duplicate_key", "tools[0].type"},
		{"invalid UTF-8", chatBody(kimi, "\"user\":\"\xff\""), "invalid_utf8", "user"},
		{"overlong UTF-8", chatBody(kimi, "\"user\":\"\xc0\xaf\""), "invalid_utf8", "user"},
		{"lone surrogate", chatBody(kimi, `"user":"\ud800"`), "invalid_utf8", "user"},
		{"reversed surrogates", chatBody(kimi, `"user":"\udc00\ud800"`), "invalid_utf8", "user"},
		{"exponent that leaves a fraction", chatBody(kimi, `"max_tokens":1e-1`), "field_invalid", "max_tokens"},
		{"exponent beyond all numbers", chatBody(kimi, `"max_tokens":1e1000000000000000000000`), "field_invalid", "max_tokens"},
		{"fraction", chatBody(kimi, `"max_tokens":1000.5`), "field_invalid", "max_tokens"},
		{"fraction that a float cannot tell", chatBody(kimi, `"max_tokens":1000.0000000000000000001`), "field_invalid", "max_tokens"},
		{"a million zeros", chatBody(kimi, `"max_tokens":1.`+strings.Repeat("0", 1_000_000)), "field_invalid", "max_tokens"},
		{"negative float", chatBody(kimi, `"max_tokens":-1.0`), "field_invalid", "max_tokens"},
		{"negative zero as a float", chatBody(kimi, `"max_tokens":-0.0`), "field_invalid", "max_tokens"},
		{"float above the most", chatBody(kimi, `"max_tokens":1.0000001e7`), "field_invalid", "max_tokens"},
		{"string cap", chatBody(kimi, `"max_tokens":"1000"`), "field_invalid", "max_tokens"},
		{"2^63", chatBody(kimi, `"max_tokens":9223372036854775808`), "field_invalid", "max_tokens"},
		{"negative cap", chatBody(kimi, `"max_tokens":-1`), "field_invalid", "max_tokens"},
		{"cap of 0, unlimited to some", chatBody(kimi, `"max_tokens":0`), "field_invalid", "max_tokens"},
		{"one cap of 0", chatBody(kimi, `"max_completion_tokens":5,"max_tokens":0`), "field_invalid", "max_tokens"},
		{"negative zero", chatBody(kimi, `"max_tokens":-0`), "field_invalid", "max_tokens"},
		{"huge cap", chatBody(kimi, `"max_completion_tokens":10000001`), "field_invalid", "max_completion_tokens"},
		{"boolean cap", chatBody(kimi, `"max_tokens":true`), "field_invalid", "max_tokens"},
		{"n of 0", chatBody(kimi, `"n":0`), "field_invalid", "n"},
		{"n of 129", chatBody(kimi, `"n":129`), "field_invalid", "n"},
		{"n as text", chatBody(kimi, `"n":"2"`), "field_invalid", "n"},
		{"best_of", chatBody(kimi, `"best_of":1.5`), "field_invalid", "best_of"},
		{"stream as text", chatBody(kimi, `"stream":"true"`), "field_invalid", "stream"},
		{"stream as number", chatBody(kimi, `"stream":1`), "field_invalid", "stream"},
		{"stream_options", chatBody(kimi, `"stream_options":true`), "field_invalid", "stream_options"},
		{"include_usage", chatBody(kimi, `"stream_options":{"include_usage":"yes"}`), "field_invalid", "stream_options.include_usage"},
		{"service_tier", chatBody(kimi, `"service_tier":1`), "field_invalid", "service_tier"},
		{"messages", `{"model":"a/b","messages":"hi"}`, "field_invalid", "messages"},
		{"message", `{"model":"a/b","messages":["hi"]}`, "field_invalid", "messages[0]"},
		{"content", `{"model":"a/b","messages":[{"content":5}]}`, "field_invalid", "messages[0].content"},
		{"part", content(kimi, `7`), "field_invalid", "messages[0].content[0]"},
		{"part without type", content(kimi, `{"text":"x"}`), "field_invalid", "messages[0].content[0]"},
		{"image_url", content(kimi, `{"type":"image_url","image_url":7}`), "field_invalid", "messages[0].content[0].image_url"},
		{"url", content(kimi, `{"type":"image_url","image_url":{"url":7}}`), "field_invalid", "messages[0].content[0].image_url.url"},
		{"tools", chatBody(kimi, `"tools":{}`), "field_invalid", "tools"},
		{"tool", chatBody(kimi, `"tools":["web_search"]`), "field_invalid", "tools[0]"},
		{"prompt array", chatBody(kimi, `"prompt":["a","b"]`), "field_invalid", "prompt"},
		{"cap in capitals", chatBody(kimi, `"max_tokens":1,"Max_Tokens":100000`), "field_invalid", "Max_Tokens"},
		{"cap with a Kelvin sign", chatBody(kimi, `"max_tokens":1,"max_to\u212aens":100000`), "field_invalid", "max_to\u212aens"},
		{"content in capitals", `{"model":"a/b","messages":[{"Content":[]}]}`, "field_invalid", "messages[0].Content"},
		{"image in capitals", content(kimi, `{"type":"text","Image_URL":{}}`), "field_invalid", "messages[0].content[0].Image_URL"},
		{"long model", `{"model":"a/` + strings.Repeat("b", 300) + `"}`, "field_invalid", "model"},
		{"deep nesting", `{"model":"a/b","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "body_not_json", "*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call, err := pricing.ParseCall(pricing.Chat, []byte(tt.body))
			if call != nil {
				t.Error("a refused body left a call behind")
			}
			e := refusal(t, err)
			if e.Reason != tt.reason || e.Field != tt.field && tt.field != "*" {
				t.Errorf("got %s at %q, want %s at %q (%s)", e.Reason, e.Field, tt.reason, tt.field, e.Message)
			}
		})
	}
}

func TestParseCallAccepts(t *testing.T) {
	for _, body := range []string{
		chatBody(kimi, `"max_tokens":null,"n":null,"stream":null,"stream_options":null,"tools":null,"service_tier":null,"modalities":null`),
		chatBody(kimi, `"Temperature":1,"metadata":{"Model":1,"N":2}`), // names are case-sensitive: other members
		chatBody(kimi, `"max_tokens":10000000,"n":128`),
		" \n" + chatBody(kimi, `"unknown":{"deep":[1,{"x":null}]}`) + "\r\n",
		`{"\u006dodel":"moonshot\/kimi-k2.6"}`,
	} {
		call, err := pricing.ParseCall(pricing.Chat, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if call.Model != kimi {
			t.Errorf("%s: model is %q", body, call.Model)
		}
	}
}

// A whole number is one however it is spelt, wherever one is read.
func TestWholeNumbersInAnySpelling(t *testing.T) {
	c := mustLoad(t)
	for _, spelling := range []string{"1024", "1024.0", "1024.000", "1.024e3", "1.024E+3", "10240e-1", "1024e0", "102400.0e-2", "0.1024e4", "1024e0"} {
		for _, tt := range []struct {
			e             pricing.Endpoint
			model, member string
		}{
			{pricing.Chat, kimi, "max_tokens"}, {pricing.Chat, kimi, "max_completion_tokens"}, {pricing.Chat, kimi, "max_output_tokens"},
			{pricing.Responses, storing, "max_output_tokens"}, {pricing.Messages, "anthropic/claude-sonnet-4.6", "max_tokens"}, {pricing.Completions, kimi, "max_tokens"},
		} {
			b := mustBound(t, c, tt.e, `{"model":"`+tt.model+`","`+tt.member+`":`+spelling+`}`, noon())
			if tt.member == "max_output_tokens" && tt.e == pricing.Chat {
				if b.InjectedCap < 1024 { // of another API, it only raises
					t.Errorf("%s %s: cap %d", tt.member, spelling, b.InjectedCap)
				}
				continue
			}
			if got := outputOf(t, b); got != 1024 {
				t.Errorf("%s %s %s: %d tokens of output", tt.e, tt.member, spelling, got)
			}
			body := `{"model":"` + tt.model + `", "` + tt.member + `" : ` + spelling + ` }`
			if sent := apply(t, body, mustBound(t, c, tt.e, body, noon()).Edits); !strings.HasSuffix(sent, `" : 1024 }`) {
				t.Errorf("%s %s is sent as %s", tt.member, spelling, sent)
			}
		}
	}
	for spelling, want := range map[string]int64{"2.0": 2, "0.2e1": 2, "128.0": 128} {
		if got := outputOf(t, mustBound(t, c, pricing.Chat, chatBody(kimi, `"max_tokens":1,"n":`+spelling), noon())); got != want {
			t.Errorf("n %s: %d choices", spelling, got)
		}
	}
	calls := func(spelling string) string {
		return `{"model":"` + storing + `","max_output_tokens":10,"max_tool_calls":` + spelling + `,"input":"hi","tools":[{"type":"web_search"}]}`
	}
	for _, none := range []string{"0.0", "0e5"} {
		got, want := mustBound(t, c, pricing.Responses, calls(none), noon()), mustBound(t, c, pricing.Responses, calls(strings.Repeat(" ", len(none)-1)+"0"), noon())
		if got.Amount != want.Amount {
			t.Errorf("max_tool_calls %s: bound is %s, want %s", none, got.Amount, want.Amount)
		}
	}
	// Longer than any honest number, one is none.
	if _, err := tryBound(c, pricing.Responses, calls("5."+strings.Repeat("0", 40)), noon()); err == nil || refusal(t, err).Field != "max_tool_calls" {
		t.Errorf("a number of 42 characters: %v", err)
	}
	ids := mustBound(t, c, pricing.Embeddings, `{"model":"openai/text-embedding-3-small","input":[1.0,2e2,3]}`, noon())
	if whole := mustBound(t, c, pricing.Embeddings, `{"model":"openai/text-embedding-3-small","input":[1,200,3]}`, noon()); ids.Amount != whole.Amount {
		t.Errorf("token ids: %s and %s", ids.Amount, whole.Amount)
	}
}

func outputOf(t *testing.T, b *pricing.Bound) int64 {
	t.Helper()
	return lineOf(t, b, "output")
}

func lineOf(t *testing.T, b *pricing.Bound, label string) int64 {
	t.Helper()
	for _, l := range b.Lines() {
		if l.Label == label {
			return l.Quantity
		}
	}
	t.Fatalf("no %s in %+v", label, b.Lines())
	return 0
}

func TestParseEmbeddingsRefuses(t *testing.T) {
	for _, tt := range []struct{ input, reason, field string }{
		{`5`, "field_invalid", "input"},
		{`{}`, "field_invalid", "input"},
		{`["a",5]`, "field_invalid", "input"},
		{`[1,[2]]`, "field_invalid", "input"},
		{`["a",[2]]`, "field_invalid", "input"},
		{`[1.5]`, "field_invalid", "input[0]"},
		{`[[1,"a"]]`, "field_invalid", "input[0][1]"},
		{`[[1,null]]`, "field_invalid", "input[0][1]"},
		{`[true]`, "field_invalid", "input[0]"},
	} {
		_, err := pricing.ParseCall(pricing.Embeddings, []byte(`{"model":"openai/text-embedding-3-small","input":`+tt.input+`}`))
		if e := refusal(t, err); e.Reason != tt.reason || e.Field != tt.field {
			t.Errorf("input %s: got %s at %q, want %s at %q", tt.input, e.Reason, e.Field, tt.reason, tt.field)
		}
	}
}

// TestRefusedCapNamesTheRange: what the message offers is then accepted.
func TestRefusedCapNamesTheRange(t *testing.T) {
	for endpoint, want := range map[pricing.Endpoint]string{pricing.Chat: "from 1 to 10000000", pricing.Messages: "from 0 to 10000000"} {
		_, err := pricing.ParseCall(endpoint, []byte(`{"model":"a/b","max_tokens":-1}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", endpoint, err, want)
		}
	}
}

// A system message between others, as Claude Code sends it, is input like them.
func TestSystemMessageInMidConversation(t *testing.T) {
	c := mustLoad(t)
	body := func(role, more string) string {
		return `{"model":"anthropic/claude-opus-5","max_tokens":10,"messages":[{"role":"user","content":"hi"},{"role":"` + role + `","content":[{"type":"text","text":"` + strings.Repeat("be brief ", 1000) + `"}]` + more + `}]}`
	}
	plain := mustBound(t, c, pricing.Messages, body("user", ""), noon())
	for name, more := range map[string]string{
		"alone":           "",
		"with an effort":  `,"output_config":{"effort":"medium"}`,
		"until next turn": `,"clear_at":"next_user_message"`,
	} {
		got := mustBound(t, c, pricing.Messages, body("system", more), noon())
		if got.Amount < plain.Amount || got.Amount > plain.Amount+plain.Amount/50 {
			t.Errorf("%s: %s as system, %s as user", name, got.Amount, plain.Amount)
		}
	}
}
