package postgres_test

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"aigateway/budget"
	"aigateway/postgres"
)

// testAdjust charges and refunds, on a budget and on all that watch a tag: once for a
// request id, never more than is spent, and a charge above the cap calls leases back.
func testAdjust(w *world) {
	ctx := w.Context()
	all, tree, other := w.budget("**", 1000), w.budget("t/**", 100), w.budget("x", 100)
	m := w.join("m")
	w.exchange(m, ask(tree, 80, 80, 30, 10))
	w.exchange(m, ask(all, 80, 80, 30, 10))
	adjust := func(a budget.Adjustment) budget.Adjustment {
		w.Helper()
		a.Reason = "the bill said so"
		got, err := w.store.Adjust(ctx, a, "key_me")
		w.must(err)
		return got
	}
	want := func(what string, spent ...budget.Amount) {
		w.Helper()
		for i, n := range []budget.AccountName{all, tree, other} {
			if st := w.status(n.BudgetID); st.Spent != spent[i] {
				w.Errorf("%s: %d spent of budget %d, want %d", what, st.Spent, i, spent[i])
			}
		}
	}
	first := adjust(budget.Adjustment{RequestID: "r1", Tag: "t/a", Amount: 15})
	want("a charge of a tag", 45, 45, 0)
	if again := adjust(budget.Adjustment{RequestID: "r1", Tag: "t/a", Amount: 15}); again != first || first.ID != "adj_1" || first.Actor != "key_me" {
		w.Errorf("%+v, then %+v", first, again)
	}
	want("a repeat", 45, 45, 0)
	_, err := w.store.Adjust(ctx, budget.Adjustment{RequestID: "r1", Tag: "t/a", Amount: 16, Reason: "the bill said so"}, "key_me")
	w.isKind(err, budget.KindConflict, "request_id_reused")
	adjust(budget.Adjustment{RequestID: "r2", BudgetID: tree.BudgetID, Amount: -40})
	want("a refund on a budget", 45, 5, 0)
	for _, a := range []budget.Adjustment{{RequestID: "r3", BudgetID: tree.BudgetID, Amount: -6}, {RequestID: "r3", Tag: "t", Amount: -6}, {RequestID: "r3", Tag: "t", Amount: budget.MaxAmount}, {RequestID: "r3", Amount: 1}} {
		a.Reason = "too much"
		_, err := w.store.Adjust(ctx, a, "key_me")
		w.isKind(err, budget.KindInvalid, "field_invalid")
	}
	_, err = w.store.Adjust(ctx, budget.Adjustment{RequestID: "r3", BudgetID: "bud_x", Amount: 1, Reason: "x"}, "key_me")
	w.isKind(err, budget.KindNotFound, "budget_not_found")
	want("what was refused", 45, 5, 0)

	w.adjustedLeases(m, all, tree)
	list, err := w.store.Adjustments(ctx, "adj_1", 10)
	w.must(err)
	last, err := w.store.LastAdjustments(ctx, 2)
	w.must(err)
	if len(list) != 2 || list[0].RequestID != "r2" || len(last) != 2 || last[0].RequestID != "r4" {
		w.Errorf("%+v, %+v", list, last)
	}
	if _, err := w.store.Adjustments(ctx, "bud_1", 10); err == nil {
		w.Error("a strange id is taken")
	}
	w.knowsPast(m)
}

// testAdjustTooMuch: what corrections of tags come to stays within what an amount may
// be, and reports go on.
func testAdjustTooMuch(w *world) {
	for i, a := range []budget.Adjustment{{Tag: "u/a", Amount: budget.MaxAmount}, {Tag: "u/a", Amount: budget.MaxAmount}, {Tag: "u/b", Amount: budget.MaxAmount}, {Tag: "u/c", Amount: 1},
		{Tag: "v/a", Amount: -budget.MaxAmount}, {Tag: "v/a", Amount: -budget.MaxAmount}, {Tag: "v/b", Amount: -budget.MaxAmount}, {Tag: "v/c", Amount: -budget.MaxAmount}} {
		a.RequestID, a.Reason = fmt.Sprint(i), "a slip"
		_, err := w.store.Adjust(w.Context(), a, "key_me")
		w.must(err)
	}
	month := budget.Month.WindowAt(time.Now(), time.UTC)
	for tags, want := range map[budget.TagPattern]budget.Amount{"u/**": budget.MaxAmount, "u/a": budget.MaxAmount, "v/**": -budget.MaxAmount} {
		for _, by := range [][]budget.Dimension{nil, {budget.ByDay}} {
			rows, err := w.store.Usage(w.Context(), budget.UsageQuery{Window: month, GroupBy: by, Tags: tags, Zone: time.UTC})
			if err != nil || len(rows) != 1 || rows[0].Cost != want {
				w.Errorf("%s by %v: %+v, %v; want %d", tags, by, rows, err, want)
			}
		}
	}
}

