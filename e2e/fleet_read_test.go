package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aigateway/internal/pgtest"
)

// replicaID is the id by which the store knows a gateway.
func (g *gateway) replicaID() string {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dataDir(), "replica"))
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// told is what a gateway answers about all of them.
type told struct {
	Reservations []struct {
		Tag, Replica string
		RequestID    string `json:"request_id"`
	}
	Calls []struct {
		State, Replica, Reason string
		RequestID              string `json:"request_id"`
	}
	RunningCalls int    `json:"running_calls"`
	Next         string `json:"next_page_token"`
	Cursor       string
	Unreachable  []string
	Replicas     []struct {
		ID, State, Config string
		Asked             bool
		Health            *struct{ Ready bool }
	}
}

func (g *gateway) tells(path string) (answer told) {
	g.t.Helper()
	r := g.try(http.MethodGet, g.rest+path, "", nil)
	if r.err != nil || r.status != http.StatusOK || json.Unmarshal(r.body, &answer) != nil {
		g.t.Fatalf("GET %s: %d %s %v", path, r.status, r.body, r.err)
	}
	return answer
}

// everyCall reads the list of calls of a tag at one gateway after the other, a few
// calls a page.
func (all gateways) everyCall(t *testing.T, tag string, size int) (ids []string) {
	t.Helper()
	for token, page := "", 0; ; page++ {
		query := url.Values{"tag": {tag}, "page_size": {fmt.Sprint(size)}}
		if token != "" {
			query.Set("page_token", token)
		}
		answer := all[page%len(all)].tells("/v1/calls?" + query.Encode())
		if answer.Unreachable != nil {
			t.Errorf("page %d is without %v", page, answer.Unreachable)
		}
		for _, c := range answer.Calls {
			ids = append(ids, c.RequestID)
		}
		if answer.Next == "" || page > 100 {
			return ids
		}
		token = answer.Next
	}
}

// TestEveryGatewayTellsAll asks each of three gateways for what only one of them
// knows: running calls, ended and refused ones, and how it is. One that is killed is
// named, and what it knew comes back with it.
func TestEveryGatewayTellsAll(t *testing.T) {
	t.Parallel()
	all := runGateways(t, 3)
	all[0].setBudget("all", 100)
	cursor := all[0].tells("/v1/calls").Cursor
	var requests []string
	for i := range 9 { // the last one first
		tokens := `,"max_tokens":9`
		want := http.StatusOK
		if i%3 == 2 {
			tokens, want = `,"max_tokens":4000000`, http.StatusPaymentRequired
		}
		r := all[i/3].chat("fake/m1", "all", fmt.Sprintf("hello %d", i), tokens)
		if r.status != want {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
		requests = slices.Insert(requests, 0, r.header.Get("x-aig-request-id"))
	}
	all.settle(time.Minute)
	for _, size := range []int{1, 2, 100} {
		if ids := all.everyCall(t, "all", size); !slices.Equal(ids, requests) {
			t.Errorf("pages of %d: %q, want %q", size, ids, requests)
		}
	}
	var ended []string
	eventually(t, time.Minute, "every call is told from the cursor on", func() bool {
		answer := all[2].tells("/v1/calls?page_size=4&after=" + cursor)
		for _, c := range answer.Calls {
			ended = append(ended, c.RequestID)
		}
		same := answer.Cursor == cursor
		cursor = answer.Cursor
		return same
	})
	if slices.Sort(ended); !slices.Equal(ended, slices.Sorted(slices.Values(requests))) {
		t.Errorf("from the cursor on: %q, want %q", ended, requests)
	}

	all.tellWhatRuns(t)
	all.tellWithoutOne(t)
}

// tellWhatRuns asks each gateway for a call that runs at the first one, and how all
// are.
func (all gateways) tellWhatRuns(t *testing.T) {
	t.Helper()
	end := all[0].running("fake", "all", "hold on")
	for i, g := range all {
		answer, overview := g.tells("/v1/reservations"), g.tells("/v1/overview")
		if len(answer.Reservations) != 1 || answer.Reservations[0].Replica != all[0].replicaID() || answer.Unreachable != nil || overview.RunningCalls != 1 {
			t.Errorf("gateway %d tells of %+v and %+v", i, answer, overview)
		}
		health := g.tells("/v1/health")
		if len(health.Replicas) != 3 || health.Unreachable != nil {
			t.Fatalf("gateway %d tells of %+v", i, health)
		}
		for _, r := range health.Replicas {
			if r.State != "live" || r.Health == nil || !r.Health.Ready || r.Asked != (r.ID == g.replicaID()) {
				t.Errorf("gateway %d tells of %+v", i, r)
			}
		}
	}
	if r := end(); r.status != http.StatusOK {
		t.Errorf("%d %s %v", r.status, r.body, r.err)
	}
	all.settle(time.Minute)
}

// tellWithoutOne kills a gateway and asks the others, then all when it is back.
func (all gateways) tellWithoutOne(t *testing.T) {
	t.Helper()
	gone := all[1].replicaID()
	all[1].program.kill()
	for _, path := range []string{"/v1/calls?tag=all", "/v1/reservations", "/v1/overview", "/v1/health", "/v1/books"} {
		begun := time.Now()
		if answer := all[0].tells(path); !slices.Equal(answer.Unreachable, []string{gone}) {
			t.Errorf("%s is without %v, want %s", path, answer.Unreachable, gone)
		} else if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s took %s", path, took)
		}
	}
	if n := len(all[0].tells("/v1/calls?tag=all").Calls); n != 7 {
		t.Errorf("%d calls without those of one of three, want 7", n)
	}
	list := exec.Command(binary, "calls", "list", "--tag", "all", "--server", all[2].rest)
	list.Env = append(os.Environ(), "AIGATEWAY_API_KEY="+adminKey)
	if out, err := list.CombinedOutput(); err != nil || !strings.Contains(string(out), "incomplete") || !strings.Contains(string(out), gone) {
		t.Errorf("the command does not say that %s is missing: %v %s", gone, err, out)
	}
	all[1].startRun()
	eventually(t, time.Minute, "all is told again", func() bool {
		answer := all[0].tells("/v1/calls?tag=all")
		return answer.Unreachable == nil && len(answer.Calls) == 9 // refusals are remembered by a process
	})
}

