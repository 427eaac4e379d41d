package pricing_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
	"aigateway/pricing"
)

// TestRecordOfAShrunkBound: a smaller output cap was inserted and held than the
// record was made with; its lines are those of what was held. That records tell
// what bounds tell is checked for every bound of these tests, in mustBound.
func TestRecordOfAShrunkBound(t *testing.T) {
	c := mustLoad(t)
	quote := func() pricing.Quote {
		q, err := c.Quote(context.Background(), pricing.Query{Endpoint: pricing.Chat, Body: []byte(`{"model":"moonshot/kimi-k2.6","messages":[{"role":"user","content":"hello"}]}`), At: noon()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q := quote()
	record, whole := q.Bound.Record(), q.Bound.Amount
	for _, room := range []budget.Amount{whole, whole - 1, whole / 2, whole / 10} {
		q := quote()
		held := q.Bound.Within(room, 1)
		q.Shrink(held)
		lines, err := pricing.RecordedLines(record, held)
		if diff := cmp.Diff(q.Bound.Lines(), lines); err != nil || diff != "" {
			t.Errorf("with %s held (-bound +record): %v\n%s", held, err, diff)
		}
	}
	if lines, err := pricing.RecordedLines(record, 1); lines != nil || err == nil {
		t.Errorf("less held than one token costs: %v, %v", lines, err)
	}
	// A cap that the client sent is what it was.
	b := mustBound(t, c, pricing.Chat, `{"model":"moonshot/kimi-k2.6","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`, noon())
	lines, err := pricing.RecordedLines(b.Record(), b.Amount/2)
	if diff := cmp.Diff(b.Lines(), lines); err != nil || diff != "" {
		t.Errorf("half of it held (-bound +record): %v\n%s", err, diff)
	}
	if lines, err := pricing.RecordedLines(nil, 5); lines != nil || err != nil {
		t.Errorf("no record has %v, %v", lines, err)
	}
}

// FuzzRecordedLines reads records that may be anything.
func FuzzRecordedLines(f *testing.F) {
	c := mustLoad(f)
	for _, body := range []string{
		`{"model":"moonshot/kimi-k2.6","messages":[{"role":"user","content":"hello"}]}`,
		`{"model":"openai/gpt-5.5","max_output_tokens":500,"input":"x","tools":[{"type":"web_search"}],"max_tool_calls":3}`,
	} {
		e := pricing.Chat
		if body[len(body)-2] == '3' {
			e = pricing.Responses
		}
		b := mustBound(f, c, e, body, noon())
		f.Add(b.Record(), int64(b.Amount))
		f.Add(b.Record()[:9], int64(1))
	}
	f.Fuzz(func(t *testing.T, record []byte, held int64) {
		lines, err := pricing.RecordedLines(record, budget.Amount(held))
		if err != nil && lines != nil {
			t.Errorf("lines and an error: %v, %v", lines, err)
		}
	})
}
