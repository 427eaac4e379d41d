package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/postgres"
)

const grain = int64(15 * time.Minute)

// booker is what one replica has booked: the totals that its ledger would tell.
type booker struct {
	m    *postgres.Member
	rows map[int64]map[budget.Tag]budget.UsageRow
}

func (b *booker) book(quarter int64, tag budget.Tag, cost budget.Amount) {
	if b.rows[quarter] == nil {
		b.rows[quarter] = map[budget.Tag]budget.UsageRow{}
	}
	r := b.rows[quarter][tag]
	r.Attribution = budget.Attribution{Tag: tag, Model: "p/m", Provider: "p", KeyID: "k"}
	r.Requests, r.Cost, r.Input = r.Requests+1, r.Cost+cost, r.Input+7
	b.rows[quarter][tag] = r
}

// totals are those of rows from first to last, as ledger.UsageSince tells them.
func (b *booker) totals(folds budget.UsageFolds, first, last int64) (out []budget.UsageTotal) {
	done := map[int64]bool{}
	for quarter, tags := range b.rows {
		if quarter < first || quarter >= last {
			continue
		}
		from, next := folds.Part(quarter)
		if quarter >= folds.Upto() {
			for _, r := range tags {
				out = append(out, budget.UsageTotal{Quarter: quarter, UsageRow: r})
			}
			continue
		}
		if done[from] {
			continue
		}
		done[from] = true
		sums := map[budget.Tag]budget.UsageRow{}
		for q := from; q < next; q++ {
			for tag, r := range b.rows[q] {
				sum := sums[tag]
				sum.Attribution = r.Attribution
				sum.Add(r)
				sums[tag] = sum
			}
		}
		for _, r := range sums {
			out = append(out, budget.UsageTotal{Quarter: from, Next: next, UsageRow: r})
		}
	}
	return out
}

// pushOld tells all of b again, as a program does that does not know of folded usage: in
// one transaction, by the quarter of an hour.
func (w *world) pushOld(b *booker, holder string, first, last int64) error {
	tx, err := w.db.Begin(w.Context())
	w.must(err)
	defer tx.Rollback(w.Context())
	for _, t := range b.totals(nil, first, last) {
		if _, err := tx.Exec(w.Context(), `INSERT INTO aig_usage (holder, seq, tag, model, provider, key_id, bucket, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost)
			VALUES ($1, 1::bigint << 40, $2, $3, $4, $5, $6, $7, 0, $8, $9, 0, 0, 0, 0, 0)
			ON CONFLICT (bucket, tag, model, provider, key_id, holder) DO UPDATE SET seq = excluded.seq, requests = excluded.requests, cost = excluded.cost, input = excluded.input
			WHERE aig_usage.seq < excluded.seq`, holder, string(t.Tag), t.Model, t.Provider, t.KeyID, t.Quarter, t.Requests, int64(t.Cost), t.Input); err != nil {
			return err
		}
	}
	return tx.Commit(w.Context())
}

// folding is a store with old usage of replicas that live, left and were forgotten, of
// which what is before border is folded.
type folding struct {
	*world
	store, other  *postgres.Store
	tokyo         *time.Location
	first, border int64
	lives         *booker
	before        string // the reports
}

