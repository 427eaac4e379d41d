package main

import (
	"fmt"
	"strings"
)

// mutant is one small change of the source.
type mutant struct {
	id       int
	file     string // path from the root of the repository
	line     int
	function string // Type.Method or name; empty at the top of the file
	from, to string // source text, in one line
	nth      int    // 2 for the second of that kind in the function, and so on

	text     string // what replaces the source, as code
	variable string // of a mutant of Lua: of the environment; names the file with text

	// finer is, for the opposite of a comparison, the mutant of its boundary: what
	// notices that notices the opposite, too.
	finer *mutant
}

// key names the mutant in survivors.txt, whatever moves around it.
func (m *mutant) key() string {
	s := fmt.Sprintf("%s %s: %s => %s", m.file, m.function, m.from, m.to)
	if m.nth > 1 {
		s += fmt.Sprintf(" #%d", m.nth)
	}
	return s
}

// removed is what a statement becomes that is left out.
const removed = "nothing"

// oneLine is source text as keys show it.
func oneLine(s string) string {
	const most = 120
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

// number tells mutants apart that have the same key.
func number(list []*mutant) {
	seen := map[string]int{}
	for _, m := range list {
		m.nth = 0
		k := m.key()
		seen[k]++
		m.nth = seen[k]
	}
}
