package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// survivors are the mutants that may go unnoticed, by key, with the reason.
type survivors map[string]string

// parseSurvivors reads survivors.txt: keys, each on a line of its own, and
// below them, indented, the reason they share. Lines that begin with # are
// comments.
func parseSurvivors(text string) (survivors, error) {
	out := survivors{}
	var keys []string
	reasoned := true // the keys have a reason
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if len(keys) == 0 {
				return nil, fmt.Errorf("line %d: a reason without a mutant above it", i+1)
			}
			for _, k := range keys {
				out[k] = strings.TrimSpace(out[k] + " " + trimmed)
			}
			reasoned = true
		default:
			if reasoned {
				keys, reasoned = nil, false
			}
			if _, double := out[trimmed]; double || slices.Contains(keys, trimmed) {
				return nil, fmt.Errorf("line %d: listed twice: %s", i+1, trimmed)
			}
			keys = append(keys, trimmed)
		}
	}
	if !reasoned {
		return nil, fmt.Errorf("no reason for: %s", keys[0])
	}
	return out, nil
}

// tally is what became of the mutants.
type tally struct {
	known    survivors
	out      io.Writer
	verbose  bool
	mu       sync.Mutex // guards what is below
	began    time.Time  // with the package at hand
	told     time.Time  // when progress was told
	done, of int        // its mutants
	killed   []*mutant
	survived []*mutant
}

// start begins a package with n mutants.
func (t *tally) start(n int) {
	t.began, t.told, t.done, t.of = time.Now(), time.Now(), 0, n
}

// left is called for n mutants that need no run.
func (t *tally) left(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += n
}

func (t *tally) add(m *mutant, killer string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	if now := time.Now(); now.Sub(t.told) > time.Minute {
		t.told = now
		more := now.Sub(t.began) * time.Duration(t.of-t.done) / time.Duration(t.done)
		fmt.Fprintf(t.out, "%d of %d; about %s more for this package\n", t.done, t.of, more.Round(time.Minute))
	}
	if killer == "" {
		t.survived = append(t.survived, m)
		if t.known[m.key()] == "" || t.verbose {
			fmt.Fprintf(t.out, "SURVIVED %s\n\t%s:%d\n", m.key(), m.file, m.line)
		}
		return
	}
	t.killed = append(t.killed, m)
	if t.verbose {
		fmt.Fprintf(t.out, "killed %s by %s\n", m.key(), killer)
	}
}

// verdict compares what survived with what may.
func (t *tally) verdict(built []*build) error {
	var errs []error
	survived := map[string]bool{}
	unlisted := 0
	for _, m := range t.survived {
		survived[m.key()] = true
		if _, ok := t.known[m.key()]; !ok {
			unlisted++
		}
	}
	fmt.Fprintf(t.out, "%d mutants: %d noticed, %d not, of which %d are not in survivors.txt\n",
		len(t.killed)+len(t.survived), len(t.killed), len(t.survived), unlisted)
	if unlisted > 0 {
		errs = append(errs, fmt.Errorf("%d mutants survive: write tests that notice them, or list them with the reason in internal/mutate/survivors.txt", unlisted))
	}
	for _, m := range t.killed {
		if _, listed := t.known[m.key()]; listed {
			errs = append(errs, fmt.Errorf("survivors.txt lists what a test notices by now: %s", m.key()))
		}
	}
	exists, files := map[string]bool{}, map[string]bool{}
	for _, b := range built {
		for _, f := range b.target.files {
			files[b.target.dir+"/"+f] = true
		}
		for _, m := range b.all {
			exists[m.key()] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(t.known)) {
		file, _, _ := strings.Cut(k, " ")
		if !exists[k] && files[file] {
			errs = append(errs, fmt.Errorf("survivors.txt lists what no longer exists: %s", k))
		}
	}
	return errors.Join(errs...)
}