// testFold keeps old usage by the day, while others push, and wants every report as it
// was; what was told is told again in each way there is.
func testFold(w *world) {
	ctx, f := w.Context(), newFolding(w)
	old := func() int64 { return w.number(`SELECT count(*) FROM aig_usage WHERE bucket < $1`, f.border) }
	were := old()
	// One that does not know of folded usage, and reports it as if it were not.
	w.exec(`UPDATE aig_holder SET folds = 0 WHERE id = 'lives'`)
	_, err := f.store.FoldUsage(ctx)
	w.must(err)
	if n := old(); n != were {
		w.Fatalf("folded %d of %d while an older program lives", were-n, were)
	}
	w.exec(`UPDATE aig_holder SET folds = epoch WHERE id = 'lives'`)
	folds, err := f.store.UsageFolds(ctx, budget.UsageFolds{{Upto: f.border, Zone: f.tokyo}})
	w.must(err)
	w.must(f.lives.m.PushUsage(ctx, f.lives.totals(folds, f.first, f.first+5*96), folds.Upto()))
	f.same("told in parts of what is not folded yet")
	f.beside()
	f.same("folded")
	if n := old(); n > were/3 || folds.Upto() != f.border {
		w.Errorf("%d rows of %d are left, folded up to %d, not %d", n, were, folds.Upto(), f.border)
	}
	f.refuses()
	f.toldAgain(folds)
	f.toldLate(folds)
	// A promoted standby that lacks the last border is told of later usage only by who
	// knows its own.
	w.exec(`UPDATE aig_usage_fold SET upto = upto - 96`)
	if err := f.lives.m.PushUsage(ctx, f.lives.totals(folds, f.border-96, f.border*2), f.border); !errors.Is(err, budget.ErrUsageFolded) {
		w.Errorf("a store that folds less than is known is told so: %v", err)
	}
	now, err := f.store.UsageFolds(ctx, folds)
	if err != nil || now.Upto() != f.border || len(now) != 1 {
		w.Errorf("%v, %v", now, err)
	}
}

func newFolding(w *world) *folding {
	w.Helper()
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	w.must(err)
	c := postgres.Config{UsageMonths: 3, Zone: tokyo}
	f := &folding{world: w, store: w.open(c), other: w.open(c), tokyo: tokyo, border: budget.UsageFoldDue(time.Now(), 3, tokyo)}
	f.first = f.border - 20*96
	for _, id := range []string{"forgotten", "left", "lives"} {
		f.lives = &booker{w.join(id), map[int64]map[budget.Tag]budget.UsageRow{}}
		for range 800 {
			f.lives.book(f.first+rand.Int64N(30*96), budget.Tag(fmt.Sprint("t/", rand.IntN(4))), budget.Amount(1+rand.IntN(100)))
		}
		w.must(f.lives.m.PushUsage(w.Context(), f.lives.totals(nil, 0, f.border*2), 0))
		if id == "left" {
			w.must(f.lives.m.Leave(w.Context()))
		}
	}
	w.must(f.store.Forget(w.Context(), "forgotten", true, by))
	w.exec(`INSERT INTO aig_usage (holder, bucket, tag, model, provider, key_id, seq, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost)
		VALUES ('adjustments', $1, 't/0', 'correction', 'correction', '', 0, 0, 0, -5, 0, 0, 0, 0, 0, 0), ('adjustments', $1 + 1, 't/0', 'correction', 'correction', '', 0, 0, 0, 9, 0, 0, 0, 0, 0, 0)`, f.first+5)
	f.before = f.reports()
	return f
}

// testFoldOfTwoZones goes on in another zone, as after an edit of time_zone, and tells
// all again.
func testFoldOfTwoZones(w *world) {
	f := newFolding(w)
	folds, err := f.store.UsageFolds(w.Context(), budget.UsageFolds{{Upto: f.border, Zone: f.tokyo}, {Upto: f.border + 15*96, Zone: time.UTC}})
	w.must(err)
	if len(folds) != 2 {
		w.Fatalf("folds: %v", folds)
	}
	for q := f.border - 8; q < f.border+8; q++ { // around the border, which is within a day of UTC
		f.lives.book(q, "t/0", 3)
	}
	for range 2 {
		w.must(f.lives.m.PushUsage(w.Context(), f.lives.totals(folds, 0, f.border*2), folds.Upto()))
		for more := true; more; {
			more, err = f.store.FoldUsage(w.Context())
			w.must(err)
		}
	}
	var want, got int64
	for _, tags := range f.lives.rows {
		for _, r := range tags {
			want += int64(r.Cost)
		}
	}
	if got = w.number(`SELECT sum(cost) FROM aig_usage WHERE holder = 'lives'`); got != want {
		w.Errorf("the store has %d of a gateway that told %d", got, want)
	}
}

