package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// ofTheGateway are members that say how the gateway is that was asked, and ofTheMoment
// those that change from one moment to the next.
var (
	ofTheGateway = []string{"asked", "learned", "head", "checked_at", "books_head", "books_checked_at", "database_bytes", "disk_free_bytes", "disk_full_days"}
	ofTheMoment  = []string{"as_of", "seen_time", "silent_ms", "usage_time", "usage_lag_ms", "clock_ahead_ms", "projected", "cursor"}
)

// without takes those members out of an answer.
func without(v any, members []string) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if slices.Contains(members, name) {
				delete(v, name)
			} else {
				v[name] = without(value, members)
			}
		}
	case []any:
		for i := range v {
			v[i] = without(v[i], members)
		}
	}
	return v
}

// TestEveryGatewayAnswersAlike asks three gateways, of which one had all the calls, for
// every resource that there is: the answer does not depend on which is asked, but for
// members that say how that one is.
func TestEveryGatewayAnswersAlike(t *testing.T) {
	t.Parallel()
	all := runGateways(t, 3)
	made := all[0].setBudget("alike/**", 100)
	var key struct{ Key struct{ ID string } }
	all[1].post("/v1/keys", `{"name":"k","scopes":["inference"]}`, &key)
	for i := range 4 {
		all[0].chat("fake/m1", "alike/a", fmt.Sprintf("hello %d", i), `,"max_tokens":9`)
	}
	all[0].chat("fake/m1", "alike/b", "fault:out=2950", `,"max_tokens":2950`)
	all[0].chat("fake/m1", "alike/a", "too much", `,"max_tokens":4000000`)
	all.settle(time.Minute)
	all[2].post("/v1/adjustments", `{"budget_id":"`+made.ID+`","amount":"0.01","reason":"a test","request_id":"alike"}`, &struct{}{})
	var document struct {
		Paths map[string]map[string]any
	}
	all[0].get("/openapi.json", &document)
	explain := fmt.Sprintf(`{"tag":"alike/a","body":%s}`, chatBody("fake/m1", "alike/a", "hello", `,"max_tokens":9`))
	for path, methods := range document.Paths {
		asks := []string{strings.NewReplacer("/budgets/{id}", "/budgets/"+made.ID, "/keys/{id}", "/keys/"+key.Key.ID, "{model}", "fake/m1").Replace(path)}
		if path == "/v1/usage" {
			asks = []string{path + "?group_by=tag", path + "?group_by=model&group_by=key", path + "?group_by=day"}
		}
		method, body := http.MethodGet, ""
		if path == "/v1/explain" {
			method, body = http.MethodPost, explain
		} else if methods["get"] == nil {
			t.Errorf("nobody asks %s", path)
			continue
		}
		for _, ask := range asks {
			all.wantSameAnswer(t, method, ask, body)
		}
	}
}

// wantSameAnswer waits until all gateways answer alike.
func (all gateways) wantSameAnswer(t *testing.T, method, ask, body string) {
	t.Helper()
	var answers [3]string
	for deadline := time.Now().Add(time.Minute); ; pause(200 * time.Millisecond) {
		for i, g := range all {
			var v any
			g.ask(method, ask, body, &v)
			members := slices.Concat(ofTheMoment, ofTheGateway)
			if strings.HasSuffix(ask, "/curve") {
				members = append(members, "time") // the last point is of now
			}
			text, err := json.Marshal(without(v, members))
			if err != nil {
				t.Fatal(err)
			}
			answers[i] = string(text)
		}
		if answers[0] == answers[1] && answers[0] == answers[2] {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%s differs:\n%s", ask, strings.Join(answers[:], "\n"))
			break
		}
	}
}
