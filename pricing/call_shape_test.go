package pricing_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// wide is a chat body of about 8 MiB whose member x is what fill repeats.
func wide(open, first, each, shut string) string {
	head := `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[],"x":` + open + first
	return head + strings.Repeat(each, (8<<20-len(head)-20)/max(1, len(each))) + shut + "}"
}

// TestTooManyValues: what costs memory and time for nothing is refused before it
// does, by its number of members and elements, wherever they are.
func TestTooManyValues(t *testing.T) {
	names := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"":0`)
		for i := 1; i < n; i++ {
			fmt.Fprintf(&b, `,"%d":0`, i)
		}
		return b.String() + "}"
	}
	in := func(where string) string {
		return strings.Replace(`{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[`+where+`]}`, "@", names(760_000), 1)
	}
	for name, body := range map[string]string{
		"one object":               in(`{"role":"user","content":"hi","x":@}`),
		"an object of one string":  in(`{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"ttl":@}}]}`),
		"where text belongs":       in(`{"role":"user","content":@}`),
		"where a number belongs":   strings.Replace(in(""), `"max_tokens":5`, `"max_tokens":`+names(760_000), 1),
		"top level":                strings.TrimSuffix(names(760_000), "}") + `,"model":"moonshot/kimi-k2.6","messages":[]}`,
		"small objects":            wide("[", `{"a":0}`, `,{"a":0}`, "]"),
		"deep objects":             wide("[", "0", ","+strings.Repeat(`{"a":`, 500)+"0"+strings.Repeat("}", 500), "]"),
		"zeros":                    wide("[", "0", ",0", "]"),
		"empty objects":            wide("[", "0", ",{}", "]"),
		"empty arrays":             wide("[", "0", ",[]", "]"),
		"unclosed":                 wide("[", "0", ",[", ""),
		"messages":                 strings.Replace(in(""), `"messages":[]`, `"messages":[{}`+strings.Repeat(",{}", 2_700_000)+"]", 1),
		"tools":                    strings.Replace(in(""), `"messages":[]`, `"messages":[],"tools":[{}`+strings.Repeat(",{}", 2_700_000)+"]", 1),
		"after a string of quotes": strings.Replace(in("@"), `"messages"`, `"y":"`+strings.Repeat(`\"`, 1000)+`\\","messages"`, 1),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := pricing.ParseCall(pricing.Chat, []byte(body))
		runtime.ReadMemStats(&after)
		var e *budget.Error
		if !errors.As(err, &e) || e.Kind != budget.KindTooLarge || e.Reason != "body_too_many_values" || !strings.Contains(e.Message, "limit") {
			t.Errorf("%s (%d bytes): %v", name, len(body), err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc - uint64(len(body)); int64(grown) > 1<<20 {
			t.Errorf("%s: %d MiB were allocated", name, grown>>20)
		}
	}
}

// TestManyValuesPass: what agents send, ten times over, and text that looks like
// more.
func TestManyValuesPass(t *testing.T) {
	session := strings.Repeat(`{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1,\"b\":[1,2,3]}"}}]},{"role":"tool","tool_call_id":"c","content":"ok"},`, 20_000)
	var schema strings.Builder
	for i := range 49_000 {
		fmt.Fprintf(&schema, `,"p%d":{"type":"string"}`, i)
	}
	for name, body := range map[string]string{
		"a long session":   `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[` + session + `{"role":"user","content":"hi"}]}`,
		"a large schema":   `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"p":{}` + schema.String() + `}}}}]}`,
		"colons in text":   `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[{"role":"user","content":"` + strings.Repeat(":,[{", 2_000_000) + `"}]}`,
		"escaped quotes":   `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[{"role":"user","content":"` + strings.Repeat(`\":,\\`, 1_300_000) + `"}]}`,
		"a number of bits": `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[],"user":"` + strings.Repeat("x", 8_000_000) + `"}`,
	} {
		if _, err := pricing.ParseCall(pricing.Chat, []byte(body)); err != nil {
			t.Errorf("%s (%d bytes): %.300v", name, len(body), err)
		}
	}
	tokens := `{"model":"openai/text-embedding-3-small","input":[[1` + strings.Repeat(",1234", 1_500_000) + `]]}`
	if _, err := pricing.ParseCall(pricing.Embeddings, []byte(tokens)); err != nil {
		t.Errorf("token ids: %.300v", err)
	}
}

// countdown is a context that ends after it was looked at n times.
type countdown struct {
	context.Context
	n int
}

func (c *countdown) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

func (*countdown) Done() <-chan struct{} { return nil }

// TestNobodyWaitsForTheParser: it stops in the middle, whatever it reads.
func TestNobodyWaitsForTheParser(t *testing.T) {
	for e, body := range map[pricing.Endpoint]string{
		pricing.Chat:       `{"model":"m/m","messages":[{"role":"user","content":[` + strings.Repeat(`{"type":"text","text":"a"},`, 40_000) + `{"type":"text","text":"a"}]}]}`,
		pricing.Embeddings: `{"model":"m/m","input":[1` + strings.Repeat(",1", 100_000) + `]}`,
		pricing.Responses:  `{"model":"m/m","input":[` + strings.Repeat(`{"role":"user","content":"a"},`, 40_000) + `{"role":"user","content":"a"}]}`,
		pricing.Messages:   `{"model":"m/m","max_tokens":1,"messages":[` + strings.Repeat(`{"role":"user","content":"a"},`, 40_000) + `{"role":"user","content":"a"}]}`,
		pricing.Rerank:     `{"model":"m/m","query":"a","documents":[` + strings.Repeat(`"a",`, 40_000) + `"a"]}`,
	} {
		ctx := &countdown{t.Context(), 3}
		_, err := pricing.ParseCallContext(ctx, e, []byte(body))
		if !errors.Is(err, context.Canceled) || ctx.n < -5 {
			t.Errorf("%s: %v after %d looks more", e, err, -ctx.n)
		}
		if _, err := pricing.ParseCall(e, []byte(body)); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// However deep its parts are, and however many have something to say, a body costs
// no more than linear time: of a path that nobody may see, or of tools within tools.
func TestDeepBodiesCostLinearTime(t *testing.T) {
	const deep, many, enough = 4_000, 40_000, 20 * time.Second
	deepest := func(block string) string {
		return `,"messages":[{"role":"user","content":[` + strings.Repeat(`{"type":"tool_result","tool_use_id":"t","content":[`, deep) +
			block + strings.Repeat(","+block, many) + strings.Repeat("]}", deep) + "]}]"
	}
	tools := func(inner string) string {
		return `,"tools":[` + strings.Repeat(`{"name":"t","tools":[`, deep) + inner + strings.Repeat("]}", deep) +
			`],"messages":[{"role":"user","content":[{"type":"tool_reference","tool_name":"t"}]}]`
	}
	for name, members := range map[string]string{
		"images":          deepest(`{"type":"image","source":{"type":"url","url":"https://a.example/b.png"}}`),
		"no images":       deepest(`{"type":"image"}`),
		"documents":       deepest(`{"type":"document","source":{"type":"text","data":"a"}}`),
		"files":           deepest(`{"type":"document","source":{"type":"file","file_id":"f"}}`),
		"unknown blocks":  deepest(`{"type":"hologram"}`),
		"tools in tools":  tools(`{"name":"u","description":"` + strings.Repeat("a", 7<<20) + `"}`),
		"tools and tools": tools(`{"name":"u"}` + strings.Repeat(`,{"name":"u"}`, many)),
	} {
		ctx, stop := context.WithTimeout(t.Context(), enough)
		start := time.Now()
		_, err := pricing.ParseCallContext(ctx, pricing.Messages, []byte(`{"model":"anthropic/claude-sonnet-4.6","max_tokens":5`+members+"}"))
		stop()
		if took := time.Since(start); err != nil || took > enough {
			t.Errorf("%s: %v after %s", name, err, took)
		}
	}
}
