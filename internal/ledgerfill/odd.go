package ledgerfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// OddTags are tags that a page, a table or an address may get wrong.
var OddTags = []budget.Tag{
	"team/search", "team/search/eu", "team/support", "batch/nightly", "tiny", "huge",
	`<b>a&amp;"b"</b>/<script>alert(1)</script>`, "=1+1;,`a`'b'", "100% a?b#c/d+e %2F", "東京/検索/Größe ü", "سعر/עלות",
	"an/exceedingly/long/tag/that/goes/on/and/on/until/it/is/64/bytes",
	"AnUnbrokenWordOfSixtyFourLettersThatNoLineBreaksAnywhereAtAllEve",
}

// Odd puts a past of 40 days and more into a ledger of dir that is not there yet: calls
// of OddTags, around the last change of the clocks of zone too, costs from a nano-USD to
// thousands of dollars, budgets of nothing and ones that were lowered below what is
// spent, refusals, and corrections in both directions.
func Odd(ctx context.Context, dir string, zone *time.Location, now time.Time) error {
	at := []time.Time{now.AddDate(0, 0, -40), now.AddDate(0, 0, -20), now.AddDate(0, 0, -6), now.AddDate(0, 0, -2), now.AddDate(0, 0, -1), now.Add(-2 * time.Hour)}
	for h := range 4 {
		at = append(at, clockChange(zone, now).Add(time.Duration(h-2)*time.Hour))
	}
	slices.SortFunc(at, time.Time.Compare)
	for i, t := range at {
		if err := oddDay(ctx, dir, zone, t, i, len(at)); err != nil {
			return fmt.Errorf("at %v: %w", t, err)
		}
	}
	return nil
}

// clockChange is the last one of zone before now, on the hour.
func clockChange(zone *time.Location, now time.Time) time.Time {
	offset := func(t time.Time) int { _, o := t.In(zone).Zone(); return o }
	t := now.Truncate(time.Hour).Add(-3 * time.Hour)
	for end := t.AddDate(-1, 0, 0); t.After(end) && offset(t) == offset(t.Add(-time.Hour)); {
		t = t.Add(-time.Hour)
	}
	return t
}

func oddDay(ctx context.Context, dir string, zone *time.Location, at time.Time, i, all int) (err error) {
	began := time.Now()
	l, err := ledger.Open(ctx, ledger.Config{Dir: dir, Zone: zone, Retention: 400 * 24 * time.Hour, HoldTimeout: time.Hour, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return at.Add(time.Since(began)) }})
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close(ctx)) }()
	set := func(tags budget.TagPattern, period budget.Period, limit budget.Amount, reason string) {
		if err == nil {
			_, err = l.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: tags}, Period: period, Zone: zone.String(), Cap: limit}, budget.Author{Actor: "admin", Reason: reason})
		}
	}
	switch i {
	case 0:
		set(budget.AllTags, budget.Month, 900_000*budget.Dollar, "all of <us> & them")
		set("team/**", budget.Month, 25*budget.Dollar, "search, support")
		set("team/**", budget.Day, 40*budget.Dollar, "")
		set("team/search", budget.Week, 30*budget.Dollar, "")
		for _, t := range OddTags[6:] {
			set(budget.TagPattern(t), budget.Total, 500*budget.Dollar, "")
		}
	case all - 2:
		set("team/**", budget.Month, 400*budget.Dollar, "support moved to the larger model, and the reason for it is so long that no column of a table has room for it")
		set("tiny", budget.Month, 3, "three billionths of a dollar")
	}
	if err != nil {
		return err
	}
	for n := range 2 * len(OddTags) {
		if err := oddCall(ctx, l, i, n, at.Add(time.Since(began))); err != nil {
			return err
		}
	}
	if i < all-1 {
		return nil
	}
	set("team/**", budget.Month, 2*budget.Dollar, "lowered below what is spent")
	set("nothing", budget.Day, 0, "no call at all")
	for _, a := range []budget.Adjustment{
		{RequestID: "refund", Tag: "huge", Amount: -1_234_567_890_123, Reason: "credit note <7>"},
		{RequestID: "charge", Tag: "team/search", Amount: 1, Reason: "a billionth, for the books"},
		{RequestID: "more back than it cost", Tag: "credit", Amount: -budget.Dollar, Reason: "of a tag without calls"},
	} {
		if _, adjusted := l.Adjust(ctx, a, "admin"); err == nil {
			err = adjusted
		}
	}
	return err
}

func oddCall(ctx context.Context, l *ledger.Ledger, day, n int, at time.Time) error {
	tag := OddTags[n%len(OddTags)]
	costs := []budget.Amount{1, 999_999, 10 * budget.Cent, budget.Dollar + 7, 2_345_678_901}
	cost := costs[(day+n)%len(costs)]
	switch tag {
	case "tiny":
		cost = 1
	case "huge":
		cost = 1_234_567_890_123
	}
	id := fmt.Sprintf("odd-%d-%d", day, n)
	r, err := reserve(ctx, l, budget.Request{RequestID: id, Bound: 2 * cost, Attribution: budget.Attribution{
		KeyID: []string{"admin", "key_gone"}[n%2], Tag: tag, Model: []string{"fake/m1", "gem/m1", "fake/a-model-of-many-words-2026-11-30"}[n%3], Provider: []string{"fake", "gem", "fake"}[n%3]}})
	if refused := new(budget.Error); errors.As(err, &refused) && refused.Refusal != nil {
		return l.AddRefused(ctx, []budget.Refused{{BudgetID: refused.Refusal.Budget.ID, Reason: refused.Reason, Time: at.Truncate(15 * time.Minute), RefusedSum: budget.RefusedSum{Calls: 1_234, Distinct: 2, Kept: 2 * cost}}})
	}
	if err != nil {
		return err
	}
	return l.Settle(ctx, budget.Settlement{RequestID: id, Reservation: &r, Basis: []budget.Basis{budget.BasisUsage, budget.BasisBound}[n%7/6], Cost: cost, At: at, Status: 200,
		Tokens: budget.Tokens{Input: int64(cost) / 1000, CacheRead: int64(n) * 1_000_003, CacheWrite: int64(n % 3), Output: int64(cost) / 5000}})
}
