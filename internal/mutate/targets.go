package main

import "regexp"

// target is a package and those of its files that decide money.
type target struct {
	dir string
	// files may be patterns of path.Match, so that a file split in two stays in.
	files []string
	// lua is the name of the test files that drive the filter outside of Envoy.
	lua string
	// slow are tests that search, crash or load for seconds: they are no way to
	// notice one change, and are not run.
	slow *regexp.Regexp
	// clock says that tests wait for what happens, which a busy machine fails, too.
	clock bool
}

var targets = []target{
	{
		dir:   "budget",
		files: []string{"amount.go", "window.go", "parse.go", "decimal.go", "defaults.go", "tag.go", "reservation.go"},
	}, {
		dir:   "pricing",
		files: []string{"charge*.go", "usage*.go", "bound*.go", "vocabulary.go", "wide.go", "decimal.go", "catalog_rates.go", "members.go", "call_parse.go", "call_again*.go"},
		slow:  regexp.MustCompile("^Test(SchemasAreBounded|ProvidersBill|TooManyValues|PinsAreShort|CountingConcurrently)"),
	}, {
		dir:   "envoy",
		files: []string{"token.go", "metadata.go", "filter.lua", "inflate.lua"},
		lua:   "lua*_test.go",
		slow:  regexp.MustCompile("^Test(.*Envoy|NoDecision|NoAnswerCosts|Timers|SilentConnections|StreamsPer|ConnectionLimit|Script|HeapLimit|Process|Drain|DiesWith|AsParent|Install|Find)"),
	}, {
		dir:   "accounting",
		clock: true,
		files: []string{"settle.go", "entry.go"},
		slow:  regexp.MustCompile("^TestRealEnvoy"),
	}, {
		dir:   "ledger",
		clock: true,
		files: []string{"core_step.go", "reserve.go", "settle.go", "core.go", "core_counters.go", "core_hold.go", "core_lease.go", "core_waiting.go"},
		slow:  regexp.MustCompile("^Fuzz|^Test(Model|Simulation|FleetRefuses|Kill|Fault|FullDisk|FailedFsync|Linearizable|TenThousand|ManyTags|CapEdits|Ring(Bit|Stops|Goes)|BackupWhile|CheckUnder|Tampering)"),
	}, {
		dir:   "extauthz",
		clock: true,
		files: []string{"check.go"},
	},
}
