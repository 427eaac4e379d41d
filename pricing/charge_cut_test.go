package pricing_test

import (
	"fmt"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// shownUpstreams are one that shows all it generates, one that hides what its
// models think, one that does not stop, one of which nobody knows the rate, one as
// slow as can be, and one as fast.
func shownUpstreams() []pricing.Upstream {
	all := pricing.Upstream{CancelsOnDisconnect: true, StreamsAllOutput: true, MaxTokensPerSecond: 50}
	out := []pricing.Upstream{all, all, all, all, all, all}
	out[0].Provider, out[1].Provider, out[2].Provider, out[3].Provider = "shows", "openai", "goes", "slow"
	out[4].Provider, out[5].Provider, out[4].MaxTokensPerSecond, out[5].MaxTokensPerSecond = "crawls", "races", 1, 1_000_000
	out[1].StreamsAllOutput, out[2].CancelsOnDisconnect, out[3].MaxTokensPerSecond = false, false, 0
	return out
}

func shownCatalog(t testing.TB) *pricing.Catalog {
	t.Helper()
	row := "- {model: %s/m, family: bytes, limits: {context: 1000000, max_output: 100000}, prices: [{input: \"1\", output: \"10\"}]}\n"
	text := "- {model: shows/other, family: bytes, prices: [{input: \"1\", output: \"10\"}]}\n- {model: races/endless, family: bytes, limits: {context: 10000000, max_output: 5000000}, prices: [{input: \"1\", output: \"10\"}]}\n"
	for _, u := range shownUpstreams() {
		text += fmt.Sprintf(row, u.Provider)
	}
	var n yaml.Node
	if err := yaml.Load([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, shownUpstreams(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cutAfter is a stream that was cut after d, of which so many bytes were seen, the
// last of them a while before.
func cutAfter(d time.Duration, seen int64, since time.Duration) pricing.Evidence {
	end := noon().Add(d)
	return pricing.Evidence{Sent: true, Status: 200, Cut: true, Stream: true, Output: true, Start: noon(), End: end, Duration: d, Seen: seen, SeenAt: end.Add(-since)}
}

// What was delivered bounds what is charged for a stream whose client left, where
// the provider stops and nothing can be hidden.
func TestDeliveredBoundsTheCharge(t *testing.T) {
	c := shownCatalog(t)
	const stream = `"stream":true,"max_tokens":50000`
	one := cutAfter(10*time.Minute, 1000, time.Second)
	for _, tt := range []struct {
		name     string
		endpoint pricing.Endpoint
		body     string
		ev       pricing.Evidence
		output   int64 // tokens charged; -1: the bound; 0: by its duration
	}{
		{"a stream", pricing.Chat, chatBody("shows/m", stream), one, 1000 + 32 + 50*3},
		{"seen at its end", pricing.Chat, chatBody("shows/m", stream), cutAfter(time.Hour, 1000, 0), 1000 + 32 + 50*2},
		{"the clock is a little ahead", pricing.Chat, chatBody("shows/m", stream), cutAfter(time.Hour, 1000, -time.Second/2), 1000 + 32 + 50*2},
		{"the clock was set", pricing.Chat, chatBody("shows/m", stream), cutAfter(10*time.Minute, 1000, -time.Hour), 0},
		{"nothing for a minute", pricing.Chat, chatBody("shows/m", stream), cutAfter(10*time.Minute, 1000, time.Minute), 1000 + 32 + 50*62},
		{"time says less", pricing.Chat, chatBody("shows/m", stream), cutAfter(time.Second, 1000, 0), 0},
		{"two choices", pricing.Chat, chatBody("shows/m", stream+`,"n":2`), one, 1000 + 2*(32+50*3)},
		{"stop sequences", pricing.Chat, chatBody("shows/m", stream+`,"stop":["12345678"]`), one, 1000 + 32 + 13 + 50*3},
		{"tools", pricing.Chat, chatBody("shows/m", stream+`,"tools":[{"type":"function","function":{"name":"f"}}]`), one, 1000 + 32 + 50*3},
		{"thoughts, which are shown", pricing.Chat, chatBody("shows/m", stream+`,"reasoning_effort":"high"`), one, 1000 + 32 + 50*3},
		{"messages", pricing.Messages, `{"model":"shows/m","messages":[{"role":"user","content":"hi"}],` + stream + `}`, one, 1000 + 32 + 50*3},
		{"responses", pricing.Responses, `{"model":"shows/m","input":"hi","stream":true,"max_output_tokens":50000}`, one, 1000 + 32 + 50*3},
		{"completions of two prompts", pricing.Completions, `{"model":"shows/m","prompt":["hi","ho"],` + stream + `}`, one, 1000 + 2*(32+50*3)},
		{"a model that does not think unasked", pricing.Chat, chatBody("openai/gpt-4.1", `"stream":true,"max_tokens":30000`), one, 1000 + 32 + 50*3},

		{"nobody counted", pricing.Chat, chatBody("shows/m", stream), cutAfter(10*time.Minute, 0, 0), 0},
		{"one byte", pricing.Chat, chatBody("shows/m", stream), cutAfter(10*time.Minute, 1, time.Second), 1 + 32 + 50*3},
		{"the clock is as far ahead as it may be", pricing.Chat, chatBody("shows/m", stream), cutAfter(time.Hour, 1000, -time.Second), 1000 + 32 + 50*2},
		{"nobody could read it", pricing.Chat, chatBody("shows/m", stream), func() pricing.Evidence { e := one; e.Unread = true; return e }(), 0},
		{"no stream yet", pricing.Chat, chatBody("shows/m", stream), func() pricing.Evidence { e := one; e.Stream, e.Status = false, 0; return e }(), 0},
		{"no end told", pricing.Chat, chatBody("shows/m", stream), func() pricing.Evidence { e := one; e.End = time.Time{}; return e }(), 0},
		{"no time told", pricing.Chat, chatBody("shows/m", stream), func() pricing.Evidence { e := one; e.SeenAt = time.Time{}; return e }(), 0},
		{"two choices with tools", pricing.Chat, chatBody("shows/m", stream+`,"n":2,"tools":[{"type":"function","function":{"name":"f"}}]`), one, 0},
		{"tokens can be forced", pricing.Chat, chatBody("shows/m", stream+`,"logit_bias":{"128002":100}`), one, 0},
		{"the end can be ignored", pricing.Chat, chatBody("shows/m", stream+`,"ignore_eos":true`), one, 0},
		{"thoughts can be hidden", pricing.Chat, chatBody("shows/m", stream+`,"include_reasoning":false`), one, 0},
		{"a member nobody knows", pricing.Chat, chatBody("shows/m", stream+`,"draft":true`), one, 0},
		{"hidden candidates", pricing.Completions, `{"model":"shows/m","prompt":"hi",` + stream + `,"best_of":3}`, one, 0},
		{"a model that thinks", pricing.Chat, chatBody("openai/gpt-5", stream), one, 0},
		{"one that is asked to", pricing.Chat, chatBody("openai/gpt-4.1", `"stream":true,"max_tokens":32000,"reasoning_effort":"low"`), one, 0},

		{"a token a second", pricing.Chat, chatBody("crawls/m", stream), one, 0},
		{"longer than anybody counts", pricing.Chat, chatBody("races/endless", `"stream":true,"max_tokens":5000000`), cutAfter(1<<62, 1000, 0), 1000 + 32 + 2*1_000_000},

		{"another model answered", pricing.Chat, chatBody("shows/m", stream), func() pricing.Evidence { e := one; e.Model = `"other"`; return e }(), -1},
		{"more reports than are kept", pricing.Chat, chatBody("shows/m", stream), func() pricing.Evidence { e := one; e.Many = true; return e }(), -1},
		{"the provider goes on", pricing.Chat, chatBody("goes/m", stream), one, -1},
		{"nobody knows its rate", pricing.Chat, chatBody("slow/m", stream), one, -1},
		{"a hosted tool", pricing.Responses, `{"model":"openai/gpt-4.1","input":"hi","stream":true,"max_output_tokens":5000,"tools":[{"type":"web_search"}],"max_tool_calls":1}`, one, -1},
		{"it ended without a report", pricing.Chat, chatBody("shows/m", stream), func() pricing.Evidence { e := one; e.Cut = false; return e }(), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := mustBound(t, c, tt.endpoint, tt.body, noon())
			served := c.Served("shows/m", noon())
			got := pricing.Charge(b.Pin, b.Amount, tt.ev, served)
			tt.ev.Seen, tt.ev.SeenAt = 0, time.Time{}
			by := pricing.Charge(b.Pin, b.Amount, tt.ev, served) // without what was seen
			want := by.Cost
			if tt.output > 0 {
				want = costOf(b, tt.output)
				if want >= by.Cost || !b.CountOutput {
					t.Errorf("counted %v: %s, by time %s", b.CountOutput, want, by.Cost)
				}
			}
			if got.Cost != want || (tt.output < 0) != (want == b.Amount) {
				t.Errorf("charged %s, want %s, bound %s", got.Cost, want, b.Amount)
			}
		})
	}
}

// costOf is a call's whole input and so many tokens of output.
func costOf(b *pricing.Bound, output int64) budget.Amount {
	var in, out budget.Line
	for _, l := range b.Lines() {
		switch l.Label {
		case "input":
			in = l
		case "output":
			out = l
		}
	}
	return tokensAt(in.Quantity, in.PicoPerUnit, output, out.PicoPerUnit)
}

// generation is what an honest provider does until it notices that its client
// left, at a rate that it never exceeds, token by token.
type generation struct {
	tokens int64         // generated, and billed
	seen   int64         // bytes that came through, as the filter counts them
	seenAt time.Duration // when the last of them did
}

// generate draws a stream of one choice that is cut at end: pauses, tokens without
// bytes, stop sequences that are held back, bursts, a network.
func generate(t *rapid.T, rate int64, end time.Duration, held int64) generation {
	var g generation
	step := time.Second / time.Duration(rate)
	transit := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "transit"))
	notice := time.Duration(rapid.Int64Range(0, int64(2*time.Second-transit)).Draw(t, "notice"))
	stop := end + notice
	free := rapid.Int64Range(0, 32).Draw(t, "tokens without a byte")
	var back int64 // bytes held back
	for at := time.Duration(0); ; {
		at += step
		if rapid.IntRange(0, 20).Draw(t, "pause") == 0 {
			at += time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "for"))
		}
		if at > stop || g.tokens > 400 {
			return g
		}
		g.tokens++
		bytes := rapid.Int64Range(1, 8).Draw(t, "bytes")
		if free > 0 && rapid.Bool().Draw(t, "special") {
			free--
			continue
		}
		if back+bytes <= held && rapid.Bool().Draw(t, "held back") {
			back += bytes
			continue
		}
		if at+transit > end {
			continue // nobody saw it
		}
		g.seen += bytes + back
		back = 0
		g.seenAt = at + transit
	}
}

