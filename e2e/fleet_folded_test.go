package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/internal/pgtest"
)

// TestFleetFoldsUsage has three gateways in a zone of half hours book calls about the
// end of a month, and go on 100 days later, which keeps these calls by the day in the
// store and in each gateway, one of which comes back after the others. Every report of
// UTC and of the zone is at every gateway what it was, to the nano-USD; others are
// refused with the reason.
func TestFleetFoldsUsage(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t, "max_connections = 100")
	store := clockedStore{db}
	border := time.Date(time.Now().UTC().Year()+1, time.February, 1, 0, 0, 0, 0, time.UTC)
	var all gateways
	for range 3 {
		g := newGateway(t)
		g.shareStore(store.address(), "single_node", 30*time.Second)
		g.settings["Extra"] = fmt.Sprintf("%s\ntime_zone: Asia/Kolkata\nretention: {usage_months: 2}", g.settings["Extra"])
		g.writeConfig()
		all = append(all, g)
	}
	for _, now := range []time.Time{border.Add(-4 * time.Hour), border.Add(2 * time.Hour), border.Add(20 * time.Hour)} {
		all.startAt(t, store, now) // for the zone all of it is February
		for i, g := range all {
			for n := range i + 2 {
				if r := g.chat("fake/m1", fmt.Sprintf("fold/%d", n), "hello", `,"max_tokens":9`); r.status != http.StatusOK {
					t.Fatalf("%d %s %v", r.status, r.body, r.err)
				}
			}
		}
		all.settle(time.Minute)
		all.stop(t)
	}
	day := func(days int) string { return border.AddDate(0, 0, days).Format(time.DateOnly) }
	exact := []string{"/v1/usage/by-tag?month=" + border.AddDate(0, -1, 0).Format("2006-01"), "/v1/usage/by-tag?month=" + border.Format("2006-01")}
	for _, zone := range []string{"UTC", "Asia/Kolkata"} {
		for _, days := range []string{"from=" + day(-9) + "&to=" + day(9), "from=" + day(0) + "&to=" + day(1), "from=" + day(-31) + "&to=" + day(0)} {
			exact = append(exact, "/v1/usage?time_zone="+zone+"&"+days+"&group_by=day,tag", "/v1/usage?time_zone="+zone+"&"+days+"&group_by=tag,model")
		}
	}
	refused := []string{"/v1/usage?group_by=hour&from=" + day(-9) + "&to=" + day(9), "/v1/usage?time_zone=Europe/Berlin&group_by=day&from=" + day(-9) + "&to=" + day(9)}
	all[:1].startAt(t, store, border.Add(21*time.Hour))
	before := all[0].reports(exact)
	t.Logf("before:\n%s", before)
	all[0].reports(refused) // which are answered
	all[0].wantBilled(t, all, exact[2])
	all[:1].stop(t)

	all[:2].startAt(t, store, border.AddDate(0, 0, 100))
	wantFolded(t, store, border)
	all[2:].startAt(t, store, border.AddDate(0, 0, 100)) // it has rows of its own to fold
	for i, g := range all {
		last := ""
		eventually(t, time.Minute, fmt.Sprintf("gateway %d reports as before:\n%s", i, before), func() bool { last = g.reports(exact); return last == before })
		for _, path := range refused {
			r := g.try(http.MethodGet, g.rest+path, "", nil)
			wantError(t, r, http.StatusBadRequest, "invalid_request_error")
			if !strings.Contains(string(r.body), "usage_folded") || !strings.Contains(string(r.body), "kept by the day") {
				t.Errorf("gateway %d, %s: %s", i, path, r.body)
			}
		}
	}
}

// startAt sets the clocks of the store and the gateways, which believe theirs at a start.
func (all gateways) startAt(t *testing.T, store clockedStore, now time.Time) {
	t.Helper()
	ahead := time.Until(now)
	store.setClock(t, ahead)
	for _, g := range all {
		g.setClock(ahead)
		g.startRun()
	}
}

func (all gateways) stop(t *testing.T) {
	t.Helper()
	for _, g := range all {
		if code := g.program.stop(); code != 0 {
			t.Errorf("exit code %d: %s", code, g.program.tail(20))
		}
	}
}

// reports are g's answers to paths, without when they were given.
func (g *gateway) reports(paths []string) (text string) {
	g.t.Helper()
	for _, path := range paths {
		var v any
		g.get(path, &v)
		answer, err := json.Marshal(without(v, ofTheMoment))
		if err != nil {
			g.t.Fatal(err)
		}
		text += fmt.Sprintf("%s\n\t%s\n", path, answer)
	}
	return text
}

// wantBilled wants the total of a report to be what all were billed.
func (g *gateway) wantBilled(t *testing.T, all gateways, path string) {
	t.Helper()
	var report struct {
		Total struct {
			Requests int64
			Cost     string `json:"cost_usd"`
		}
	}
	g.get(path, &report)
	var calls, billed int64
	for _, g := range all {
		for _, b := range g.bills() {
			calls, billed = calls+int64(b.Calls), billed+b.NanoUSD
		}
	}
	if n := mustNano(t, report.Total.Cost); report.Total.Requests != calls || n != billed || calls == 0 {
		t.Errorf("%s: %d calls for %d nano-USD; billed %d for %d", path, report.Total.Requests, n, calls, billed)
	}
}

// wantFolded waits until the store has usage about border in parts of days alone.
func wantFolded(t *testing.T, store clockedStore, border time.Time) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), store.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	first := border.Add(-5*time.Hour-30*time.Minute).Unix() / 900 // the zone's February
	eventually(t, 2*time.Minute, "old usage is kept by the day", func() bool {
		var buckets []int64
		if err := conn.QueryRow(t.Context(), "SELECT array_agg(DISTINCT bucket ORDER BY bucket) FROM aig_usage").Scan(&buckets); err != nil {
			t.Fatal(err)
		}
		// 20:00 is in the part from the zone's midnight, 18:30, and 2:00 in that from UTC's.
		return fmt.Sprint(buckets) == fmt.Sprint([]int64{first, first + 22, first + 96})
	})
}
