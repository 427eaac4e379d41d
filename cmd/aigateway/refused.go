package main

import (
	"context"
	"log/slog"
	"time"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/ledger"
)

// keepRefusedEvery is how often counts of refused calls are written: that much of
// them is lost with the process.
const keepRefusedEvery = 10 * time.Second

// refusedCounts writes the counts of refused calls into the ledger now and then, off
// the way of calls.
type refusedCounts struct {
	refusals *extauthz.Refusals
	ledger   *ledger.Ledger
	log      *slog.Logger
}

func (c *refusedCounts) run(ctx context.Context) error {
	tick := time.NewTicker(keepRefusedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.keep(ctx)
		}
	}
}

// keep writes what was counted; what cannot be written waits.
func (c *refusedCounts) keep(ctx context.Context) {
	counts := c.refusals.TakeCounts()
	if err := c.ledger.AddRefused(ctx, counts); err != nil {
		c.refusals.ReturnCounts(counts)
		c.log.Warn("the counts of refused calls cannot be written yet", "error", err)
	}
}

// Refused implements adminapi.RefusedReader, with what was refused until now.
func (c *refusedCounts) Refused(ctx context.Context, w budget.Window) ([]budget.Refused, error) {
	c.keep(ctx)
	return c.ledger.Refused(ctx, w)
}

// sharedHistory has nothing: what a replica knows of a shared budget's windows is its
// own part alone, which would be a wrong number.
type sharedHistory struct{}

func (sharedHistory) Windows(context.Context, string, time.Time, int) ([]budget.WindowReport, error) {
	return nil, errSharedHistory
}

func (sharedHistory) BudgetChanges(context.Context, string, int64, int) ([]budget.BudgetChange, error) {
	return nil, errSharedHistory
}

var errSharedHistory = budget.NotFound("history_not_shared", "gateways that share budgets do not keep the past of one yet; GET /v1/audit lists who changed what")