// TestCorrectionsAreBookedOnce sends one correction to all of three gateways at once,
// again and again, while calls run: it is booked once, every gateway tells so, and what
// a budget kept is told by all, also when the gateway that refused is gone.
func TestCorrectionsAreBookedOnce(t *testing.T) {
	t.Parallel()
	all := runGateways(t, 3)
	b := all[0].setBudget("fix", 100)
	for i, g := range all {
		if r := g.chat("fake/m1", "fix", fmt.Sprintf("hello %d", i), `,"max_tokens":9`); r.status != http.StatusOK {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
		if r := g.chat("fake/m1", "fix", fmt.Sprintf("hello %d", i), `,"max_tokens":4000000`); r.status != http.StatusPaymentRequired {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
	}
	all.settle(time.Minute)
	_, billed := all.bill("fix")
	adjust := func(g *gateway, request, amount string) reply {
		return g.try(http.MethodPost, g.rest+"/v1/adjustments", fmt.Sprintf(`{"tag":"fix","amount":%q,"reason":"the bill said so","request_id":%q}`, amount, request), nil)
	}
	spent := func(g *gateway) int64 { return g.mustBudgets()["fix"].spent }
	eventually(t, time.Minute, "what was billed is told by all", func() bool { return spent(all[0]) == billed && spent(all[2]) == billed })
	var done sync.WaitGroup
	ids := make([]string, 9)
	for i := range ids {
		done.Go(func() {
			var a struct{ ID string }
			r := adjust(all[i%3], "one", "0.25")
			if json.Unmarshal(r.body, &a) != nil || r.status != http.StatusOK {
				t.Errorf("%d %s %v", r.status, r.body, r.err)
			}
			ids[i] = a.ID
		})
	}
	done.Wait()
	for i, g := range all {
		var list struct{ Adjustments []struct{ ID string } }
		g.get("/v1/adjustments", &list)
		if n := spent(g); n != billed+250_000_000 || len(list.Adjustments) != 1 || list.Adjustments[0].ID != ids[i] {
			t.Errorf("gateway %d: %d spent, want %d; corrections %v, %v", i, n, billed+250_000_000, list, ids)
		}
		if u := g.usage()["fix"]; u.nano != billed+250_000_000 || u.requests != 3 {
			t.Errorf("gateway %d: usage %+v", i, u)
		}
	}
	wantError(t, adjust(all[1], "one", "0.26"), http.StatusConflict, "conflict")
	wantError(t, adjust(all[1], "two", "-0.90"), http.StatusBadRequest, "invalid_request_error")
	if r := adjust(all[2], "two", "-0.25"); r.status != http.StatusOK || spent(all[0]) != billed {
		t.Errorf("%d %s %v: %d spent, want %d", r.status, r.body, r.err, spent(all[0]), billed)
	}
	all.tellWhatWasKept(t, b.ID)
}

// TestFleetSpendsARefund at the gateway that had spent the money: it admits what the
// other would.
func TestFleetSpendsARefund(t *testing.T) {
	t.Parallel()
	all := runGateways(t, 2)
	all[0].setBudget("again", 10)
	spend := func(out int) {
		t.Helper()
		eventually(t, 20*time.Second, "the call is admitted", func() bool {
			return all[0].chat("fake/m1", "again", fmt.Sprintf("hello fault:out=%d", out), fmt.Sprintf(`,"max_tokens":%d`, out)).status == http.StatusOK
		})
	}
	spend(7000)
	_, billed := all.bill("again")
	if billed < 70_000_000 || billed > 99_999_999 {
		t.Fatalf("%d nano-USD billed", billed)
	}
	eventually(t, time.Minute, "what was billed is told", func() bool { return all[1].mustBudgets()["again"].spent == billed })
	r := all[1].try(http.MethodPost, all[1].rest+"/v1/adjustments", fmt.Sprintf(`{"tag":"again","amount":"-0.%09d","reason":"a test run","request_id":"r"}`, billed), nil)
	if r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	spend(3000)
	spend(4000)
	wantError(t, all[0].chat("fake/m1", "again", "hello", `,"max_tokens":4000`), http.StatusPaymentRequired, "budget_exceeded")
}

// tellWhatWasKept kills a gateway, and what it refused and booked is told all the same.
func (all gateways) tellWhatWasKept(t *testing.T, id string) {
	t.Helper()
	all[1].program.kill()
	eventually(t, time.Minute, "what the budget kept is told", func() bool {
		var windows struct {
			Windows []struct {
				Calls int64 `json:"refused_calls"`
			}
		}
		all[2].get("/v1/budgets/"+id+"/windows", &windows)
		var refusals struct{ Total struct{ Calls int64 } }
		all[0].get("/v1/refusals?budget_id="+id, &refusals)
		return len(windows.Windows) == 1 && windows.Windows[0].Calls == 3 && refusals.Total.Calls == 3
	})
	var changes struct{ Changes []struct{ Action string } }
	all[2].get("/v1/budgets/"+id+"/changes", &changes)
	if len(changes.Changes) != 1 || changes.Changes[0].Action != "create_budget" {
		t.Errorf("%+v", changes)
	}
	asOf := all[0].try(http.MethodGet, all[0].rest+"/v1/usage/by-tag", "", nil).header.Get("X-Aig-As-Of")
	if at, err := time.Parse(time.RFC3339, asOf); err != nil || time.Since(at) > 3*time.Minute {
		t.Errorf("usage is as of %q", asOf)
	}
}

// TestStartsWithoutTheStore starts one gateway of a fleet and a new one while the store
// is away: they answer that calls may come again, say why they are not ready and how
// they are, and serve by themselves once the store is there.
func TestStartsWithoutTheStore(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t, "max_connections = 100")
	all := newGateways(t, db, 2, 5*time.Second)
	all[0].startRun()
	all[0].setBudget("later", 100)
	all[0].program.stop()
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		g.program = startProcess(t, g.dir, "run", nil, binary, "run", "--config", g.config)
	}
	for i, g := range all {
		var r reply
		eventually(t, time.Minute, "calls are answered", func() bool {
			r = g.chat("fake/m1", "later", "hello", `,"max_tokens":9`)
			return r.err == nil && strings.Contains(string(r.body), "store_unreachable")
		})
		if wantError(t, r, http.StatusServiceUnavailable, "service_unavailable"); r.header.Get("x-should-retry") != "true" {
			t.Errorf("gateway %d: %v", i, r.header)
		}
		if r := g.try(http.MethodGet, g.rest+"/readyz", "", nil); r.status != http.StatusServiceUnavailable || !strings.Contains(string(r.body), "the store has not been reached since the start") {
			t.Errorf("gateway %d: %d %s %v", i, r.status, r.body, r.err)
		}
		for _, path := range []string{"/v1/budgets", "/v1/usage/by-tag", "/v1/adjustments"} {
			wantError(t, g.try(http.MethodGet, g.rest+path, "", nil), http.StatusServiceUnavailable, "service_unavailable")
		}
		if health := g.tells("/v1/health"); len(health.Replicas) != 1 || health.Replicas[0].Health == nil || health.Replicas[0].Health.Ready || !slices.Equal(health.Unreachable, []string{"store"}) {
			t.Errorf("gateway %d: %+v", i, health)
		}
	}
	if calls, _ := all.bill("later"); calls != 0 {
		t.Errorf("%d calls were sent", calls)
	}
	if err := db.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		g.waitReady()
		if r := g.chat("fake/m1", "later", "hello", `,"max_tokens":9`); r.status != http.StatusOK || g.mustBudgets()["later"].cap != 1_000_000_000 {
			t.Errorf("%d %s %v", r.status, r.body, r.err)
		}
	}
	all.settle(time.Minute)
	all.wantAlike(t)
}