// However a provider generates that stops within the lag, and is no faster than
// its rate, it bills no more than is charged; and the charge is never above the
// bound.
func TestDeliveredCoversTheBill(t *testing.T) {
	c := shownCatalog(t)
	rapid.Check(t, func(t *rapid.T) {
		choices := rapid.Int64Range(1, 3).Draw(t, "choices")
		stop := rapid.SampledFrom([]string{"", `,"stop":"12345678901234567890"`}).Draw(t, "stop")
		body := chatBody("shows/m", fmt.Sprintf(`"stream":true,"max_tokens":%d,"n":%d`, rapid.SampledFrom([]int64{500, 50000}).Draw(t, "cap"), choices)+stop)
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
		end := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Minute)).Draw(t, "end"))
		var all generation
		for range choices {
			g := generate(t, rapid.Int64Range(1, 50).Draw(t, "rate"), end, int64(min(len(stop), 20)))
			all.tokens, all.seen = all.tokens+g.tokens, all.seen+g.seen
			// The last piece of any choice: the others' are no older than their own
			// pauses, in which nothing is generated.
			all.seenAt = max(all.seenAt, g.seenAt)
		}
		ev := cutAfter(end, all.seen, end-all.seenAt)
		if all.seenAt == 0 {
			ev.SeenAt = time.Time{}
		}
		got := pricing.Charge(b.Pin, b.Amount, ev, nil)
		if bill := costOf(b, all.tokens); got.Cost < min(bill, b.Amount) || got.Cost > b.Amount {
			t.Fatalf("charged %s, billed %s for %d tokens, bound %s, evidence %+v", got.Cost, bill, all.tokens, b.Amount, ev)
		}
	})
}
