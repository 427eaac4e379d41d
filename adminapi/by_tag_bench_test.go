package adminapi_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/ledger"
)

// BenchmarkByTag asks a ledger with 100,000 tags, each seen on three days of a
// month, for the report by tag of that month, over REST: docs/operations.md has
// the numbers.
func BenchmarkByTag(b *testing.B) {
	const tags, calls = 100_000, 300_000
	at := time.Date(2026, 4, 1, 0, 7, 0, 0, time.UTC)
	now := func() time.Time { return at }
	l, err := ledger.Open(b.Context(), ledger.Config{Dir: b.TempDir(), Now: now, JournalWait: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close(context.Background())
	_, secret, err := l.CreateKey(b.Context(), budget.Key{Name: "admin", Scopes: []budget.Scope{budget.ScopeAdmin}}, budget.Author{Actor: "test", Reason: "the first"})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, l, &at, tags, calls)
	server, err := adminapi.New(adminapi.Config{
		Auth: l, Keys: l, Budgets: l, History: l, Usage: l, Calls: l, Reservations: l, Adjustments: l, Bills: l, Audit: l, State: l,
		Catalog: func() adminapi.Catalog { return adminapi.Catalog{} }, Now: now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	rest := httptest.NewServer(server.REST())
	defer rest.Close()
	for _, name := range []string{"not-checked", "checked"} { // what is checked is sealed, and in monthly sums
		b.Run(name, func(b *testing.B) {
			if name == "checked" {
				if r, err := l.Check(b.Context()); err != nil || len(r.Mismatches) > 0 {
					b.Fatalf("%+v, %v", r, err)
				}
			}
			var bytes int64
			before := cpuTime(b)
			for b.Loop() {
				q, err := http.NewRequestWithContext(b.Context(), http.MethodGet, rest.URL+"/v1/usage/by-tag?month=2026-04", nil)
				if err != nil {
					b.Fatal(err)
				}
				q.Header.Set("Authorization", "Bearer "+secret)
				resp, err := rest.Client().Do(q)
				if err != nil {
					b.Fatal(err)
				}
				bytes, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || bytes < 100_000*40 {
					b.Fatalf("%d, %d bytes, %v", resp.StatusCode, bytes, err)
				}
			}
			b.ReportMetric(float64(bytes), "bytes")
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// fill settles calls over 25 days.
func fill(b *testing.B, l *ledger.Ledger, at *time.Time, tags, calls int) {
	b.Helper()
	for i := range calls {
		if i%(calls/100) == 0 && i > 0 { // all is durable: nobody else reads the clock now
			if _, err := l.TagCosts(b.Context(), budget.Window{Start: at.Add(-7 * time.Minute), End: at.Add(8 * time.Minute)}, "none"); err != nil {
				b.Fatal(err)
			}
			*at = at.Add(6 * time.Hour)
		}
		r, err := l.Reserve(b.Context(), budget.Request{RequestID: fmt.Sprint(i), Bound: 5, Attribution: budget.Attribution{Tag: budget.Tag(fmt.Sprintf("team/%d/agent-%d", i%500, i%tags)), Model: "p/m", Provider: "p"}})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Settle(b.Context(), budget.Settlement{Reservation: &r, Basis: budget.BasisUsage, Cost: 3}); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime is what the process has used, the client of the benchmark included.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
