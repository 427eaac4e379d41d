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
	"testing"
	"time"
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
