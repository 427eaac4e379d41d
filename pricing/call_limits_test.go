package pricing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// limited is the catalog of providers that limit searches without a limit to n.
func limited(t testing.TB, n int64) *pricing.Catalog {
	t.Helper()
	list := upstreams()
	for i := range list {
		list[i].DefaultMaxToolCalls = n
	}
	c, err := pricing.Load(nil, list, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return pricing.Round(c)
}

// Where a provider has a default for it, tools that it runs without a limit get
// one in the body, and cost what a body that says the same would.
func TestDefaultLimitOfHostedTools(t *testing.T) {
	const gpt, claude = storing, "anthropic/claude-sonnet-4.6"
	c, without := limited(t, 2), mustLoad(t)
	responses := func(more string) string {
		return `{"model":"` + gpt + `","max_output_tokens":10,"input":"hi",` + more + `"tools":[{"type":"web_search"}]}`
	}
	messages := func(tools string) string {
		return `{"model":"` + claude + `","max_tokens":10,"messages":[{"role":"user","content":"hi"}],"tools":[` + tools + `]}`
	}
	for _, tt := range []struct {
		name     string
		e        pricing.Endpoint
		body     string
		sent     string // empty: refused
		injected int64
	}{
		{"a response", pricing.Responses, responses(""), strings.Replace(responses(""), "{", `{"max_tool_calls":2,`, 1), 2},
		{"null", pricing.Responses, responses(`"max_tool_calls": null,`), responses(`"max_tool_calls": 2,`), 2},
		{"a limit of its own", pricing.Responses, responses(`"max_tool_calls":7,`), responses(`"max_tool_calls":7,`), 0},
		{"none at all", pricing.Responses, responses(`"max_tool_calls":0,`), responses(`"max_tool_calls":0,`), 0},
		{"tools of the client", pricing.Responses, strings.Replace(responses(""), "web_search", "local_shell", 1), strings.Replace(responses(""), "web_search", "local_shell", 1), 0},
		{"in an item", pricing.Responses, itemsBody(`{"type":"additional_tools","tools":[{"type":"web_search"}]}`), strings.Replace(itemsBody(`{"type":"additional_tools","tools":[{"type":"web_search"}]}`), "{", `{"max_tool_calls":2,`, 1), 2},
		{"without a fee", pricing.Responses, strings.Replace(responses(""), "web_search", "mcp", 1), "", 0},
		{"messages", pricing.Messages, messages(`{"type":"web_search_20250305","name":"web_search"}`), messages(`{"max_uses":2,"type":"web_search_20250305","name":"web_search"}`), 2},
		{"messages, null", pricing.Messages, messages(`{"type":"web_search_20250305","max_uses" : null}`), messages(`{"type":"web_search_20250305","max_uses" : 2}`), 2},
		{"messages, one of two", pricing.Messages, messages(`{"type":"web_search_20250305","max_uses":5},{ "type":"web_fetch_20250910"}`), messages(`{"type":"web_search_20250305","max_uses":5},{"max_uses":2, "type":"web_fetch_20250910"}`), 2},
		{"messages, both limited", pricing.Messages, messages(`{"type":"web_search_20250305","max_uses":5}`), messages(`{"type":"web_search_20250305","max_uses":5}`), 0},
		{"messages, a tool that takes no limit", pricing.Messages, messages(`{"type":"code_execution_20250825","name":"c"}`), "", 0},
		{"chat, whose tools have none", pricing.Chat, chatBody(gpt, `"max_tokens":10,"tools":[{"type":"web_search"}]`), "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tryBound(c, tt.e, tt.body, noon())
			if tt.sent == "" {
				if err == nil || refusal(t, err).Reason != "unbounded_tool" {
					t.Fatalf("not refused: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			slug, upstream := gpt, "gpt-5.5"
			if tt.e == pricing.Messages {
				slug, upstream = claude, "claude-sonnet-4-6"
			}
			if got, want := apply(t, tt.body, b.Edits), strings.Replace(tt.sent, slug, upstream, 1); got != want || b.InjectedToolCalls != tt.injected {
				t.Errorf("sends %s, injected %d; want %s, %d", got, b.InjectedToolCalls, want, tt.injected)
			}
			said := mustBound(t, without, tt.e, tt.sent, noon())
			if less := said.Amount - b.Amount; less < -budget.Cent || less > budget.Cent { // the bytes of the limit
				t.Errorf("bound is %s, of a body that has the limit %s", b.Amount, said.Amount)
			}
		})
	}
	if _, err := tryBound(without, pricing.Responses, responses(""), noon()); err == nil || !strings.Contains(err.Error(), "default_max_tool_calls") {
		t.Errorf("without a default: %v", err)
	}
}

// Nobody else's default is the usual one of calls that a budget watches.
func TestDefaultLimitOfWatchedCalls(t *testing.T) {
	without := mustLoad(t)
	responses := func(more string) string {
		return `{"model":"` + storing + `","max_output_tokens":10,"input":"hi",` + more + `"tools":[{"type":"web_search"}]}`
	}
	for _, watched := range []bool{true, false} {
		q, err := without.Quote(t.Context(), pricing.Query{Endpoint: pricing.Responses, Body: []byte(responses("")), At: noon()}, watcher(watched))
		if err != nil || watched && (q.Unbounded != nil || q.Bound.InjectedToolCalls != 3) || !watched && (q.Unbounded == nil || q.Bound.InjectedToolCalls != 0) {
			t.Errorf("watched %t: %+v, %v", watched, q, err)
		}
	}
	// The provider's default counts for those, too, whatever it is.
	for _, n := range []int64{1, 5} {
		q, err := limited(t, n).Quote(t.Context(), pricing.Query{Endpoint: pricing.Responses, Body: []byte(responses("")), At: noon()}, watcher(true))
		if err != nil || q.Bound.InjectedToolCalls != n {
			t.Errorf("a default of %d: %d, %v", n, q.Bound.InjectedToolCalls, err)
		}
	}
	// Whether a budget watches is asked only where it matters.
	for _, body := range []string{responses(`"max_tool_calls":7,`), chatBody(storing, `"max_tokens":10`)} {
		e := pricing.Responses
		if strings.Contains(body, "messages") {
			e = pricing.Chat
		}
		asked := askedWatcher{asked: new(int)}
		if _, err := without.Quote(t.Context(), pricing.Query{Endpoint: e, Body: []byte(body), At: noon()}, asked); err != nil || *asked.asked > 0 {
			t.Errorf("%s: asked %d times, %v", body, *asked.asked, err)
		}
	}
}

// watcher is a caller whose calls a budget watches, or not.
type watcher bool

func (watcher) MayCall(string) error                                               { return nil }
func (watcher) DefaultToolCalls() int64                                            { return 0 }
func (watcher) DefaultCap() int64                                                  { return 0 }
func (w watcher) Watched() bool                                                    { return bool(w) }
func (watcher) MayName(string, []string) error                                     { return nil }
func (watcher) Settled(string, []pricing.StoredName, bool) (tokens int64, ok bool) { return 0, false }

// askedWatcher counts how often it is asked about tools without a limit.
type askedWatcher struct {
	watcher
	asked *int
}

func (w askedWatcher) Watched() bool           { *w.asked++; return true }
func (w askedWatcher) DefaultToolCalls() int64 { *w.asked++; return 0 }

// Of a provider of which nobody says that the cap is for all rounds of a response,
// each round may take all of it. Its code tools are billed by their containers.
func TestHostedToolsOfOthers(t *testing.T) {
	c := mustOverlay(t, `[{model: strict/own, limits: {context: 1000}, prices: [{input: "0", output: "1", fees: {web_search: "0.01", code_container: "0.03"}}]}]`)
	for tool, fee := range map[string]budget.Amount{"web_search": budget.Cent, "code_interpreter": 3 * budget.Cent, "code_execution_20250825": 3 * budget.Cent} {
		b := mustBound(t, c, pricing.Responses, `{"model":"strict/own","max_output_tokens":10,"max_tool_calls":2,"input":"hi","tools":[{"type":"`+tool+`"}]}`, noon())
		if want := 3*tokensAt(0, 0, 10, 1_000_000) + 2*fee; b.Amount != want {
			t.Errorf("%s: bound is %s, want %s\n%+v", tool, b.Amount, want, b.Lines())
		}
	}
}

// The cap that a refusal names still fits once it is sent, with rounds that grow
// by what the model wrote.
func TestLargestCapWithSearches(t *testing.T) {
	c := limited(t, 2)
	for _, cap := range []string{`"max_output_tokens":20000,`, ""} {
		body := func(cap string) string {
			return `{"model":"` + storing + `",` + cap + `"input":"` + strings.Repeat("x", 3000) + `","tools":[{"type":"web_search"}]}`
		}
		b := mustBound(t, c, pricing.Responses, body(cap), noon())
		for room := b.Amount / 2; room < 3*b.Amount; room += b.Amount / 7 {
			most, ok := b.LargestCap(room)
			if !ok {
				continue
			}
			sent := mustBound(t, c, pricing.Responses, body(fmt.Sprintf(`"max_output_tokens":%d,`, most)), noon())
			if sent.Amount > room {
				t.Errorf("%s: %d tokens are said to fit in %s, and cost %s", cap, most, room, sent.Amount)
			}
		}
	}
}
