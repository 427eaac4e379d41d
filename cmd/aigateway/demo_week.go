package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// weekTags are the tags that had calls in the week before the demo, with how many
// dollar cents one costs at most.
var weekTags = []struct {
	tag   budget.Tag
	model string
	cents budget.Amount
}{
	{"team/search", "moonshot/kimi-k2.6", 9}, {"team/support", "moonshot/kimi-k2.6", 14}, {"team/support/eu", "moonshot/kimi-k2.6", 6},
	{"batch/nightly", "moonshot/kimi-k2.6", 30}, {"eval", "moonshot/kimi-k2.6", 4},
}

// week puts the traffic of the seven days before now into the ledger of dir, so that
// the page has something to show: three times a day some calls of each tag, against
// budgets of which one is tight. A ledger follows a clock that leaps only after its
// start, so there is one for each of these times.
func week(ctx context.Context, dir string, now time.Time) error {
	dice := rand.New(rand.NewPCG(1, 2))
	for slot := 21; slot > 0; slot-- {
		at := now.Add(-time.Duration(slot) * 8 * time.Hour)
		began := time.Now()
		l, err := ledger.Open(ctx, ledger.Config{
			Dir: dir, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return at.Add(time.Since(began)) },
		})
		if err != nil {
			return fmt.Errorf("open the ledger of the week before: %w", err)
		}
		err = weekBudgets(ctx, l, slot)
		for i := 0; i < 25 && err == nil; i++ {
			err = weekCall(ctx, l, dice, fmt.Sprintf("week-%d-%d", slot, i), at)
		}
		if err := errors.Join(err, l.Close(ctx)); err != nil {
			return fmt.Errorf("fill the week before: %w", err)
		}
	}
	return nil
}

// weekBudgets makes the budgets at the beginning, and raises one in the middle.
func weekBudgets(ctx context.Context, l *ledger.Ledger, slot int) error {
	set := func(tags budget.TagPattern, period budget.Period, limit budget.Amount, reason string) error {
		_, err := l.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: tags}, Period: period, Cap: limit}, budget.Author{Actor: "admin", Reason: reason})
		return err
	}
	switch slot {
	case 21:
		return errors.Join(set(budget.AllTags, budget.Month, 100*budget.Dollar, "all of us"), set("team/**", budget.Month, 25*budget.Dollar, "search and support"),
			set("batch/**", budget.Day, 2*budget.Dollar, "may wait for tomorrow"), set("eval", budget.Week, 3*budget.Dollar, ""))
	case 10:
		return set("team/**", budget.Month, 60*budget.Dollar, "support moved to the larger model")
	}
	return nil
}

// weekCall makes a call, or counts it as refused.
func weekCall(ctx context.Context, l *ledger.Ledger, dice *rand.Rand, id string, at time.Time) error {
	w := weekTags[dice.IntN(len(weekTags))]
	cost := budget.Amount(dice.Int64N(int64(w.cents*budget.Cent))) + 1000
	bound := 2 * w.cents * budget.Cent
	r, err := l.Reserve(ctx, budget.Request{RequestID: id, Bound: bound, Attribution: budget.Attribution{KeyID: "admin", Tag: w.tag, Model: w.model, Provider: "moonshot"}})
	var e *budget.Error
	if errors.As(err, &e) && e.Refusal != nil {
		return l.AddRefused(ctx, []budget.Refused{{BudgetID: e.Refusal.Budget.ID, Reason: e.Reason, Time: at.Truncate(15 * time.Minute),
			RefusedSum: budget.RefusedSum{Calls: 1 + dice.Int64N(5), Distinct: 1, Kept: bound}}})
	}
	if err != nil {
		return err
	}
	return l.Settle(ctx, budget.Settlement{RequestID: id, Reservation: &r, Basis: budget.BasisUsage, Cost: cost, At: at.Add(2 * time.Second),
		Tokens: budget.Tokens{Input: int64(cost) / 5_000_000, Output: int64(cost) / 8_000_000}})
}
