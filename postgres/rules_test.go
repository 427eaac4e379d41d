package postgres_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/postgres"
)

// isKind reports an err that is not a budget.Error of kind and reason.
func (w *world) isKind(err error, kind budget.Kind, reason string) {
	w.Helper()
	var e *budget.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Reason != reason {
		w.Errorf("%v, want an error of kind %d with reason %s", err, kind, reason)
	}
}

func (w *world) status(id string) budget.Status {
	w.Helper()
	st, err := w.store.Budget(w.Context(), id)
	w.must(err)
	return st
}

func testBudgets(w *world) {
	ctx := w.Context()
	for reason, b := range map[string]budget.Budget{
		"field_invalid": {Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: -1},
		"tag_invalid":   {Target: budget.Target{Tags: "a*"}, Period: budget.Month},
	} {
		_, _, _, err := w.store.SetBudget(ctx, b, by)
		w.isKind(err, budget.KindInvalid, reason)
	}
	n := w.budget("a/**", 100)
	st := w.status(n.BudgetID)
	if st.Cap != 100 || st.Target.Tags != "a/**" || st.Period != budget.Total || !st.Window.End.IsZero() || st.CreateTime.IsZero() || !st.CreateTime.Equal(st.UpdateTime) {
		w.Errorf("%+v", st)
	}
	if again := w.budget("a/**", 200); again != n {
		w.Errorf("the same target has another budget, %+v", again)
	}
	changed := w.status(n.BudgetID)
	if changed.Cap != 200 || changed.Etag() == st.Etag() || !changed.CreateTime.Equal(st.CreateTime) {
		w.Errorf("%+v", changed)
	}
	raise := func(b *budget.Budget) error { b.Cap, b.DefaultMaxTokens = 300, 7; return nil }
	_, err := w.store.UpdateBudget(ctx, n.BudgetID, st.Etag(), raise, by)
	w.isKind(err, budget.KindConflict, "etag_mismatch")
	_, err = w.store.UpdateBudget(ctx, n.BudgetID, changed.Etag(), raise, by)
	w.must(err)
	if st = w.status(n.BudgetID); st.Cap != 300 || st.DefaultMaxTokens != 7 {
		w.Errorf("%+v", st)
	}
	_, err = w.store.UpdateBudget(ctx, n.BudgetID, "", func(b *budget.Budget) error { b.Period = budget.Day; return nil }, by)
	w.isKind(err, budget.KindInvalid, "field_immutable")
	_, err = w.store.UpdateBudget(ctx, "bud_none", "", raise, by)
	w.isKind(err, budget.KindNotFound, "budget_not_found")

}

func testBudgetLists(w *world) {
	ctx, start := w.Context(), w.rules()
	n, second := w.budget("a/**", 300), w.budget("b", 5)
	all, err := w.store.Budgets(ctx, "", 10)
	w.must(err)
	if len(all) != 2 || all[0].ID >= all[1].ID || time.Since(all[0].AsOf.Time) > time.Minute || all[0].AsOf.Behind != nil {
		w.Errorf("%+v", all)
	}
	if rest, err := w.store.Budgets(ctx, all[0].ID, 10); err != nil || len(rest) != 1 || rest[0].ID != all[1].ID {
		w.Errorf("behind the first: %+v, %v", rest, err)
	}
	m := w.join("m")
	w.exchange(m, ask(second, 5, 5, 3, 1))
	if st := w.status(second.BudgetID); st.Spent != 3 || st.Reserved != 1 {
		w.Errorf("%+v", st)
	}
	_, err = w.store.DeleteBudget(ctx, second.BudgetID, "stale", by)
	w.isKind(err, budget.KindConflict, "etag_mismatch")
	version, err := w.store.DeleteBudget(ctx, second.BudgetID, "", by)
	w.must(err)
	if grants, _, err := m.Exchange(ctx, []budget.Ask{ask(second, 5, 5, 3, 1)}); err != nil || len(grants) != 0 {
		w.Errorf("a deleted budget has leases: %+v, %v", grants, err)
	}
	r := w.rules()
	if r.Version != version || r.Version <= start.Version || len(r.Budgets) != 1 || r.Budgets[0].ID != n.BudgetID || r.Budgets[0].Cap != 300 {
		w.Errorf("%+v", r)
	}
	if _, changed, err := w.store.Rules(ctx, version); err != nil || changed {
		w.Errorf("rules of %d changed: %t, %v", version, changed, err)
	}
	if n := w.number("SELECT count(*) FROM aig_lease"); n != 0 {
		w.Errorf("%d leases of a deleted budget", n)
	}
}

