package fleet

import (
	"context"
	"errors"
	"time"

	"aigateway/budget"
)

// SetBudget creates the budget of (Target, Period) or replaces its cap, zone and
// defaults. Every gateway obeys it when it returns, but for those that admit nothing
// because they do not reach the store. A new budget begins with what its target has
// cost and has running at all of them.
func (f *Fleet) SetBudget(ctx context.Context, b budget.Budget, by budget.Author) (budget.Status, error) {
	id, version, created, err := f.c.Store.SetBudget(ctx, b, by)
	if err != nil {
		return budget.Status{}, unreachable(err)
	}
	if created {
		f.look()
		version, err = f.c.Store.Enforce(ctx, id)
		if err != nil {
			return budget.Status{}, unconfirmed(err)
		}
	}
	err = f.everywhere(ctx, version)
	if err != nil {
		return budget.Status{}, err
	}
	return f.budget(ctx, id)
}

// UpdateBudget lets change edit a budget, under the contract of SetBudget.
func (f *Fleet) UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (budget.Status, error) {
	version, err := f.c.Store.UpdateBudget(ctx, id, etag, change, by)
	if err != nil {
		return budget.Status{}, unreachable(err)
	}
	err = f.everywhere(ctx, version)
	if err != nil {
		return budget.Status{}, err
	}
	return f.budget(ctx, id)
}

// DeleteBudget removes a budget, under the contract of SetBudget.
func (f *Fleet) DeleteBudget(ctx context.Context, id, etag string, by budget.Author) error {
	version, err := f.c.Store.DeleteBudget(ctx, id, etag, by)
	if err != nil {
		return unreachable(err)
	}
	return f.everywhere(ctx, version)
}

// CreateKey makes a key, which every gateway knows when it returns.
func (f *Fleet) CreateKey(ctx context.Context, k budget.Key, by budget.Author) (budget.Key, string, error) {
	k, secret, version, err := f.c.Store.CreateKey(ctx, k, by)
	if err != nil {
		return budget.Key{}, "", unreachable(err)
	}
	err = f.everywhere(ctx, version)
	if err != nil {
		return budget.Key{}, "", err
	}
	return k, secret, nil
}

// DeleteKey revokes a key: no gateway admits its calls when it returns.
func (f *Fleet) DeleteKey(ctx context.Context, id string, by budget.Author) error {
	version, err := f.c.Store.DeleteKey(ctx, id, by)
	if err != nil {
		return unreachable(err)
	}
	return f.everywhere(ctx, version)
}

// everywhere waits until no gateway acts on older rules than version.
func (f *Fleet) everywhere(ctx context.Context, version uint64) error {
	f.look()
	silent, err := f.c.Store.AwaitVersion(ctx, version)
	if err != nil {
		return unconfirmed(err)
	}
	if len(silent) > 0 {
		f.c.Log.Warn("an edit is in force everywhere but at gateways that do not answer; they admit nothing", "version", version, "gateways", silent)
	}
	return nil
}

// look hurries the loop that follows the rules.
func (f *Fleet) look() {
	select {
	case f.hurry <- struct{}{}:
	default: // it is hurried already
	}
}

// GetKey is the ledger's, which knows every edit that was answered.
func (f *Fleet) GetKey(id string) (budget.Key, error) { return f.c.Ledger.GetKey(id) }

// ListKeys is the ledger's, as GetKey.
func (f *Fleet) ListKeys(after string, limit int) ([]budget.Key, error) {
	return f.c.Ledger.ListKeys(after, limit)
}

// GetBudget returns a budget with what all gateways together have spent and
// reserved on it, as they last told.
func (f *Fleet) GetBudget(id string) (budget.Status, error) {
	return f.budget(context.Background(), id)
}

func (f *Fleet) budget(ctx context.Context, id string) (budget.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	status, err := f.c.Store.Budget(ctx, id)
	return status, unreachable(err)
}

// ListBudgets returns up to limit budgets behind after, as GetBudget does.
func (f *Fleet) ListBudgets(after string, limit int) ([]budget.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	list, err := f.c.Store.Budgets(ctx, after, limit)
	return list, unreachable(err)
}

