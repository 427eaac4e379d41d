package pricing_test

import (
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

const storing = "openai/gpt-5.5"

func itemsBody(items string) string {
	return `{"model":"` + storing + `","max_output_tokens":10,"input":[{"role":"user","content":"go on"},` + items + `]}`
}

// What an item holds is in the body, or the provider has it under the item's id
// and it may fill the context.
func TestWhatIsOnlyNamedMayFillTheContext(t *testing.T) {
	c := mustLoad(t)
	m, err := c.Resolve(storing, noon())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		item  string
		named bool
	}{
		{`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":null}`, true},
		{`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":""}`, true},
		{`{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"what people may read"}]}`, true},
		{`{"type":"reasoning","id":"rs_1","content":[{"type":"reasoning_text","text":"a part of it"}]}`, true},
		{`{"id":"rs_1","encrypted_content":"gAAAAABo","type":"reasoning","summary":[]}`, false},
		{`{"type":"reasoning","summary":[]}`, false}, // nothing to find it by
		{`{"type":"reasoning","id":null,"summary":[]}`, false},
		{`{"type":"message","id":"msg_1"}`, true},
		{`{"type":"message","id":"msg_1","role":"assistant","content":[ ]}`, true},
		{`{"type":"message","id":"msg_1","role":"assistant","content":""}`, true},
		{`{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"hi"}]}`, false},
		{`{"id":"msg_1"}`, true},
		{`{"id":"msg_1","role":"user"}`, true},
		{`{"id":17}`, true},
		{`{"id":"msg_1","role":"user","content":"hi"}`, false},
		{`{"role":"user","content":"hi"}`, false},
		{`{"type":"item_reference","id":"msg_1"}`, true},
		{`{"type":null,"id":"msg_1"}`, true},
		{`{"type":"item_reference"}`, true},
		{`{"type":"web_search_call","id":"ws_1"}`, true},
		{`{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"weather"}}`, true},
		{`{"type":"file_search_call","id":"fs_1","queries":["a"],"results":null}`, true},
		{`{"type":"code_interpreter_call","id":"ci_1","code":"1+1","container_id":"cntr_1","outputs":null}`, true},
		{`{"type":"image_generation_call","id":"ig_1"}`, true},
		{`{"type":"x_search_call","id":"xs_1"}`, true},
		{`{"type":"mcp_call","id":"mcp_1","name":"f","arguments":"{}"}`, true},
		{`{"type":"mcp_call","id":"mcp_1","name":"f","arguments":"{}","output":"done"}`, false},
		{`{"type":"mcp_list_tools","id":"mcpl_1","server_label":"a"}`, true},
		{`{"type":"mcp_list_tools","id":"mcpl_1","server_label":"a","tools":[{"name":"f","input_schema":{}}]}`, false},
		{`{"type":"mcp_approval_response","id":"a","approval_request_id":"b","approve":true}`, false},
		{`{"type":"function_call","id":"fc_1"}`, true},
		{`{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{\"a\":1}"}`, false},
		{`{"type":"function_call_output","id":"fco_1","call_id":"c"}`, true},
		{`{"type":"function_call_output","id":"fco_1","call_id":"c","output":"42"}`, false},
		{`{"type":"custom_tool_call","id":"ctc_1","call_id":"c","name":"f","input":"x"}`, false},
		{`{"type":"custom_tool_call","id":"ctc_1","call_id":"c","name":"f"}`, true},
		{`{"type":"local_shell_call","id":"lsc_1","call_id":"c","action":{"type":"exec","command":["ls"]}}`, false},
		{`{"type":"computer_call","id":"cu_1","call_id":"c","actions":[{"type":"click"}]}`, false},
		{`{"type":"apply_patch_call","id":"ap_1","call_id":"c","operation":{"type":"delete_file","path":"a"}}`, false},
		{`{"type":"tool_search_call","id":"ts_1","execution":"client","arguments":{"q":"a"}}`, false},
		{`{"type":"tool_search_output","id":"tso_1","tools":[]}`, true},
		{`{"type":"additional_tools","role":"developer","tools":[{"type":"function","name":"f"}]}`, false},
		{`{"type":"agent_message","id":"am_1","content":[{"type":"input_text","text":"hi"}]}`, false},
		{`{"type":"compaction","id":"cmp_1","encrypted_content":"gAAAAABo"}`, false},
		{`{"type":"compaction","id":"cmp_1"}`, true},
	} {
		body := itemsBody(tt.item)
		got := inputOf(t, mustBound(t, c, pricing.Responses, body, noon()))
		own := int64(len(body)) + 1000
		if tt.named && got != m.Row.Context || !tt.named && (got < own || got > own+100) { // some is bounded as it may be printed
			t.Errorf("%s: %d input tokens, named only: %t", tt.item, got, tt.named)
		}
	}
	for _, member := range []string{`"previous_response_id":"resp_1"`, `"conversation":"conv_1"`, `"conversation":{"id":"conv_1"}`} {
		body := `{"model":"` + storing + `","max_output_tokens":10,"input":"go on",` + member + `}`
		if got := inputOf(t, mustBound(t, c, pricing.Responses, body, noon())); got != m.Row.Context {
			t.Errorf("%s: %d input tokens, want %d", member, got, m.Row.Context)
		}
	}
}

