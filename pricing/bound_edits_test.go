package pricing_test

import (
	"encoding/json"
	"strings"
	"testing"

	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// apply splices edits as Envoy's filter does, and checks their order.
func apply(t rapid.TB, body string, edits []pricing.Edit) string {
	t.Helper()
	var b strings.Builder
	pos := 0
	for _, e := range edits {
		if e.At < pos || e.Del < 0 || e.At+e.Del > len(body) {
			t.Fatalf("edit %+v overlaps or lies outside; all: %+v", e, edits)
		}
		b.WriteString(body[pos:e.At])
		b.WriteString(e.Ins)
		pos = e.At + e.Del
	}
	return b.String() + body[pos:]
}

func TestEditsGolden(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	for _, tt := range []struct {
		name, body, want string
		strip            bool
		injected         int64
	}{
		{"the catalog's upstream name",
			`{ "max_tokens":5, "model" : "anthropic/claude-sonnet-4.6" }`,
			`{ "max_tokens":5, "model" : "claude-sonnet-4-6" }`, false, 0},
		{"split at the first slash",
			`{"model":"groq/openai/gpt-oss-120b","max_tokens":5}`,
			`{"model":"openai/gpt-oss-120b","max_tokens":5}`, false, 0},
		{"escaped name", `{"\u006dodel":"moonshot\/kimi-k2.6","max_tokens":5}`, `{"\u006dodel":"kimi-k2.6","max_tokens":5}`, false, 0},
		{"no stream_options",
			` {"stream":true,"model":"moonshot/kimi-k2.6","max_tokens":5}`,
			` {"stream_options":{"include_usage":true},"stream":true,"model":"kimi-k2.6","max_tokens":5}`, true, 0},
		{"null stream_options",
			`{"stream":true,"stream_options": null ,"model":"moonshot/kimi-k2.6","max_tokens":5}`,
			`{"stream":true,"stream_options": {"include_usage":true} ,"model":"kimi-k2.6","max_tokens":5}`, true, 0},
		{"empty stream_options",
			`{"stream":true,"stream_options": { } ,"model":"moonshot/kimi-k2.6","max_tokens":5}`,
			`{"stream":true,"stream_options": {"include_usage":true } ,"model":"kimi-k2.6","max_tokens":5}`, true, 0},
		{"other stream_options",
			`{"stream":true,"model":"moonshot/kimi-k2.6","max_tokens":5,"stream_options":{ "x":{"include_usage":true}}}`,
			`{"stream":true,"model":"kimi-k2.6","max_tokens":5,"stream_options":{"include_usage":true, "x":{"include_usage":true}}}`, true, 0},
		{"include_usage false",
			`{"stream":true,"stream_options":{"x":1,"include_usage" : false},"model":"moonshot/kimi-k2.6","max_tokens":5}`,
			`{"stream":true,"stream_options":{"x":1,"include_usage" : true},"model":"kimi-k2.6","max_tokens":5}`, true, 0},
		{"include_usage null",
			`{"stream":true,"stream_options":{"include_usage":null},"model":"moonshot/kimi-k2.6","max_tokens":5}`,
			`{"stream":true,"stream_options":{"include_usage":true},"model":"kimi-k2.6","max_tokens":5}`, true, 0},
		{"include_usage true",
			`{"stream":true,"stream_options":{"include_usage":true},"model":"moonshot/kimi-k2.6","max_tokens":5}`,
			`{"stream":true,"stream_options":{"include_usage":true},"model":"kimi-k2.6","max_tokens":5}`, false, 0},
		{"no stream: no option", `{"model":"moonshot/kimi-k2.6","max_tokens":5,"stream":false}`, `{"model":"kimi-k2.6","max_tokens":5,"stream":false}`, false, 0},
		{"native usage: no option", `{"model":"mistral/mistral-small-2603","max_tokens":5,"stream":true}`, `{"model":"mistral-small-2603","max_tokens":5,"stream":true}`, false, 0},
		{"cap inserted",
			`{"model":"moonshot/kimi-k2.6"}`,
			`{"max_completion_tokens":32768,"model":"kimi-k2.6"}`, false, 32768},
		{"cap and option inserted",
			`{"model":"moonshot/kimi-k2.6","stream":true}`,
			`{"stream_options":{"include_usage":true},"max_completion_tokens":32768,"model":"kimi-k2.6","stream":true}`, true, 32768},
		{"null cap replaced, not doubled",
			`{"max_completion_tokens": null,"model":"moonshot/kimi-k2.6","max_tokens":null}`,
			`{"max_completion_tokens": 32768,"model":"kimi-k2.6","max_tokens":null}`, false, 32768},
		{"beside a cap that is not obeyed",
			`{"model":"mistral/mistral-small-2603","max_completion_tokens":5}`,
			`{"max_tokens":32768,"model":"mistral-small-2603","max_completion_tokens":5}`, false, 32768},
		{"never inserted", `{"model":"capless/m"}`, `{"model":"m"}`, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := mustBound(t, c, pricing.Chat, tt.body, noon())
			if got := apply(t, tt.body, b.Edits); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if b.StripUsage != tt.strip || b.InjectedCap != tt.injected {
				t.Errorf("strip %t, injected %d; want %t, %d", b.StripUsage, b.InjectedCap, tt.strip, tt.injected)
			}
		})
	}
}

