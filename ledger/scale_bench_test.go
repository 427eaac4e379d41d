package ledger

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

var scaleCalls = flag.Int("scale.calls", 20_000, "calls a second of BenchmarkFleet, in its time")

const (
	scaleAccounts = 10_000
	scaleSeconds  = 10
	scaleSlices   = 10 // of a second: a commit, and an exchange if one is in a hurry
	scaleBound    = 3000
	scaleTight    = 50
	scaleWait     = 3 * scaleSlices
)

// scale is a fleet of real cores on a real store. Time is told to the cores, so that a
// second takes as long as it takes; the store has its own.
type scale struct {
	*testing.B
	rng      *rand.Rand
	caps     []budget.Amount
	used     []budget.Amount // spent and reserved everywhere
	replicas []*scaleReplica
	at       instant
	slice    int

	exchanges, urgent, asks int
	took                    []time.Duration
}

type scaleReplica struct {
	c       *core
	m       *postgres.Member
	tags    *rand.Zipf
	rate    int // calls a slice
	open    [][]scaleCall
	waiting []scaleCall
	grants  []budget.Grant
}

type scaleCall struct {
	account int
	id      budget.ReservationID
	since   int // slice in which it came
}

// BenchmarkFleet is what a store has to do for so many gateways with 10,000 budgets and
// -scale.calls calls a second, half of them on one gateway of five, and some tags with
// many more than others, for ten seconds of their time. One budget of a hundred has half
// of what is wanted.
func BenchmarkFleet(b *testing.B) {
	for _, replicas := range []int{3, 10, 20, 50, 100} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			for range b.N {
				benchFleet(b, replicas)
			}
		})
	}
}

func benchFleet(b *testing.B, replicas int) {
	server := pgtest.Start(b, fmt.Sprintf("max_connections = %d", replicas+30), "shared_buffers = 256MB")
	s := &scale{B: b, rng: rand.New(rand.NewPCG(14, uint64(replicas))), at: leaseNow}
	store, db := s.open(server, replicas)
	before, began := s.server(server, db), time.Now()
	for s.slice = range scaleSeconds * scaleSlices {
		if s.slice == scaleSlices { // as a server does by itself
			_, err := db.Exec(b.Context(), "VACUUM ANALYZE")
			s.must(err)
		}
		s.step()
	}
	real := time.Since(began)
	after := s.server(server, db)
	s.report(before, after, real)
	s.must(db.Close(b.Context()))
	for _, r := range s.replicas {
		r.m.Close()
	}
	store.Close()
}

func (s *scale) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scale) open(server *pgtest.Server, replicas int) (*postgres.Store, *pgx.Conn) {
	ctx := s.Context()
	url := server.URL("admin")
	store, err := postgres.Open(ctx, postgres.Config{URL: url, Durability: postgres.SingleNode, MaxStale: time.Hour})
	s.must(err)
	db, err := pgx.Connect(ctx, url)
	s.must(err)
	s.used = make([]budget.Amount, scaleAccounts)
	popular := rand.NewZipf(s.rng, 1.1, 10, scaleAccounts-1)
	expected := make([]budget.Amount, scaleAccounts)
	for range 100_000 {
		expected[popular.Uint64()]++
	}
	var ids []string
	var caps []int64
	for i := range scaleAccounts {
		limit := 1000 * budget.Dollar
		if i%100 == scaleTight { // half of what is wanted
			limit = max(10*scaleBound, expected[i]*scaleBound/3/2*budget.Amount(*scaleCalls)*scaleSeconds/100_000)
		}
		s.caps = append(s.caps, limit)
		ids, caps = append(ids, fmt.Sprint("bud_", i)), append(caps, int64(limit))
	}
	_, err = db.Exec(ctx, `INSERT INTO aig_budget SELECT id, 'm/' || id, '', 4, '', cap, 0, 0, 1, 1, false FROM unnest($1::text[], $2::bigint[]) AS b(id, cap)`, ids, caps)
	s.must(err)
	rules, _, err := store.Rules(ctx, 0)
	s.must(err)
	for i := range replicas {
		m, err := store.Join(ctx, budget.Replica{ID: fmt.Sprint("r", i)})
		s.must(err)
		s.must(m.Acknowledge(ctx, rules.Version))
		r := &scaleReplica{m: m, c: newCore(forever / 4), open: make([][]scaleCall, 3), tags: rand.NewZipf(s.rng, 1.1, 10, scaleAccounts-1)}
		if r.rate = *scaleCalls / scaleSlices / 2 * 5 / 4 / replicas; i%5 == 0 {
			r.rate *= 4
		}
		r.c.epoch = 1
		r.c.lend(forever / 4)
		for n := range scaleAccounts {
			r.c.rules.add(&rule{Budget: budget.Budget{ID: ids[n], Target: budget.Target{Tags: budget.TagPattern("m/" + ids[n])}, Period: budget.Total, Cap: s.caps[n]}, num: int64(n + 1), loc: time.UTC})
		}
		s.replicas = append(s.replicas, r)
	}
	s.exchange()
	return store, db
}