func (w *world) rules() budget.Rules {
	w.Helper()
	r, _, err := w.store.Rules(w.Context(), 0)
	w.must(err)
	return r
}

// testCounting makes a budget while two replicas run; one that is gone has told what
// it spent.
func testCounting(w *world) {
	ctx := w.Context()
	m, o, gone := w.join("m"), w.join("o"), w.join("gone")
	quarter := time.Now().UnixNano() / int64(15*time.Minute)
	w.must(gone.PushUsage(ctx, []budget.UsageTotal{
		{Quarter: quarter, UsageRow: budget.UsageRow{Attribution: budget.Attribution{Tag: "a/x"}, Requests: 1, Cost: 30}},
		{Quarter: quarter, UsageRow: budget.UsageRow{Attribution: budget.Attribution{Tag: "b"}, Requests: 1, Cost: 500}},
	}, 0))
	w.must(m.PushUsage(ctx, []budget.UsageTotal{{Quarter: quarter, UsageRow: budget.UsageRow{Attribution: budget.Attribution{Tag: "a"}, Cost: 20}}}, 0))
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'gone'")
	id, version, made, err := w.store.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "a/**"}, Period: budget.Total, Cap: 100}, by)
	w.must(err)
	if r := w.rules(); !made || r.Version != version || len(r.Budgets) != 1 || !r.Budgets[0].Counting {
		w.Fatalf("%t, %+v", made, r)
	}
	if _, err := w.store.Budget(ctx, id); err == nil {
		w.Error("a budget that counts is listed")
	}
	soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = w.store.Enforce(soon, id)
	w.isKind(err, budget.KindUnavailable, "store_replicas_silent")
	w.acknowledge(m, o)
	n := budget.AccountName{BudgetID: id}
	w.exchange(m, ask(n, 25, 25, 20, 5))
	w.exchange(o, ask(n, 0, 0, 0, 0))
	version, err = w.store.Enforce(ctx, id)
	w.must(err)
	if r := w.rules(); r.Version != version || r.Budgets[0].Counting {
		w.Errorf("%+v", r)
	}
	if st := w.status(id); st.Spent != 50 || st.Reserved != 5 {
		w.Errorf("%+v, want what the gone one and m have spent", st)
	}
	if g := w.exchange(o, ask(n, 46, 46, 0, 0)); g.Lease != 0 || g.Free != 45 {
		w.Errorf("%+v", g)
	}
	// The gone one is back: its own word counts.
	w.acknowledge(gone)
	if g := w.exchange(gone, ask(n, 31, 0, 31, 0)); g.Lease != 31 || g.Free != 44 {
		w.Errorf("%+v", g)
	}
	// Another one was first: not all may obey yet.
	if v, err := w.store.Enforce(ctx, id); v != version || err != nil {
		w.Errorf("enforced again: %d, %v, want %d", v, err, version)
	}
}

// testCountingIsLeft has another replica go on with a budget whose maker died.
func testCountingIsLeft(w *world) {
	ctx := w.Context()
	m := w.join("m")
	b := budget.Budget{Target: budget.Target{KeyID: "key_a"}, Period: budget.Total, Cap: 100}
	id, _, _, err := w.store.SetBudget(ctx, b, by)
	w.must(err)
	w.must(w.store.Tidy(ctx))
	if r := w.rules(); !r.Budgets[0].Counting {
		w.Error("limits without a replica's word")
	}
	again, _, made, err := w.store.SetBudget(ctx, b, by)
	if again != id || !made || err != nil {
		w.Errorf("%s, %t, %v", again, made, err)
	}
	w.acknowledge(m)
	w.exchange(m, ask(budget.AccountName{BudgetID: id}, 0, 0, 0, 0))
	w.must(w.store.Tidy(ctx))
	if r := w.rules(); r.Budgets[0].Counting {
		w.Error("counts for ever")
	}
}