// Where not even the context is known, there is no bound, and the refusal says
// what would give it one.
func TestWhatIsOnlyNamedNeedsAContext(t *testing.T) {
	c := mustOverlay(t, `[{model: openai/endless, prices: [{input: "1", output: "2"}]}]`)
	for field, member := range map[string]string{
		"previous_response_id": `"previous_response_id":"resp_1"`, "conversation": `"conversation":"c"`,
		"input[0]": `"input":[{"type":"reasoning","id":"rs_1","summary":[]}]`,
	} {
		body := `{"model":"openai/endless","max_output_tokens":10,` + member + `}`
		_, err := tryBound(c, pricing.Responses, body, noon())
		if err == nil {
			t.Errorf("%s has a bound", member)
			continue
		}
		if e := refusal(t, err); e.Reason != "unbounded_input" || e.Field != field || !strings.Contains(e.Message, "limits: {context:") {
			t.Errorf("%s: %+v", member, e)
		}
		call, err := pricing.ParseCall(pricing.Responses, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if call.Settle(500); field == "conversation" {
			continue // others may have added to it
		}
		if b := boundCall(t, c, call); inputOf(t, b) != int64(len(body))+1000+500 {
			t.Errorf("%s, settled at 500 tokens: %+v", member, b.Lines())
		}
	}
}

func boundCall(t *testing.T, c *pricing.Catalog, call *pricing.Call) *pricing.Bound {
	t.Helper()
	m, err := c.Resolve(call.Model, noon())
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Bound(call, noon())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What was settled bounds what is named, and only that.
func TestSettledInputBoundsWhatIsNamed(t *testing.T) {
	c := mustLoad(t)
	parse := func(members string) *pricing.Call {
		call, err := pricing.ParseCall(pricing.Responses, []byte(`{"model":"`+storing+`","max_output_tokens":10,`+members+`}`))
		if err != nil {
			t.Fatal(err)
		}
		return call
	}
	const reasoning, image = `{"type":"reasoning","id":"rs_1","summary":[]}`, `{"type":"image_generation_call","id":"ig_1"}`
	const pdf = `{"role":"user","content":[{"type":"input_file","file_data":"AAAA"}]}`
	for members, own := range map[string]bool{
		`"input":[` + reasoning + `]`:                             true,
		`"previous_response_id":"resp_1"`:                         true,
		`"input":[` + reasoning + `],"conversation":"c"`:          false,
		`"input":[` + reasoning + `,` + image + `]`:               false,
		`"input":[` + reasoning + `,{"type":"item_reference"}]`:   false,
		`"input":[` + strings.Repeat(reasoning+",", 2000) + `{}]`: false,
	} {
		call := parse(members)
		if names := call.StoredNames(); (len(names) > 0) != own {
			t.Errorf("%.80s names %d", members, len(names))
		}
		call.Settle(777)
		m, err := c.Resolve(storing, noon())
		if err != nil {
			t.Fatal(err)
		}
		got, want := inputOf(t, boundCall(t, c, call)), m.Row.Context
		if own {
			want = int64(len(`{"model":"`+storing+`","max_output_tokens":10,`+members+`}`)) + 1000 + 777
		}
		if got != want {
			t.Errorf("%.80s: %d input tokens, want %d", members, got, want)
		}
	}
	call := parse(`"input":[` + reasoning + `,` + pdf + `]`)
	call.Settle(777)
	allowed := upstreams()
	for i := range allowed {
		allowed[i].AllowPDF = true
	}
	catalog, err := pricing.Load(nil, allowed, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := inputOf(t, boundCall(t, catalog, call)); got < 1_000_000 {
		t.Errorf("a PDF beside settled input: %d input tokens", got)
	}
}

// Of what a body names, a settlement is asked for each by its kind.
func TestStoredNames(t *testing.T) {
	call, err := pricing.ParseCall(pricing.Responses, []byte(`{"model":"`+storing+`","previous_response_id":"resp_1","input":[
		{"type":"reasoning","id":"rs_1","summary":[]}, {"type":"web_search_call","id":"ws_1"}, {"id":"msg_1"},
		{"type":"message","id":"msg_2","role":"assistant","content":[{"type":"output_text","text":"hi"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []pricing.StoredName{{"resp_1", pricing.StoredResponse, 0}, {"rs_1", pricing.StoredItem, 0}, {"ws_1", pricing.StoredToolUse, 0}, {"msg_1", pricing.StoredItem, 0}, {"msg_2", pricing.CarriedItem, 0}}
	got := call.StoredNames()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range got {
		carried := got[i].Kind == pricing.CarriedItem
		if carried != (got[i].Bytes > 60) {
			t.Errorf("%+v", got[i])
		}
		if got[i].Bytes = 0; got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

// A stored prompt may bring tools of the provider, so somebody has to vouch for
// it; then it may fill the context.
func TestStoredPromptNeedsTheOperator(t *testing.T) {
	body := `{"model":"` + storing + `","max_output_tokens":10,"prompt":{"id":"pmpt_1","variables":{"a":"b"}}}`
	if _, err := tryBound(mustLoad(t), pricing.Responses, body, noon()); err == nil || refusal(t, err).Reason != "unbounded_input" || !strings.Contains(err.Error(), "allow_stored_input") {
		t.Errorf("%v", err)
	}
	ups := upstreams()
	ups[0].AllowStoredInput = true
	c, err := pricing.Load(nil, ups, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if b := mustBound(t, c, pricing.Responses, body, noon()); inputOf(t, b) < 1_000_000 || b.Amount < budget.Dollar {
		t.Errorf("%s: %+v", b.Amount, b.Lines())
	}
}

// Tools stand beside the input and in it: wherever they do, those that the
// provider runs need a fee and a number of uses.
func TestToolsAreReadWhereverTheyStand(t *testing.T) {
	c := mustLoad(t)
	const hosted, client = `{"type":"web_search"}`, `{"type":"function","name":"f","parameters":{"type":"object","properties":{"tools":{"enum":["web_search"]}}}}`
	namespace := func(tool string) string {
		return `{"type":"namespace","name":"n","description":"d","tools":[` + tool + `]}`
	}
	for name, of := range map[string]func(tool string) (pricing.Endpoint, string){
		"tool_search_output": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"type":"tool_search_output","call_id":"c","tools":[` + tool + `]}`)
		},
		"additional_tools": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"type":"additional_tools","role":"developer","tools":[` + tool + `]}`)
		},
		"additional_tools in a namespace": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"type":"additional_tools","role":"developer","tools":[` + namespace(namespace(tool)) + `]}`)
		},
		"an item without a type": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"role":"developer","content":"x","tools":[` + tool + `]}`)
		},
		"an MCP server's list": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"type":"mcp_list_tools","tools":[` + tool + `]}`)
		},
		"instructions": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, `{"model":"` + storing + `","max_output_tokens":10,"instructions":[{"type":"additional_tools","tools":[` + tool + `]}]}`
		},
		"a namespace": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, `{"model":"` + storing + `","max_output_tokens":10,"tools":[` + namespace(tool) + `]}`
		},
		"a namespace of chat": func(tool string) (pricing.Endpoint, string) {
			return pricing.Chat, chatBody(storing, `"max_tokens":10,"tools":[`+namespace(tool)+`]`)
		},
		"a function": func(tool string) (pricing.Endpoint, string) {
			return pricing.Chat, chatBody(storing, `"max_tokens":10,"tools":[{"type":"function","function":{"name":"f"},"tools":[`+tool+`]}]`)
		},
		"a chat message": func(tool string) (pricing.Endpoint, string) {
			return pricing.Chat, `{"model":"` + storing + `","max_tokens":10,"messages":[{"role":"system","tools":[` + tool + `]}]}`
		},
		"a part of a chat message": func(tool string) (pricing.Endpoint, string) {
			return pricing.Chat, `{"model":"` + storing + `","max_tokens":10,"messages":[{"role":"user","content":[{"type":"text","text":"x","tools":[` + tool + `]}]}]}`
		},
		"a part of an item": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"role":"user","content":[{"type":"input_text","text":"x","tools":[` + tool + `]}]}`)
		},
		"what a function gave": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x","tools":` + tool + `}]}`)
		},
		"an item, and no list": func(tool string) (pricing.Endpoint, string) {
			return pricing.Responses, itemsBody(`{"type":"additional_tools","role":"developer","tools":` + tool + `}`)
		},
		"a turn": func(tool string) (pricing.Endpoint, string) {
			return pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":10,"messages":[{"role":"user","content":"x","tools":[` + tool + `]}]}`
		},
		"a block": func(tool string) (pricing.Endpoint, string) {
			return pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":10,"messages":[{"role":"user","content":[{"type":"text","text":"x","tools":[` + tool + `]}]}]}`
		},
		"a tool that a system message adds": func(tool string) (pricing.Endpoint, string) {
			return pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":10,"messages":[{"role":"user","content":"x"},{"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_definition","definition":` + tool + `}}]}]}`
		},
		"a legacy completion": func(tool string) (pricing.Endpoint, string) {
			return pricing.Completions, `{"model":"` + storing + `","max_tokens":10,"prompt":"x","tools":[` + tool + `]}`
		},
	} {
		e, body := of(hosted)
		if _, err := tryBound(c, e, body, noon()); err == nil || refusal(t, err).Reason != "unbounded_tool" {
			t.Errorf("a search in %s: %v", name, err)
		}
		e, body = of(client)
		if _, err := tryBound(c, e, body, noon()); err != nil {
			t.Errorf("a function in %s: %v", name, err)
		}
	}
	// With a number of uses they are bounded there as elsewhere.
	limited := strings.Replace(itemsBody(`{"type":"tool_search_output","tools":[`+hosted+`]}`), "{", `{"max_tool_calls":2,`, 1)
	beside := `{"model":"` + storing + `","max_output_tokens":10,"max_tool_calls":2,"input":"hi","tools":[` + hosted + `]}`
	a, b := mustBound(t, c, pricing.Responses, limited, noon()), mustBound(t, c, pricing.Responses, beside, noon())
	if more := inputOf(t, a) - inputOf(t, b); lineOf(t, a, "input of tool rounds") != lineOf(t, b, "input of tool rounds")+2*more || lineOf(t, a, "fees") != 2 || lineOf(t, b, "fees") != 2 {
		t.Errorf("limited uses: %+v in an item, %+v beside input", a.Lines(), b.Lines())
	}
}

