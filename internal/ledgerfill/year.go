package ledgerfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/ledger"
)

// Year puts a year of days into a ledger that is not there yet: budgets on teams and
// applications, 40 calls on each day, and a call of each of tags on the last one. A
// ledger follows a clock that leaps only after its start, so each day has one.
func Year(ctx context.Context, dir string, tags, budgets int, now time.Time) error {
	memory, err := os.MkdirTemp(memoryDisk(), "aig")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(memory)
	for ago := 364; ago >= 0; ago-- {
		at := now.AddDate(0, 0, -ago)
		calls := 40
		if ago == 0 {
			calls = tags
		}
		if err := day(ctx, memory, at, ago, calls, tags, budgets); err != nil {
			return fmt.Errorf("%d days ago: %w", ago, err)
		}
	}
	if err := os.MkdirAll(filepath.Clean(dir), 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	return move(dir, memory)
}

// leaf is one of many tags: 20 teams have 50 applications each, with what is below.
func leaf(i int) budget.Tag {
	return budget.Tag(fmt.Sprintf("team-%02d/app-%02d/job-%d", i%20, i/20%50, i/1000))
}

func day(ctx context.Context, dir string, at time.Time, ago, calls, tags, budgets int) (err error) {
	began := time.Now()
	l, err := ledger.Open(ctx, ledger.Config{
		Dir: dir, Now: func() time.Time { return at.Add(time.Since(began)) }, HoldTimeout: time.Hour, Retention: 400 * 24 * time.Hour,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close(ctx)) }()
	if ago == 364 {
		for i := range budgets {
			target := budget.TagPattern(fmt.Sprintf("team-%02d/app-%02d/**", i%20, i/20))
			if _, err := l.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: target}, Period: budget.Month, Cap: 1000 * budget.Dollar}, budget.Author{Actor: "fill"}); err != nil {
				return fmt.Errorf("set budgets: %w", err)
			}
		}
	}
	return each(ctx, calls, func(i int) error {
		id := fmt.Sprintf("year-%d-%d", ago, i)
		r, err := reserve(ctx, l, budget.Request{RequestID: id, Bound: 10 * budget.Cent, Attribution: budget.Attribution{KeyID: "key_fill", Tag: leaf((ago*40 + i) % tags), Model: "bench/m1", Provider: "bench"}})
		if err != nil {
			return err
		}
		return l.Settle(ctx, budget.Settlement{RequestID: id, Reservation: &r, Basis: budget.BasisUsage, Cost: 12_345_678 + budget.Amount(i), At: at.Add(time.Since(began))})
	})
}