func testCut(w *world) {
	b := w.budget("a", 100)
	m, o := w.join("m"), w.join("o")
	w.exchange(m, ask(b, 60, 60, 10, 0))
	w.exchange(o, ask(b, 40, 40, 5, 0))
	w.allowed[b.BudgetID] = 70
	w.budget("a", 30)
	if g := w.exchange(o, ask(b, 50, 50, 5, 0)); g.Lease != 40 || g.Free != -70 {
		w.Errorf("a raise after a cut: %+v", g)
	}
	if g := w.exchange(m, ask(b, 60, 0, 10, 0)); !g.Recall {
		w.Errorf("no recall after a cut: %+v", g)
	}
	w.exchange(m, ask(b, 10, 0, 10, 0))
	if g := w.exchange(o, ask(b, 20, 0, 5, 0)); g.Lease != 20 || g.Free != 0 || g.Recall {
		w.Errorf("%+v", g)
	}
	w.allowed[b.BudgetID] = 0
	w.sums()
	w.budget("a", 50)
	if g := w.exchange(m, ask(b, 30, 30, 10, 0)); g.Lease != 30 {
		w.Errorf("a raise after the cap was raised: %+v", g)
	}
}

// testZone edits the zone of a budget: the open window goes on to the new border.
func testZone(w *world) {
	ctx := w.Context()
	set := func(zone string) string {
		id, _, made, err := w.store.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day, Cap: 100, Zone: zone}, by)
		w.must(err)
		if made {
			_, err = w.store.Enforce(ctx, id)
			w.must(err)
		}
		return id
	}
	id := set("")
	m := w.join("m")
	was := w.status(id).Window
	w.exchange(m, ask(budget.AccountName{BudgetID: id, Start: was.Start.UnixNano()}, 80, 80, 0, 0))
	set("Asia/Kathmandu")
	b := w.rules().Budgets[0]
	loc, err := time.LoadLocation("Asia/Kathmandu")
	w.must(err)
	now := time.Now()
	wanted := budget.Window{Start: was.Start, End: budget.Day.WindowAt(now, loc).End}
	got := b.WindowAt(now, loc)
	if !got.Start.Equal(wanted.Start) || !got.End.Equal(wanted.End) || !w.status(id).Window.End.Equal(wanted.End) {
		w.Errorf("the window is %v, want %v", got, wanted)
	}
	if g := w.exchange(m, ask(budget.AccountName{BudgetID: id, Start: was.Start.UnixNano()}, 90, 90, 0, 0)); g.Lease != 90 {
		w.Errorf("%+v", g)
	}
	// A replica that does not know of the edit's window would have a cap of its own.
	wrong := budget.AccountName{BudgetID: id, Start: budget.Day.WindowAt(now, loc).Start.UnixNano()}
	if grants, _, err := m.Exchange(ctx, []budget.Ask{ask(wrong, 100, 100, 0, 0)}); err != nil || len(grants) != 0 {
		w.Errorf("two windows at a time: %+v, %v", grants, err)
	}
}

func testKeys(w *world) {
	ctx := w.Context()
	_, _, _, err := w.store.CreateKey(ctx, budget.Key{Name: "a"}, by)
	w.isKind(err, budget.KindInvalid, "field_invalid")
	wait := 2 * time.Second
	want := budget.Key{Name: "a", Scopes: []budget.Scope{budget.ScopeInference}, AllowedTags: []budget.TagPattern{"x/**"}, DefaultTag: "x/y",
		AllowedModels: []string{"p/*"}, MaxWait: &wait, ExpireTime: time.Unix(4e9, 0).UTC(), Defaults: budget.Defaults{DefaultMaxTokens: 5}}
	k, secret, version, err := w.store.CreateKey(ctx, want, by)
	w.must(err)
	want.ID, want.CreateTime = k.ID, k.CreateTime
	got, err := w.store.Key(ctx, k.ID)
	w.must(err)
	if !reflect.DeepEqual(got, want) || k.CreateTime.IsZero() {
		w.Errorf("%+v, want %+v", got, want)
	}
	r := w.rules()
	if r.Version != version || len(r.Keys) != 1 || r.Keys[0].Hash != sha256.Sum256([]byte(secret)) || !reflect.DeepEqual(r.Keys[0].Key, want) {
		w.Errorf("%+v", r)
	}
	if n := w.number("SELECT count(*) FROM aig_key k WHERE k::text LIKE '%' || $1 || '%'", secret[len(budget.KeyPrefix)+17:]); n != 0 {
		w.Error("the secret is in the store")
	}
	list, err := w.store.Keys(ctx, "", 10)
	if err != nil || len(list) != 1 {
		w.Errorf("%+v, %v", list, err)
	}
	if list, err = w.store.Keys(ctx, k.ID, 10); err != nil || len(list) != 0 {
		w.Errorf("%+v, %v", list, err)
	}
	later, err := w.store.DeleteKey(ctx, k.ID, by)
	if err != nil || later <= version {
		w.Errorf("%d, %v", later, err)
	}
	_, err = w.store.DeleteKey(ctx, k.ID, by)
	w.isKind(err, budget.KindNotFound, "key_not_found")
	_, err = w.store.Key(ctx, k.ID)
	w.isKind(err, budget.KindNotFound, "key_not_found")
}

