package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// makeKey makes a key that may call models.
func (g *gateway) makeKey(name string) http.Header {
	g.t.Helper()
	r := g.try(http.MethodPost, g.rest+"/v1/keys", fmt.Sprintf(`{"name":%q,"scopes":["inference"]}`, name), nil)
	var k struct {
		Secret string `json:"secret"`
	}
	if r.status != http.StatusOK || json.Unmarshal(r.body, &k) != nil || k.Secret == "" {
		g.t.Fatalf("make a key: %d %s", r.status, r.body)
	}
	return http.Header{"Authorization": {"Bearer " + k.Secret}, "X-Aig-Tag": {"stored"}}
}

// createResponse makes a response, and returns its id.
func (g *gateway) createResponse(mine http.Header, text, more string) string {
	g.t.Helper()
	r := g.insist(http.MethodPost, g.url+"/v1/responses", fmt.Sprintf(`{"model":"full/m1","user":"stored","input":%q,"max_output_tokens":20%s}`, text, more), mine)
	_, events, streamed := strings.Cut(string(r.body), "event: response.created\ndata: ")
	if streamed {
		r.body = []byte(strings.TrimSpace(strings.SplitN(events, "\n", 2)[0]))
	}
	var made struct {
		ID       string
		Response struct{ ID string }
	}
	if err := json.Unmarshal(r.body, &made); r.status != http.StatusOK || err != nil || made.ID+made.Response.ID == "" {
		g.t.Fatalf("create: %d %s %v", r.status, r.body, err)
	}
	return made.ID + made.Response.ID
}

// TestStoredResponses: a response is had by its id with the key that made it, at
// once, at the provider that made it, after a kill, and by nobody else; nothing of
// that is charged.
func TestStoredResponses(t *testing.T) {
	t.Parallel()
	g := fullGateway(t)
	g.setBudget("stored", 1000)
	mine, other := g.makeKey("mine"), g.makeKey("other")
	create := func(text, more string) string { return g.createResponse(mine, text, more) }
	wants := func(name, method, path string, key http.Header, status int, part string) {
		t.Helper()
		if r := g.insist(method, g.url+path, "", key); r.status != status || !strings.Contains(string(r.body), part) {
			t.Errorf("%s: %d %s %v, want %d with %s", name, r.status, r.body, r.err, status, part)
		}
	}
	plain := create("what is kept", "")
	wants("at once", "GET", "/v1/responses/"+plain, mine, 200, `"id":"`+plain+`"`)
	wants("with a slash and a query", "GET", "/v1/responses/"+plain+"/?include=a", mine, 200, `"id":"`+plain+`"`)
	wants("its input", "GET", "/v1/responses/"+plain+"/input_items?limit=5", mine, 200, "what is kept")
	wants("cancel", "POST", "/v1/responses/"+plain+"/cancel", mine, 400, "Cannot cancel")
	streamed := create("what is streamed", `,"stream":true`)
	wants("a stream's", "GET", "/v1/responses/"+streamed, mine, 200, `"id":"`+streamed+`"`)
	unstored := create("what is not kept", `,"store":false`)
	for name, key := range map[string]http.Header{"another key": other, "the operator": tagged("stored")} {
		for _, path := range []string{"", "/input_items"} {
			wants(name, "GET", "/v1/responses/"+plain+path, key, 404, "response_unknown")
		}
		wants(name, "DELETE", "/v1/responses/"+plain, key, 404, "response_unknown")
		wants(name, "POST", "/v1/responses/"+plain+"/cancel", key, 404, "response_unknown")
	}
	wants("what is not kept", "GET", "/v1/responses/"+unstored, mine, 404, "response_unknown")
	wants("nobody's", "GET", "/v1/responses/resp_nobody", mine, 404, "response_unknown")
	wants("no key", "GET", "/v1/responses/"+plain, http.Header{"Authorization": {"Bearer sk-aig-wrong"}}, 401, "key_invalid")
	wants("another way", "PUT", "/v1/responses/"+plain, mine, 404, "route_unknown")
	wants("another thing", "GET", "/v1/responses/"+plain+"/output", mine, 404, "route_unknown")

	g.program.kill()
	g.startRun()
	wants("after a kill", "GET", "/v1/responses/"+plain, mine, 200, `"id":"`+plain+`"`)
	wants("after a kill, another key", "GET", "/v1/responses/"+plain, other, 404, "response_unknown")
	wants("deleted", "DELETE", "/v1/responses/"+plain, mine, 200, `"deleted":true`)
	wants("gone at the provider", "GET", "/v1/responses/"+plain, mine, 404, "not found")

	count := g.insist(http.MethodPost, g.url+"/v1/responses/input_tokens", `{"model":"full/m1","input":"how many"}`, mine)
	if count.status != 200 || !strings.Contains(string(count.body), `"input_tokens":`) {
		t.Errorf("input_tokens: %d %s", count.status, count.body)
	}
	compact := g.insist(http.MethodPost, g.url+"/v1/responses/compact", `{"model":"full/m1","user":"stored","input":[{"role":"user","content":"a long story"}]}`, mine)
	if compact.status != 200 || !strings.Contains(string(compact.body), "response.compaction") {
		t.Errorf("compact: %d %s", compact.status, compact.body)
	}
	g.settle(time.Minute)
	if used := g.usage()["stored"]; used.requests != 4 {
		t.Errorf("%d calls are in the usage, want 3 responses and a compaction", used.requests)
	}
	g.wantBooksEqual(t)
}
