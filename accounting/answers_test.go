package accounting_test

import (
	"fmt"
	"testing"
	"time"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/pricing"
)

const remembering = "openai/gpt-5.5"

// settleAnswer bounds a call of the Responses API and settles it with a report.
func settleAnswer(t *testing.T, a *accounting.Answers, key, model, id string, items []string, input, output int64) {
	t.Helper()
	c, err := pricing.Load(nil, []pricing.Upstream{{Provider: "openai"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	call, err := pricing.ParseCall(pricing.Responses, []byte(`{"model":"`+model+`","max_output_tokens":10,"input":"hi"}`))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m, err := c.Resolve(model, at)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Bound(call, at)
	if err != nil {
		t.Fatal(err)
	}
	accounting.Observe(a, key, model, id, items, b.Pin, pricing.Outcome{Basis: budget.BasisUsage, Tokens: budget.Tokens{Input: input, Output: output}})
}

// What is named is bounded by the answers that made it, each once, and only for
// their own key and model.
func TestAnswersBoundWhatNamesThem(t *testing.T) {
	a := accounting.NewAnswers()
	settleAnswer(t, a, "key_1", remembering, "resp_1", []string{"rs_1", "msg_1", "ws_1"}, 1000, 200)
	settleAnswer(t, a, "key_1", remembering, "resp_1", []string{"rs_1", "msg_1", "ws_1"}, 1000, 200) // by the other channel
	settleAnswer(t, a, "key_1", remembering, "resp_2", []string{"rs_2"}, 50, 7)
	settleAnswer(t, a, "key_2", remembering, "resp_3", []string{"rs_3"}, 50, 9)
	settleAnswer(t, a, "key_1", remembering, "resp_4", []string{"item_0"}, 50, 9)
	settleAnswer(t, a, "key_1", remembering, "resp_5", []string{"item_0"}, 5, 1) // a provider that counts from 0
	type names []pricing.StoredName
	of := func(kind pricing.StoredKind, ids ...string) (out names) {
		for _, id := range ids {
			out = append(out, pricing.StoredName{ID: id, Kind: kind})
		}
		return out
	}
	carried := func(id string, bytes int64) names { return names{{ID: id, Kind: pricing.CarriedItem, Bytes: bytes}} }
	join := func(lists ...names) (out names) {
		for _, l := range lists {
			out = append(out, l...)
		}
		return out
	}
	for what, tt := range map[string]struct {
		key, model string
		names      names
		whole      bool
		want       int64
		ok         bool
	}{
		"a response":                   {"key_1", remembering, of(pricing.StoredResponse, "resp_1"), false, 1200, true},
		"all turns of it":              {"key_1", remembering, of(pricing.StoredResponse, "resp_1"), true, 1200, true},
		"its items, once":              {"key_1", remembering, of(pricing.StoredItem, "rs_1", "msg_1"), false, 200, true},
		"what its tools did":           {"key_1", remembering, of(pricing.StoredToolUse, "ws_1"), false, 1200, true},
		"items of two":                 {"key_1", remembering, of(pricing.StoredItem, "rs_1", "rs_2"), false, 207, true},
		"a response and its item":      {"key_1", remembering, join(of(pricing.StoredResponse, "resp_1"), of(pricing.StoredItem, "rs_1")), false, 1400, true},
		"an item twice":                {"key_1", remembering, of(pricing.StoredItem, "rs_1", "rs_1"), false, 0, false},
		"one that nobody settled":      {"key_1", remembering, of(pricing.StoredItem, "rs_1", "rs_9"), false, 0, false},
		"another key's":                {"key_1", remembering, of(pricing.StoredItem, "rs_3"), false, 0, false},
		"another model's":              {"key_1", "openai/gpt-4o", of(pricing.StoredItem, "rs_1"), false, 0, false},
		"an id that two answers have":  {"key_1", remembering, of(pricing.StoredItem, "item_0"), false, 0, false},
		"a whole item":                 {"key_1", remembering, carried("msg_1", 60), false, 140, true},
		"a long whole item":            {"key_1", remembering, carried("msg_1", 900), false, 0, true},
		"another key's whole item":     {"key_1", remembering, carried("rs_3", 2), false, 7, true},
		"a whole item nobody settled":  {"key_1", remembering, carried("msg_9", 2), false, 0, true},
		"a whole item and one by name": {"key_1", remembering, join(carried("msg_1", 60), of(pricing.StoredItem, "rs_1")), false, 200, true},
	} {
		got, ok := a.Tokens(tt.key, tt.model, tt.names, tt.whole)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %d, %t; want %d, %t", what, got, ok, tt.want, tt.ok)
		}
	}
	if _, ok := (*accounting.Answers)(nil).Tokens("key_1", remembering, of(pricing.StoredItem, "rs_1"), false); ok {
		t.Error("nothing remembers something")
	}
}

// The memory keeps the newest and does not grow.
func TestAnswersForget(t *testing.T) {
	a := accounting.NewAnswers()
	name := func(i int) []pricing.StoredName {
		return []pricing.StoredName{{ID: fmt.Sprint("rs_", i), Kind: pricing.StoredItem}}
	}
	for block := range 2000 {
		var items []string
		for i := range 64 {
			items = append(items, fmt.Sprint("rs_", block*64+i))
		}
		accounting.ObserveAny(a, fmt.Sprint("resp_", block), items)
	}
	if n := accounting.Remembered(a); n > 1<<16 {
		t.Errorf("%d names are kept", n)
	}
	if _, ok := a.Tokens("k", "m", name(0), false); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := a.Tokens("k", "m", name(2000*64-1), false); !ok {
		t.Error("the newest is not there")
	}
}
