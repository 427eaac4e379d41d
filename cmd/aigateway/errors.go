package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// The exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// usageError is a command line that cannot be understood, as opposed to one
// that was understood and failed.
type usageError struct {
	message string
	hint    string
}

func (e *usageError) Error() string { return e.message }

// Hint names the help to read.
func (e *usageError) Hint() string { return e.hint }

func usagef(command, format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...), hint: "see `" + command + " --help`"}
}

// hintedError adds what to do next to an error, on a line of its own.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }
func (e *hintedError) Hint() string  { return e.hint }

func withHint(err error, hint string) error { return &hintedError{err: err, hint: hint} }

func exitCode(err error) int {
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitError
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// clean makes text that came from elsewhere safe for a terminal: control
// characters, which could move the cursor or rewrite the screen, are shown
// escaped. Line breaks and tabs stay.
func clean(s string) string {
	return cleanExcept(s, func(r rune) bool { return r == '\n' || r == '\t' })
}

// cleanCell is clean for one cell of a table, which has one line.
func cleanCell(s string) string { return cleanExcept(s, func(rune) bool { return false }) }

func cleanExcept(s string, keep func(rune) bool) string {
	ok := func(r rune) bool { return unicode.IsPrint(r) || keep(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !ok(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if ok(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}
