package pricing

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// tool is a kind of hosted tool that has a fee, as far as reports count it.
type tool uint8

const (
	webSearch tool = iota
	webFetch
	fileSearch
	codeRun
	toolKinds
)

// fees are the kinds of the catalog, in the order of the tools.
func toolFees() [toolKinds]string {
	return [toolKinds]string{feeWebSearch, feeWebFetch, feeFileSearch, feeContainer}
}

// uses is how often a tool ran; told is false where the report is silent.
type uses struct {
	n    int64
	told bool
}

// toolUses is how a usage object counts hosted tools.
type toolUses struct {
	// Anthropic, and OpenRouter and LiteLLM on chat.
	Server group[serverToolUse] `json:"server_tool_use"`
	// xAI: successful calls, which are the billed ones.
	// https://docs.x.ai/developers/tools/tool-usage-details
	Calls group[serverToolCalls] `json:"server_side_tool_usage_details"`
}

type serverToolUse struct {
	Searches tally `json:"web_search_requests"`
	Fetches  tally `json:"web_fetch_requests"`
	Code     tally `json:"code_execution_requests"`
}

type serverToolCalls struct {
	Searches tally `json:"web_search_calls"`
	Files    tally `json:"file_search_calls"`
	Code     tally `json:"code_interpreter_calls"`
}

// takeTools takes the counts that can be read. Of others the bound's number of
// uses stands.
func (u *usage) takeTools(r *toolUses) {
	s, c := &r.Server.v, &r.Calls.v
	for t, list := range [toolKinds][]*tally{{&s.Searches, &c.Searches}, {&s.Fetches}, {&c.Files}, {&s.Code, &c.Code}} {
		n := largest(list...)
		switch {
		case n.bad:
			u.tools[t] = uses{}
		case n.set:
			u.tools[t] = uses{max(u.tools[t].n, n.n), true}
		}
	}
}

// readResponses reads the usage of the Responses API, and beside it how often
// hosted tools ran. Generated images are billed outside usage.
func readResponses(ev *Evidence, p *pin) (usage, error) {
	u, err := readChat(ev.Usage, p, true)
	u.readTools(ev.ToolUsage)
	return u, err
}

// readTools reads OpenAI's tool_usage. Images are reported in tokens, with and
// without sums, or by the piece: any number but 0 is one.
func (u *usage) readTools(raw string) {
	type requests struct {
		N tally `json:"num_requests"`
	}
	var t struct {
		Search group[requests] `json:"web_search"`
		Files  group[requests] `json:"file_search"`
		Images jsontext.Value  `json:"image_gen"`
	}
	if json.Unmarshal([]byte(raw), &t, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return
	}
	for kind, n := range map[tool]*tally{webSearch: &t.Search.v.N, fileSearch: &t.Files.v.N} {
		if n.set && !n.bad {
			u.tools[kind] = uses{n.n, true}
		}
	}
	u.unpriced = bytes.ContainsAny(t.Images, "123456789")
}
