package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"aigateway/budget"
	"aigateway/reconciliation"
)

// correct shows the corrections, and with --yes books them.
func (a *app) correct(ctx context.Context, cl *client, r *reconcileFlags, out *format, report *reconciliation.Report) error {
	least, err := parseDollars(r.least)
	if err != nil {
		return fmt.Errorf("--min: %w", err)
	}
	budgets, err := openBudgets(ctx, cl)
	if err != nil {
		return err
	}
	steps := reconciliation.Plan(report.Corrections(least), budgets)
	d := newReconciled(r.month, report)
	d.Corrections = []plannedCorrection{}
	for _, s := range steps {
		d.Corrections = append(d.Corrections, planned(s))
	}
	failed := error(nil)
	if r.yes {
		failed = book(ctx, cl, steps, d.Corrections)
	}
	if err := a.printReconciled(out, d); err != nil {
		return errors.Join(failed, err)
	}
	a.noteCorrections(r, d.Corrections)
	return failed
}

// book books each step that the ledger would take. It goes on after a refusal,
// whose reason is in the list, and stops when the server cannot be asked.
func book(ctx context.Context, cl *client, steps []reconciliation.Step, list []plannedCorrection) error {
	refused := 0
	for i, s := range steps {
		if s.Refused != "" {
			refused++
			continue
		}
		tag := string(s.Adjustment.Tag)
		body := restAdjustment{RequestID: s.Adjustment.RequestID, Tag: &tag, Amount: s.Adjustment.Amount.String(), Reason: s.Adjustment.Reason}
		var answer restAdjustment
		err := cl.call(ctx, http.MethodPost, "/v1/adjustments", nil, body, &answer)
		var e *apiError
		switch {
		case err == nil:
			list[i].Booked = answer.ID
			continue
		case errors.As(err, &e) && e.Status == http.StatusConflict:
			list[i].NotBooked = "somebody corrected this row in between; reconcile again"
		case errors.As(err, &e) && e.Status == http.StatusBadRequest:
			list[i].NotBooked = e.Message
		default:
			for j := i; j < len(steps); j++ {
				list[j].NotBooked = "not tried"
			}
			return withHint(fmt.Errorf("book the correction of %s, %s: %w", s.Row.Day, s.Row.Tag, err),
				"run the same command again: what is booked already is not booked twice")
		}
		refused++
	}
	if refused > 0 {
		return fmt.Errorf("%s could not be booked; the list says why", plural(refused, "correction", "corrections"))
	}
	return nil
}

func (a *app) noteCorrections(r *reconcileFlags, list []plannedCorrection) {
	over, sum := 0, budget.Amount(0)
	for _, c := range list {
		if c.overTheCap && c.NotBooked == "" {
			over++
		}
		amount, err := budget.ParseAmount("amount", c.Amount)
		if err == nil && c.NotBooked == "" {
			sum += amount
		}
	}
	if over > 0 {
		a.notef("note: %s a budget above its cap, which refuses calls until its window ends", plural(over, "correction puts", "corrections put"))
	}
	switch {
	case len(list) == 0:
	case r.yes:
		a.notef("booked %s USD in the windows that are open now", sum)
	default:
		a.notef("nothing was booked; --yes books %s USD in the windows that are open now, not in %s", sum, r.month)
	}
}

// openBudgets are all budgets with their counters, for what corrections do.
func openBudgets(ctx context.Context, cl *client) ([]budget.Status, error) {
	all, err := listAll[restBudgetPage](ctx, cl, "/v1/budgets", nil)
	if err != nil {
		return nil, err
	}
	periods := map[string]budget.Period{}
	for _, p := range []budget.Period{budget.Month, budget.Day, budget.Week, budget.Total} {
		periods[p.String()] = p
	}
	var out []budget.Status
	for _, b := range all {
		if b.Tag == nil { // a key's budget: a tag's correction does not touch it
			continue
		}
		s := budget.Status{Budget: budget.Budget{ID: b.ID, Target: budget.Target{Tags: budget.TagPattern(*b.Tag)}, Period: periods[b.Period]}}
		for _, f := range []struct {
			text string
			to   *budget.Amount
		}{{b.Cap, &s.Cap}, {b.Spent, &s.Spent}, {b.Reserved, &s.Reserved}} {
			if *f.to, err = budget.ParseAmount("amount", f.text); err != nil {
				return nil, fmt.Errorf("the server's budget %s: %w", b.ID, err)
			}
		}
		if b.ResetsAt != nil {
			if s.Window.End, err = time.Parse(time.RFC3339, *b.ResetsAt); err != nil {
				return nil, fmt.Errorf("the server's budget %s: %w", b.ID, err)
			}
		}
		out = append(out, s)
	}
	return out, nil
}
