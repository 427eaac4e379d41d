package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/internal/pgtest"
)

// gateways are several that share one PostgreSQL, each with an Envoy and providers
// of its own.
type gateways []*gateway

// newGateways makes n of them on db and starts none.
func newGateways(t *testing.T, db *pgtest.Server, n int, maxStale time.Duration) (all gateways) {
	t.Helper()
	for range n {
		g := newGateway(t)
		g.shareStore(db.URL("admin"), "single_node", maxStale)
		all = append(all, g)
	}
	return all
}

// shareStore makes g one of those that share the store at url.
func (g *gateway) shareStore(url, durability string, maxStale time.Duration) {
	g.t.Helper()
	g.settings["Extra"] = fmt.Sprintf("store: {postgres: %q, durability: %s, max_stale: %s}", url, durability, maxStale)
	g.settings["MaxWait"] = 3 * time.Second
	g.writeConfig()
}

// runGateways are n of them, each of one `aigateway run`.
func runGateways(t *testing.T, n int) gateways {
	t.Helper()
	all := newGateways(t, pgtest.Start(t, "max_connections = 100"), n, 30*time.Second)
	for _, g := range all {
		g.startRun()
	}
	return all
}

// bill is what all providers together bill for a tag.
func (all gateways) bill(tag string) (calls, nano int64) {
	for _, g := range all {
		b := g.bills()[tag]
		calls, nano = calls+int64(b.Calls), nano+b.NanoUSD
	}
	return calls, nano
}

// settle waits until nothing runs and nothing is reserved anywhere.
func (all gateways) settle(within time.Duration) {
	for _, g := range all {
		g.settle(within)
	}
}

// wantAlike waits until every gateway tells the same of budgets and usage, and that
// is what was billed.
func (all gateways) wantAlike(t *testing.T) {
	t.Helper()
	report := func(g *gateway) string {
		budgets := g.mustBudgets()
		byTag := []struct {
			Tag      string
			Requests int64
		}{}
		g.get("/v1/usage/by-tag", &byTag)
		text := ""
		for _, tag := range slices.Sorted(maps.Keys(budgets)) {
			text += fmt.Sprintf("budget %s %+v\n", tag, budgets[tag])
		}
		usage := g.usage()
		for _, row := range byTag {
			text += fmt.Sprintf("usage %s %d %+v\n", row.Tag, row.Requests, usage[row.Tag])
		}
		return text
	}
	last := ""
	eventually(t, time.Minute, "all gateways tell the same", func() bool {
		last = report(all[0])
		for _, g := range all[1:] {
			if report(g) != last {
				return false
			}
		}
		usage, billed := all[0].usage(), map[string]bool{}
		for _, g := range all {
			for tag := range g.bills() {
				billed[tag] = true
			}
		}
		for tag := range billed {
			if _, nano := all.bill(tag); nano != usage[tag].nano {
				return false
			}
		}
		return len(billed) >= len(usage)
	})
	t.Logf("every gateway tells:\n%s", last)
}

// wantNothingLent waits until no gateway has more of any budget than was spent on it.
func (all gateways) wantNothingLent(t *testing.T) {
	t.Helper()
	leased, spent := int64(0), int64(0)
	eventually(t, time.Minute, "what is unused is given back", func() bool {
		out, err := exec.Command(binary, "replicas", "list", "-o", "json", "--config", all[0].config).Output()
		var replicas []struct {
			Leased string `json:"leased_usd"`
		}
		if err != nil || json.Unmarshal(out, &replicas) != nil {
			return false
		}
		leased, spent = 0, 0
		for _, r := range replicas {
			leased += mustNano(t, r.Leased)
		}
		for _, a := range all[0].mustBudgets() {
			spent += a.spent
		}
		return leased == spent
	})
	t.Logf("%d nano-USD are lent, %d spent", leased, spent)
}

// admitted makes n calls under a tag from c clients, of which two thirds go to the
// first gateway and few to the last, and returns how many ended how. Who is told to
// come again soon does.
func (all gateways) admitted(n, c int, tag string) map[string]int {
	var next atomic.Int64
	l := &load{counts: map[string]int{}}
	var done sync.WaitGroup
	for range c {
		done.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				g := all[[]int{0, 0, 0, 1, 0, 0, 0, 1, 1, 2}[i%10]%len(all)]
				r := g.chat("fake/m1", tag, "fault:out=2950", `,"max_tokens":2950`)
				for deadline := time.Now().Add(2 * time.Minute); r.status == http.StatusTooManyRequests && time.Now().Before(deadline); {
					l.count(r)
					pause(100 * time.Millisecond)
					r = g.chat("fake/m1", tag, "fault:out=2950", `,"max_tokens":2950`)
				}
				l.count(r)
			}
		})
	}
	done.Wait()
	return l.counts
}

