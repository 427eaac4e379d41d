// Command mutate changes the code that decides money, one small change at a
// time, and sees whether a test fails.
//
//	go run ./internal/mutate                     of every file of targets 12 mutants
//	go run ./internal/mutate -files 'ledger/*'   of those files that match one of the patterns
//	go run ./internal/mutate -n 0                all mutants
//	go run ./internal/mutate -list               what would be changed, and nothing else
//
// It fails when a change goes unnoticed (it survives) that survivors.txt does
// not list with its reason, and when survivors.txt lists one that no longer
// exists or is noticed by now.
//
// A package is built once with all its mutants in it: each is behind a switch
// that an environment variable turns on. One run of each test alone tells which
// mutants it reaches, and so which tests to run for a mutant. It runs from the
// root of the repository, and on Linux only keeps a mutant's memory bounded.
package main

import (
	"context"
	_ "embed" // survivors.txt
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed survivors.txt
var survivorsText string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// perFile is how many mutants of a file run where nobody says more.
const perFile = 12

// options are what the command line says.
type options struct {
	files   string // patterns of path.Match on a file, or folders; empty: all
	n       int    // mutants of a file at most; 0: all
	list    bool
	verbose bool
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.StringVar(&o.files, "files", "", "mutate only files that match one of these patterns, such as 'ledger pricing/usage*.go'")
	flags.IntVar(&o.n, "n", perFile, "run so many mutants of each file, always the same ones; 0 runs all")
	flags.BoolVar(&o.list, "list", false, "list the mutants and run none")
	flags.BoolVar(&o.verbose, "v", false, "say what became of each mutant")
	if err := flags.Parse(args); err != nil {
		return err
	}
	known, err := parseSurvivors(survivorsText)
	if err != nil {
		return fmt.Errorf("internal/mutate/survivors.txt: %w", err)
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	return mutateAll(ctx, root, targets, known, o, stdout)
}

// mutateAll runs the mutants of every target and compares the survivors with
// those known.
func mutateAll(ctx context.Context, root string, targets []target, known survivors, o options, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "m")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is the system's to clear
	var built []*build
	for _, t := range targets {
		t, err := t.only(root, o.files)
		if err != nil {
			return err
		}
		if len(t.files) == 0 {
			continue
		}
		b, err := prepare(ctx, root, dir, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.dir, err)
		}
		b.sample(o.n)
		built = append(built, b)
	}
	if len(built) == 0 {
		return fmt.Errorf("no file of targets matches %q", o.files)
	}
	sum := tally{known: known, out: stdout, verbose: o.verbose}
	began := time.Now()
	for _, b := range built {
		if o.list {
			for _, m := range b.mutants {
				fmt.Fprintf(stdout, "%s\t%s:%d\n", m.key(), m.file, m.line)
			}
			continue
		}
		if err := b.run(ctx, &sum); err != nil {
			return fmt.Errorf("%s: %w", b.target.dir, err)
		}
	}
	if o.list {
		return nil
	}
	fmt.Fprintf(stdout, "in %s\n", time.Since(began).Round(time.Second))
	return sum.verdict(built)
}

// only is the target with those of its files that match, by their names; without
// patterns, all.
func (t target) only(root, patterns string) (target, error) {
	files, err := t.expand(root)
	t.files = slices.DeleteFunc(files, func(f string) bool {
		return patterns != "" && !slices.ContainsFunc(strings.Fields(patterns), func(p string) bool {
			ok, _ := path.Match(p, path.Join(t.dir, f))
			return ok || p == t.dir
		})
	})
	return t, err
}

// expand is the names of the target's files; each of its patterns must match some.
func (t target) expand(root string) ([]string, error) {
	var out []string
	for _, p := range t.files {
		found, err := filepath.Glob(filepath.Join(root, t.dir, p))
		if err != nil {
			return nil, err
		}
		found = slices.DeleteFunc(found, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		if len(found) == 0 {
			return nil, fmt.Errorf("no file %s/%s; mend the table of targets", t.dir, p)
		}
		for _, f := range found {
			if name := filepath.Base(f); !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out, nil
}