// adjustedLeases: what was refunded may be lent again, and no more, and a charge above
// the cap calls back what is unused there.
func (w *world) adjustedLeases(m *postgres.Member, all, tree budget.AccountName) {
	w.Helper()
	if g := w.exchange(m, ask(tree, 130, 130, 30, 10)); g.Lease != 80 || g.Refunded != 25 { // 25 of 100 were freed: 45 more there are not
		w.Errorf("%+v", g)
	}
	if g := w.exchange(m, ask(tree, 125, 125, 30, 10)); g.Lease != 125 || g.Spent != 5 {
		w.Errorf("%+v", g)
	}
	w.allowed[tree.BudgetID] = 50
	_, err := w.store.Adjust(w.Context(), budget.Adjustment{RequestID: "r4", BudgetID: tree.BudgetID, Amount: 50, Reason: "x"}, "key_me")
	w.must(err)
	if g := w.exchange(m, ask(all, 80, 0, 30, 10)); g.Recall || g.Refunded != 0 {
		w.Errorf("%+v", g)
	}
	if g := w.exchange(m, ask(tree, 125, 0, 30, 10)); !g.Recall || g.Free != -50 || g.Refunded != 0 {
		w.Errorf("a charge above the cap does not call back what is unused: %+v", g)
	}
}

// knowsPast makes budgets for a tag that was charged and one that was refunded more
// than it cost: the latter has cost nothing, not less.
func (w *world) knowsPast(m *postgres.Member) {
	w.Helper()
	for _, a := range []budget.Adjustment{{RequestID: "p1", Tag: "p/a", Amount: 7}, {RequestID: "p2", Tag: "q", Amount: -7}} {
		a.Reason = "before its budget"
		_, err := w.store.Adjust(w.Context(), a, "key_me")
		w.must(err)
	}
	costs, err := w.store.TagCosts(w.Context(), budget.Month.WindowAt(time.Now(), time.UTC), "p/**")
	if err != nil || len(costs) != 1 || costs[0].Cost != 7 || costs[0].Requests != 0 {
		w.Errorf("%+v, %v", costs, err)
	}
	charged, refunded := w.budgetWhile("p/**", 100, m), w.budgetWhile("q", 100, m)
	if a, b := w.status(charged.BudgetID), w.status(refunded.BudgetID); a.Spent != 7 || b.Spent != 0 {
		w.Errorf("%d and %d are spent, want 7 and 0", a.Spent, b.Spent)
	}
	if g := w.exchange(m, ask(refunded, 101, 101, 0, 0)); g.Lease != 0 || g.Free != 100 {
		w.Errorf("%+v", g)
	}
}

// testAdjustAtOnce sends one correction from many at once, and a budget is made
// meanwhile: it is booked once everywhere.
func testAdjustAtOnce(w *world) {
	ctx := w.Context()
	all := w.budget("**", 1000)
	m := w.join("m")
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for n := range 5 {
				if _, err := w.store.Adjust(ctx, budget.Adjustment{RequestID: fmt.Sprint("r", n), Tag: "t", Amount: 10, Reason: "x"}, fmt.Sprint(i)); err != nil {
					w.Error(err)
				}
			}
		})
	}
	tag := w.budgetWhile("t", 100, m)
	wg.Wait()
	if a, b := w.status(all.BudgetID), w.status(tag.BudgetID); a.Spent != 50 || b.Spent != 50 {
		w.Errorf("%d and %d are spent, want 50", a.Spent, b.Spent)
	}
	if n := w.number("SELECT count(*) FROM aig_audit WHERE action = 'adjust'"); n != 5 {
		w.Errorf("%d rows in the audit log", n)
	}
	if _, _, err := w.store.VerifyAudit(ctx); err != nil {
		w.Error(err)
	}
}