// TestThreeGatewaysOneCap spends one cap at three gateways at once: as many calls
// are admitted as at one, wherever they come.
func TestThreeGatewaysOneCap(t *testing.T) {
	t.Parallel()
	all := runGateways(t, 3)
	var watch []*sampler
	for i, c := range []int{1, 10, 50, 200} {
		all[i%3].setBudget(fmt.Sprintf("cap/%d", c), 10)
	}
	for _, g := range all {
		watch = append(watch, g.sample(t, 100*time.Millisecond))
	}
	for _, c := range []int{1, 10, 50, 200} {
		tag := fmt.Sprintf("cap/%d", c)
		counts := all.admitted(200, c, tag)
		calls, nano := all.bill(tag)
		t.Logf("%d clients: %v, %d calls billed %d nano-USD", c, counts, calls, nano)
		if counts["200"] != 3 || counts["402"] != 197 || calls != 3 || nano > 100_000_000 {
			t.Errorf("%d clients: %v, %d calls billed %d nano-USD; want 3 of 200 admitted, the others refused by the cap", c, counts, calls, nano)
		}
	}
	for _, w := range watch {
		w.end(t)
	}
	all.settle(time.Minute)
	all.wantAlike(t)
}

// TestEditsAreObeyedEverywhere makes edits at one gateway and calls the others the
// moment the answer is there.
func TestEditsAreObeyedEverywhere(t *testing.T) {
	t.Parallel()
	all := runGateways(t, 3)
	want := func(what string, status int, header http.Header) {
		t.Helper()
		for i, g := range all {
			r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "edit", "hello", `,"max_tokens":9`), header)
			if r.err != nil || r.status != status {
				t.Errorf("%s, at gateway %d: %d %s %v; want %d", what, i, r.status, r.body, r.err, status)
			}
		}
	}
	for i := range 3 {
		want("without a budget", http.StatusOK, tagged("edit"))
		made := all[i].setBudget("edit", 0)
		want("with a cap of nothing", http.StatusPaymentRequired, tagged("edit"))
		all[(i+1)%3].setBudget("edit", 100)
		want("with a higher cap", http.StatusOK, tagged("edit"))
		if r := all[(i+2)%3].try(http.MethodDelete, all[(i+2)%3].rest+"/v1/budgets/"+made.ID, "", nil); r.err != nil || r.status != http.StatusOK {
			t.Fatalf("delete: %d %s %v", r.status, r.body, r.err)
		}

		r := all[i].try(http.MethodPost, all[i].rest+"/v1/keys", `{"name":"k","scopes":["inference"]}`, nil)
		var key struct {
			Key    struct{ ID string }
			Secret string
		}
		if err := json.Unmarshal(r.body, &key); err != nil || r.status != http.StatusOK {
			t.Fatalf("create a key: %d %s %v", r.status, r.body, err)
		}
		with := tagged("edit")
		with.Set("Authorization", "Bearer "+key.Secret)
		want("with a new key", http.StatusOK, with)
		if r := all[(i+1)%3].try(http.MethodDelete, all[(i+1)%3].rest+"/v1/keys/"+key.Key.ID, "", nil); r.err != nil || r.status != http.StatusOK {
			t.Fatalf("revoke: %d %s %v", r.status, r.body, r.err)
		}
		want("with a revoked key", http.StatusUnauthorized, with)
	}
	all.settle(time.Minute)
	all.wantAlike(t)
	var audit struct{ Entries []struct{ Action string } }
	all[0].get("/v1/audit?page_size=1000", &audit)
	said := ""
	for _, e := range audit.Entries {
		said += e.Action + " "
	}
	if strings.Count(said, "create_budget") != 3 || strings.Count(said, "delete_key") != 3 {
		t.Errorf("the audit entries at one gateway: %s", said)
	}
}

// mixedAt is mixed at one of the gateways.
func (all gateways) mixedAt(worker, i int) reply { return all[(worker+i)%len(all)].mixed(worker, i) }

