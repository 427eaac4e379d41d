package reconciliation

import (
	"fmt"

	"aigateway/budget"
)

// Step is a correction with what booking it would do.
type Step struct {
	Correction
	Effects []Effect
	// Refused says why the ledger would not take it; empty: it would.
	Refused string
}

// Effect is what a correction does to one budget that watches its tag, in the
// window that is open now: corrections are not booked into the past.
type Effect struct {
	Budget        budget.Status
	Before, After budget.Amount // spent
	// Over is by how much what is spent and reserved would pass the cap; above
	// 0, new calls are refused until the window ends.
	Over budget.Amount
}

// Plan puts corrections in an order in which the most of them can be booked
// without refusing calls in between: refunds first, charges after them, and at
// last the refunds that needed the charges. A refund above what a budget has
// spent in its open window is refused, as the ledger does.
func Plan(corrections []Correction, budgets []budget.Status) []Step {
	p := plan{budgets: budgets, spent: make([]budget.Amount, len(budgets))}
	for i, b := range budgets {
		p.spent[i] = b.Spent
	}
	var charges, late []Correction
	for _, c := range corrections {
		switch {
		case c.Adjustment.Amount > 0:
			charges = append(charges, c)
		case p.refusal(c) != "":
			late = append(late, c)
		default:
			p.take(c)
		}
	}
	for _, c := range append(charges, late...) {
		p.take(c)
	}
	return p.steps
}

type plan struct {
	budgets []budget.Status
	spent   []budget.Amount
	steps   []Step
}

func (p *plan) refusal(c Correction) string {
	for i, b := range p.budgets {
		if b.Target.Tags.Matches(c.Adjustment.Tag) && p.spent[i]+c.Adjustment.Amount < 0 {
			return fmt.Sprintf("budget %s has spent %s in its open window, less than this refund", b.ID, p.spent[i])
		}
	}
	return ""
}

func (p *plan) take(c Correction) {
	s := Step{Correction: c, Refused: p.refusal(c)}
	for i, b := range p.budgets {
		if s.Refused != "" || !b.Target.Tags.Matches(c.Adjustment.Tag) {
			continue
		}
		e := Effect{Budget: b, Before: p.spent[i]}
		p.spent[i] += c.Adjustment.Amount
		e.After = p.spent[i]
		e.Over = max(0, e.After+b.Reserved-b.Cap)
		s.Effects = append(s.Effects, e)
	}
	p.steps = append(p.steps, s)
}
