package e2e_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/internal/ledgerfill"
)

// runOldGateway is a gateway with 10,000 tags, 1,000 budgets and a year of days behind it.
func runOldGateway(b *testing.B) *gateway {
	b.Helper()
	g := newGateway(b)
	g.settings["Extra"] = "retention: {calls_days: 400}"
	g.writeConfig()
	if err := ledgerfill.Year(b.Context(), filepath.Join(g.dir, "data"), 10_000, 1000, time.Now()); err != nil {
		b.Fatal(err)
	}
	g.startRun()
	return g
}

// BenchmarkPageAtScale opens the page of a gateway with 10,000 tags, 1,000 budgets and a year
// of days behind it, in a browser. An operation is a walk through the page; beside it
// stands what each step takes, and a call's median without the page and with it open.
func BenchmarkPageAtScale(b *testing.B) {
	g := runOldGateway(b)
	median := func() float64 {
		took := make([]time.Duration, 200)
		for i := range took {
			began := time.Now()
			if r := g.chat("fake/m1", "team-01/app-01/job-1", "words", `,"max_tokens":9`); r.status != http.StatusOK {
				b.Fatalf("%d %s", r.status, r.body)
			}
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		return took[len(took)/2].Seconds() * 1000
	}
	alone := median()
	b.ResetTimer()
	b.ReportMetric(alone, "ms/call-alone")
	for range b.N {
		var read struct {
			Took     map[string]float64
			Problems []string
		}
		g.script(b, &read, func(string) { b.ReportMetric(median(), "ms/call-with-the-page") }, "scale.mjs", adminKey)
		for _, p := range read.Problems {
			b.Error(p)
		}
		for what, ms := range read.Took {
			b.ReportMetric(ms, "ms/"+strings.ReplaceAll(what, " ", "-"))
		}
	}
}
