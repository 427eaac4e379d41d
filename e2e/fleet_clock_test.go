package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/internal/pgtest"
)

// setClock sets g's clock ahead of the machine's, from now on and at its next start.
func (g *gateway) setClock(ahead time.Duration) {
	g.t.Helper()
	path := filepath.Join(g.dir, "clock")
	g.env = []string{"AIG_CLOCK=" + path}
	if err := os.WriteFile(path+".new", fmt.Append(nil, int64(ahead/time.Second)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		g.t.Fatal(err)
	}
}

// clockedStore is a place in a PostgreSQL with a clock of its own: what finds its
// tables finds its now() first.
type clockedStore struct{ *pgtest.Server }

func (s clockedStore) address() string { return s.URL("admin", "search_path", "there,pg_catalog") }

// setClock sets the clock ahead of the machine's.
func (s clockedStore) setClock(t *testing.T, ahead time.Duration) {
	t.Helper()
	sql := "CREATE SCHEMA IF NOT EXISTS there;"
	for _, name := range []string{"now", "clock_timestamp"} {
		sql += fmt.Sprintf(`CREATE OR REPLACE FUNCTION there.%[1]s() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.%[1]s() + interval '%[2]d seconds' $$;`, name, int64(ahead/time.Second))
	}
	conn, err := pgx.Connect(t.Context(), s.URL("admin"))
	if err == nil {
		_, err = conn.Exec(t.Context(), sql)
		conn.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantAhead waits until g's clock is so far ahead of the one that windows go by.
func (g *gateway) wantAhead(ahead time.Duration) {
	g.t.Helper()
	eventually(g.t, time.Minute, fmt.Sprintf("a clock is %s ahead", ahead), func() bool {
		var health struct {
			ClockAheadMS int64 `json:"clock_ahead_ms"`
		}
		g.get("/v1/health", &health)
		return (time.Duration(health.ClockAheadMS)*time.Millisecond - ahead).Abs() < 2*time.Second
	})
}

// windows are what g tells of its budgets' windows.
func (g *gateway) windows() string {
	g.t.Helper()
	var list struct {
		Budgets []struct {
			Tag         string
			WindowStart time.Time `json:"window_start"`
			ResetsAt    time.Time `json:"resets_at"`
		}
	}
	g.get("/v1/budgets?page_size=1000", &list)
	text := ""
	for _, b := range list.Budgets {
		text += fmt.Sprintf("%s from %s to %s\n", b.Tag, b.WindowStart.UTC(), b.ResetsAt.UTC())
	}
	return text
}

// TestClocksDiffer has three gateways with clocks that are minutes apart over the end of
// a month by the store's clock, which is also that of a day, with one that is set an hour
// ahead meanwhile and one that starts with a wrong clock: windows begin and end for all
// at once, by the store's clock. Each cap affords three calls in each window, and no call
// gets another answer than the caps'.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t, "max_connections = 100")
	border := time.Date(time.Now().UTC().Year()+1, time.February, 1, 0, 0, 0, 0, time.UTC)
	ends := time.Now().Add(90 * time.Second).Truncate(time.Second) // by the machine's clock: time to start in
	store, ahead := clockedStore{db}, border.Sub(ends)
	store.setClock(t, ahead)
	clocks := []time.Duration{0, 3 * time.Minute, -10 * time.Minute} // ahead of the store's
	var all gateways
	for _, apart := range clocks {
		g := newGateway(t)
		g.shareStore(store.address(), "single_node", 30*time.Second)
		g.setClock(ahead + apart)
		all = append(all, g)
	}
	for _, g := range all {
		g.startRun()
	}
	if signed := all[1].useTicket(all[2].ticket(t)); signed != http.StatusOK { // which lasts for five minutes
		t.Errorf("an address of a gateway whose clock is 13 minutes behind signs in with %d", signed)
	}
	all[1].setBudget("month", 10)
	all[2].post("/v1/budgets", `{"tag":"day","daily_cap_cents":10}`, &budgetJSON{})
	// Some of what is left of the month is skipped, in a step that is believed at once.
	skipped := max(0, min(50*time.Second, time.Until(ends)-10*time.Second)).Truncate(time.Second)
	ends = ends.Add(-skipped)
	store.setClock(t, ahead+skipped)
	for i, g := range all {
		g.wantAhead(clocks[i] - skipped)
	}
	calls, stop := all.callBoth(t, ends)
	defer stop()
	want := func(each int64) {
		t.Helper()
		for _, tag := range []string{"month", "day"} {
			eventually(t, time.Minute, fmt.Sprintf("%d calls under %s", each, tag), func() bool {
				n, _ := all.bill(tag)
				return n >= each
			})
		}
	}
	want(3)
	all[0].setClock(ahead + time.Hour)
	for time.Until(ends) > 200*time.Millisecond {
		pause(50 * time.Millisecond)
		for _, tag := range []string{"month", "day"} {
			if n, _ := all.bill(tag); n != 3 && time.Now().Before(ends) {
				t.Fatalf("%d calls under %s, %v before the end", n, tag, time.Until(ends))
			}
		}
	}
	want(6)
	t.Logf("the new window's calls were sent %v after it began", time.Since(ends).Round(time.Millisecond))
	stop()
	if calls.Load() < 30 {
		t.Errorf("only %d calls", calls.Load())
	}
	all.wantSixEach(t)
	wantMonth(t, all, border)
}

// wantMonth wants every gateway to report this month, which is the one that begins at
// begun, and the last, alike.
func wantMonth(t *testing.T, all gateways, begun time.Time) {
	t.Helper()
	for _, query := range []string{"", "?month=" + begun.AddDate(0, -1, 0).Format("2006-01")} {
		last := ""
		eventually(t, time.Minute, "all gateways report three calls under each tag"+query, func() bool {
			last = ""
			for _, g := range all {
				var rows []struct {
					Tag      string
					Requests int64
				}
				g.get("/v1/usage/by-tag"+query, &rows)
				text, _ := json.Marshal(rows)
				if last += string(text); len(rows) != 2 || rows[0].Requests != 3 || rows[1].Requests != 3 {
					return false
				}
			}
			return true
		})
		t.Logf("%s: %s", query, last)
	}
}

// callBoth calls under both caps at every gateway until stop; no call gets another
// answer than the caps'.
func (all gateways) callBoth(t *testing.T, ends time.Time) (calls *atomic.Int64, stop func()) {
	ended, callers := make(chan struct{}), sync.WaitGroup{}
	calls = new(atomic.Int64)
	for i, g := range all {
		for _, tag := range []string{"month", "day"} {
			callers.Go(func() {
				for {
					r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", tag, "fault:out=2950", `,"max_tokens":2950`), tagged(tag))
					calls.Add(1)
					if ok := []int{http.StatusOK, http.StatusPaymentRequired, http.StatusTooManyRequests}; r.err != nil || !slices.Contains(ok, r.status) {
						t.Errorf("gateway %d under %s, %v before the end: %d %s %v", i, tag, time.Until(ends), r.status, r.body, r.err)
					}
					select {
					case <-ended:
						return
					case <-time.After(100 * time.Millisecond):
					}
				}
			})
		}
	}
	stop = sync.OnceFunc(func() {
		close(ended)
		callers.Wait()
	})
	return calls, stop
}

// wantSixEach wants what two windows afford to have been billed, and all to tell of the
// same windows.
func (all gateways) wantSixEach(t *testing.T) {
	t.Helper()
	for _, tag := range []string{"month", "day"} {
		if n, nano := all.bill(tag); n != 6 || nano > 200_000_000 {
			t.Errorf("%d calls under %s, billed %d nano-USD of two caps of 100000000", n, tag, nano)
		}
	}
	all.settle(time.Minute)
	told := all[0].windows()
	for i, g := range all {
		if w := g.windows(); w != told {
			t.Errorf("gateway %d tells of windows\n%sand the first\n%s", i, w, told)
		}
	}
	t.Logf("every gateway tells\n%s", told)
}
