package postgres_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

// follower has the rules of a store as it read them, one change after another.
type follower struct {
	*world
	store   *postgres.Store
	version uint64
	budgets map[string]budget.SharedBudget
	keys    map[string]budget.SharedKey
	rows    int // that the last reading had
	all     bool
}

func (w *world) follower() *follower {
	w.Helper()
	f := &follower{world: w, store: w.open(postgres.Config{}), budgets: map[string]budget.SharedBudget{}, keys: map[string]budget.SharedKey{}}
	f.follow()
	return f
}

// follow reads what changed, and wants what the store has.
func (f *follower) follow() {
	f.Helper()
	r, changed, err := f.store.Rules(f.Context(), f.version)
	f.must(err)
	f.rows, f.all = len(r.Budgets)+len(r.Keys)+len(r.Gone), changed && r.Since == 0
	if changed {
		if f.all {
			clear(f.budgets)
			clear(f.keys)
		} else if r.Since != f.version {
			f.Fatalf("what changed since %d, not %d", r.Since, f.version)
		}
		for _, id := range r.Gone {
			delete(f.budgets, id)
			delete(f.keys, id)
		}
		for _, b := range r.Budgets {
			f.budgets[b.ID] = b
		}
		for _, k := range r.Keys {
			f.keys[k.ID] = k
		}
		f.version = r.Version
	}
	fresh, _, err := f.world.store.Rules(f.Context(), 0)
	f.must(err)
	if fresh.Since != 0 || f.version != fresh.Version || len(f.budgets) != len(fresh.Budgets) || len(f.keys) != len(fresh.Keys) {
		f.Fatalf("version %d of %d, %d budgets of %d, %d keys of %d", f.version, fresh.Version, len(f.budgets), len(fresh.Budgets), len(f.keys), len(fresh.Keys))
	}
	for _, b := range fresh.Budgets {
		if f.budgets[b.ID] != b {
			f.Errorf("%+v, not %+v", f.budgets[b.ID], b)
		}
	}
	for _, k := range fresh.Keys {
		if f.keys[k.ID].Hash != k.Hash || f.keys[k.ID].Name != k.Name {
			f.Errorf("%+v, not %+v", f.keys[k.ID], k)
		}
	}
}

// testChanged makes every kind of edit, of a store with many rules, and reads each alone.
func testChanged(w *world) {
	ctx := w.Context()
	w.exec(`INSERT INTO aig_budget SELECT 'bud_' || i, 'm/' || i, '', 4, '', 100, 0, 0, 1, 1, false FROM generate_series(1, 500) i`)
	f := w.follower()
	want := func(what string, rows int) {
		w.Helper()
		f.follow()
		if f.all || f.rows != rows {
			w.Errorf("%s: read %d rows, not %d (all: %t)", what, f.rows, rows, f.all)
		}
	}
	want("nothing", 0)
	_, err := w.store.UpdateBudget(ctx, "bud_7", "", func(b *budget.Budget) error { b.Cap++; return nil }, by)
	w.must(err)
	want("a cap", 1)
	id, _, _, err := w.store.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "new"}, Period: budget.Total, Cap: 5}, by)
	w.must(err)
	want("a new budget", 1)
	_, err = w.store.Enforce(ctx, id)
	w.must(err)
	want("that limits", 1)
	k, _, _, err := w.store.CreateKey(ctx, budget.Key{Name: "k", Scopes: []budget.Scope{budget.ScopeInference}}, by)
	w.must(err)
	want("a key", 1)
	_, err = w.store.DeleteKey(ctx, k.ID, by)
	w.must(err)
	_, err = w.store.DeleteBudget(ctx, id, "", by)
	w.must(err)
	again, _, _, err := w.store.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "new"}, Period: budget.Total, Cap: 6}, by)
	w.must(err)
	want("a key and a budget gone, and one of its target made", 3)
	// An older program edits.
	w.exec(`BEGIN; UPDATE aig_state SET version = version + 1; UPDATE aig_budget SET cap = 3 WHERE id = 'bud_9'; DELETE FROM aig_budget WHERE id = '` + again + `'; COMMIT`)
	want("an older program's edit", 2)
	f.lost()
}

