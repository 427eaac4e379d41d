package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCodexShapes sends what Codex sends, in small: tools that it runs itself, in
// groups and beside the input, its own kinds of items, and a WebSocket first.
func TestCodexShapes(t *testing.T) {
	t.Parallel()
	g := fullGateway(t)
	g.setBudget("codex", 10_000)

	ws := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	for _, path := range []string{"/v1/responses", "/v1/responses/", "/v1//responses?client_version=1"} {
		r := g.try(http.MethodGet, g.url+path, "", ws)
		if r.status != http.StatusUpgradeRequired || !strings.Contains(string(r.body), "websocket_unsupported") || r.header.Get("Upgrade") != "" || len(r.header.Get("X-Aig-Request-Id")) != 36 {
			t.Errorf("a WebSocket on %s: %d %v %s", path, r.status, r.header, r.body)
		}
	}
	if r := g.try(http.MethodGet, g.url+"/v1/chat/completions", "", ws); r.status != http.StatusBadRequest {
		t.Errorf("a WebSocket elsewhere: %d %s", r.status, r.body)
	}
	if r := g.try(http.MethodPost, g.url+"/v1/responses", "{}", ws); r.status != http.StatusBadRequest {
		t.Errorf("a POST that would upgrade: %d %s", r.status, r.body)
	}
	if r := g.try(http.MethodGet, g.url+"/v1/responses", "", nil); r.status != http.StatusNotFound {
		t.Errorf("a plain GET: %d %s", r.status, r.body)
	}

	const tools = `{"type":"namespace","name":"functions","description":"","tools":[{"type":"custom","name":"exec","description":"d","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},` +
		`{"type":"function","name":"wait","strict":false,"parameters":{"type":"object","properties":{}}}]},` +
		`{"type":"tool_search","execution":"client","description":"d","parameters":{"type":"object","properties":{}}},` +
		`{"type":"shell","environment":{"type":"local"}},{"type":"local_shell"},{"type":"apply_patch"},{"type":"custom","name":"apply_patch"}`
	const items = `{"type":"message","id":"msg_1","role":"user","content":[{"type":"input_text","text":"hi"}],"internal_chat_message_metadata_passthrough":{"turn_id":"t"}},` +
		`{"type":"agent_message","author":"/main","recipient":"/main/a","content":[{"type":"input_text","text":"go"},{"type":"encrypted_content","encrypted_content":"gAAAAABo"}]},` +
		`{"type":"tool_search_call","call_id":"c1","status":"completed","execution":"client","arguments":{"query":"a"}},` +
		`{"type":"tool_search_output","call_id":"c1","status":"completed","execution":"client","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]},` +
		`{"type":"compaction","encrypted_content":"gAAAAABo"},{"type":"compaction_summary","encrypted_content":"gAAAAABo"},{"type":"ghost_snapshot","ghost_commit":{"id":"a"}}`
	const rest = `"tool_choice":"auto","parallel_tool_calls":true,"reasoning":{"effort":"low","context":"all_turns"},"store":false,"include":["reasoning.encrypted_content"],"text":{"verbosity":"low"},"prompt_cache_key":"k","client_metadata":{"a":"b"}`
	post := func(path, body string) reply {
		return g.insist(http.MethodPost, g.url+path, body, tagged("codex"))
	}
	for name, body := range map[string]string{
		"tools":            `{"model":"full/m1","user":"codex","stream":true,"max_output_tokens":20.0,"tools":[` + tools + `],"input":[` + items + `],` + rest + `}`,
		"additional_tools": `{"model":"full/m1","user":"codex","stream":true,"max_output_tokens":2e1,"input":[{"type":"additional_tools","id":"at_1","role":"developer","tools":[` + tools + `]},` + items + `],` + rest + `}`,
		"compaction":       `{"model":"full/m1","user":"codex","stream":true,"max_output_tokens":20,"input":[` + items + `,{"type":"compaction_trigger"}],` + rest + `}`,
	} {
		if r := post("/v1/responses", body); r.status != http.StatusOK || !strings.Contains(string(r.body), "response.completed") && !strings.Contains(string(r.body), "response.incomplete") {
			t.Errorf("%s: %d %s %v", name, r.status, r.body, r.err)
		}
	}
	for tool, field := range map[string]string{`{"type":"tool_search"}`: "tools[0]", `{"type":"shell","environment":{"type":"container_auto"}}`: "tools[0]"} {
		r := post("/v1/responses", `{"model":"full/m1","input":"hi","max_output_tokens":20,"tools":[`+tool+`]}`)
		var e struct{ Error struct{ Param string } }
		if json.Unmarshal(r.body, &e) != nil || r.status != http.StatusBadRequest || e.Error.Param != field {
			t.Errorf("%s: %d %s", tool, r.status, r.body)
		}
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestTrailingSlash: every endpoint is where some clients look for it, too.
func TestTrailingSlash(t *testing.T) {
	t.Parallel()
	g := fullGateway(t)
	for path, body := range map[string]string{
		"/v1/chat/completions/": chatBody("fake/m1", "slash", "hi", `,"max_tokens":5.0`),
		"/v1/embeddings/?a=b":   `{"model":"fake/m1","user":"slash","input":"hi"}`,
		"/v1/responses/":        `{"model":"full/m1","user":"slash","input":"hi","max_output_tokens":0.5e1}`,
		"/v1/messages/":         `{"model":"full/m1","metadata":{"user_id":"slash"},"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
	} {
		if r := g.insist(http.MethodPost, g.url+path, body, tagged("slash")); r.status != http.StatusOK {
			t.Errorf("%s: %d %s %v", path, r.status, r.body, r.err)
		}
		if r := g.try(http.MethodPost, g.url+strings.TrimSuffix(path, "?a=b")+"x", body, nil); r.status != http.StatusNotFound {
			t.Errorf("%sx: %d %s", path, r.status, r.body)
		}
	}
	for _, name := range []string{"fake", "full"} {
		for _, call := range g.provider[name].Calls() {
			if strings.HasSuffix(call.Path, "/") || strings.Contains(string(call.Body), "5.0") || strings.Contains(string(call.Body), "0.5e1") {
				t.Errorf("the provider was asked at %s with %s", call.Path, call.Body)
			}
		}
	}
	if r := g.try(http.MethodGet, g.url+"/v1/models/", "", nil); r.status != http.StatusOK {
		t.Errorf("models: %d %s", r.status, r.body)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestDefaultToolCalls: a search without a limit gets one where a budget watches
// the call, is announced, and is charged by the answer's count.
func TestDefaultToolCalls(t *testing.T) {
	t.Parallel()
	g := fullGateway(t)
	g.setBudget("searching", 10_000)
	for path, body := range map[string]string{
		"/v1/responses": `{"model":"full/m1","user":"searching","input":"fault: searches=2","max_output_tokens":20,"tools":[{"type":"web_search","external_web_access":true}]}`,
		"/v1/messages":  `{"model":"full/m1","metadata":{"user_id":"searching"},"max_tokens":20,"messages":[{"role":"user","content":"fault: searches=2"}],"tools":[{"type":"web_search_20250305","name":"web_search"}]}`,
	} {
		for _, stream := range []string{"", `"stream":true,`} {
			r := g.insist(http.MethodPost, g.url+path, strings.Replace(body, "{", "{"+stream, 1), tagged("searching"))
			if r.status != http.StatusOK || r.header.Get("X-Aig-Injected-Max-Tool-Calls") != "3" {
				t.Errorf("%s: %d %v %s", path, r.status, r.header, r.body)
			}
		}
	}
	g.settle(time.Minute)
	for _, c := range g.provider["full"].Calls() {
		if !strings.Contains(string(c.Body), `"max_tool_calls":3`) && !strings.Contains(string(c.Body), `"max_uses":3`) {
			t.Errorf("the provider got no limit: %s", c.Body)
		}
	}
	if used := g.mustBudgets()["searching"].spent; used < 4*2*10_001_000 || used > 4*2*10_001_000+4_000_000 { // two searches each
		t.Errorf("spent %d nano-USD", used)
	}
	g.wantBooksEqual(t)
}
