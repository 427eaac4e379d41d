package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// test is one test of a package and what it reaches.
type test struct {
	name    string
	took    time.Duration
	reaches map[int]bool
	lua     bool         // it runs the filter outside of Envoy
	kills   atomic.Int64 // so far
}

// worth is how likely the test is to notice the next mutant, by its time. It
// orders the runs of a mutant and changes no result.
func (t *test) worth() float64 { return float64(t.kills.Load()+1) / t.took.Seconds() }

// run runs the mutants of a build that were chosen.
func (b *build) run(ctx context.Context, sum *tally) error {
	if len(b.mutants) == 0 {
		return nil
	}
	if err := b.compile(ctx); err != nil {
		return err
	}
	tests, err := b.trace(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(sum.out, "%s: %d mutants, %d tests\n", b.target.dir, len(b.mutants), len(tests))
	sum.start(len(b.mutants))
	errs := make([]error, runtime.NumCPU())
	var all sync.WaitGroup
	work := feed(b.mutants)
	for i := range errs {
		w := worker{build: b, dir: b.tmp + strconv.Itoa(i)}
		all.Go(func() { errs[i] = w.run(ctx, work, tests, sum) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// feed gives each mutant out together with those that depend on it.
func feed(list []*mutant) <-chan []*mutant {
	var groups [][]*mutant
	for _, m := range list {
		if last := len(groups) - 1; last >= 0 && m.finer != nil && m.finer == groups[last][0] {
			groups[last] = append(groups[last], m)
			continue
		}
		groups = append(groups, []*mutant{m})
	}
	out := make(chan []*mutant, len(groups))
	for _, g := range groups {
		out <- g
	}
	close(out)
	return out
}

// worker runs mutants one after the other, with temporary files of its own.
type worker struct {
	*build
	dir string // the tests' folder; short, for sockets are in it
}

func (w worker) run(ctx context.Context, work <-chan []*mutant, tests []*test, sum *tally) error {
	for group := range work {
		for _, m := range group {
			killer, err := w.try(ctx, m, tests, sum.known[m.key()] != "")
			if err != nil {
				return err
			}
			sum.add(m, killer)
			for _, t := range tests {
				if t.name == killer {
					t.kills.Add(1)
				}
			}
			if killer != "" && len(group) > 1 {
				sum.left(len(group) - 1)
				break
			}
		}
	}
	return nil
}

// trace runs each test alone, without a mutant, to learn what it reaches and
// how long it takes.
func (b *build) trace(ctx context.Context) ([]*test, error) {
	w := worker{build: b, dir: b.tmp}
	out, err := w.command(ctx, "-test.list", "^(Test|Fuzz|Example)").Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	luaTests := b.luaTests()
	var tests []*test
	for _, name := range strings.Fields(string(out)) {
		if b.target.slow != nil && b.target.slow.MatchString(name) {
			continue
		}
		t := &test{name: name, lua: luaTests[name]}
		for try := 1; ; try++ {
			text, err := w.traceOne(ctx, t)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err == nil {
				break
			}
			if try == tries {
				return nil, fmt.Errorf("%s fails without a mutant: %w\n%s", name, err, tail(text))
			}
		}
		if len(t.reaches) > 0 || t.lua {
			tests = append(tests, t)
		}
	}
	return tests, nil
}

// traceOne runs one test and notes what it reaches. It returns what it wrote.
func (w worker) traceOne(ctx context.Context, t *test) ([]byte, error) {
	file := filepath.Join(w.work, "trace")
	cmd := w.command(ctx, "-test.run", "^"+t.name+"$")
	cmd.Env = append(cmd.Env, "AIG_MUTANT_TRACE="+file)
	text, err := runGroup(cmd, 10*time.Minute)
	if s := cmd.ProcessState; s != nil { // its own time, however busy the machine is
		t.took = s.UserTime() + s.SystemTime()
	}
	reached, _ := os.ReadFile(file)
	_ = os.Remove(file)
	t.reaches = map[int]bool{}
	for _, id := range strings.Fields(string(reached)) {
		if n, bad := strconv.Atoi(id); bad == nil {
			t.reaches[n] = true
		}
	}
	return text, err
}

func tail(text []byte) []byte { return text[max(0, len(text)-2000):] }

// try runs the tests that reach a mutant until one fails, and returns its name;
// empty: none does. Those that noticed the most in the least time come first. Of
// one that is listed, those of some seconds are enough to tell that it no longer
// should be: it decides nothing else, and all tests of all of them are half the
// time of everything.
func (w worker) try(ctx context.Context, m *mutant, tests []*test, listed bool) (killer string, err error) {
	var names []string
	var sum time.Duration
	flush := func() (killer string, err error) {
		if len(names) == 0 {
			return "", nil
		}
		if killer, err = w.once(ctx, m, names, sum); killer != "" && w.target.clock {
			killer, err = w.confirm(ctx, m, names, sum)
		}
		names, sum = nil, 0
		return killer, err
	}
	tests = slices.Clone(tests)
	slices.SortStableFunc(tests, func(x, y *test) int { return cmp.Compare(y.worth(), x.worth()) })
	limit := time.Second
	for _, t := range tests {
		if !w.concerns(m, t) {
			continue
		}
		if sum+t.took > limit {
			if killer, err = flush(); killer != "" || err != nil || listed && limit > time.Second {
				return killer, err
			}
			limit *= 4
		}
		names = append(names, t.name)
		sum += t.took
	}
	return flush()
}

// confirm tells whether it is the mutant that tests fail with, or a busy machine:
// without it they pass, and with it they fail once more. It returns the one that
// failed.
func (w worker) confirm(ctx context.Context, m *mutant, names []string, took time.Duration) (killer string, err error) {
	for range tries {
		if killer, err = w.once(ctx, nil, names, took); err != nil {
			return "", err
		}
		if killer == "" {
			return w.once(ctx, m, names, took)
		}
	}
	return "", fmt.Errorf("%s fails without a mutant, too: %w", killer, errBusy)
}

// tries is how often a test may fail without a mutant before nothing is said of
// any: either the machine is too busy, or the test is at fault.
const tries = 4

// once runs some tests with a mutant, nil for none, and returns the one that
// failed; took is the time of theirs on a processor without it.
func (w worker) once(ctx context.Context, m *mutant, names []string, took time.Duration) (killer string, err error) {
	cmd := w.command(ctx, "-test.failfast", "-test.run", "^("+strings.Join(names, "|")+")$")
	cmd.Env = append(cmd.Env, "AIG_MUTANT_SECONDS="+strconv.Itoa(int(5+4*took.Seconds())))
	if m != nil {
		if err := w.set(cmd, m); err != nil {
			return "", err
		}
	}
	out, err := runGroup(cmd, time.Minute+20*took)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if errors.Is(err, errBusy) {
		return "", err
	}
	return killerOf(out, err), nil
}

// set switches m on.
func (w worker) set(cmd *exec.Cmd, m *mutant) error {
	if m.id > 0 {
		cmd.Env = append(cmd.Env, "AIG_MUTANT="+strconv.Itoa(m.id))
		return nil
	}
	file := filepath.Join(w.dir, "mutant.lua")
	cmd.Env = append(cmd.Env, m.variable+"="+file)
	return os.WriteFile(file, []byte(m.text), 0o600)
}

func (b *build) concerns(m *mutant, t *test) bool {
	if m.id > 0 {
		return t.reaches[m.id]
	}
	return t.lua
}

var (
	failed  = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	errLong = errors.New("timed out")
	errBusy = errors.New("the machine is too busy to tell whether a mutant hangs")
)

func killerOf(out []byte, err error) string {
	if err == nil {
		return ""
	}
	if m := failed.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	if errors.Is(err, errLong) {
		return "the clock"
	}
	return "a crash"
}

// command is a run of the test binary in the package's folder, with a folder
// for temporary files that is emptied each time: what was killed leaves some.
func (w worker) command(ctx context.Context, args ...string) *exec.Cmd {
	_ = os.RemoveAll(w.dir)
	_ = os.MkdirAll(w.dir, 0o755)
	if w.target.lua == "" { // what -short leaves out there are long tests of the filter, not searches
		args = append(args, "-test.short") // a search of minutes is no way to notice one change
	}
	if w.seeded() {
		args = append(args, "-rapid.seed=1", "-rapid.nofailfile")
	}
	cmd := exec.CommandContext(ctx, w.binary, args...)
	cmd.Dir = filepath.Join(w.root, w.target.dir)
	cmd.Env = append(os.Environ(), "TMPDIR="+w.dir)
	return cmd
}

// seeded reports whether the package draws values with rapid, which must be the
// same ones in every run: else a survivor would come and go.
func (b *build) seeded() bool {
	files, _ := filepath.Glob(filepath.Join(b.root, b.target.dir, "*_test.go"))
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && bytes.Contains(text, []byte(`"pgregory.net/rapid"`)) {
			return true
		}
	}
	return false
}

// runGroup runs cmd, and ends it with its children when it hangs: its time is
// over, and it waits for no processor. How long it may compute, the limit of its
// processor time says, so that nothing counts as noticed because others are busy.
func runGroup(cmd *exec.Cmd, most time.Duration) ([]byte, error) {
	const patience = 30 // times its time that it may wait for a processor
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = end
	cmd.WaitDelay = 5 * time.Second // for what a child of a child still holds open
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done, over := make(chan struct{}), make(chan error, 1)
	go func() {
		for turn := 1; ; turn++ {
			select {
			case <-done:
				over <- nil
				return
			case <-time.After(most):
			}
			if turn < patience && computes(cmd.Process.Pid) {
				continue
			}
			over <- map[bool]error{true: errBusy, false: errLong}[turn == patience]
			_ = end()
			return
		}
	}()
	err := cmd.Wait()
	close(done)
	if late := <-over; late != nil && err != nil {
		return out.Bytes(), late
	}
	_ = end() // what it left behind
	return out.Bytes(), err
}

// computes reports whether a thread of a process runs or waits for a processor.
func computes(pid int) bool {
	for range 20 {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, name := range stats {
			text, _ := os.ReadFile(name)
			if _, state, ok := bytes.Cut(text, []byte(") ")); ok && (state[0] == 'R' || state[0] == 'D') {
				return true
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}
