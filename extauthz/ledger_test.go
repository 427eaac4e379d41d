package extauthz_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/ledger"
	"aigateway/pricing"
)

// newLedger is a real ledger with a monthly cap on the tag "a".
func newLedger(t testing.TB, limit budget.Amount, edits ...func(*ledger.Config)) *ledger.Ledger {
	t.Helper()
	// The real clock: the ledger measures by it how far to journal ahead.
	config := ledger.Config{Dir: t.TempDir(), JournalWait: time.Minute}
	for _, edit := range edits {
		edit(&config)
	}
	l, err := ledger.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("close the ledger: %v", err)
		}
	})
	b := budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: limit}
	if _, err := l.SetBudget(t.Context(), b, budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	return l
}

// However many calls arrive at once, those let through fit under the cap, and
// the first one refused is told what would.
func TestCapUnderConcurrency(t *testing.T) {
	const limit = 10 * budget.Cent
	l := newLedger(t, limit)
	s := newServer(t, keysWith(nil), l)
	body := `{"model":"moonshot/kimi-k2.6","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}`
	var mu sync.Mutex
	var yes int
	var no []*authv3.CheckResponse
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			out, err := s.Check(t.Context(), authorized(fmt.Sprintf("req-%d", i), body, "x-aig-tag", "a"))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if out.GetOkResponse() != nil {
				yes++
			} else {
				no = append(no, out)
			}
		})
	}
	wg.Wait()
	budgets, err := l.ListBudgets("", 10)
	if err != nil || len(budgets) != 1 {
		t.Fatal(budgets, err)
	}
	if st := budgets[0]; yes == 0 || len(no) == 0 || st.Reserved > limit || st.Reserved == 0 {
		t.Fatalf("%d admitted, %d refused, %s reserved of %s", yes, len(no), st.Reserved, limit)
	}
	e, err := refusal(no[0])
	if err != nil || e.Error.Code != 402 || e.Error.Type != "budget_exceeded" {
		t.Fatalf("%v: %v", err, no[0])
	}
	if !strings.HasPrefix(e.Error.Message, "Budget 'a' has $0.0") || e.Error.Metadata["cap"] != "0.10" || e.Error.Metadata["resets_at"] == nil {
		t.Errorf("refused with %q, %v", e.Error.Message, e.Error.Metadata)
	}
	fits, ok := e.Error.Metadata["max_tokens_that_fit"].(float64)
	if !ok {
		t.Fatalf("nothing is said to fit: %s", e.Error.Message)
	}
	again := strings.Replace(body, "1000", fmt.Sprint(int(fits)), 1)
	if out := check(t, s, authorized("req-fits", again, "x-aig-tag", "a")); out.GetOkResponse() == nil {
		t.Errorf("max_tokens %v was said to fit: %s", fits, out.GetDeniedResponse().GetBody())
	}
}

func TestRepeatedCheckHoldsOnce(t *testing.T) {
	l := newLedger(t, budget.Dollar)
	s := newServer(t, keysWith(nil), l)
	first := check(t, s, authorized("req-1", goodBody, "x-aig-tag", "a"))
	second := check(t, s, authorized("req-1", goodBody, "x-aig-tag", "a"))
	if first.GetDynamicMetadata().GetFields()["rsv"].GetStringValue() != second.GetDynamicMetadata().GetFields()["rsv"].GetStringValue() {
		t.Error("a repeated check got another token")
	}
	if open := l.OpenReservations(10); len(open) != 1 {
		t.Errorf("%d reservations, want 1", len(open))
	}
}

func TestUnpricedModelOnABudgetedTag(t *testing.T) {
	s := newServer(t, keysWith(nil), newLedger(t, budget.Dollar))
	body := `{"model":"moonshot/no-such-price","max_tokens":5,"messages":[]}`
	if e, err := refusal(check(t, s, authorized("r1", body, "x-aig-tag", "a"))); err != nil || e.reason() != "model_not_priced" {
		t.Errorf("with a budget: %+v, %v", e, err)
	}
	if out := check(t, s, authorized("r2", body, "x-aig-tag", "b")); out.GetOkResponse() == nil {
		t.Errorf("without one: %s", out.GetDeniedResponse().GetBody())
	}
}

// BenchmarkCheckLedger is a decision with its real reservation, on two of a
// thousand budgets.
func BenchmarkCheckLedger(b *testing.B) {
	l := newLedger(b, budget.MaxAmount)
	for i := range 1000 {
		target := budget.Target{Tags: budget.TagPattern(fmt.Sprintf("team/%d/**", i))}
		if i == 0 {
			target.Tags = "team/**"
		}
		if _, err := l.SetBudget(b.Context(), budget.Budget{Target: target, Period: budget.Month, Cap: budget.MaxAmount}, budget.Author{Actor: "test"}); err != nil {
			b.Fatal(err)
		}
	}
	s := newServer(b, keysWith(nil), l)
	msg := benchCall(b, 1<<10)
	id := []byte("8f1a2c3e-5a77-4a53-9d7e-0b1f4b7a9c11")
	at := strings.Index(string(msg), string(id))
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		copy(msg[at:], fmt.Appendf(id[:0], "%036d", n))
		out, err := s.CheckWire(b.Context(), msg, dst)
		if err != nil || len(out) < 300 {
			b.Fatal(string(out), err)
		}
	}
}

var _ extauthz.Reserver = (*ledger.Ledger)(nil)