func testAudit(w *world) {
	ctx := w.Context()
	w.budget("a", 1)
	w.budget("a", 2)
	_, _, _, err := w.store.CreateKey(ctx, budget.Key{Name: "a", Scopes: budget.Scopes()}, budget.Author{Actor: "me", Reason: "because"})
	w.must(err)
	_, _, _, err = w.store.CreateKey(ctx, budget.Key{Name: "a", Scopes: budget.Scopes()}, budget.Author{Reason: "\x00"})
	w.isKind(err, budget.KindInvalid, "field_invalid")
	log, err := w.store.AuditLog(ctx, 0, 10)
	w.must(err)
	if len(log) != 3 || log[0].Action != "create_budget" || log[1].Action != "update_budget" || log[2].Action != "create_key" || log[2].Actor != "me" || log[2].Detail == "" {
		w.Errorf("%+v", log)
	}
	if rest, err := w.store.AuditLog(ctx, log[1].ID, 10); err != nil || len(rest) != 1 {
		w.Errorf("%+v, %v", rest, err)
	}
	if n, _, err := w.store.VerifyAudit(ctx); n != 3 || err != nil {
		w.Errorf("%d, %v", n, err)
	}
	w.exec("UPDATE aig_audit SET actor = 'somebody' WHERE id = 2")
	if _, _, err := w.store.VerifyAudit(ctx); err == nil {
		w.Error("a row that was changed is not noticed")
	}
}

// testAwait waits for a replica until it obeys, has left, or is silent for too long.
func testAwait(w *world) {
	ctx := w.Context()
	m, o := w.join("m"), w.join("o")
	b := w.budgetWhile("a", 100, m, o)
	await := func(version uint64) ([]string, error) {
		soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		return w.store.AwaitVersion(soon, version)
	}
	edit := func() uint64 {
		v, err := w.store.UpdateBudget(ctx, b.BudgetID, "", func(b *budget.Budget) error { b.Cap++; return nil }, by)
		w.must(err)
		return v
	}
	v := edit()
	w.must(m.Acknowledge(ctx, v))
	_, err := await(v)
	w.isKind(err, budget.KindUnavailable, "store_replicas_silent")
	w.must(o.Acknowledge(ctx, v))
	if silent, err := await(v); err != nil || len(silent) != 0 {
		w.Errorf("%q, %v", silent, err)
	}
	v = edit()
	w.must(m.Acknowledge(ctx, v))
	w.exec("UPDATE aig_holder SET seen = now() - interval '32 seconds' WHERE id = 'o'")
	if _, err := await(v); err == nil {
		w.Error("a replica may be silent for 30 seconds by its own clock, which may be slower")
	}
	w.exec("UPDATE aig_holder SET seen = now() - interval '34 seconds' WHERE id = 'o'")
	if silent, err := await(v); err != nil || len(silent) != 1 || silent[0] != "o" {
		w.Errorf("%q, %v", silent, err)
	}
	w.acknowledge(o)
	w.exchange(o, ask(b, 0, 0, 0, 0))
	v = edit()
	w.must(m.Acknowledge(ctx, v))
	w.must(o.Leave(ctx))
	if silent, err := await(v); err != nil || len(silent) != 0 {
		w.Errorf("%q, %v", silent, err)
	}
}