// TestOneOfThreeIsKilled kills a gateway again and again under load: no cap is ever
// passed, the others go on, and at the end everybody tells what was billed.
func TestOneOfThreeIsKilled(t *testing.T) {
	t.Parallel()
	all := newGateways(t, pgtest.Start(t, "max_connections = 100"), 3, 30*time.Second)
	for _, g := range all {
		g.startBoth()
	}
	all[0].mixedBudgets()
	watch := all[0].sample(t, 100*time.Millisecond)
	clients := startLoad(6, all.mixedAt)
	for i := range 3 {
		victim := all[1+i%2]
		before := clients.answered()
		eventually(t, time.Minute, "calls are answered", func() bool { return clients.answered() >= before+30 })
		victim.program.kill()
		before = clients.answered()
		eventually(t, time.Minute, "the others answer calls", func() bool { return clients.answered() >= before+10 })
		victim.startServe()
	}
	counts := clients.end(t)
	wantOnly(t, counts, "200", "402", "429", "503")
	all.settle(afterDeadline)
	watch.end(t)
	for _, g := range all {
		g.wantNothingHeld(t)
	}
	all.wantNothingLent(t)
	all.wantAlike(t)
}

// TestStoreIsAway stops the store: what it means for calls and edits, and that all
// is well when it is back.
func TestStoreIsAway(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t, "max_connections = 100")
	all := newGateways(t, db, 2, 5*time.Second)
	for _, g := range all {
		g.startRun()
	}
	all[0].setBudget("away", 100)
	calls := func(tag string, status int) bool {
		for _, g := range all {
			if r := g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", tag, "hello", `,"max_tokens":9`), tagged(tag)); r.status != status {
				return false
			}
		}
		return true
	}
	eventually(t, time.Minute, "calls are answered", func() bool { return calls("away", http.StatusOK) })
	db.Kill()
	r := all[0].try(http.MethodPost, all[0].rest+"/v1/budgets", `{"tag":"away","monthly_cap_cents":1000}`, nil)
	wantError(t, r, http.StatusServiceUnavailable, "service_unavailable")
	// Nobody may admit what a budget could watch that was made meanwhile.
	eventually(t, time.Minute, "no call is admitted", func() bool {
		return calls("away", http.StatusServiceUnavailable) && calls("unwatched", http.StatusServiceUnavailable)
	})
	db.Revive()
	eventually(t, time.Minute, "calls are answered again", func() bool { return calls("away", http.StatusOK) && calls("unwatched", http.StatusOK) })
	all.settle(time.Minute)
	all.wantAlike(t)
	if a := all[1].mustBudgets()["away"]; a.cap != 1_000_000_000 {
		t.Errorf("the cap is %d", a.cap)
	}
}

// TestForeignBooksAreRefused: a gateway neither forgets budgets of its own for a
// store, nor goes on alone with those of a fleet.
func TestForeignBooksAreRefused(t *testing.T) {
	t.Parallel()
	g := newGateways(t, pgtest.Start(t, "max_connections = 100"), 1, 30*time.Second)[0]
	with := g.settings["Extra"]
	importBooks := func(want int) {
		t.Helper()
		p := startProcess(t, g.dir, "import", nil, binary, "store", "import", "--config", g.config)
		p.wanted.Store(true)
		<-p.done
		if code := p.cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("import: exit code %d, want %d: %s", code, want, p.output())
		}
	}
	start := func(extra any, refused string) {
		t.Helper()
		g.settings["Extra"] = extra
		g.writeConfig()
		if refused == "" {
			g.startRun()
			return
		}
		p := startProcess(t, g.dir, "run", nil, binary, "run", "--config", g.config)
		p.wanted.Store(true)
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			t.Fatal("it runs")
		}
		if out := p.output(); p.cmd.ProcessState.ExitCode() == 0 || !strings.Contains(out, refused) {
			t.Errorf("exit code %d: %s; want %q", p.cmd.ProcessState.ExitCode(), out, refused)
		}
	}
	start("", "")
	g.setBudget("own", 100)
	if r := g.chat("fake/m1", "own", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	g.program.stop()
	start(with, "aigateway store import")
	importBooks(0)
	importBooks(1) // the store has them
	start(with, "")
	gateways{g}.wantAlike(t)
	g.wantBudgetsEqual(t) // with what was spent alone
	g.setBudget("shared", 100)
	g.program.stop()
	start("", "set store again")
	g.settings["DataDir"] = g.dir + "/other" // another gateway of this store
	start(with, "")
	if all := g.mustBudgets(); all["shared"].cap != 1_000_000_000 || all["own"].spent == 0 {
		t.Errorf("another gateway tells %+v", all)
	}
	gateways{g}.wantAlike(t)
}