// testHistory tells of a budget's windows, what it refused in them and its edits, also
// when their rows are folded.
func testHistory(w *world) {
	ctx := w.Context()
	id, _, _, err := w.store.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day, Cap: 100}, by)
	w.must(err)
	_, err = w.store.Enforce(ctx, id)
	w.must(err)
	b := budget.AccountName{BudgetID: id, Start: w.status(id).Window.Start.UnixNano()}
	m, o := w.join("m"), w.join("o")
	w.exchange(m, ask(b, 50, 50, 40, 0))
	now := time.Now().UTC().Truncate(15 * time.Minute)
	count := func(at time.Time, calls, kept int64) budget.Refused {
		return budget.Refused{BudgetID: b.BudgetID, Reason: "cap_reached", Time: at, RefusedSum: budget.RefusedSum{Calls: calls, Distinct: 1, Kept: budget.Amount(kept)}}
	}
	w.must(m.PushRefused(ctx, []budget.Refused{count(now, 3, 30), {Reason: "no_price", Time: now, RefusedSum: budget.RefusedSum{Calls: 1}}}))
	w.must(m.PushRefused(ctx, []budget.Refused{count(now, 5, 50)}))
	w.must(m.PushRefused(ctx, []budget.Refused{count(now, 4, 40)})) // late
	w.must(o.PushRefused(ctx, []budget.Refused{count(now, 7, 70)}))
	w.must(o.PushRefused(ctx, nil))
	sums, err := w.store.Refused(ctx, budget.Window{Start: now.Add(-time.Hour), End: now.Add(time.Hour)})
	w.must(err)
	slices.SortFunc(sums, func(a, b budget.Refused) int { return int(b.Calls - a.Calls) })
	if len(sums) != 2 || sums[0].Calls != 12 || sums[0].Distinct != 2 || sums[0].Kept != 120 || sums[1].Reason != "no_price" {
		w.Errorf("%+v", sums)
	}

	w.oldWindows(m, id, now)
	changes, err := w.store.BudgetChanges(ctx, b.BudgetID, 0, 1)
	w.must(err)
	if len(changes) != 1 || changes[0].Action != "update_budget" || changes[0].Before.Cap != 100 || changes[0].After.Cap != 200 || changes[0].Actor != by.Actor {
		w.Errorf("%+v", changes)
	}
	_, err = w.store.DeleteBudget(ctx, b.BudgetID, "", by)
	w.must(err)
	if n := w.number("SELECT count(*) FROM aig_past_window") + w.number("SELECT count(*) FROM aig_refused_window"); n != 0 {
		w.Errorf("%d rows of a budget that is gone", n)
	}
	_, err = w.store.Windows(ctx, b.BudgetID, time.Time{}, 10)
	w.isKind(err, budget.KindNotFound, "budget_not_found")
	if !reflect.DeepEqual(changes[0].Before.ID, b.BudgetID) {
		w.Errorf("%+v", changes[0])
	}
}

// oldWindows adds a window of 50 days ago, with counts that are folded, and one of 3
// days ago to those of a budget.
func (w *world) oldWindows(m *postgres.Member, id string, now time.Time) {
	w.Helper()
	ctx := w.Context()
	_, err := w.store.UpdateBudget(ctx, id, "", func(b *budget.Budget) error { b.Cap = 200; return nil }, by)
	w.must(err)
	long, late := now.AddDate(0, 0, -50), now.AddDate(0, 0, -3)
	for _, at := range []time.Time{long, late} {
		w.exec(`INSERT INTO aig_account (budget_id, start, "end", cap, allocated, spent) VALUES ($1, $2, $3, 200, 9, 9)`, id, at.UnixNano(), at.Add(24*time.Hour).UnixNano())
		w.exec(`INSERT INTO aig_lease VALUES ($1, $2, 'm', 9, 9, 0)`, id, at.UnixNano())
		w.exec(`INSERT INTO aig_refused VALUES ('m', $2, $1, 'cap_reached', 2, 1, 11), ('o', $2, $1, 'cap_held', 2, 1, 11)`, id, at.Add(time.Hour).UnixNano()/int64(15*time.Minute))
	}
	w.exec("UPDATE aig_audit SET at = $1 WHERE action = 'create_budget' AND subject = $2", now.AddDate(0, 0, -60).UnixNano(), id)
	want := func(what string) {
		w.Helper()
		list, err := w.store.Windows(ctx, id, time.Time{}, 10)
		w.must(err)
		if len(list) != 3 || !list[0].Running || list[0].Spent != 40 || list[0].Refused.Calls != 12 || *list[0].Cap != 200 {
			w.Fatalf("%s: %+v", what, list)
		}
		for i, at := range []time.Time{late, long} {
			if r := list[i+1]; r.Running || !r.Start.Equal(at) || r.Spent != 9 || r.Cap == nil || *r.Cap != 100 || r.Refused != (budget.RefusedSum{Calls: 4, Distinct: 2, Kept: 22}) {
				w.Errorf("%s: %+v", what, r)
			}
		}
	}
	want("as it was told")
	w.must(w.store.Tidy(ctx))
	w.must(w.store.Tidy(ctx))
	want("folded")
	if n := w.number("SELECT count(*) FROM aig_past_window") + 10*w.number("SELECT count(*) FROM aig_refused_window"); n != 11 {
		w.Errorf("folded: %d", n)
	}
	w.must(m.PushRefused(ctx, []budget.Refused{{BudgetID: id, Reason: "cap_reached", Time: long.Add(time.Hour), RefusedSum: budget.RefusedSum{Calls: 2, Distinct: 1, Kept: 11}}})) // told again after all
	want("told again")
	if list, err := w.store.Windows(ctx, id, late, 1); err != nil || len(list) != 1 || !list[0].Start.Equal(long) {
		w.Errorf("%+v, %v", list, err)
	}
}
