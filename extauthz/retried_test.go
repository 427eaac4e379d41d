package extauthz_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aigateway/budget"
)

// retriedByOpencode are the texts for which opencode 1.18.33 repeats a call five
// times, whatever its status, if they are in the error's message or in its body:
// RETRYABLE_MESSAGE_PATTERNS of its session/retry.ts, as its program has them.
var retriedByOpencode = regexp.MustCompile(`(?i)429|500|502|503|504|524` +
	`|rate increased too quickly|rate limit|rate-limit|rate_limit|too many requests` +
	`|overloaded|service.unavailable|internal.error|internal server error|server.error|provider.returned.error` +
	`|terminated|fetch failed|failed to fetch|network[-_\s]error|upstream connect|connection (error|refused|lost)|socket connection was closed|socket hang up|reset before headers|getaddrinfo|enotfound|eai_again|econnrefused|econnreset|etimedout` +
	`|\b(?:request|response|connection|network|stream|read) (?:timeout|timed out|time out)\b` +
	`|try your request again|retry your request|resource.exhausted|\btry again (?:later|in\b)|\b(?:currently|temporarily) at capacity\b`)

// TestRefusalsEndOpencode: no refusal says what it takes for a reason to go on,
// whatever amounts, tags and ids there are.
func TestRefusalsEndOpencode(t *testing.T) {
	const call = `{"model":"moonshot/kimi-k2.6","max_tokens":%d,"messages":[{"role":"user","content":"hi"}]}`
	rapid.Check(t, func(rt *rapid.T) {
		// Amounts as people choose them, and as calls leave them.
		amount := func(name string) budget.Amount {
			unit := rapid.SampledFrom([]budget.Amount{1, 1_000, budget.Cent, budget.Dollar, 100 * budget.Dollar}).Draw(rt, name+" in")
			return unit * budget.Amount(rapid.Int64Range(0, 60_000).Draw(rt, name))
		}
		reserved := amount("reserved")
		spent := amount("spent")
		limit := reserved + spent + amount("room")
		reason := rapid.SampledFrom([]string{"cap_held", "cap_would_be_crossed", "cap_reached", "cap_held_since_restore"}).Draw(rt, "reason")
		tag := rapid.SampledFrom([]string{"summarize", "team-500", "5024290"}).Draw(rt, "tag")
		l := &fakeLedger{reserve: func(_ context.Context, r budget.Request) (budget.Reservation, error) {
			return budget.Reservation{}, &budget.Error{Kind: budget.KindBudgetExceeded, Reason: reason, Message: "no", Refusal: &budget.Refusal{
				Budget: budget.Budget{ID: "bud_500", Target: budget.Target{Tags: budget.TagPattern(tag)}, Period: budget.Month, Cap: limit},
				Spent:  spent, Reserved: reserved, Restored: reserved, Bound: r.Bound, ResetsAt: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
			}}
		}}
		in := authorized(fmt.Sprintf("%08x-1500-4290-8504-524502503429", rapid.Uint32().Draw(rt, "id")), fmt.Sprintf(call, rapid.IntRange(1, 60_000).Draw(rt, "cap")))
		out := check(t, newServer(t, keysWith(nil), l), in)
		body := out.GetDeniedResponse().GetBody()
		e, err := refusal(out)
		if err != nil || e.Error.Code != 402 {
			rt.Fatalf("%v %s", err, body)
		}
		for _, text := range []string{e.Error.Message, body} {
			if found := retriedByOpencode.FindString(text); found != "" {
				rt.Fatalf("%q in %s", found, text)
			}
		}
		if e.Error.Metadata["cap"] != limit.String() || e.Error.Metadata["tag"] != tag {
			rt.Fatalf("metadata %v, want a cap of %s for %s", e.Error.Metadata, limit, tag)
		}
		if fits, ok := e.Error.Metadata["max_tokens_that_fit"].(float64); ok && !strings.Contains(e.Error.Message, fmt.Sprintf(" %.0f fits", fits)) {
			rt.Fatalf("%s, want %.0f", e.Error.Message, fits)
		}
	})
}
