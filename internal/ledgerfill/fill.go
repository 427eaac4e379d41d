package ledgerfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"aigateway/budget"
	"aigateway/ledger"
)

const (
	// Calls are committed in groups: many callers at once fill the ledger faster.
	callWorkers = 64
	// busyTags is how many of the tags have calls: a few, as in real life.
	busyTags = 1000
)

// Fill sets n budgets on the tags "b/0" to "b/n-1" in the ledger of dir, and
// reserves and settles calls on the first of those tags. Every budget waits for
// the disk, so the work is done on a copy in memory where there is one.
func Fill(ctx context.Context, dir string, budgets, calls int) error {
	memory, err := os.MkdirTemp(memoryDisk(), "aig")
	if err != nil {
		return fmt.Errorf("make a copy: %w", err)
	}
	defer os.RemoveAll(memory)
	if err := move(memory, dir); err != nil {
		return fmt.Errorf("copy ledger: %w", err)
	}
	if err := fill(ctx, memory, budgets, calls); err != nil {
		return err
	}
	if err := move(dir, memory); err != nil {
		return fmt.Errorf("copy ledger back: %w", err)
	}
	return nil
}

// move moves the ledger's files, and nothing else of a data directory.
func move(to, from string) error {
	names, err := filepath.Glob(filepath.Join(from, "ledger*"))
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), data, 0o600); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// memoryDisk is a directory in memory, or empty for the usual temporary one.
func memoryDisk() string {
	const path = "/dev/shm"
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return path
	}
	return ""
}

func fill(ctx context.Context, dir string, budgets, calls int) (err error) {
	l, err := ledger.Open(ctx, ledger.Config{
		Dir: dir, Now: time.Now, HoldTimeout: time.Hour, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close(ctx)) }()
	for i := range budgets {
		if _, err := l.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: budget.TagPattern(tag(i))}, Period: budget.Month, Cap: 1_000_000 * budget.Dollar}, budget.Author{Actor: "fill"}); err != nil {
			return fmt.Errorf("set budgets: %w", err)
		}
	}
	// The same id twice would be one call: a filled ledger may be filled again.
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	err = each(ctx, calls, func(i int) error {
		id := run + "-" + strconv.Itoa(i)
		r, err := reserve(ctx, l, budget.Request{RequestID: id, Bound: 10 * budget.Cent, Attribution: budget.Attribution{
			KeyID: "key_fill", Tag: budget.Tag(tag(i % busyTags)), Model: "bench/m1", Provider: "bench"}})
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

// reserve tries again while the journal is behind: filling outruns the disk.
func reserve(ctx context.Context, l *ledger.Ledger, r budget.Request) (budget.Reservation, error) {
	for {
		got, err := l.Reserve(ctx, r)
		var refused *budget.Error
		if !errors.As(err, &refused) || refused.Kind != budget.KindUnavailable || ctx.Err() != nil {
			return got, err
		}
	}
}

// each calls f for 0 to n-1, for callWorkers of them at once.
func each(ctx context.Context, n int, f func(i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for w := range callWorkers {
		g.Go(func() error {
			for i := w; i < n && ctx.Err() == nil; i += callWorkers {
				if err := f(i); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