// budgetWhile makes a budget while replicas run.
func (w *world) budgetWhile(tag string, limit budget.Amount, members ...*postgres.Member) budget.AccountName {
	w.Helper()
	id, _, _, err := w.store.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: budget.TagPattern(tag)}, Period: budget.Total, Cap: limit}, by)
	w.must(err)
	w.acknowledge(members...)
	n := budget.AccountName{BudgetID: id}
	for _, m := range members {
		w.exchange(m, ask(n, 0, 0, 0, 0))
	}
	_, err = w.store.Enforce(w.Context(), id)
	w.must(err)
	w.acknowledge(members...)
	return n
}

func testForget(w *world) {
	ctx := w.Context()
	b := w.budget("a", 100)
	m, dead, lost := w.join("m"), w.join("dead"), w.join("lost")
	w.exchange(dead, ask(b, 40, 40, 10, 5))
	w.exchange(lost, ask(b, 40, 40, 10, 5))
	w.isKind(w.store.Forget(ctx, "nobody", true, by), budget.KindNotFound, "replica_not_found")
	w.must(w.store.Forget(ctx, "dead", true, by))
	w.isKind(w.store.Forget(ctx, "lost", false, by), budget.KindConflict, "replica_is_live")
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'lost'")
	w.must(w.store.Forget(ctx, "lost", false, by))
	w.sums()
	if st := w.status(b.BudgetID); st.Spent != 55 || st.Reserved != 0 {
		w.Errorf("%+v", st)
	}
	if g := w.exchange(m, ask(b, 45, 45, 0, 0)); g.Lease != 45 {
		w.Errorf("%+v", g)
	}
	for _, gone := range []*postgres.Member{dead, lost} {
		if _, _, err := gone.Exchange(ctx, []budget.Ask{ask(b, 40, 0, 10, 5)}); !errors.Is(err, budget.ErrFenced) {
			w.Errorf("a forgotten replica exchanges: %v", err)
		}
	}
	if _, err := w.store.Join(ctx, budget.Replica{ID: "dead"}); !errors.Is(err, budget.ErrFenced) {
		w.Errorf("a forgotten replica joins: %v", err)
	}
	all, err := w.store.Replicas(ctx)
	w.must(err)
	if len(all) != 1 || all[0].ID != "m" || all[0].Name != "host of m" || all[0].Leased != 45 || all[0].Rules == 0 || time.Since(all[0].Seen) > time.Minute {
		w.Errorf("%+v", all)
	}
	log, err := w.store.AuditLog(ctx, 1, 10)
	w.must(err)
	if len(log) != 2 || log[0].Action != "forget_replica" || log[0].Subject != "dead" {
		w.Errorf("%+v", log)
	}
}

// testForgetGone: who is silent for Config.ForgetAfter is forgotten, and all that it
// was lent is spent, whoever notices; who is heard of is not.
func testForgetGone(w *world) {
	ctx := w.Context()
	const after = 2 * time.Second
	stores := []*postgres.Store{w.open(postgres.Config{ForgetAfter: after}), w.open(postgres.Config{ForgetAfter: after})}
	b := w.budget("a", 100)
	m, gone, left := w.join("m"), w.join("gone"), w.join("left")
	w.exchange(gone, ask(b, 40, 40, 10, 5))
	w.exchange(left, ask(b, 3, 3, 3, 0))
	w.must(left.Leave(ctx))
	for end := time.Now().Add(after + 30*time.Second); time.Now().Before(end) && w.status(b.BudgetID).Spent != 63; time.Sleep(50 * time.Millisecond) {
		w.exchange(m, ask(b, 20, 20, 20, 0))
		w.must(w.store.Tidy(ctx)) // as a replica's does that was not told to forget
		for _, s := range stores {
			w.must(s.Tidy(ctx))
		}
	}
	w.sums()
	if st := w.status(b.BudgetID); st.Spent != 63 || st.Reserved != 0 {
		w.Errorf("%+v, want all of what is gone's lease spent", st)
	}
	if all, err := w.store.Replicas(ctx); err != nil || len(all) != 1 || all[0].ID != "m" {
		w.Errorf("%+v, %v", all, err)
	}
	if _, _, err := gone.Exchange(ctx, []budget.Ask{ask(b, 40, 40, 20, 0)}); !errors.Is(err, budget.ErrFenced) {
		w.Errorf("it is back: %v", err)
	}
	log, err := w.store.AuditLog(ctx, 1, 10)
	w.must(err)
	if len(log) != 2 || log[0].Action != "forget_replica" || log[0].Actor != "store.forget_after" || !strings.Contains(log[0].Detail, "silent for 2s") {
		w.Errorf("%+v", log)
	}
}

