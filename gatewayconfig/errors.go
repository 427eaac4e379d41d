package gatewayconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with the configuration: where, what, and how to
// put it right. It never holds a secret's value.
type Problem struct {
	File         string // path as given to Read; for Default "environment"
	Line, Column int    // from 1; 0 when the problem has no place in a file
	Field        string // dotted path, such as providers.openai.base_url; may be empty
	Message      string // what is wrong and the remedy
}

// Error renders the problem as file:line:column: field: message.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is every problem of one configuration, in file order. Read, Default
// and the Watcher return it; errors.As finds it.
type Problems []Problem

// Error renders one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// maxProblems keeps a hopeless file from printing thousands of lines.
const maxProblems = 50

// report collects problems while a file is read.
type report struct {
	file string
	list Problems
}

func (r *report) add(at place, field, format string, args ...any) {
	r.list = append(r.list, Problem{File: r.file, Line: at.line, Column: at.column, Field: field, Message: fmt.Sprintf(format, args...)})
}

// err returns the problems in file order, or nil.
func (r *report) err() error {
	if len(r.list) == 0 {
		return nil
	}
	slices.SortStableFunc(r.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if extra := len(r.list) - maxProblems; extra > 0 {
		r.list = append(r.list[:maxProblems:maxProblems], Problem{File: r.file, Line: r.list[maxProblems].Line, Column: r.list[maxProblems].Column,
			Message: fmt.Sprintf("and %d more problems", extra)})
	}
	return r.list
}

// suggest returns ` (did you mean "x"?)` for the closest of the known words,
// or the whole list when none is close.
func suggest(word string, known []string) string {
	best, distance := "", len(word)/2+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; known: " + strings.Join(known, ", ")
}

// editDistance is the Levenshtein distance in bytes; long words are cut, as
// only small distances matter.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := previous
			if a[i] != b[j] {
				substitute++
			}
			previous = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, substitute)
		}
	}
	return row[len(b)]
}