// step is a tenth of a second.
func (s *scale) step() {
	s.at = s.at.later(second / scaleSlices)
	for _, r := range s.replicas {
		for _, k := range r.open[0] {
			s.settle(r, k)
		}
		r.open = append(r.open[1:], nil)
		again := r.waiting
		r.waiting = nil
		for _, k := range again {
			s.call(r, k)
		}
		for range r.rate {
			k := scaleCall{account: int(r.tags.Uint64()), since: s.slice}
			s.call(r, k)
		}
		r.c.lowerIdle(s.at, false)
		for r.c.pending() {
			r.c.apply(r.c.begin(s.at, second/20))
		}
	}
	s.exchange()
}

func (s *scale) call(r *scaleReplica, k scaleCall) {
	out, h, _, _ := r.c.reserve(&budget.Request{Bound: scaleBound, Attribution: budget.Attribution{Tag: budget.Tag("m/bud_" + strconv.Itoa(k.account))}}, s.at)
	switch out {
	case admitted:
		if s.used[k.account] += scaleBound; s.used[k.account] > s.caps[k.account] {
			s.Errorf("budget %d: a call is admitted above the cap", k.account)
		}
		k.id = h.id
		r.open[len(r.open)-1] = append(r.open[len(r.open)-1], k)
	case waitLease, waitMark, waitSettle:
		if k.since+scaleWait > s.slice {
			r.waiting = append(r.waiting, k)
		}
	}
}

func (s *scale) settle(r *scaleReplica, k scaleCall) {
	r.c.settle(&budget.Settlement{Basis: budget.BasisUsage, Cost: scaleBound / 3, Reservation: &budget.Reservation{ID: k.id, Bound: scaleBound}}, s.at)
	s.used[k.account] -= scaleBound - scaleBound/3
}

// exchange is one of all replicas at once, each second, and between of those in a hurry.
func (s *scale) exchange() {
	var all sync.WaitGroup
	var mu sync.Mutex
	for i, r := range s.replicas {
		whole := s.slice%scaleSlices == i%scaleSlices
		if !whole && !r.c.leases.urgent {
			continue
		}
		asks := r.c.ask(s.at, whole)
		if !whole && len(asks) == 0 {
			continue
		}
		if s.exchanges++; !whole {
			s.urgent++
		}
		s.asks += len(asks)
		all.Go(func() {
			began := time.Now()
			grants, _, err := r.m.Exchange(s.Context(), asks)
			if err != nil {
				s.Error(err)
				return
			}
			r.grants = grants
			mu.Lock()
			defer mu.Unlock()
			s.took = append(s.took, time.Since(began))
		})
	}
	all.Wait()
	if s.Failed() {
		s.FailNow()
	}
	for _, r := range s.replicas {
		if r.c.leases.underway {
			r.c.told(r.grants, s.at)
		}
	}
}

// usage is what a server has used and has.
type usage struct {
	cpu                   time.Duration
	wal, accounts, leases float64 // bytes
	transactions          float64
}

func (s *scale) server(server *pgtest.Server, db *pgx.Conn) (u usage) {
	s.must(db.QueryRow(s.Context(), `SELECT pg_current_wal_lsn() - '0/0', pg_total_relation_size('aig_account'), pg_total_relation_size('aig_lease'),
		(SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())`).Scan(&u.wal, &u.accounts, &u.leases, &u.transactions))
	var err error
	u.cpu, err = server.CPU()
	s.must(err)
	return u
}

func (s *scale) report(before, after usage, real time.Duration) {
	var lent, used budget.Amount
	for _, r := range s.replicas {
		for _, a := range r.c.accounts {
			lent, used = lent+a.share.lease, used+a.used()
		}
	}
	slices.Sort(s.took)
	cpu := (after.cpu - before.cpu).Seconds()
	s.ReportMetric(0, "ns/op")
	for unit, v := range map[string]float64{
		"exchanges/s":     float64(s.exchanges) / scaleSeconds,
		"urgent/s":        float64(s.urgent) / scaleSeconds,
		"asks/s":          float64(s.asks) / scaleSeconds,
		"store-cpu-%":     cpu / scaleSeconds * 100,
		"cpu-ms/exchange": cpu / float64(s.exchanges) * 1000,
		"µs/ask":          cpu / float64(s.asks) * 1e6,
		"wal-kB/s":        (after.wal - before.wal) / scaleSeconds / 1000,
		"tables-MB":       (after.accounts + after.leases) / 1e6,
		"p50-ms":          s.took[len(s.took)/2].Seconds() * 1000,
		"p99-ms":          s.took[len(s.took)*99/100].Seconds() * 1000,
		"ahead-s":         float64(lent-used) / float64(scaleBound/3**scaleCalls),
		"real-s":          real.Seconds(),
	} {
		s.ReportMetric(v, unit)
	}
}