func testUsage(w *world) {
	ctx := w.Context()
	m, o := w.join("m"), w.join("o")
	day := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	row := func(hours int, tag, model string, cost budget.Amount) budget.UsageTotal {
		return budget.UsageTotal{Quarter: day.Add(time.Duration(hours)*time.Hour).UnixNano() / int64(15*time.Minute), UsageRow: budget.UsageRow{
			Attribution: budget.Attribution{Tag: budget.Tag(tag), Model: model, Provider: "p", KeyID: "k"}, Requests: 1, Cost: cost, Tokens: budget.Tokens{Input: 10}}}
	}
	var many []budget.UsageTotal
	for i := range 2345 {
		many = append(many, row(i%24, "many", string(rune('a'+i/24%26))+string(rune('a'+i/624)), 1))
	}
	w.must(m.PushUsage(ctx, many, 0))
	w.must(m.PushUsage(ctx, []budget.UsageTotal{row(1, "t/a", "x", 5), row(2, "t/b", "x", 7)}, 0))
	w.must(m.PushUsage(ctx, []budget.UsageTotal{row(1, "t/a", "x", 6)}, 0)) // absolute
	w.must(o.PushUsage(ctx, []budget.UsageTotal{row(1, "t/a", "x", 10), row(30, "t", "y", 20)}, 0))
	w.exec("UPDATE aig_usage SET seq = seq + 1000 WHERE holder = 'o' AND tag = 't'")
	w.must(o.PushUsage(ctx, []budget.UsageTotal{row(30, "t", "y", 1)}, 0)) // one that a later push has overtaken

	window := budget.Window{Start: day, End: day.AddDate(0, 0, 2)}
	costs, err := w.store.TagCosts(ctx, window, "t/**")
	w.must(err)
	sum := map[budget.Tag]budget.TagCost{}
	for _, c := range costs {
		sum[c.Tag] = c
	}
	if len(sum) != 3 || sum["t/a"].Cost != 16 || sum["t/a"].Requests != 2 || sum["t/b"].Cost != 7 || sum["t"].Cost != 20 {
		w.Errorf("%+v", costs)
	}
	rows, err := w.store.Usage(ctx, budget.UsageQuery{Window: window, GroupBy: []budget.Dimension{budget.ByDay, budget.ByModel}, Tags: "t/**", Zone: time.UTC})
	w.must(err)
	if len(rows) != 2 || rows[0].Cost != 23 || rows[0].Model != "x" || rows[0].Input != 30 || !rows[0].Time.Equal(day) || rows[1].Cost != 20 || !rows[1].Time.Equal(day.AddDate(0, 0, 1)) {
		w.Errorf("%+v", rows)
	}
	rows, err = w.store.Usage(ctx, budget.UsageQuery{Window: window, Zone: time.UTC, KeyID: "k"})
	if err != nil || len(rows) != 1 || rows[0].Cost != 2345+43 {
		w.Errorf("%+v, %v", rows, err)
	}
	w.exec("UPDATE aig_holder SET pushed = now() - interval '1 hour' WHERE id = 'o'")
	if asOf, err := w.store.UsageAsOf(ctx); err != nil || time.Since(asOf.Time) < 59*time.Minute || !slices.Equal(asOf.Behind, []string{"o"}) {
		w.Errorf("usage that one has not told for an hour is as of %+v, %v", asOf, err)
	}
	w.must(o.PushUsage(ctx, nil, 0))
	if asOf, err := w.store.UsageAsOf(ctx); err != nil || time.Since(asOf.Time) > time.Minute || asOf.Behind != nil {
		w.Errorf("told a moment ago, it is as of %+v, %v", asOf, err)
	}
	_, err = w.store.Usage(ctx, budget.UsageQuery{Window: budget.Window{Start: day, End: day.Add(time.Minute)}})
	w.isKind(err, budget.KindInvalid, "field_invalid")
}

// TestAddressIsKeptSecret opens a store that is not there.
func TestAddressIsKeptSecret(t *testing.T) {
	for _, url := range []string{"postgres://u:hush@127.0.0.1:1/db", "postgres://u:hush@[::1/db"} {
		if _, err := postgres.Open(t.Context(), postgres.Config{URL: url}); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v", err)
		}
	}
}
