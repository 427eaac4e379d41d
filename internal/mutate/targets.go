package main

// target is a package and those of its files that decide money.
type target struct {
	dir   string
	files []string
	// lua is the name of the test files that drive the filter outside of Envoy.
	lua string
}

var targets = []target{
	{dir: "budget", files: []string{"amount.go", "window.go", "parse.go", "tag.go", "reservation.go"}},
	{dir: "ledger", files: []string{
		"core.go", "step.go", "reserve.go", "settle.go", "counters.go", "hold.go", "event.go", "batch.go", "rules.go", "prune.go",
	}},
	{dir: "accounting", files: []string{"settle.go", "entry.go", "spool.go", "reader.go"}},
	{dir: "extauthz", files: []string{"check.go", "request.go", "response.go"}},
	{dir: "envoy", files: []string{"token.go", "metadata.go", "replies.go", "filter.lua"}, lua: "lua_*_test.go"},
	{dir: "pricing", files: []string{
		"wide.go", "decimal.go", "pin.go", "rates.go", "terms.go", "served.go",
		"charge.go", "usage.go", "usage_messages.go", "usage_other.go", "usage_responses.go",
		"bound.go", "input.go", "spec.go", "edits.go", "media.go", "text.go", "tools.go", "openrouter.go",
		"parse.go", "call.go", "fields.go", "chat.go", "completions.go", "embeddings.go", "messages.go", "rerank.go", "responses.go",
	}},
}
