package postgres_test

import (
	"reflect"
	"sync"
	"time"

	"aigateway/budget"
	"aigateway/postgres"
)

// testQuestions asks five replicas, of which one does not answer, one is gone, and one
// left: who left is missed only where the past is asked for.
func testQuestions(w *world) {
	ctx := w.Context()
	m, o := w.join("m"), w.join("o")
	w.join("deaf")
	w.join("gone")
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'gone'")
	w.must(w.join("left").Leave(ctx))
	w.must(w.join("long").Leave(ctx))
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'long'")
	w.join("forgotten")
	w.must(w.store.Forget(ctx, "forgotten", true, by))
	answer := func() { w.answerOnce(m) }
	ask := func(past time.Duration, missing ...string) {
		w.Helper()
		var wg sync.WaitGroup
		wg.Go(answer)
		begun := time.Now()
		answers, without, err := o.Ask(ctx, "open", []byte("5"), nil, 2*time.Second, past)
		wg.Wait()
		w.must(err)
		if want := map[string][]byte{"m": []byte("mine"), "o": {}}; !reflect.DeepEqual(answers, want) || !reflect.DeepEqual(without, missing) {
			w.Errorf("%q, without %q, want without %q", answers, without, missing)
		}
		if took := time.Since(begun); took < 2*time.Second {
			w.Errorf("it took %s, and one who lives has not answered", took)
		}
	}
	ask(0, "deaf", "gone")
	ask(time.Minute, "deaf", "gone", "left")
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'deaf'")
	var wg sync.WaitGroup
	wg.Go(answer)
	begun := time.Now()
	_, missing, err := o.Ask(ctx, "open", []byte("5"), nil, time.Minute, 0)
	wg.Wait()
	if took := time.Since(begun); err != nil || took > 30*time.Second || !reflect.DeepEqual(missing, []string{"deaf", "gone"}) {
		w.Errorf("%v after %s without %q: nobody waits for who is silent", err, took, missing)
	}
	for _, table := range []string{"aig_question", "aig_answer"} {
		if n := w.number("SELECT count(*) FROM " + table); n != 0 {
			w.Errorf("%s has %d rows, and nobody asks any more", table, n)
		}
	}
	w.must(m.Answer(ctx, 1, []byte("late")))
	if n := w.number("SELECT count(*) FROM aig_answer"); n != 0 {
		w.Errorf("%d late answers stay", n)
	}
	w.exec("INSERT INTO aig_question (kind, body) SELECT 'big', convert_to(repeat('x', 700000), 'UTF8') FROM generate_series(1, 5)")
	if q, err := m.Questions(ctx); err != nil || len(q) != 2 || q[0].ID >= q[1].ID {
		w.Errorf("%d questions of 700000 bytes at a time, %v", len(q), err)
	}
	if _, _, err := o.Ask(ctx, "open", make([]byte, 1<<20+1), nil, time.Second, 0); err == nil {
		w.Error("a question without end was asked")
	}
	if err := m.Answer(ctx, 1, make([]byte, 1<<20+1)); err == nil {
		w.Error("an answer without end was given")
	}
}

