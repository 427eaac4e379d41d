package pricing

import (
	"cmp"
	"fmt"
	"slices"

	"aigateway/budget"
)

// Kinds of fees of tools with rules of their own.
const (
	feeWebSearch  = "web_search"
	feeWebFetch   = "web_fetch"
	feeFileSearch = "file_search"
	feeContainer  = "code_container"     // for 1 GB
	feePreview    = "web_search_preview" // where it is dearer than web_search
)

// feeKind maps a hosted tool's type to the catalog's fee; empty: it has none.
func feeKind(tool string) string {
	for _, k := range [...][2]string{
		{feeWebSearch, feeWebSearch}, {feePreview, feeWebSearch}, {feeWebFetch, feeWebFetch}, {feeFileSearch, feeFileSearch},
		{"code_interpreter", feeContainer}, {"code_execution", feeContainer},
	} {
		if dated(tool, k[0]) {
			return k[1]
		}
	}
	return ""
}

// hosted bounds tools the provider runs: every use brings another round of the
// model, with results that may fill the context unless the tool's are limited, and
// with a full answer unless the API's cap is one for all rounds.
func (m *Model) hosted(b *Bound, c *Call) error {
	a := &b.sum
	a.hops, a.outputs, a.context = 1, 1, m.Row.Context
	a.refusal = m.Row.fees[feeRefusal]
	m.flatFees(a, c)
	if len(c.hosted) == 0 {
		return nil
	}
	together := m.toolCalls(b, c)
	for i := range c.hosted {
		t := &c.hosted[i]
		fee, priced := m.toolFee(t)
		uses := together // each may have them all
		if uses < 0 {
			uses = m.toolUses(b, c, t)
			a.hops += max(uses, 0)
		}
		if uses < 0 || !priced || m.Row.Context == 0 {
			return m.unboundedTool(c, t)
		}
		a.fee(feeKind(t.kind), uses, fee)
		a.growth = max(a.growth, m.results(t))
	}
	a.hops += max(together, 0)
	// OpenAI's max_output_tokens is of the whole response, says its reference; of
	// others that have its API nobody says so.
	if c.Endpoint != Responses || m.Row.rules.searchTokens == 0 {
		a.outputs = a.hops
	}
	return nil
}

// toolCalls is how often all tools together may run: what the body says, or the
// upstream's default, which is inserted; -1: no limit.
func (m *Model) toolCalls(b *Bound, c *Call) int64 {
	if n := m.defaultToolCalls(c); c.toolCalls < 0 && c.Endpoint == Responses && n > 0 {
		b.InjectedToolCalls = n
		return n
	}
	return c.toolCalls
}

func (m *Model) defaultToolCalls(c *Call) int64 {
	if n := cmp.Or(c.DefaultToolCalls, m.Upstream.DefaultMaxToolCalls); n > 0 || !c.Watched {
		return n
	}
	return defaultToolCalls
}

// unlimited reports whether some tool that the provider runs has no limit.
func (c *Call) unlimited() bool {
	return c.toolCalls < 0 && slices.ContainsFunc(c.hosted, func(t hostedTool) bool { return t.uses < 0 })
}

// toolUses is how often one tool may run where each has a limit of its own.
func (m *Model) toolUses(b *Bound, c *Call, t *hostedTool) int64 {
	if m.limitsUses(c, t) {
		b.InjectedToolCalls = m.defaultToolCalls(c)
		return b.InjectedToolCalls
	}
	return t.uses
}

// limitsUses reports whether the tool gets a default as its max_uses.
func (m *Model) limitsUses(c *Call, t *hostedTool) bool {
	return c.Endpoint == Messages && t.uses < 0 && m.defaultToolCalls(c) > 0 && (dated(t.kind, feeWebSearch) || dated(t.kind, feeWebFetch))
}

// results is how many tokens one use can add to the input of the next round.
func (m *Model) results(t *hostedTool) int64 {
	if n := m.Row.rules.searchTokens; n > 0 && (dated(t.kind, feeWebSearch) || dated(t.kind, feePreview)) {
		return min(n, m.Row.Context)
	}
	return m.Row.Context
}

// toolFee is what one use costs. A preview search has a price of its own on
// models that do not reason, a container one by its memory.
func (m *Model) toolFee(t *hostedTool) (pico int64, priced bool) {
	kind := feeKind(t.kind)
	pico, priced = m.Row.fees[kind]
	switch {
	case kind == feeContainer:
		return pico * t.size, priced && t.size > 0
	case dated(t.kind, feePreview):
		pico = max(pico, m.Row.fees[feePreview])
	}
	return pico, priced
}

func (m *Model) unboundedTool(c *Call, t *hostedTool) error {
	limit := "a web_search tool with max_uses"
	if c.Endpoint == Responses {
		limit = "max_tool_calls with web_search or file_search"
	}
	switch t.kind {
	case "tool_search":
		limit = "\"execution\": \"client\", which runs it yourself, or " + limit
	case "shell":
		limit = "\"environment\": {\"type\": \"local\"}, which runs it yourself, or " + limit
	}
	return budget.Invalid("unbounded_tool", t.field, fmt.Sprintf("%s is %q, which the provider runs as often as it likes at a cost without bound; use function tools, or %s on a model whose context and fees are known; default_max_tool_calls of a budget, key or provider gives a search such a limit", t.field, clip(t.kind), limit))
}
