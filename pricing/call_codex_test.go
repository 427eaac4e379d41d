package pricing_test

import (
	"strings"
	"testing"

	"aigateway/pricing"
)

// Tools of coding agents that run at the client stand whole in the body, and are
// bounded by it. The same types are the provider's where the tool does not say
// that it is local.
func TestAgentToolsOfTheClientAreInput(t *testing.T) {
	c := mustLoad(t)
	for tool, client := range map[string]bool{
		`{"type":"tool_search","execution":"client","description":"d","parameters":{"type":"object"}}`:         true,
		`{"execution":"client","type":"tool_search"}`:                                                          true,
		`{"type":"tool_search","execution":"server"}`:                                                          false,
		`{"type":"tool_search","execution":null}`:                                                              false,
		`{"type":"tool_search","execution":["client"]}`:                                                        false,
		`{"type":"tool_search"}`:                                                                               false,
		`{"type":"tool_search_20260101","execution":"client"}`:                                                 false,
		`{"type":"shell","environment":{"type":"local"}}`:                                                      true,
		`{"environment":{"skills":[{"name":"s","description":"d","path":"p"}],"type":"local"},"type":"shell"}`: true,
		`{"type":"shell","environment":{"type":"container_auto"}}`:                                             false,
		`{"type":"shell","environment":{"type":"container_reference","container_id":"local"}}`:                 false,
		`{"type":"shell","environment":"local"}`:                                                               false,
		`{"type":"shell","environment":null}`:                                                                  false,
		`{"type":"shell"}`:                                                                                     false,
		`{"type":"shell","execution":"client"}`:                                                                false,
		`{"type":"web_search","execution":"client"}`:                                                           false,
		`{"type":"web_search","environment":{"type":"local"}}`:                                                 false,
		`{"type":"code_interpreter","environment":{"type":"local"}}`:                                           false,
		`{"type":"mcp","server_url":"https://a","execution":"client"}`:                                         false,
		`{"type":"tool_search","execution":"client","server_url":"https://a"}`:                                 false,
		`{"type":"shell","environment":{"type":"local"},"vector_store_ids":["v"]}`:                             false,
		`{"type":"local_shell"}`:                                                                               true,
		`{"type":"apply_patch"}`:                                                                               true,
		`{"type":"custom","name":"exec","description":"d","format":{"type":"grammar","syntax":"lark"}}`:        true,
		`{"type":"namespace","name":"n","description":"d","tools":[{"type":"custom","name":"c"}]}`:             true,
		`{"type":"namespace","name":"n","tools":[{"type":"shell","environment":{"type":"local"}}]}`:            true,
		`{"type":"namespace","name":"n","tools":[{"type":"tool_search"}]}`:                                     false,
		`{"type":"namespace","name":"n","tools":{"type":"tool_search"}}`:                                       false,
		`{"type":"namespace","name":"n","environment":{"type":"local"},"tools":[{"type":"shell"}]}`:            false,
		`{"type":"tool_search","environment":{"type":"local"}}`:                                                false,
		`{"type":"programmatic_tool_calling"}`:                                                                 false,
		`{"type":"image_generation","output_format":"png"}`:                                                    false,
	} {
		for place, body := range map[string]string{
			"tools":            `{"model":"` + storing + `","max_output_tokens":10,"input":"hi","tools":[` + tool + `]}`,
			"additional_tools": itemsBody(`{"type":"additional_tools","id":"at_1","role":"developer","tools":[` + tool + `]}`),
			"a search's":       itemsBody(`{"type":"tool_search_output","call_id":"c","status":"completed","execution":"client","tools":[` + tool + `]}`),
		} {
			b, err := tryBound(c, pricing.Responses, body, noon())
			switch {
			case client && err != nil:
				t.Errorf("%s in %s: %v", tool, place, err)
			case client && (inputOf(t, b) < int64(len(body)) || inputOf(t, b) > 3*int64(len(body))+2500):
				t.Errorf("%s in %s: %d tokens for %d bytes", tool, place, inputOf(t, b), len(body))
			case !client && (err == nil || refusal(t, err).Reason != "unbounded_tool"):
				t.Errorf("%s in %s: %v", tool, place, err)
			}
		}
	}
}

