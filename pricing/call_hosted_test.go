package pricing_test

import (
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// Each kind of tool that a provider runs has a fee in the bound, or there is no
// bound.
func TestHostedToolsAreBoundedOrRefused(t *testing.T) {
	const cents, refused = budget.Cent, budget.Amount(-1)
	c := mustLoad(t)
	for _, tt := range []struct {
		name, model, tools string
		fees               budget.Amount // of two uses
	}{
		{"search", "openai/gpt-5.5", `{"type":"web_search"}`, 2 * cents},
		{"dated search", "openai/gpt-5.5", `{"type":"web_search_2025_08_26"}`, 2 * cents},
		{"preview search of a model that reasons", "openai/gpt-5.5", `{"type":"web_search_preview"}`, 2 * cents},
		{"preview search of one that does not", "openai/gpt-4o", `{"type":"web_search_preview_2025_03_11"}`, 5 * cents},
		{"its usual search", "openai/gpt-4o", `{"type":"web_search"}`, 2 * cents},
		{"both: each at the dearer fee", "openai/gpt-4.1", `{"type":"web_search"},{"type":"web_search_preview"}`, 10 * cents},
		{"both, in the other order", "openai/gpt-4.1", `{"type":"web_search_preview"},{"type":"web_search"}`, 10 * cents},
		{"search without a fee", "openai/gpt-4.1-nano", `{"type":"web_search"}`, refused},
		{"file search", "openai/gpt-5.5", `{"type":"file_search","vector_store_ids":["v"]}`, cents / 2},
		{"code, in a container of the usual size", "openai/gpt-5.5", `{"type":"code_interpreter","container":{"type":"auto"}}`, 6 * cents},
		{"code, no container named", "openai/gpt-5.5", `{"type":"code_interpreter","container":null}`, 6 * cents},
		{"code, 1 GB", "openai/gpt-5.5", `{"container":{"type":"auto","memory_limit":"1g"},"type":"code_interpreter"}`, 6 * cents},
		{"code, size left out", "openai/gpt-5.5", `{"type":"code_interpreter","container":{"memory_limit":null,"file_ids":["f"]}}`, 6 * cents},
		{"code, 4 GB", "openai/gpt-5.5", `{"type":"code_interpreter","container":{"type":"auto","memory_limit":"4g"}}`, 24 * cents},
		{"code, 16 GB", "openai/gpt-5.5", `{"type":"code_interpreter","container":{"type":"auto","memory_limit":"16g"}}`, 96 * cents},
		{"code, 64 GB", "openai/gpt-5.5", `{"type":"code_interpreter","container":{"memory_limit":"64g","type":"auto"}}`, 384 * cents},
		{"code, a size of tomorrow", "openai/gpt-5.5", `{"type":"code_interpreter","container":{"type":"auto","memory_limit":"128g"}}`, refused},
		{"code, a size that is no text", "openai/gpt-5.5", `{"type":"code_interpreter","container":{"type":"auto","memory_limit":64}}`, refused},
		{"code, in a container of its own", "openai/gpt-5.5", `{"type":"code_interpreter","container":"cntr_1"}`, refused},
		{"code without a fee", "openai/gpt-4o", `{"type":"code_interpreter","container":{"type":"auto"}}`, refused},
		{"images", "openai/gpt-5.5", `{"type":"image_generation"}`, refused},
		{"MCP", "openai/gpt-5.5", `{"type":"mcp","server_url":"https://a"}`, refused},
		{"hosted shell", "openai/gpt-5.5", `{"type":"shell","environment":{"type":"container_auto"}}`, refused},
		{"a tool of tomorrow", "openai/gpt-5.5", `{"type":"time_travel"}`, refused},
		{"one of two", "openai/gpt-5.5", `{"type":"web_search"},{"type":"image_generation"}`, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := func(tools string) string {
				return `{"model":"` + tt.model + `","max_output_tokens":10,"max_tool_calls":2,"input":"hi","tools":[` + tools + `]}`
			}
			b, err := tryBound(c, pricing.Responses, body(tt.tools), noon())
			if tt.fees == refused {
				if err == nil {
					t.Fatalf("its bound is %s", b.Amount)
				}
				if e := refusal(t, err); e.Reason != "unbounded_tool" {
					t.Errorf("refused with %s", e.Reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := c.Resolve(tt.model, noon())
			if err != nil {
				t.Fatal(err)
			}
			top := m.Row.Rates() // two rounds behind the first, all counted together for the tier
			in, out := int64(0), int64(0)
			for _, r := range top {
				switch r.Kind {
				case "output":
					out = max(out, r.PicoPerToken)
				case "input", "cache_write", "cache_read":
					in = max(in, r.PicoPerToken)
				}
			}
			first, brings := inputOf(t, b), m.Row.Context
			if !strings.Contains(tt.tools, "file") && !strings.Contains(tt.tools, "code") {
				brings = 128_000 // of a search OpenAI says so
			}
			second := min(first+10+brings, m.Row.Context) // with what the model wrote
			third := min(second+brings, m.Row.Context)
			if want := tokensAt(first+second+third, in, 10, out) + tt.fees; b.Amount != want {
				t.Errorf("bound is %s, want %s\n%+v", b.Amount, want, b.Lines())
			}
		})
	}
}

// What a provider says its tools did is charged as counted; what has no fee in
// the bound is a bill of unknown size, so at least the bound.
func TestReportedToolsAreChargedNeverGuessed(t *testing.T) {
	c := mustLoad(t)
	const (
		plain     = `{"model":"openai/gpt-5.5","max_output_tokens":1000,"input":"hi"}`
		searching = `{"model":"openai/gpt-5.5","max_output_tokens":1000,"max_tool_calls":3,"input":"hi","tools":[{"type":"web_search"}]}`
		preview   = `{"model":"openai/gpt-4o","max_output_tokens":1000,"max_tool_calls":3,"input":"hi","tools":[{"type":"web_search_preview"}]}`
		coding    = `{"model":"openai/gpt-5.5","max_output_tokens":1000,"max_tool_calls":3,"input":"hi","tools":[{"type":"code_interpreter","container":{"memory_limit":"4g"}}]}`
		messages  = `{"model":"anthropic/claude-sonnet-4.6","max_tokens":1000,"messages":[]}`
		usage     = `{"input_tokens":100,"output_tokens":10}`
	)
	for _, tt := range []struct {
		name, body, usage, tools string
		cost                     budget.Amount // -1: the bound
	}{
		{"nothing drawn", plain, usage, `{"image_gen":{"input_tokens":0,"input_tokens_details":{"image_tokens":0},"output_tokens":0,"total_tokens":0},"web_search":{"num_requests":0}}`, 800_000},
		{"no images at all", plain, usage, `{"image_gen":null,"web_search":null}`, 800_000},
		{"images in tokens", plain, usage, `{"image_gen":{"input_tokens":8,"output_tokens":4160,"total_tokens":4168}}`, -1},
		{"images without sums", plain, usage, `{"image_gen":{"output_tokens_details":{"image_tokens":30}}}`, -1},
		{"images by the piece", plain, usage, `{"image_gen":{"images":1}}`, -1},
		{"images beside a search that cannot be read", searching, usage, `{"image_gen":{"total_tokens":3},"web_search":"many"}`, -1},
		{"searches unasked", plain, usage, `{"web_search":{"num_requests":1}}`, -1},
		{"no searches", searching, usage, `{"web_search":{"num_requests":0}}`, 800_000},
		{"two searches", searching, usage, `{"web_search":{"num_requests":2}}`, 800_000 + 2*budget.Cent},
		{"more searches than allowed", searching, usage, `{"web_search":{"num_requests":4}}`, 800_000 + 4*budget.Cent},
		{"searches nobody counted", searching, usage, ``, 800_000 + 3*budget.Cent},
		{"searches counted below zero", searching, usage, `{"web_search":{"num_requests":-1}}`, 800_000 + 3*budget.Cent},
		{"preview searches", preview, usage, `{"web_search":{"num_requests":2}}`, 350_000 + 5*budget.Cent},
		{"containers, which nobody counts", coding, usage, ``, 800_000 + 36*budget.Cent},
		{"Anthropic searches unasked", messages, `{"input_tokens":100,"output_tokens":10,"server_tool_use":{"web_search_requests":1}}`, ``, -1},
		{"Anthropic does not search", messages, `{"input_tokens":100,"output_tokens":10,"server_tool_use":{"web_search_requests":0}}`, ``, 450_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := pricing.Responses
			if tt.body == messages {
				e = pricing.Messages
			}
			b := mustBound(t, c, e, tt.body, noon())
			got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: tt.usage, ToolUsage: tt.tools}, nil)
			basis, cost := budget.BasisUsage, tt.cost
			if tt.cost < 0 {
				basis, cost = budget.BasisBound, b.Amount
			}
			if got.Basis != basis || got.Cost != cost || slices.Contains(got.Flags, pricing.FlagBucketUnpriced) != (tt.cost < 0) {
				t.Errorf("got %+v, want %s by %s", got, cost, basis)
			}
			if got.Tokens.Input != 100 || got.Tokens.Output != 10 {
				t.Errorf("counted %+v", got.Tokens)
			}
		})
	}
}