// answerOnce answers the one question there is, and again.
func (w *world) answerOnce(m *postgres.Member) {
	ctx := w.Context()
	for range 200 {
		q, err := m.Questions(ctx)
		if err != nil {
			w.Error(err)
		}
		if len(q) == 1 {
			if q[0].Kind != "open" || string(q[0].Body) != "5" {
				w.Errorf("%+v", q[0])
			}
			w.must(m.Answer(ctx, q[0].ID, []byte("mine")))
			w.must(m.Answer(ctx, q[0].ID, []byte("another")))
			if q, err := m.Questions(ctx); err != nil || len(q) != 0 {
				w.Errorf("%+v, %v", q, err)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.Error("no question came")
}

// testReplicas lists the replicas by the store's clock and version.
func testReplicas(w *world) {
	ctx := w.Context()
	w.budget("a", 100) // raises the version
	m := w.join("m")
	w.must(w.join("left").Leave(ctx))
	w.join("silent")
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour', pushed = now() - interval '2 hours' WHERE id = 'silent'")
	version := uint64(w.number("SELECT version FROM aig_state"))
	w.must(m.Acknowledge(ctx, version))
	w.exec("UPDATE aig_state SET version = version + 3") // and nobody has heard of it yet
	w.join("forgotten")
	w.exec("UPDATE aig_holder SET forgotten = true WHERE id = 'forgotten'")
	all, err := w.store.Replicas(ctx)
	w.must(err)
	if n, err := w.store.CountReplicas(ctx); err != nil || n != len(all) {
		w.Errorf("%d replicas are counted of %d, %v", n, len(all), err)
	}
	got := map[string]budget.ReplicaStatus{}
	for _, r := range all {
		got[r.ID] = r
	}
	if r := got["m"]; r.State() != "live" || r.Rules != version || r.Behind != 3 || r.Silence > 10*time.Second || r.Lag > 10*time.Second {
		w.Errorf("%+v", r)
	}
	if r := got["left"]; r.State() != "left" || r.Behind != 0 {
		w.Errorf("%+v", r)
	}
	if r := got["silent"]; r.State() != "silent" || r.Silence < time.Hour || r.Lag < 2*time.Hour {
		w.Errorf("%+v", r)
	}
}

// testImport moves a single machine's books, and runs on with them.
func testImport(w *world) {
	ctx := w.Context()
	now := time.Now().UTC().Truncate(time.Microsecond)
	today := budget.Day.WindowAt(now, time.UTC)
	rules := budget.Rules{
		Budgets: []budget.SharedBudget{
			{Budget: budget.Budget{ID: "bud_a", Target: budget.Target{Tags: "a"}, Period: budget.Day, Cap: 100, CreateTime: now, UpdateTime: now}},
			{Budget: budget.Budget{ID: "bud_b", Target: budget.Target{KeyID: "key_a"}, Period: budget.Total, Cap: 50, CreateTime: now, UpdateTime: now}},
		},
		Keys: []budget.SharedKey{{Key: budget.Key{ID: "key_a", Name: "a", Scopes: budget.Scopes(), AllowedTags: []budget.TagPattern{}, AllowedModels: []string{}, CreateTime: now}, Hash: [32]byte{1}}},
	}
	a, b := budget.AccountName{BudgetID: "bud_a", Start: today.Start.UnixNano()}, budget.AccountName{BudgetID: "bud_b"}
	accounts := []budget.Ask{ask(a, 0, 0, 60, 10), ask(b, 0, 0, 70, 0),
		ask(budget.AccountName{BudgetID: "bud_a", Start: today.Start.AddDate(0, 0, -3).UnixNano()}, 0, 0, 5, 0), ask(budget.AccountName{BudgetID: "bud_gone"}, 0, 0, 5, 0)}
	log := []budget.AuditEntry{{ID: 7, Time: now, Actor: "me", Action: "create_budget", Subject: "bud_a", Detail: "{}"}}
	corrections := []budget.Adjustment{{ID: "adj_4", RequestID: "r4", BudgetID: "bud_a", Amount: -3, Reason: "x", Actor: "me", Time: now}}
	version, err := w.store.Import(ctx, budget.Replica{ID: "one"}, rules, accounts, log, corrections, by)
	w.must(err)
	w.allowed["bud_b"] = 20
	w.sums()
	got := w.rules()
	if got.Version != version || !reflect.DeepEqual(got.Budgets, rules.Budgets) || !reflect.DeepEqual(got.Keys, rules.Keys) {
		w.Errorf("%+v, want %+v", got, rules)
	}
	if st := w.status("bud_a"); st.Spent != 60 || st.Reserved != 10 {
		w.Errorf("%+v", st)
	}
	if entries, err := w.store.AuditLog(ctx, 0, 10); err != nil || len(entries) != 2 || entries[0].Subject != "bud_a" || !entries[0].Time.Equal(now) || entries[1].Action != "import" {
		w.Errorf("%+v, %v", entries, err)
	}
	_, err = w.store.Import(ctx, budget.Replica{ID: "two"}, rules, accounts, log, corrections, by)
	w.isKind(err, budget.KindConflict, "store_not_empty")
	again, err := w.store.Adjust(ctx, budget.Adjustment{RequestID: "r4", BudgetID: "bud_a", Amount: -3, Reason: "x"}, "you") // a repeat
	if err != nil || again != corrections[0] {
		w.Errorf("%+v, %v; want %+v", again, err, corrections[0])
	}
	// Another one starts first, and gets what is left.
	if g := w.exchange(w.join("other"), ask(a, 31, 31, 0, 0)); g.Lease != 0 || g.Free != 30 {
		w.Errorf("%+v", g)
	}
	if g := w.exchange(w.join("one"), ask(a, 75, 75, 60, 10)); g.Lease != 75 {
		w.Errorf("%+v", g)
	}
}

// testTidy deletes what is long over, and no more.
// testTidyByItsClock has a store whose clock is 60 days behind this machine's, which is
// as far ahead of it: what runs by the store's clock is not tidied away.
func testTidyByItsClock(w *world) {
	for _, name := range []string{"now", "clock_timestamp"} {
		w.exec("CREATE FUNCTION " + name + "() RETURNS timestamptz LANGUAGE sql STABLE RETURN pg_catalog." + name + "() - interval '60 days'")
	}
	w.store = w.open(postgres.Config{URL: w.server.URL("admin", "search_path", w.schema+",pg_catalog")})
	id, _, _, err := w.store.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day, Cap: 100}, by)
	w.must(err)
	_, err = w.store.Enforce(w.Context(), id)
	w.must(err)
	m, o := w.join("m"), w.join("o")
	b := budget.AccountName{BudgetID: id, Start: w.status(id).Window.Start.UnixNano()}
	w.exchange(m, ask(b, 100, 100, 60, 0))
	w.must(m.PushRefused(w.Context(), []budget.Refused{{BudgetID: id, Reason: "cap_reached", Time: time.Unix(0, b.Start), RefusedSum: budget.RefusedSum{Calls: 1}}}))
	w.must(w.store.Tidy(w.Context()))
	if g := w.exchange(o, ask(b, 10, 10, 0, 0)); g.Lease != 0 {
		w.Errorf("beside 100 of 100, %+v is lent", g)
	}
	if n := w.number("SELECT count(*) FROM aig_refused"); n != 1 {
		w.Errorf("%d counts of refused calls are kept, want 1", n)
	}
}

func testTidy(w *world) {
	b := w.budget("a", 100)
	m := w.join("m")
	w.exchange(m, ask(b, 10, 10, 0, 0))
	w.exec(`INSERT INTO aig_account (budget_id, start, "end", cap, allocated) VALUES ('bud_x', 1, 2, 9, 5)`)
	w.exec(`INSERT INTO aig_lease VALUES ('bud_x', 1, 'm', 5, 0, 0)`)
	w.exec(`INSERT INTO aig_question (kind, body, asked) VALUES ('k', '', now() - interval '2 minutes')`)
	w.exec(`INSERT INTO aig_answer VALUES (1, 'm', '')`)
	w.must(w.store.Tidy(w.Context()))
	for table, want := range map[string]int64{"aig_account": 1, "aig_lease": 1, "aig_question": 0, "aig_answer": 0} {
		if n := w.number("SELECT count(*) FROM " + table); n != want {
			w.Errorf("%s has %d rows, want %d", table, n, want)
		}
	}
}
