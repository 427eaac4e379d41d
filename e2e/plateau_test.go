package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestMemoryFlattens serves calls with tags that come once, keys that are revoked,
// budgets that are deleted, clients that leave, prices that are read again and
// reports that are asked for, for six seconds, or for as long as E2E_PLATEAU says
// ("15m"): after a third of that, for caches to fill, neither the gateway nor Envoy
// grows by more than what its caches may still take. Go's own heap is looked at by
// itself, because SQLite's pages are beside it and fill with the first million calls.
func TestMemoryFlattens(t *testing.T) {
	length := 6 * time.Second
	if text := os.Getenv("E2E_PLATEAU"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("E2E_PLATEAU: %v", err)
		}
	} else {
		t.Parallel()
	}
	g := serveGateway(t)
	g.setBudget("**", 100_000_000)
	clients := startLoad(8, func(worker, i int) reply {
		text, more := "once fault:out=5", `,"max_tokens":20`
		switch i % 10 {
		case 0:
			more += `,"stream":true`
		case 1:
			text = fmt.Sprintf("once fault:served=m-%d-%d out=3", worker, i)
		}
		return g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "soak", text, more), tagged(fmt.Sprintf("once/%d/%d", worker, i)))
	})
	var heap, program, proxy []int64
	tick := time.NewTicker(length / 30)
	defer tick.Stop()
	for n := range 30 {
		<-tick.C
		g.comeAndGo(n)
		heap = append(heap, g.heapMiB())
		program, proxy = append(program, residentMiB(t, g.program.pid())), append(proxy, residentMiB(t, g.envoy.pid()))
	}
	wantOnly(t, clients.end(t), "200", "503", "402")
	wantFlat(t, "the gateway's heap", heap, 24)
	wantFlat(t, "the gateway", program, 24+pages)
	wantFlat(t, "Envoy", proxy, 24)
	g.settle(afterDeadline)
	g.wantNothingHeld(t)
}

// comeAndGo makes what an administrator makes and deletes.
func (g *gateway) comeAndGo(n int) {
	g.t.Helper()
	tag := fmt.Sprint("gone/", n)
	b := g.setBudget(tag, 100)
	r := g.try(http.MethodPost, g.rest+"/v1/keys", `{"name":"gone","scopes":["inference"]}`, nil)
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	if r.err != nil || json.Unmarshal(r.body, &made) != nil || made.Secret == "" {
		g.t.Fatalf("create a key: %d %s %v", r.status, r.body, r.err)
	}
	header := tagged(tag)
	header.Set("Authorization", "Bearer "+made.Secret)
	if r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "soak", "gone fault:out=2", `,"max_tokens":9`), header); r.status != http.StatusOK {
		g.t.Errorf("a call with a key of its own: %d %s %v", r.status, r.body, r.err)
	}
	for _, path := range []string{"/v1/keys/" + made.Key.ID, "/v1/budgets/" + b.ID} {
		if r := g.try(http.MethodDelete, g.rest+path, "", nil); r.status != http.StatusOK {
			g.t.Errorf("DELETE %s: %d %s %v", path, r.status, r.body, r.err)
		}
	}
	g.settings["Extra"] = fmt.Sprintf("  extra%d: {preset: openai_compatible, base_url: \"http://127.0.0.1:1/v%[1]d\", api_key: k}\n", n%7)
	g.writeConfig()
	// Of few tags: a report of all holds a row of each while it is answered.
	if r := g.try(http.MethodGet, g.rest+"/v1/usage/by-tag?tag=gone/**", "", nil); r.status != http.StatusOK {
		g.t.Errorf("by tag: %d %s %v", r.status, r.body, r.err)
	}
	if r := g.try(http.MethodGet, g.rest+"/metrics", "", nil); r.status != http.StatusOK {
		g.t.Errorf("metrics: %d %s %v", r.status, r.body, r.err)
	}
}

// pages are what SQLite keeps of the ledger, in MiB: cache_size of its writer and of
// four readers.
const pages = 64 + 4*16

var nextGC = regexp.MustCompile(`(?m)^go_memstats_next_gc_bytes (\S+)$`)

// heapMiB is what was live in the gateway's heap when it was last collected: the
// next collection comes at twice that.
func (g *gateway) heapMiB() int64 {
	g.t.Helper()
	r := g.try(http.MethodGet, g.rest+"/metrics", "", nil)
	m := nextGC.FindSubmatch(r.body)
	if m == nil {
		g.t.Fatalf("no size of the heap: %d %.500s", r.status, r.body)
	}
	next, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		g.t.Fatal(err)
	}
	return int64(next/2) >> 20
}

// wantFlat compares the middle of the last third with that of the second, of which
// it may be a tenth and slack above.
func wantFlat(t *testing.T, what string, mib []int64, slack int64) {
	t.Helper()
	third := len(mib) / 3
	middle := func(part []int64) int64 {
		sorted := slices.Sorted(slices.Values(part))
		return sorted[len(sorted)/2]
	}
	first, second, last := middle(mib[:third]), middle(mib[third:2*third]), middle(mib[2*third:])
	t.Logf("%s: %d MiB, then %d, then %d", what, first, second, last)
	if last > second+second/10+slack {
		t.Errorf("%s goes on growing: %d MiB in the first third, %d in the second, %d in the last", what, first, second, last)
	}
}