// probe keeps in what each gateway says of its readiness, until stop.
func (all gateways) probe(in []atomic.Bool) (stop func()) {
	ended, probed := make(chan struct{}), sync.WaitGroup{}
	probed.Go(func() {
		for {
			for i, g := range all {
				r := g.try(http.MethodGet, g.rest+"/readyz", "", nil)
				in[i].Store(r.err == nil && r.status == http.StatusOK)
			}
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return func() {
		close(ended)
		probed.Wait()
	}
}

// mixedAgain is mixed, and comes again where disk or store of a busy machine are
// slow, which again counts. No call may fail otherwise.
func (g *gateway) mixedAgain(t *testing.T, worker, i int, again *atomic.Int64) reply {
	r := g.mixed(worker, i)
	for range 20 {
		if r.status != http.StatusServiceUnavailable || r.header.Get("X-Should-Retry") != "true" {
			break
		}
		again.Add(1)
		pause(50 * time.Millisecond)
		r = g.mixed(worker, i)
	}
	if r.err != nil || r.status >= 500 {
		t.Errorf("%s: %d %s %v", g.url, r.status, r.body, r.err)
	}
	return r
}

// balancer sends calls to those of several gateways that say they are ready.
type balancer struct {
	all     gateways
	in      []atomic.Bool
	again   atomic.Int64 // calls that were told to come again
	clients *load
	stop    func()
}

// balance starts the gateways, which drain as they are told, and workers that make
// calls; each waits before each call.
func (all gateways) balance(t *testing.T, drain string, workers int, wait func()) *balancer {
	t.Helper()
	b := &balancer{all: all, in: make([]atomic.Bool, len(all))}
	for i, g := range all {
		g.settings["Drain"] = drain
		g.writeConfig()
		g.startRun()
		b.in[i].Store(true)
	}
	all[0].mixedBudgets()
	b.stop = all.probe(b.in)
	b.clients = startLoad(workers, func(worker, i int) reply {
		wait()
		for j := range all {
			if at := (worker + i + j) % len(all); b.in[at].Load() {
				return all[at].mixedAgain(t, worker, i, &b.again)
			}
		}
		return reply{err: errors.New("no gateway is ready")}
	})
	return b
}

// replace stops a gateway under load and starts a program in its place.
func (b *balancer) replace(t *testing.T, g *gateway, with string) {
	t.Helper()
	before := b.clients.answered()
	eventually(t, time.Minute, "calls are answered", func() bool { return b.clients.answered() >= before+30 })
	if code := g.program.stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, g.program.tail(20))
	}
	g.aigateway = with
	g.startRun()
}

// end stops the calls: none failed, nothing is held or lent for ever, and all gateways
// tell what was billed. It returns how many there were.
func (b *balancer) end(t *testing.T) (calls int) {
	t.Helper()
	counts := b.clients.end(t)
	b.stop()
	wantOnly(t, counts, "200", "402", "429")
	b.all.settle(time.Minute)
	for _, g := range b.all {
		g.wantNothingHeld(t)
	}
	b.all.wantNothingLent(t)
	b.all.wantAlike(t)
	return counts["200"] + counts["402"] + counts["429"]
}

// TestRollingRestart restarts three gateways one after the other under 200 calls a
// second, or what the machine carries of them, as a balancer does that asks whether they
// are ready: no call fails, and nothing is held or lent for ever afterwards.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	all := newGateways(t, pgtest.Start(t, "max_connections = 100"), 3, 30*time.Second)
	pace := time.NewTicker(time.Second / 200)
	defer pace.Stop()
	b := all.balance(t, "{accept: 5s, timeout: 30s}", 30, func() { <-pace.C })
	begun := time.Now()
	for _, g := range all {
		b.replace(t, g, g.aigateway)
	}
	took := time.Since(begun).Seconds()
	calls := b.end(t)
	t.Logf("%d calls, %.0f a second; %d were told to come again", calls, float64(calls)/took, b.again.Load())
}