// Items that agents send beside the API's own, by the list of Codex's.
func TestAgentItemsAreBoundedByTheirBytes(t *testing.T) {
	c := mustLoad(t)
	m, err := c.Resolve(storing, noon())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		item  string
		named bool // the provider has the rest
	}{
		{`{"type":"agent_message","id":"amsg_1","author":"/main","recipient":"/main/a","content":[{"type":"input_text","text":"hi"}]}`, false},
		{`{"type":"agent_message","author":"a","recipient":"b","content":[{"type":"encrypted_content","encrypted_content":"gAAAAABo"}]}`, false},
		{`{"type":"function_call_output","call_id":"c","output":[{"type":"encrypted_content","encrypted_content":"gAAAAABo"}]}`, false},
		{`{"type":"compaction","encrypted_content":"gAAAAABo"}`, false},
		{`{"type":"compaction_summary","id":"cmp_1","encrypted_content":"gAAAAABo"}`, false},
		{`{"type":"compaction_summary","id":"cmp_1"}`, true},
		{`{"type":"context_compaction","id":"cmp_1","encrypted_content":"gAAAAABo"}`, false},
		{`{"type":"context_compaction","id":"cmp_1"}`, true},
		{`{"type":"context_compaction"}`, false},
		{`{"type":"ghost_snapshot","ghost_commit":{"id":"abc","parent":null,"preexisting_untracked_files":[]}}`, false},
		{`{"type":"tool_search_call","call_id":"c","status":"completed","execution":"client","arguments":{"query":"a"}}`, false},
		{`{"type":"program","id":"p_1","call_id":"c","code":"1+1","fingerprint":"f"}`, false},
		{`{"type":"program","id":"p_1","call_id":"c"}`, true},
		{`{"type":"program_output","id":"po_1","call_id":"c","result":"2","status":"completed"}`, false},
		{`{"type":"program_output","id":"po_1","call_id":"c"}`, true},
		{`{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}],"internal_chat_message_metadata_passthrough":{"turn_id":"t"}}`, false},
		{`{"type":"web_search_call","status":"completed","action":{"type":"search","query":"weather"}}`, false},
	} {
		body := itemsBody(tt.item)
		got := inputOf(t, mustBound(t, c, pricing.Responses, body, noon()))
		own := int64(len(body)) + 1000
		if tt.named && got != m.Row.Context || !tt.named && (got < own || got > own+100) {
			t.Errorf("%s: %d input tokens, named only: %t", tt.item, got, tt.named)
		}
	}
	_, err = tryBound(c, pricing.Responses, itemsBody(`{"type":"hologram","content":"x"}`), noon())
	if e := refusal(t, err); e.Reason != "unbounded_input" {
		t.Errorf("an item of tomorrow: %+v", e)
	}
}

// What a program put out is text, also where it could be an image.
func TestProgramOutputIsText(t *testing.T) {
	c := mustLoad(t)
	long := strings.Repeat("QUJD", 50_000)
	for kind, text := range map[string]bool{"program_output": true, "image_generation_call": false} {
		got := inputOf(t, mustBound(t, c, pricing.Responses, itemsBody(`{"result":"`+long+`","type":"`+kind+`","id":"x"}`), noon()))
		if text != (got > int64(len(long))) {
			t.Errorf("%s of %d bytes: %d tokens", kind, len(long), got)
		}
	}
}

// A compaction may be as long as any output, whatever the body's cap.
func TestCompactionTriggerCountsTheLongestOutput(t *testing.T) {
	c := mustLoad(t)
	m, err := c.Resolve(storing, noon())
	if err != nil {
		t.Fatal(err)
	}
	for _, cap := range []string{"", `"max_output_tokens":10,`} {
		b := mustBound(t, c, pricing.Responses, `{"model":"`+storing+`",`+cap+`"input":[{"role":"user","content":"hi"},{"type":"compaction_trigger"}]}`, noon())
		if got := outputOf(t, b); got != m.Row.MaxOutput {
			t.Errorf("%s%d tokens of output, want %d", cap, got, m.Row.MaxOutput)
		}
	}
	endless := mustOverlay(t, `[{model: openai/endless, limits: {context: 1000000}, prices: [{input: "1", output: "2"}]}]`)
	_, err = tryBound(endless, pricing.Responses, `{"model":"openai/endless","max_output_tokens":10,"input":[{"type":"compaction_trigger"}]}`, noon())
	if e := refusal(t, err); e.Reason != "max_output_unknown" || !strings.Contains(e.Message, "limits: {max_output:") {
		t.Errorf("without an output limit: %+v", e)
	}
}
