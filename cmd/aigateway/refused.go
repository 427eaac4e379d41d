package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/fleet"
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
	shared   *fleet.Fleet // nil: this gateway is alone
	log      *slog.Logger

	mu   sync.Mutex     // one at a time keeps and tells
	told budget.Refused // the store knows all up to this row of the ledger's
}

func (c *refusedCounts) run(ctx context.Context) error {
	every := keepRefusedEvery
	if c.shared != nil { // others ask for them
		every = time.Second
	}
	tick := time.NewTicker(every)
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

// keep writes what was counted, and tells the store; what cannot be written or told
// waits.
func (c *refusedCounts) keep(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.refusals.TakeCounts()
	if err := c.ledger.AddRefused(ctx, counts); err != nil {
		c.refusals.ReturnCounts(counts)
		c.log.Warn("the counts of refused calls cannot be written yet", "error", err)
		return
	}
	if c.shared == nil {
		return
	}
	for _, r := range counts { // the row may have been told with a smaller count
		if before := r.Time.Add(-1); before.Before(c.told.Time) {
			c.told = budget.Refused{Time: before}
		}
	}
	c.tell(ctx)
}

// toldAtOnce is how many rows are told at once.
const toldAtOnce = 1000

// tell tells the store the rows behind told. A process begins with all that are kept:
// what the store knows already changes nothing there.
func (c *refusedCounts) tell(ctx context.Context) {
	for {
		rows, err := c.ledger.RefusedRows(ctx, c.told, toldAtOnce)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("the counts of refused calls cannot be read, and the store is not told of them yet", "error", err)
		}
		if err != nil || len(rows) == 0 || c.shared.PushRefused(ctx, rows) != nil { // which the fleet logs
			return
		}
		c.told = rows[len(rows)-1]
		if len(rows) < toldAtOnce {
			return
		}
	}
}

// Refused implements adminapi.RefusedReader, with what was refused here until now, and
// what other gateways last told.
func (c *refusedCounts) Refused(ctx context.Context, w budget.Window) ([]budget.Refused, error) {
	c.keep(ctx)
	if c.shared != nil {
		return c.shared.Refused(ctx, w)
	}
	return c.ledger.Refused(ctx, w)
}
