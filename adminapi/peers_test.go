package adminapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/adminapi"
	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// gateways are several that share a store; what one asks, all answer but those that
// are down.
type gateways struct {
	worlds map[string]*world
	down   map[string]bool
	left   map[string]bool // they stopped: missed where the past is asked for
	away   bool            // the store
	most   int             // bytes of an answer
	asked  []string        // kinds
}

type peer struct {
	*gateways
	id string
}

func newGateways(t *testing.T, ids ...string) *gateways {
	t.Helper()
	g := &gateways{worlds: map[string]*world{}, down: map[string]bool{}, left: map[string]bool{}, most: 1 << 20}
	for _, id := range ids {
		g.worlds[id] = newWorldAmong(t, nil, peer{g, id})
	}
	return g
}

func (p peer) Self() string { return p.id }

func (p peer) Ask(ctx context.Context, kind string, question []byte, past bool) (map[string][]byte, []string, error) {
	p.asked = append(p.asked, kind)
	answers, missing := map[string][]byte{}, []string(nil)
	for id, w := range p.worlds {
		switch {
		case id != p.id && p.away:
			continue
		case p.down[id]:
			missing = append(missing, id)
			continue
		case p.left[id]:
			if past {
				missing = append(missing, id)
			}
			continue
		}
		text, err := w.server.Answer(ctx, kind, question, p.most)
		if err != nil {
			return nil, nil, err
		}
		if len(text) > p.most+4096 {
			return nil, nil, fmt.Errorf("the answer of %s has %d bytes", id, len(text))
		}
		answers[id] = text
	}
	if p.away {
		missing = []string{budget.StoreName}
	}
	return answers, missing, nil
}

