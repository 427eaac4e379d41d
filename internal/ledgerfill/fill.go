package ledgerfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"aigateway/budget"
	"aigateway/ledger"
)

// workers is how many calls are made at once: the ledger commits in groups.
const workers = 128

// Fill opens the ledger of dir, sets n budgets on the tags "b/0" to "b/n-1",
// and reserves and settles calls on those tags.
func Fill(ctx context.Context, dir string, budgets, calls int) (err error) {
	l, err := ledger.Open(ctx, ledger.Config{
		Dir: dir, Now: time.Now, HoldTimeout: time.Hour, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close(ctx)) }()
	err = each(ctx, budgets, func(i int) error {
		_, err := l.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: budget.TagPattern(tag(i))}, Period: budget.Month, Cap: 1_000_000 * budget.Dollar}, "fill")
		return err
	})
	if err != nil {
		return fmt.Errorf("set budgets: %w", err)
	}
	// The same id twice would be one call: a filled ledger may be filled again.
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	err = each(ctx, calls, func(i int) error {
		id := run + "-" + strconv.Itoa(i)
		r, err := l.Reserve(ctx, budget.Request{RequestID: id, Bound: 10 * budget.Cent, Attribution: budget.Attribution{
			KeyID: "key_fill", Tag: budget.Tag(tag(i % max(1, budgets))), Model: "bench/m1", Provider: "bench"}})
		if err != nil {
			return err
		}
		return l.Settle(ctx, budget.Settlement{RequestID: id, Reservation: &r, Basis: budget.BasisUsage, Cost: 12_345, At: time.Now()})
	})
	if err != nil {
		return fmt.Errorf("settle calls: %w", err)
	}
	return nil
}

func tag(i int) string { return "b/" + strconv.Itoa(i) }

// each calls f for 0 to n-1 from a number of workers.
func each(ctx context.Context, n int, f func(i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			for i := w; i < n && ctx.Err() == nil; i += workers {
				if err := f(i); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