// lost takes edits back, as the promotion of a standby that lacks them does, and has
// somebody away for long: they read all.
func (f *follower) lost() {
	wantAll := func(what string) {
		f.Helper()
		f.follow()
		if !f.all {
			f.Errorf("%s: read %d changes", what, f.rows)
		}
	}
	edit := func(limit int) {
		f.Helper()
		_, err := f.world.store.UpdateBudget(f.Context(), "bud_8", "", func(b *budget.Budget) error { b.Cap = budget.Amount(limit); return nil }, by)
		f.must(err)
	}
	cut := f.version
	edit(1000)
	f.follow()
	takeBack := fmt.Sprintf(`BEGIN; SET LOCAL session_replication_role = replica; UPDATE aig_state SET version = %d; UPDATE aig_budget SET cap = 100, version = 0 WHERE id = 'bud_8';
		DELETE FROM aig_edit WHERE version > %[1]d; COMMIT`, cut)
	f.exec(takeBack)
	wantAll("a version that goes back")
	edit(1001)
	f.follow()
	f.exec(takeBack)
	_, err := f.world.store.UpdateBudget(f.Context(), "bud_5", "", func(b *budget.Budget) error { b.Cap = 7; return nil }, by)
	f.must(err)
	wantAll("the same version by another edit")
	edit(1002)
	f.follow()
	f.exec(takeBack)
	edit(1003)
	edit(1004)
	wantAll("a later version behind another edit")
	f.exec(`UPDATE aig_state SET timeline = 'another'`)
	edit(1005) // notices the failover
	wantAll("a failover")
	edit(1006)
	f.follow()
	if f.all || f.rows != 1 {
		f.Errorf("after a failover, an edit is %d rows (all: %t)", f.rows, f.all)
	}
	f.exec(`DO $$ BEGIN FOR i IN 1..1001 LOOP UPDATE aig_state SET version = version + 1; END LOOP; END $$`)
	wantAll("away for long")
	if n := f.number(`SELECT count(*) FROM aig_edit`); n > 1000 {
		f.Errorf("%d edits are kept", n)
	}
}

// BenchmarkEdit reads each of 100 edits of 10,000 budgets, as a gateway that follows and
// as one that reads all, in turns.
func BenchmarkEdit(b *testing.B) {
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	url := pgtest.Start(b, "max_connections = 20").URL("admin")
	open := func() *postgres.Store {
		s, err := postgres.Open(b.Context(), postgres.Config{URL: url, Durability: postgres.SingleNode})
		must(err)
		b.Cleanup(s.Close)
		return s
	}
	s, editor := open(), open()
	db, err := pgx.Connect(b.Context(), url)
	must(err)
	defer db.Close(b.Context())
	_, err = db.Exec(b.Context(), `INSERT INTO aig_budget SELECT 'bud_' || i, 'm/' || i, '', 4, '', 1000000000, 0, 0, 1, 1, false FROM generate_series(0, 9999) i`)
	must(err)
	r, _, err := s.Rules(b.Context(), 0)
	must(err)
	known := r.Version
	var took [2][]time.Duration
	for range b.N {
		for i := range 100 {
			_, err := editor.UpdateBudget(b.Context(), fmt.Sprint("bud_", i), "", func(b *budget.Budget) error { b.Cap++; return nil }, by)
			must(err)
			begun := time.Now()
			r, changed, err := s.Rules(b.Context(), known)
			must(err)
			took[0] = append(took[0], time.Since(begun))
			if !changed || r.Since != known || len(r.Budgets) != 1 {
				b.Fatalf("%t, since %d, %d budgets", changed, r.Since, len(r.Budgets))
			}
			known, begun = r.Version, time.Now()
			_, _, err = editor.Rules(b.Context(), 0)
			must(err)
			took[1] = append(took[1], time.Since(begun))
		}
	}
	for i, what := range []string{"changed-ms", "all-ms"} {
		slices.Sort(took[i])
		b.ReportMetric(took[i][len(took[i])/2].Seconds()*1000, what)
	}
	b.ReportMetric(0, "ns/op")
}