// AuditLog lists the edits of all gateways.
func (f *Fleet) AuditLog(ctx context.Context, after int64, limit int) ([]budget.AuditEntry, error) {
	list, err := f.c.Store.AuditLog(ctx, after, limit)
	return list, unreachable(err)
}

// Adjust books a correction in the store, exactly once for a request id, whichever
// gateway is asked.
func (f *Fleet) Adjust(ctx context.Context, a budget.Adjustment, actor string) (budget.Adjustment, error) {
	a, err := f.c.Store.Adjust(ctx, a, actor)
	return a, unreachable(err)
}

// Adjustments lists the corrections of all gateways.
func (f *Fleet) Adjustments(ctx context.Context, after string, limit int) ([]budget.Adjustment, error) {
	list, err := f.c.Store.Adjustments(ctx, after, limit)
	return list, unreachable(err)
}

// LastAdjustments are the latest of all gateways, the last one first.
func (f *Fleet) LastAdjustments(ctx context.Context, limit int) ([]budget.Adjustment, error) {
	list, err := f.c.Store.LastAdjustments(ctx, limit)
	return list, unreachable(err)
}

// UsageAsOf tells the store what this gateway has booked, and says how complete the
// usage is that is read after it: this gateway's own is. Usage and TagCosts do not tell
// it again, for a question may need many of them.
func (f *Fleet) UsageAsOf(ctx context.Context) (budget.AsOf, error) {
	err := f.push(ctx)
	if err != nil {
		return budget.AsOf{}, unreachable(err)
	}
	asOf, err := f.c.Store.UsageAsOf(ctx)
	return asOf, unreachable(err)
}

// Usage sums the calls of all gateways that q selects, as they last told: about a
// second ago, this one in the UsageAsOf before it.
func (f *Fleet) Usage(ctx context.Context, q budget.UsageQuery) ([]budget.UsageRow, error) {
	rows, err := f.c.Store.Usage(ctx, q)
	return rows, unreachable(err)
}

// TagCosts is the report by tag of all gateways, as Usage.
func (f *Fleet) TagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) ([]budget.TagCost, error) {
	costs, err := f.c.Store.TagCosts(ctx, w, tags)
	return costs, unreachable(err)
}

// PushRefused tells the store counts of refused calls as they are kept here.
func (f *Fleet) PushRefused(ctx context.Context, counts []budget.Refused) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	m, err := f.member()
	if err != nil {
		return unreachable(err)
	}
	err = m.PushRefused(ctx, counts)
	f.note("refusals", err)
	return unreachable(err)
}

// Refused adds up the refused calls of w at all gateways, as they last told.
func (f *Fleet) Refused(ctx context.Context, w budget.Window) ([]budget.Refused, error) {
	counts, err := f.c.Store.Refused(ctx, w)
	return counts, unreachable(err)
}

// Windows lists the windows of a budget, of all gateways.
func (f *Fleet) Windows(ctx context.Context, id string, before time.Time, limit int) ([]budget.WindowReport, error) {
	list, err := f.c.Store.Windows(ctx, id, before, limit)
	return list, unreachable(err)
}

// BudgetChanges lists the edits of a budget at all gateways.
func (f *Fleet) BudgetChanges(ctx context.Context, id string, before int64, limit int) ([]budget.BudgetChange, error) {
	list, err := f.c.Store.BudgetChanges(ctx, id, before, limit)
	return list, unreachable(err)
}

// unreachable is err for users: nothing was decided. nil stays nil.
func unreachable(err error) error {
	return forUsers(err, "store_unreachable", "the store that the gateways share cannot be asked right now; retry shortly")
}

// unconfirmed is err for users, after an edit that is in the store.
func unconfirmed(err error) error {
	return forUsers(err, "edit_unconfirmed", "the edit is stored, but not every gateway is known to obey it yet; read it again, or repeat it")
}

func forUsers(err error, reason, message string) error {
	var known *budget.Error
	if err == nil || errors.As(err, &known) && known.Kind != budget.KindInternal {
		return err
	}
	return budget.Unavailable(reason, message, err)
}
