package postgres_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

// BenchmarkExchange has 20 replicas exchange at once, each about other accounts of
// 10,000 each time, all of which have changed: what a store carries.
func BenchmarkExchange(b *testing.B) {
	const replicas, accounts = 20, 10_000
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	url := pgtest.Start(b, "max_connections = 100", "shared_buffers = 128MB").URL("admin")
	s, err := postgres.Open(b.Context(), postgres.Config{URL: url, Durability: postgres.SingleNode})
	must(err)
	defer s.Close()
	db, err := pgx.Connect(b.Context(), url)
	must(err)
	defer db.Close(b.Context())
	_, err = db.Exec(b.Context(), `INSERT INTO aig_budget SELECT 'bud_' || i, 'm/' || i, '', 4, '', 1000000000, 0, 0, 1, 1, false FROM generate_series(0, $1) i`, accounts-1)
	must(err)
	rules, _, err := s.Rules(b.Context(), 0)
	must(err)
	var members []*postgres.Member
	for i := range replicas {
		m, err := s.Join(b.Context(), budget.Replica{ID: fmt.Sprint("r", i)})
		must(err)
		defer m.Close()
		must(m.Acknowledge(b.Context(), rules.Version))
		members = append(members, m)
	}
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprintf("accounts=%d", size), func(b *testing.B) {
			var next atomic.Int64
			var all sync.WaitGroup
			for who, m := range members {
				all.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						var asks []budget.Ask
						for i := range size {
							at := (int(n)*size + who*accounts/replicas + i) % accounts
							asks = append(asks, budget.Ask{AccountName: budget.AccountName{BudgetID: fmt.Sprint("bud_", at)}, Lease: budget.Amount(10 * n), Spent: budget.Amount(n)})
						}
						if _, _, err := m.Exchange(b.Context(), asks); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "accounts/s")
		})
	}
}

// BenchmarkImport moves the books of a machine with 10,000 budgets, each with its entry
// of the audit log.
func BenchmarkImport(b *testing.B) {
	const n = 10_000
	now := time.Now().UTC()
	var rules budget.Rules
	var accounts []budget.Ask
	var log []budget.AuditEntry
	for i := range n {
		id := fmt.Sprint("bud_", i)
		rules.Budgets = append(rules.Budgets, budget.SharedBudget{Budget: budget.Budget{ID: id, Target: budget.Target{Tags: budget.TagPattern(fmt.Sprint("m/", i))}, Period: budget.Total, Cap: 100, CreateTime: now, UpdateTime: now}})
		accounts = append(accounts, budget.Ask{AccountName: budget.AccountName{BudgetID: id}, Spent: 1})
		log = append(log, budget.AuditEntry{Time: now, Actor: "me", Action: "create_budget", Subject: id, Detail: "{}"})
	}
	for b.Loop() {
		b.StopTimer()
		s, err := postgres.Open(b.Context(), postgres.Config{URL: pgtest.Start(b).URL("admin"), Durability: postgres.SingleNode})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := s.Import(b.Context(), budget.Replica{ID: "one"}, rules, accounts, log, nil, budget.Author{Actor: "me"}); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