func (p peer) Replicas(context.Context) (out []budget.ReplicaStatus, err error) {
	if p.away {
		return nil, errors.New("the store is away")
	}
	for id := range p.worlds {
		out = append(out, budget.ReplicaStatus{Replica: budget.Replica{ID: id, Name: "host-" + id, Program: "v1", ConfigHash: "abc"},
			Seen: instant, Silence: 400 * time.Millisecond, Lag: 700 * time.Millisecond, Silent: p.down[id], Left: p.left[id], Rules: 7, Behind: 1, Leased: budget.Dollar})
	}
	slices.SortFunc(out, func(a, b budget.ReplicaStatus) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// deal gives n calls to the gateways by chance, of which some were refused, and
// returns their request ids, the newest first.
func (g *gateways) deal(n int) (all []string) {
	ids := []string{"a", "b", "c"}
	for i := range n {
		w := g.worlds[ids[rand.IntN(3)]]
		c := budget.Call{ID: budget.ReservationID(len(w.store.calls) + 1), RequestID: fmt.Sprintf("call-%d", i), State: budget.CallSettled, DecidedAt: instant.Add(time.Duration(i) * time.Minute),
			EndedAt: instant.Add(time.Duration(i) * time.Minute), Attribution: budget.Attribution{KeyID: "key_a", Tag: "t", Model: "moonshot/kimi-k2.6", Provider: "moonshot"}}
		if rand.IntN(4) == 0 {
			c.State, c.ID = budget.CallRefused, c.ID+1000
		}
		w.store.calls = slices.Insert(w.store.calls, 0, c)
		all = slices.Insert(all, 0, c.RequestID)
	}
	return all
}

// page reads a page of calls at a gateway.
func (w *world) page(query url.Values) (ids []string, next string, unreachable []any, answer map[string]any) {
	w.t.Helper()
	answer = w.ok(w.do(reporter, "GET", "/v1/calls?"+query.Encode(), ""), "GET /v1/calls").(map[string]any)
	ids, next = requestIDsOf(w.t, answer)
	unreachable, _ = answer["unreachable"].([]any)
	return ids, next, unreachable, answer
}

// TestCallsOfAllGateways lists the calls of three at any one, in pages of any size
// and answers of few bytes: each call comes once, the newest first, though a gateway
// looks at a few rows at a time.
func TestCallsOfAllGateways(t *testing.T) {
	g := newGateways(t, "a", "b", "c")
	all := g.deal(60)
	for size := 1; size <= 61; size += 3 {
		for _, w := range g.worlds {
			w.store.scan = rand.IntN(6) * 3
		}
		g.most = 1500 + rand.IntN(3000)*rand.IntN(2)
		var got []string
		for token, pages := "", 0; ; pages++ {
			w := g.worlds[[]string{"a", "b", "c"}[pages%3]]
			query := url.Values{"page_size": {fmt.Sprint(size)}}
			if token != "" {
				query.Set("page_token", token)
			}
			ids, next, unreachable, answer := w.page(query)
			if unreachable != nil {
				t.Errorf("all answer, and %v are named", unreachable)
			}
			for _, c := range answer["calls"].([]any) {
				if id := c.(map[string]any)["replica"]; g.worlds[fmt.Sprint(id)] == nil {
					t.Errorf("a call of %v", id)
				}
			}
			if got = append(got, ids...); next == "" {
				break
			}
			if next == token || len(ids) > size || pages > 500 {
				t.Fatalf("pages of %d: %d calls and the same token again: %t", size, len(ids), next == token)
			}
			token = next
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v\nwant %v", size, got, all)
		}
	}
}

// TestCallsOfAGatewayThatIsDown: its calls are missed and it is named on each page, a
// list ends without it, and they come once it answers; none is lost or told twice.
func TestCallsOfAGatewayThatIsDown(t *testing.T) {
	g := newGateways(t, "a", "b", "c")
	all := g.deal(60)
	others := 0
	for _, id := range []string{"a", "b"} {
		others += len(g.worlds[id].store.calls)
	}
	g.down["c"] = true
	for _, back := range []int{-1, 2} { // the page before which it is back
		g.down["c"] = true
		seen := map[string]bool{}
		for token, page := "", 0; ; page++ {
			if page == back {
				g.down["c"] = false
			}
			query := url.Values{"page_size": {"7"}}
			if token != "" {
				query.Set("page_token", token)
			}
			ids, next, unreachable, _ := g.worlds["a"].page(query)
			if named := len(unreachable) == 1 && unreachable[0] == "c"; named != g.down["c"] {
				t.Errorf("page %d names %v, c is down: %t", page, unreachable, g.down["c"])
			}
			for _, id := range ids {
				if seen[id] {
					t.Errorf("%s came twice", id)
				}
				seen[id] = true
			}
			if next == "" {
				break
			}
			token = next
		}
		if want := map[int]int{-1: others, 2: len(all)}[back]; len(seen) != want {
			t.Errorf("back at page %d: %d calls, want %d", back, len(seen), want)
		}
	}
}

// TestCallsOfAGatewayThatLeft names it: what it had is not in the list.
func TestCallsOfAGatewayThatLeft(t *testing.T) {
	g := newGateways(t, "a", "b", "c")
	g.deal(20)
	g.left["b"] = true
	if _, next, unreachable, _ := g.worlds["a"].page(url.Values{}); next != "" || len(unreachable) != 1 || unreachable[0] != "b" {
		t.Errorf("it names %v, and goes on at %q", unreachable, next)
	}
	g.left["b"], g.away = false, true
	ids, _, unreachable, _ := g.worlds["a"].page(url.Values{"page_size": {"1000"}})
	if len(unreachable) != 1 || unreachable[0] != "store" || len(ids) != len(g.worlds["a"].store.calls) {
		t.Errorf("without the store: %d calls, and %v named", len(ids), unreachable)
	}
	// A list that began without the others says so to its end.
	_, next, _, _ := g.worlds["a"].page(url.Values{"page_size": {"1"}})
	g.away = false
	if _, _, unreachable, _ = g.worlds["a"].page(url.Values{"page_size": {"1"}, "page_token": {next}}); len(unreachable) != 1 || unreachable[0] != "store" {
		t.Errorf("its next page names %v", unreachable)
	}
}

// TestTokensOfOthers: tokens of a gateway that is alone, or of nobody, are refused.
func TestTokensOfOthers(t *testing.T) {
	g, alone := newGateways(t, "a", "b"), newWorld(t)
	alone.store.calls = []budget.Call{{ID: 2, State: budget.CallSettled, DecidedAt: instant}, {ID: 1, State: budget.CallSettled, DecidedAt: instant}}
	_, next, _, answer := alone.page(url.Values{"page_size": {"1"}})
	long := base64.RawURLEncoding.EncodeToString([]byte(`1:{"a":"^","` + strings.Repeat("x", 50_000) + `":"$"}`))
	for _, query := range []url.Values{{"page_token": {long}}, {"page_token": {next}}, {"page_token": {"MTp7fQ"}}, {"after": {answer["cursor"].(string)}}, {"after": {"MTp7ImEiOiIxIn0"}}} {
		field := "page_token"
		if query.Has("after") {
			field = "after"
		}
		g.worlds["a"].wantError(g.worlds["a"].do(reporter, "GET", "/v1/calls?"+query.Encode(), ""), 400, "field_invalid", field)
	}
}

// TestRightsTravel: a key that sees some tags gets the calls of those, from all.
func TestRightsTravel(t *testing.T) {
	g := newGateways(t, "a", "b")
	for id, w := range g.worlds {
		for i, tag := range []budget.Tag{"other", "team/a/x"} {
			c := budget.Call{ID: budget.ReservationID(2 - i), RequestID: id + " " + string(tag), State: budget.CallSettled, DecidedAt: instant, Attribution: budget.Attribution{Tag: tag}}
			w.store.calls = append(w.store.calls, c)
			w.store.open = append(w.store.open, budget.Open{ID: 1, Attribution: c.Attribution, Bound: budget.Dollar})
		}
	}
	w := g.worlds["b"]
	ids, _ := requestIDsOf(t, w.ok(w.do(teamA, "GET", "/v1/calls", ""), "GET /v1/calls"))
	if slices.Sort(ids); !slices.Equal(ids, []string{"a team/a/x", "b team/a/x"}) {
		t.Errorf("%v", ids)
	}
	for key, want := range map[string]string{teamA: "2 2.00", reporter: "4 4.00"} {
		o := w.ok(w.do(key, "GET", "/v1/overview", ""), "GET /v1/overview").(map[string]any)
		if got := fmt.Sprint(o["running_calls"], " ", o["reserved"]); got != want {
			t.Errorf("%s running, want %s", got, want)
		}
	}
	g.down["a"] = true
	o := w.ok(w.do(reporter, "GET", "/v1/overview", ""), "GET /v1/overview").(map[string]any)
	if o["running_calls"] != decode(t, "2") || fmt.Sprint(o["unreachable"]) != "[a]" {
		t.Errorf("%v", o)
	}
}

// TestQuestionsWithoutRights are not answered: what they do not say, or say in words of
// another version, is no right.
func TestQuestionsWithoutRights(t *testing.T) {
	w := newGateways(t, "a").worlds["a"]
	w.store.calls = []budget.Call{{ID: 1, State: budget.CallSettled, DecidedAt: instant}}
	for kind, question := range map[string]string{"calls": `{"query":{"limit":1,%s}}`, "ended": `{"query":{"limit":1,%s}}`, "running": `{%s}`} {
		for tags, whole := range map[string]bool{`"tags":["**"]`: true, `"tags":null`: false, `"tags":[]`: false, `"labels":["x"]`: false, `"tags":["**"],"labels":["x"]`: false} {
			text, err := w.server.Answer(t.Context(), kind, fmt.Appendf(nil, question, tags), 1<<20)
			if whole != (err == nil) {
				t.Errorf("%s with %s: %s, %v", kind, tags, text, err)
			}
		}
	}
}

// panics is an error that nobody can read.
type panics struct{}

func (panics) Error() string { panic("a bug") }

// TestPanicInAnAnswer ends no gateway.
func TestPanicInAnAnswer(t *testing.T) {
	w := newGateways(t, "a").worlds["a"]
	w.setReady(adminapi.Condition{Name: "ledger", Err: panics{}})
	if text, err := w.server.Answer(t.Context(), "state", []byte("{}"), 1<<20); text != nil || err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestReservationsOfAllGateways: the oldest of all, and no younger ones than those of
// an answer that was cut.
func TestReservationsOfAllGateways(t *testing.T) {
	g := newGateways(t, "a", "b")
	for i := range 20 {
		w := g.worlds[string("ab"[i%2])]
		w.store.open = append(w.store.open, budget.Open{ID: budget.ReservationID(i/2 + 1), RequestID: fmt.Sprint(i), ReservedAt: instant.Add(time.Duration(i) * time.Second)})
	}
	list := func(query string) (ids []string, answer map[string]any) {
		answer = g.worlds["a"].ok(g.worlds["a"].do(admin, "GET", "/v1/reservations"+query, ""), "GET /v1/reservations").(map[string]any)
		for _, r := range answer["reservations"].([]any) {
			ids = append(ids, r.(map[string]any)["request_id"].(string))
		}
		return ids, answer
	}
	if ids, _ := list("?page_size=5"); strings.Join(ids, " ") != "0 1 2 3 4" {
		t.Errorf("%v", ids)
	}
	if ids, answer := list(""); len(ids) != 20 || answer["unreachable"] != nil || answer["reservations"].([]any)[1].(map[string]any)["replica"] != "b" {
		t.Errorf("%v", answer)
	}
	g.most = 1000
	if ids, _ := list(""); len(ids) < 3 || len(ids) > 15 || ids[2] != "2" {
		t.Errorf("answers of 1000 bytes: %v", ids)
	}
	g.down["b"] = true
	if _, answer := list(""); fmt.Sprint(answer["unreachable"]) != "[b]" {
		t.Errorf("%v", answer)
	}
}

// TestHealthOfAllGateways: each tells how it is, who does not is named, and the asked
// one tells without the store, too.
func TestHealthOfAllGateways(t *testing.T) {
	g := newGateways(t, "a", "b", "c")
	g.worlds["b"].setReady(adminapi.Condition{Name: "ledger", Err: errors.New("the disk is full")})
	g.down["c"] = true
	w := g.worlds["a"]
	health := w.ok(w.do(reporter, "GET", "/v1/health", ""), "GET /v1/health").(map[string]any)
	replicas := health["replicas"].([]any)
	of := func(i int) map[string]any { return replicas[i].(map[string]any) }
	if len(replicas) != 3 || fmt.Sprint(health["unreachable"]) != "[c]" || health["ready"] != true {
		t.Fatalf("%v", health)
	}
	if of(0)["asked"] != true || of(0)["health"].(map[string]any)["ready"] != true || of(1)["asked"] != false || of(1)["health"].(map[string]any)["ready"] != false {
		t.Errorf("%v", replicas)
	}
	wantJSON(t, of(2), `{"id":"c","name":"host-c","state":"silent","seen_time":"2026-04-15T10:07:00Z","silent_ms":400,"usage_lag_ms":700,"leased":"1.00",
		"rules_version":7,"rules_behind":1,"program":"v1","config":"abc","asked":false}`)
	if p := health["providers"].([]any)[0].(map[string]any); p["calls"] != decode(t, "8") || p["mean_ms"] != decode(t, "250") {
		t.Errorf("providers of two gateways: %v", p)
	}
	books := w.ok(w.do(reporter, "GET", "/v1/books", ""), "GET /v1/books").(map[string]any)
	if books["mismatches"] != decode(t, "2") || books["head"] != "42:9f86d0" || len(books["replicas"].([]any)) != 3 || fmt.Sprint(books["unreachable"]) != "[c]" {
		t.Errorf("%v", books)
	}
	g.away = true
	health = w.ok(w.do(reporter, "GET", "/v1/health", ""), "GET /v1/health").(map[string]any)
	if replicas = health["replicas"].([]any); len(replicas) != 1 || of(0)["state"] != "" || of(0)["health"] == nil || fmt.Sprint(health["unreachable"]) != "[store]" {
		t.Errorf("without the store: %v", health)
	}
}

// TestEndedOfAllGateways goes on from a cursor: every call that ends or is refused
// comes once, from those that join meanwhile, too.
func TestEndedOfAllGateways(t *testing.T) {
	g := newGateways(t, "a", "b")
	g.down["b"] = true
	w := g.worlds["a"]
	_, _, unreachable, answer := w.page(url.Values{})
	if len(unreachable) != 1 {
		t.Errorf("%v", unreachable)
	}
	cursor := answer["cursor"].(string)
	g.down["b"] = false
	refuse := func(id string, n int) {
		s := g.worlds[id].store
		s.calls = slices.Insert(s.calls, 0, budget.Call{ID: budget.ReservationID(1000 + n), RequestID: fmt.Sprint(id, n), State: budget.CallRefused, DecidedAt: instant.Add(time.Duration(n) * time.Second)})
	}
	var got []string
	more := func() {
		t.Helper()
		for {
			ids, _, _, answer := w.page(url.Values{"after": {cursor}, "page_size": {"4"}})
			got = append(got, ids...)
			if answer["cursor"] == cursor {
				return
			}
			cursor = answer["cursor"].(string)
		}
	}
	for i := range 10 {
		refuse("a", i)
		if i%2 == 0 {
			refuse("b", i)
		}
		more()
	}
	if want := "a0 b0 a1 a2 b2 a3 a4 b4 a5 a6 b6 a7 a8 b8 a9"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// TestAsOf: reports of several gateways say up to when they are complete, and who is
// behind, whatever the form; those of one have no such member.
func TestAsOf(t *testing.T) {
	w, alone := newGateways(t, "a").worlds["a"], newWorld(t)
	for _, w := range []*world{w, alone} {
		w.usage()
		w.store.budgets = []budget.Status{w.store.status(budget.Budget{ID: "bud_1", Target: budget.Target{Tags: "x"}, Period: budget.Month, Cap: budget.Dollar})}
	}
	w.store.budgets[0].AsOf = budget.AsOf{Time: instant.Add(-time.Minute), Behind: []string{"c", "d"}}
	for path, operation := range map[string]string{
		"/v1/usage": "GET /v1/usage", "/v1/overview": "GET /v1/overview", "/v1/budgets/bud_1": "GET /v1/budgets/{id}",
	} {
		report := w.ok(w.do(admin, "GET", path, ""), operation).(map[string]any)
		if report["as_of"] != "2026-04-15T10:06:00Z" || fmt.Sprint(report["behind"]) != "[c d]" {
			t.Errorf("%s: as of %v without %v", path, report["as_of"], report["behind"])
		}
		report = alone.ok(alone.do(admin, "GET", path, ""), operation).(map[string]any)
		for _, name := range []string{"as_of", "behind", "unreachable", "replicas"} {
			if _, has := report[name]; has {
				t.Errorf("%s of one gateway has %s", path, name)
			}
		}
	}
	for _, path := range []string{"/v1/usage/by-tag", "/v1/usage?format=csv", "/v1/usage/by-tag?month=2020-01"} {
		if h := w.do(reporter, "GET", path, "").header; h.Get("X-Aig-As-Of") != "2026-04-15T10:06:00Z" || h.Get("X-Aig-Behind") != "c,d" {
			t.Errorf("%s: %v", path, h)
		}
		if h := alone.do(reporter, "GET", path, "").header; h.Get("X-Aig-As-Of") != "" || h.Get("X-Aig-Behind") != "" {
			t.Errorf("%s of one gateway: %v", path, h)
		}
	}
	if a, b := w.do(reporter, "GET", "/v1/usage/by-tag?month=2026-04", ""), alone.do(reporter, "GET", "/v1/usage/by-tag?month=2026-04", ""); a.body != b.body || !strings.HasPrefix(a.body, "[{") {
		t.Errorf("%s, and of one gateway %s", a.body, b.body)
	}
	rpc, err := aigatewayv1.NewUsageServiceClient(w.dial()).UsageByTag(with(reporter), &aigatewayv1.UsageByTagRequest{Month: "2026-04"})
	if err != nil || !rpc.GetAsOf().AsTime().Equal(instant.Add(-time.Minute)) || len(rpc.GetBehind()) != 2 || len(rpc.GetUsage()) != 5 {
		t.Errorf("%v, %v", rpc, err)
	}
}

// TestReportsAskOnceHowCompleteTheyAre: that tells the store what this gateway has
// booked, so every report asks it, and only once, of however many tags its key is.
func TestReportsAskOnceHowCompleteTheyAre(t *testing.T) {
	w := newGateways(t, "a").worlds["a"]
	w.usage()
	w.store.budgets = []budget.Status{w.store.status(budget.Budget{ID: "bud_1", Target: budget.Target{Tags: "team/a/x"}, Period: budget.Month, Cap: budget.Dollar})}
	for _, c := range []struct{ key, path string }{
		{teamA, "/v1/usage"}, {teamA, "/v1/usage?format=csv"}, {teamA, "/v1/usage/by-tag"}, {teamA, "/v1/usage/tree"}, {teamA, "/v1/overview"},
		{teamA, "/v1/budgets/bud_1/curve"}, {admin, "/v1/health"},
	} {
		before := w.asOfs.Load()
		if a := w.do(c.key, "GET", c.path, ""); a.status != 200 {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
		if n := w.asOfs.Load() - before; n != 1 {
			t.Errorf("%s asks %d times", c.path, n)
		}
	}
}