func TestInjectedCapLeavesRoomForTheInput(t *testing.T) {
	c := mustOverlay(t, "- model: moonshot/small\n  limits: {context: 10000}\n  prices: [{input: \"1\", output: \"1\"}]\n")
	body := pad(t, `{"model":"moonshot/small","user":"%s"}`, 9000)
	if b := mustBound(t, c, pricing.Chat, body, noon()); b.InjectedCap != 10_000-3000 {
		t.Errorf("injected %d, want 7000", b.InjectedCap)
	}
	body = pad(t, `{"model":"moonshot/small","user":"%s"}`, 90_000)
	if b := mustBound(t, c, pricing.Chat, body, noon()); b.InjectedCap != 1 {
		t.Errorf("injected %d, want at least and only 1", b.InjectedCap)
	}
}

func TestEditsOfEmbeddings(t *testing.T) {
	body := `{"input":"x","model":"voyage/voyage-4"}`
	b := mustBound(t, mustLoad(t), pricing.Embeddings, body, noon())
	if got, want := apply(t, body, b.Edits), `{"input":"x","model":"voyage-4"}`; got != want || b.StripUsage {
		t.Errorf("got %s, strip %t; want %s", got, b.StripUsage, want)
	}
}

func TestUnboundedEdits(t *testing.T) {
	c := mustLoad(t)
	body := `{"model":"moonshot/new/one","stream":true,"web_search_options":{}}`
	call, err := pricing.ParseCall(pricing.Chat, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Resolve(call.Model, noon())
	if err != nil {
		t.Fatal(err)
	}
	b := m.Unbounded(call, noon())
	want := `{"stream_options":{"include_usage":true},"model":"new/one","stream":true,"web_search_options":{}}`
	if got := apply(t, body, b.Edits); got != want || !b.StripUsage || b.Amount != 0 || b.InjectedCap != 0 {
		t.Errorf("got %s and %+v, want %s", got, b, want)
	}
	if b.Lines() != nil {
		t.Error("an unpriced call has no arithmetic")
	}
	if _, ok := b.LargestCap(1); ok {
		t.Error("an unpriced call has no largest cap")
	}
}

// members are what pricing does not care about.
func members() []string {
	return []string{
		`"temperature":0.70`, `"user":"a\u0000b"`, `"stop":["\n\n"]`, `"metadata":{"a":{"b":[1,2,{"c":null}]}}`,
		`"messages":[{"role":"user","content":"hi \"there\" \\"}]`, `"seed":1234567890123456789`, `"logit_bias":{"50256":-100}`,
	}
}

// Whatever the order and spacing, the edited body is valid JSON that differs
// only in what was meant to change.
func TestEditsKeepEverythingElse(t *testing.T) {
	c := mustLoad(t)
	options := []string{"", `"stream_options":null`, `"stream_options":{}`, `"stream_options":{"include_usage":false}`, `"stream_options":{"z":1}`, `"stream_options":{"include_usage":true,"z":1}`}
	caps := []string{"", `"max_tokens":7`, `"max_completion_tokens":7`, `"max_completion_tokens":null`, `"max_tokens":null`}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfNDistinct(rapid.SampledFrom(members()), 0, 5, rapid.ID).Draw(t, "members")
		model := rapid.SampledFrom([]string{kimi, "openai/gpt-6-sol", "mistral/mistral-small-2603", "anthropic/claude-sonnet-4.6"}).Draw(t, "model")
		stream := rapid.Bool().Draw(t, "stream")
		if stream {
			parts = append(parts, `"stream":true`)
		}
		for _, choice := range [][]string{options, caps} {
			if s := rapid.SampledFrom(choice).Draw(t, "member"); s != "" {
				parts = append(parts, s)
			}
		}
		parts = rapid.Permutation(append(parts, `"model":"`+model+`"`)).Draw(t, "order")
		space := rapid.SampledFrom([]string{"", " ", "\n\t", "\r\n"}).Draw(t, "space")
		body := space + "{" + space + strings.Join(parts, space+","+space) + space + "}" + space

		call, err := pricing.ParseCall(pricing.Chat, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Resolve(call.Model, noon())
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Bound(call, noon())
		if err != nil {
			t.Fatal(err)
		}
		edited := apply(t, body, b.Edits)
		if _, err = pricing.ParseCall(pricing.Chat, []byte(edited)); err != nil {
			t.Fatalf("edited body %s: %v", edited, err)
		}
		want, after := decode(t, body), decode(t, edited)
		expect(t, want, stream, m, b)
		if diff := cmp.Diff(want, after); diff != "" {
			t.Fatalf("%s\n%s\n(-want +got):\n%s", body, edited, diff)
		}
	})
}

// expect makes of a body what the edits should.
func expect(t *rapid.T, body map[string]any, stream bool, m pricing.Model, b *pricing.Bound) {
	body["model"] = m.UpstreamModel
	if b.InjectedCap > 0 {
		field := "max_tokens"
		if m.Upstream.CapField != "" {
			field = m.Upstream.CapField
		}
		body[field] = json.Number("32768")
	}
	if stream && m.Upstream.StreamUsage == "" {
		o, _ := body["stream_options"].(map[string]any)
		if o == nil {
			o = map[string]any{}
		}
		if b.StripUsage != (o["include_usage"] != true) {
			t.Fatalf("strip is %t with options %v", b.StripUsage, o)
		}
		o["include_usage"] = true
		body["stream_options"] = o
	}
}

func decode(t rapid.TB, s string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("decode %s: %v", s, err)
	}
	return m
}