// at is the begin of the day of a quarter of an hour.
func at(quarter int64, z *time.Location) time.Time {
	return budget.Day.WindowAt(time.Unix(0, quarter*grain), z).Start
}

// reports are those that days of UTC and of the gateway's zone answer.
func (f *folding) reports() string {
	f.Helper()
	var out strings.Builder
	for _, z := range []*time.Location{time.UTC, f.tokyo} {
		for _, win := range []budget.Window{{Start: at(f.first, z), End: at(f.border+15*96, z)}, {Start: at(f.first+96, z), End: at(f.first+3*96, z)}} {
			for _, by := range [][]budget.Dimension{nil, {budget.ByDay, budget.ByTag}, {budget.ByTag, budget.ByModel, budget.ByKey}} {
				rows, err := f.store.Usage(f.Context(), budget.UsageQuery{Window: win, Zone: z, GroupBy: by, Tags: "t/**"})
				f.must(err)
				for _, r := range rows {
					r.Time = r.Time.UTC()
					fmt.Fprintln(&out, by, r)
				}
			}
			costs, err := f.store.TagCosts(f.Context(), win, "")
			f.must(err)
			sum := budget.TagCost{}
			for _, c := range costs {
				sum.Requests, sum.Cost = sum.Requests+c.Requests, sum.Cost+c.Cost
			}
			fmt.Fprintln(&out, len(costs), sum)
		}
	}
	return out.String()
}

func (f *folding) same(when string) {
	f.Helper()
	if after := f.reports(); after != f.before {
		f.Errorf("%s, reports are\n%s\nnot\n%s", when, after, f.before)
	}
}

// toldAgain tells all again: in parts of days, by who does not know that it is folded,
// and by an older program.
func (f *folding) toldAgain(folds budget.UsageFolds) {
	ctx, lives := f.Context(), f.lives
	f.must(lives.m.PushUsage(ctx, lives.totals(folds, 0, f.border*2), folds.Upto()))
	f.same("told again")
	if err := lives.m.PushUsage(ctx, lives.totals(nil, 0, f.border*2), 0); !errors.Is(err, budget.ErrUsageFolded) {
		f.Errorf("quarters of an hour were told of what is kept by the day: %v", err)
	}
	if err := f.pushOld(lives, "lives", f.first, f.border); err == nil || !strings.Contains(err.Error(), "upgrade it") {
		f.Errorf("an older program told again what is kept by the day: %v", err)
	}
	f.must(f.pushOld(lives, "lives", f.border, f.border*2))
	f.same("told again by an older program")
}

// toldLate has one come back after years, with calls that nobody was told of, and a late
// log.
func (f *folding) toldLate(folds budget.UsageFolds) {
	late := &booker{f.join("late"), map[int64]map[budget.Tag]budget.UsageRow{}}
	late.book(f.first+3, "late", 10)
	late.book(f.first+4, "late", 20)
	f.lives.book(f.first+30, "late", 30)
	for range 2 {
		f.must(late.m.PushUsage(f.Context(), late.totals(folds, 0, f.border), folds.Upto()))
		f.must(f.lives.m.PushUsage(f.Context(), f.lives.totals(folds, f.first+30, f.first+31), folds.Upto()))
		costs, err := f.store.TagCosts(f.Context(), budget.Window{Start: at(f.first, f.tokyo), End: at(f.border, f.tokyo)}, "late")
		if err != nil || len(costs) != 1 || costs[0].Cost != 60 || costs[0].Requests != 3 {
			f.Errorf("late calls cost %+v, %v", costs, err)
		}
	}
	if n := f.number(`SELECT count(*) FROM aig_usage WHERE bucket < $1 AND holder = 'late'`, f.border); n != 1 {
		f.Errorf("%d rows of one part of a day", n)
	}
}

