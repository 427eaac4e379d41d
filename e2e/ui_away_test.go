package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"aigateway/internal/pgtest"
)

// TestPageSaysWhatIsWrong opens the page in a real browser while rights are missing, the
// session ends, the gateway is killed and the store is down: it says so, and goes on by
// itself when that is over. On Health it shows the gateways that share the store, as
// REST and the CLI do.
func TestPageSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t, "max_connections = 100")
	all := newGateways(t, db, 2, 5*time.Second)
	for _, g := range all {
		g.startRun()
	}
	g, other := all[0], all[1]
	g.setBudget("mine", 2)
	g.setBudget("others", 2)
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	if r := g.try(http.MethodPost, g.rest+"/v1/keys", `{"name":"team","scopes":["usage"],"allowed_tags":["mine"]}`, nil); json.Unmarshal(r.body, &made) != nil || made.Secret == "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	call := func(tag string) {
		eventually(t, time.Minute, "a call is answered", func() bool {
			return g.chat("fake/m1", tag, "words", `,"max_tokens":9`).status == http.StatusOK
		})
	}
	call("mine")
	call("others")
	all.settle(time.Minute)
	wantSignedInAtBoth(t, g, other)
	var read awaySeen
	g.script(t, &read, func(what string) {
		switch what {
		case "revoke":
			if r := g.try(http.MethodDelete, g.rest+"/v1/keys/"+made.Key.ID, "", nil); r.status >= 300 {
				t.Errorf("revoke: %d %s", r.status, r.body)
			}
		case "kill":
			g.program.kill()
		case "start":
			g.startRun()
		case "call":
			call("after-restart")
		case "store down":
			db.Kill()
		case "store up":
			db.Revive()
		case "other away":
			other.program.freeze()
		case "other back":
			other.program.kill()
		}
	}, "away.mjs", adminKey, made.Secret)
	for _, p := range read.Problems {
		t.Error(p)
	}
	read.wantGateways(t, g)
}

// wantSignedInAtBoth signs in at one gateway, as a browser behind a load balancer, and out
// at the other.
func wantSignedInAtBoth(t *testing.T, g, other *gateway) {
	t.Helper()
	v := g.visit(t)
	status := func(at *gateway) int {
		a, err := visit{at, v.cookie}.ask(t.Context(), "/ui/api/v1/budgets")
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		return a.StatusCode
	}
	if one, two := status(g), status(other); one != http.StatusOK || two != http.StatusOK {
		t.Errorf("signed in at one: %d, at the other: %d", one, two)
	}
	if r := other.try(http.MethodDelete, other.rest+"/ui/session", "", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Cookie": {v.cookie}}); r.status != http.StatusNoContent {
		t.Errorf("sign out: %d %s", r.status, r.body)
	}
	if got := status(other); got != http.StatusUnauthorized {
		t.Errorf("signed out at the other: %d", got)
	}
	eventually(t, 3*time.Second, "who signed out at one gateway is signed out at all", func() bool { return status(g) == http.StatusUnauthorized })
	ticket, signed := g.ticket(t), make(chan int)
	for i := range 8 {
		go func() { signed <- gateways{g, other}[i%2].useTicket(ticket) }()
	}
	in := 0
	for range 8 {
		if <-signed == http.StatusOK {
			in++
		}
	}
	if in != 1 {
		t.Errorf("of eight that use one address at two gateways at once %d are signed in", in)
	}
}

// ticket is what an address that signs in once ends with.
func (g *gateway) ticket(t *testing.T) string {
	t.Helper()
	r := g.try(http.MethodPost, g.rest+"/ui/ticket", "", nil)
	var made struct{ Path string }
	if json.Unmarshal(r.body, &made) != nil || made.Path == "" {
		t.Fatalf("a ticket: %d %s %v", r.status, r.body, r.err)
	}
	_, ticket, _ := strings.Cut(made.Path, "#/ticket/")
	return ticket
}

// useTicket signs in with that, and returns the status.
func (g *gateway) useTicket(ticket string) int {
	return g.try(http.MethodPost, g.rest+"/ui/session", fmt.Sprintf(`{"ticket":%q}`, ticket), http.Header{"Sec-Fetch-Site": {"same-origin"}}).status
}

// visit is somebody who is signed in at a gateway's page.
type visit struct {
	g      *gateway
	cookie string
}

func (g *gateway) visit(t testing.TB) visit {
	t.Helper()
	r := g.try(http.MethodPost, g.rest+"/ui/session", fmt.Sprintf(`{"key":%q}`, adminKey), http.Header{"Sec-Fetch-Site": {"same-origin"}})
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	if r.status != http.StatusOK || cookie == "" {
		t.Fatalf("sign in: %d %s %v", r.status, r.body, r.err)
	}
	return visit{g, cookie}
}

// ask is a request of the page; the answer's body has to be closed.
func (v visit) ask(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.g.rest+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", v.cookie)
	return v.g.client.Do(r)
}

// awaySeen is what the browser read of the gateways that share a store: of both, and
// with the other one frozen.
type awaySeen struct {
	Gateways, Away [2][][]string
	Problems       []string
}

// wantGateways compares that with REST.
func (read *awaySeen) wantGateways(t *testing.T, g *gateway) {
	t.Helper()
	var health struct {
		Replicas []struct {
			ID, State, Config, Program string
			RulesVersion               int64 `json:"rules_version"`
			Asked                      bool
		}
	}
	g.get("/v1/health", &health)
	if len(health.Replicas) != 2 || len(read.Gateways[0]) != 2 {
		t.Fatalf("REST tells of %+v, the page of %q", health.Replicas, read.Gateways[0])
	}
	for i, r := range health.Replicas {
		row := strings.Join(read.Gateways[0][i], " | ")
		for _, want := range []string{r.ID, r.Program, r.Config[:8], map[bool]string{true: "(this one)", false: ""}[r.Asked]} {
			if !strings.Contains(row, want) {
				t.Errorf("the page says %q; REST %+v", row, r)
			}
		}
		if away := strings.Join(read.Away[0][i], " | "); (strings.Contains(away, "does not answer") || strings.Contains(away, "silent")) == r.Asked {
			t.Errorf("with the other one frozen the page says %q", away)
		}
	}
}