// Nothing that merely starts like a tool of the client is one, nor like a tool
// with a fee.
func TestToolTypesAreExact(t *testing.T) {
	c := mustLoad(t)
	for kind, client := range map[string]bool{
		"bash_20250124": true, "text_editor_20250728": true, "computer_20251124": true, "memory_20250818": true, "computer_use_preview": true, "computer": true,
		"bash_": false, "bash_hosted": false, "bash_2025": false, "bash_20250124_remote": false, "computer_use": false, "computer_use_cloud": false, "memory_store": false, "memory_20250818x": false,
		"functions": false, "function_call": false, "customs": false, "local_shell_hosted": false, "namespace_search": false,
		"web_search_premium": false, "web_searches": false, "code_review": false, "code_": false, "file_search_pro": false, "web_fetch_2": false,
	} {
		body := `{"model":"anthropic/claude-sonnet-4.6","max_tokens":10,"tools":[{"type":"` + kind + `","name":"t","max_uses":1}]}`
		_, err := tryBound(c, pricing.Messages, body, noon())
		if client != (err == nil) || err != nil && refusal(t, err).Reason != "unbounded_tool" {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, tool := range []string{
		`{"type":"function","function":{"name":"f"},"google_search":{}}`, `{"function":{"name":"f"},"googleSearch":{}}`, `{"type":"custom","name":"c","code_execution":{}}`,
		`{"type":"function","name":"f","server_url":"https://a"}`, `{"type":"bash_20250124","name":"bash","url_context":{}}`,
	} {
		_, err := tryBound(c, pricing.Chat, chatBody("gemini/gemini-3.1-pro-preview", `"max_tokens":10,"tools":[`+tool+`]`), noon())
		if err == nil {
			t.Errorf("%s has a bound", tool)
		}
	}
}

// An answer amounts to all that led to it and its output, also to what a turn
// left out of its own input.
func TestAnswer(t *testing.T) {
	c := mustLoad(t)
	bound := func(e pricing.Endpoint, members string, settled int64) *pricing.Bound {
		call, err := pricing.ParseCall(e, []byte(`{"model":"`+storing+`",`+members+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if settled >= 0 {
			call.Settle(settled)
		}
		return boundCall(t, c, call)
	}
	usage := pricing.Outcome{Basis: budget.BasisUsage, Tokens: budget.Tokens{Input: 100, CacheRead: 40, CacheWrite: 10, Output: 25}}
	with := func(change func(*pricing.Outcome)) pricing.Outcome {
		out := usage
		change(&out)
		return out
	}
	const first, next = `"max_output_tokens":10,"input":"hi"`, `"max_output_tokens":10,"input":"hi","previous_response_id":"resp_1"`
	const again = `"max_output_tokens":10,"input":"hi","previous_response_id":"resp_1","reasoning":{"context":"all_turns"}`
	const cut, cutNext = first + `,"truncation":"auto"`, next + `,"truncation":"auto"`
	for name, tt := range map[string]struct {
		pin  *pricing.Bound
		out  pricing.Outcome
		want pricing.Answered
		ok   bool
	}{
		"a first turn":               {bound(pricing.Responses, first, -1), usage, pricing.Answered{Response: 175, Output: 25, Whole: true}, true},
		"a turn that was measured":   {bound(pricing.Responses, next, 1000), usage, pricing.Answered{Response: 1000 + 150 + 25, Output: 25, Whole: true}, true},
		"a turn that may be all":     {bound(pricing.Responses, next, -1), usage, pricing.Answered{Response: 175, Output: 25}, true},
		"one with all its turns":     {bound(pricing.Responses, again, -1), usage, pricing.Answered{Response: 175, Output: 25, Whole: true}, true},
		"one that may be cut short":  {bound(pricing.Responses, cut, -1), usage, pricing.Answered{Response: 1082 + 25, Output: 25, Whole: true}, true}, // its bound
		"such a one, measured":       {bound(pricing.Responses, cutNext, 1000), usage, pricing.Answered{Response: 2114 + 25, Output: 25, Whole: true}, true},
		"such a one, of all":         {bound(pricing.Responses, cutNext, -1), usage, pricing.Answered{}, false},
		"one that is not cut short":  {bound(pricing.Responses, next+`,"truncation":"disabled"`, -1), usage, pricing.Answered{Response: 175, Output: 25}, true},
		"one that says nothing":      {bound(pricing.Responses, next+`,"truncation":null`, -1), usage, pricing.Answered{Response: 175, Output: 25}, true},
		"no price for cache reads":   {bound(pricing.Responses, first, -1), with(func(o *pricing.Outcome) { o.Flags = []string{pricing.FlagBucketUnpriced} }), pricing.Answered{Response: 175, Output: 25, Whole: true}, true},
		"no report":                  {bound(pricing.Responses, first, -1), with(func(o *pricing.Outcome) { o.Basis = budget.BasisBound }), pricing.Answered{}, false},
		"a report out of joint":      {bound(pricing.Responses, first, -1), with(func(o *pricing.Outcome) { o.Flags = []string{pricing.FlagUsageInconsistent} }), pricing.Answered{}, false},
		"another model":              {bound(pricing.Responses, first, -1), with(func(o *pricing.Outcome) { o.Served = "openai/gpt-4o" }), pricing.Answered{}, false},
		"a model nobody knows":       {bound(pricing.Responses, first, -1), with(func(o *pricing.Outcome) { o.Flags = []string{pricing.FlagServedUnknown} }), pricing.Answered{}, false},
		"chat, which stores nothing": {bound(pricing.Chat, `"max_tokens":10,"messages":[]`, -1), usage, pricing.Answered{}, false},
		"hosted tools in its input":  {bound(pricing.Responses, `"max_output_tokens":10,"max_tool_calls":1,"input":[{"type":"additional_tools","tools":[{"type":"web_search"}]}]`, -1), usage, pricing.Answered{}, false},
	} {
		got, ok := pricing.Answer(tt.pin.Pin, tt.out)
		if ok != tt.ok || got != tt.want {
			t.Errorf("%s: %+v, %t; want %+v, %t", name, got, ok, tt.want, tt.ok)
		}
	}
	if _, ok := pricing.Answer("AQA", usage); ok {
		t.Error("a call without a price is remembered")
	}
}