// beside folds at two replicas at once, beside one that tells all again and again.
func (f *folding) beside() {
	ctx := f.Context()
	var folding, pushing sync.WaitGroup
	done := make(chan struct{})
	pushing.Go(func() {
		for refused := 0; ; {
			select {
			case <-done:
				return
			default:
			}
			folds, err := f.other.UsageFolds(ctx, nil)
			if err == nil {
				err = f.lives.m.PushUsage(ctx, f.lives.totals(folds, 0, f.border*2), folds.Upto())
			}
			if errors.Is(err, budget.ErrUsageFolded) && refused < 2 {
				refused++
				continue
			}
			if err != nil {
				f.Errorf("told beside who folds: %v", err)
				return
			}
		}
	})
	for _, s := range []*postgres.Store{f.store, f.other} {
		folding.Go(func() {
			for more, round := true, 0; more || round < 8; round++ {
				var err error
				if more, err = s.FoldUsage(ctx); err != nil {
					f.Errorf("fold: %v", err)
					return
				}
			}
		})
	}
	folding.Wait()
	close(done)
	pushing.Wait()
}

// refuses wants the words that a gateway has that is alone.
func (f *folding) refuses() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	f.must(err)
	whole := budget.Window{Start: at(f.first, f.tokyo), End: at(f.border, f.tokyo)}
	for name, c := range map[string]struct {
		q    budget.UsageQuery
		want string
	}{
		"hours":               {budget.UsageQuery{Window: whole, Zone: f.tokyo, GroupBy: []budget.Dimension{budget.ByHour}}, "is kept by the day; group it by day"},
		"another zone's days": {budget.UsageQuery{Window: whole, Zone: berlin, GroupBy: []budget.Dimension{budget.ByDay}}, "of UTC and Asia/Tokyo, so a report cannot be exact"},
		"a part of a day":     {budget.UsageQuery{Window: budget.Window{Start: whole.Start, End: at(f.first+5*96, f.tokyo).Add(6 * time.Hour)}, Zone: f.tokyo}, "use whole days of these zones"},
	} {
		_, err := f.store.Usage(f.Context(), c.q)
		f.isKind(err, budget.KindInvalid, "usage_folded")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			f.Errorf("%s: %v", name, err)
		}
	}
	_, err = f.store.TagCosts(f.Context(), budget.Window{Start: at(f.first+96, berlin), End: whole.End}, "")
	f.isKind(err, budget.KindInvalid, "usage_folded")
	if _, err := f.store.Usage(f.Context(), budget.UsageQuery{Window: budget.Window{Start: time.Unix(0, (f.border+3)*grain), End: time.Unix(0, (f.border+96)*grain)}, Zone: berlin, GroupBy: []budget.Dimension{budget.ByHour}}); err != nil {
		f.Errorf("what is not folded: %v", err)
	}
}

// testFoldBesideOld has a replica in the store whose program does not know of folded
// usage: it tells what it always told, and nothing is folded while it lives.
func testFoldBesideOld(w *world) {
	var replica string
	w.must(w.db.QueryRow(w.Context(), `INSERT INTO aig_holder (id, name, program, config_hash, epoch, seq, seen, applied, asserted) VALUES ('old', '', '', '', 1, 0, now(), 1, 1) RETURNING id`).Scan(&replica))
	old := &booker{nil, map[int64]map[budget.Tag]budget.UsageRow{}}
	quarter := time.Now().UnixNano() / grain
	old.book(quarter, "a", 5)
	w.must(w.pushOld(old, replica, 0, quarter+1))
	if more, err := w.store.FoldUsage(w.Context()); err != nil || more {
		w.Errorf("%t, %v", more, err)
	}
	if n := w.number(`SELECT count(*) FROM aig_usage_fold`); n != 0 {
		w.Error("usage is folded while an older program reads it")
	}
	costs, err := w.store.TagCosts(w.Context(), budget.Month.WindowAt(time.Now(), time.UTC), "")
	if err != nil || len(costs) != 1 || costs[0].Cost != 5 {
		w.Errorf("%+v, %v", costs, err)
	}
	if _, err := w.db.Exec(w.Context(), `SET search_path = pg_catalog; UPDATE `+pgx.Identifier{w.schema, "aig_usage"}.Sanitize()+` SET seq = seq + 1`); err != nil {
		w.Errorf("by somebody whose search path is another: %v", err)
	}
	w.exec(`RESET search_path`)
}
