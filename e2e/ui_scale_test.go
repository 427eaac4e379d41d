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

// TestPageAtScale opens the page of a gateway with 10,000 tags, 1,000 budgets and a year
// of days in its ledger, and measures in a real browser how long things take, and what a
// call takes while the page is open. Run it with -v for the numbers; it fails where
// somebody would wait.
func TestPageAtScale(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a year")
	}
	t.Parallel()
	g := newGateway(t)
	g.settings["Extra"] = "retention: {calls_days: 400}"
	g.writeConfig()
	if err := ledgerfill.Year(t.Context(), filepath.Join(g.dir, "data"), 10_000, 1000, time.Now()); err != nil {
		t.Fatal(err)
	}
	g.startRun()
	median := func() time.Duration {
		took := make([]time.Duration, 200)
		for i := range took {
			began := time.Now()
			if r := g.chat("fake/m1", "team-01/app-01/job-1", "words", `,"max_tokens":9`); r.status != http.StatusOK {
				t.Fatalf("%d %s", r.status, r.body)
			}
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	alone := median()
	var open time.Duration
	var read struct {
		Took     map[string]int64
		Problems []string
	}
	g.script(t, &read, func(string) { open = median() }, "scale.mjs", adminKey)
	for _, p := range read.Problems {
		t.Error(p)
	}
	var numbers []string
	for what, ms := range read.Took {
		numbers = append(numbers, what+" "+(time.Duration(ms)*time.Millisecond).String())
		if ms > 15000 {
			t.Errorf("%s takes %d ms", what, ms)
		}
	}
	slices.Sort(numbers)
	t.Logf("page: %s; a call's median %s alone, %s with the page open", strings.Join(numbers, ", "), alone, open)
	if open > 3*alone+20*time.Millisecond { // on a machine that does other things
		t.Errorf("a call takes %s with the page open, %s without", open, alone)
	}
}