// The default of a key and the defaults of its calls' budgets come before the
// model's and the provider's; the smallest of them is inserted and announced.
func TestDefaultOutputCap(t *testing.T) {
	l := newLedger(t, budget.Dollar)
	for target, tokens := range map[budget.Target]int64{{Tags: "budget"}: 300, {Tags: "budget/**"}: 400, {Tags: "none"}: 0} {
		b := budget.Budget{Target: target, Period: budget.Day, Cap: 100 * budget.Dollar, Defaults: budget.Defaults{DefaultMaxTokens: tokens}}
		if _, err := l.SetBudget(t.Context(), b, budget.Author{Actor: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	const uncapped = `{"model":"moonshot/kimi-k2.6","messages":[{"role":"user","content":"hi"}]}`
	const capped = `{"model":"moonshot/kimi-k2.6","max_completion_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	const otherCap = `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	const responses = `{"model":"openai/gpt-5.4-mini","input":"hi"}`
	for _, tc := range []struct {
		name, tag, body string
		api             pricing.Endpoint
		key             int64
		want            string
	}{
		{"the provider's", "none", uncapped, pricing.Chat, 0, "32768"},
		{"a key's", "none", uncapped, pricing.Chat, 200, "200"},
		{"the smallest of two budgets'", "budget", uncapped, pricing.Chat, 0, "300"},
		{"a budget's below the key's", "budget", uncapped, pricing.Chat, 350, "300"},
		{"a key's below the budget's", "budget", uncapped, pricing.Chat, 200, "200"},
		{"a subtree's", "budget/x", uncapped, pricing.Chat, 0, "400"},
		{"at most the model's output", "none", uncapped, pricing.Chat, budget.MaxDefaultTokens, "262"},
		{"never over the client's", "budget", capped, pricing.Chat, 3, ""},
		{"nor over its other field", "budget", otherCap, pricing.Chat, 3, ""},
		{"of a response", "budget", responses, pricing.Responses, 0, "300"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t, keysWith(func(k *budget.Key) { k.DefaultMaxTokens = tc.key }), l)
			in := authorized("req-"+strings.ReplaceAll(tc.name, " ", "-"), tc.body, "x-aig-tag", tc.tag)
			in.Attributes.ContextExtensions = map[string]string{"api": string(tc.api)}
			out := check(t, s, in)
			got := ""
			for _, h := range out.GetOkResponse().GetResponseHeadersToAdd() {
				if h.GetHeader().GetKey() == "x-aig-injected-max-tokens" {
					got = h.GetHeader().GetValue()
				}
			}
			edits := headerOf(out.GetOkResponse().GetHeaders(), "x-aig-int-edit")
			if out.GetOkResponse() == nil || !strings.HasPrefix(got, tc.want) || got != "" && !strings.Contains(edits, got) || tc.want == "" && got != "" {
				t.Errorf("announced %q with edits %q, want %q", got, edits, tc.want)
			}
		})
	}
}

// Tools that the provider runs get a limit on a budget, which is announced: the
// smallest that the key and the budgets have, else the usual one. Where nobody has
// one and no budget watches, the call goes as it came; the client's own stays.
func TestDefaultToolCalls(t *testing.T) {
	l := newLedger(t, 100*budget.Dollar)
	for target, calls := range map[budget.Target]int64{{Tags: "few"}: 2, {Tags: "few/**"}: 4} {
		b := budget.Budget{Target: target, Period: budget.Day, Cap: 1000 * budget.Dollar, Defaults: budget.Defaults{DefaultMaxToolCalls: calls}}
		if _, err := l.SetBudget(t.Context(), b, budget.Author{Actor: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	const responses = `{"model":"openai/gpt-5.4-mini","max_output_tokens":9,"input":"hi","tools":[{"type":"web_search"}]%s}`
	const messages = `{"model":"anthropic/claude-haiku-4.5","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"web_search_20250305","name":"web_search"%s}]}`
	for i, tt := range []struct {
		tag        string
		key        int64
		body, more string
		want       string
	}{
		{"a", 0, responses, "", "3"}, {"b", 0, responses, "", ""}, {"b", 5, responses, "", "5"},
		{"few", 0, responses, "", "2"}, {"few", 1, responses, "", "1"}, {"few", 9, responses, "", "2"}, {"few/x", 0, responses, "", "4"},
		{"few", 0, responses, `,"max_tool_calls":6`, ""},
		{"few", 0, messages, "", "2"}, {"few", 1, messages, "", "1"}, {"few", 0, messages, `,"max_uses":3`, ""},
	} {
		in := authorized(fmt.Sprintf("req-%d", i), fmt.Sprintf(tt.body, tt.more), "x-aig-tag", tt.tag)
		api, member := pricing.Responses, "max_tool_calls"
		if tt.body == messages {
			api, member = pricing.Messages, "max_uses"
		}
		in.Attributes.ContextExtensions = map[string]string{"api": string(api)}
		out := check(t, newServer(t, keysWith(func(k *budget.Key) { k.DefaultMaxToolCalls = tt.key }), l), in)
		edits := headerOf(out.GetOkResponse().GetHeaders(), "x-aig-int-edit")
		got := headerOf(out.GetOkResponse().GetResponseHeadersToAdd(), "x-aig-injected-max-tool-calls")
		if out.GetOkResponse() == nil || got != tt.want || strings.Contains(edits, `"`+member+`":`+tt.want) != (tt.want != "") {
			t.Errorf("%+v: announced %q with edits %q: %v", tt, got, edits, out.GetDeniedResponse())
		}
	}
}
