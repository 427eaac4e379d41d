package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

// BenchmarkStoreGrowth is what usage takes in the store: three replicas, five combinations
// of tag, model and key around the clock, a month after another for a year, of which
// the last two months stay as they are. The table and its index together.
func BenchmarkStoreGrowth(b *testing.B) {
	const replicas, combinations, months = 3, 5, 12
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	url := pgtest.Start(b, "max_connections = 20", "synchronous_commit = on").URL("admin")
	s, err := postgres.Open(b.Context(), postgres.Config{URL: url, Durability: postgres.SingleNode, UsageMonths: 2})
	must(err)
	defer s.Close()
	db, err := pgx.Connect(b.Context(), url)
	must(err)
	defer db.Close(b.Context())
	size := func(what string, row bool) float64 {
		var bytes, rows float64
		must(db.QueryRow(b.Context(), `SELECT pg_total_relation_size('aig_usage'), count(*) FROM aig_usage`).Scan(&bytes, &rows))
		b.ReportMetric(bytes/1e6, what+"-MB")
		if row {
			b.ReportMetric(bytes/rows, "B/row")
		}
		return bytes
	}
	now := budget.UsageFoldDue(time.Now(), 0, time.UTC)
	for m := range months {
		first := budget.UsageFoldDue(time.Now(), months-m, time.UTC)
		last := min(now, budget.UsageFoldDue(time.Now(), months-m-1, time.UTC))
		_, err := db.Exec(b.Context(), `BEGIN; ALTER TABLE aig_usage DISABLE TRIGGER USER`) // as if it had been told then
		must(err)
		_, err = db.Exec(b.Context(), `INSERT INTO aig_usage (holder, bucket, tag, model, provider, key_id, seq, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost)
			SELECT 'rep_' || lpad(h::text, 26, 'x'), q, 'team/product/feature-' || c, 'moonshot/kimi-k2.6', 'moonshot', 'key_0123456789abcdef', 1, 1000, 0, 123456789, 1000000, 0, 0, 100000, 0, 0
			FROM generate_series($1::bigint, $2::bigint) q, generate_series(1, $3::int) h, generate_series(1, $4::int) c`, first, last-1, replicas, combinations)
		must(err)
		_, err = db.Exec(b.Context(), `ALTER TABLE aig_usage ENABLE TRIGGER USER; COMMIT`)
		must(err)
		if m == 0 {
			size("month", true)
		}
		for more := true; more; {
			more, err = s.FoldUsage(b.Context())
			must(err)
		}
		_, err = db.Exec(b.Context(), `VACUUM aig_usage`) // as the server does by itself
		must(err)
		switch m {
		case 3:
			size("4-months", false)
		case 7:
			size("8-months", false)
		case months - 3:
			size("folded", false) // the months that stay are not there yet
		case months - 1:
			size("12-months", false)
		}
	}
}
