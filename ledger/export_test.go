package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"aigateway/budget"
)

// Gate stands between the sync goroutine and the database.
type Gate struct {
	commit sync.Mutex // held while a commit runs
	after  sync.Mutex // held to keep commits from being noticed
	mu     sync.Mutex
	err    error
	lost   bool // with err: fail without writing
}

// Stall keeps commits from starting until release is called.
func (g *Gate) Stall() (release func()) {
	g.commit.Lock()
	return sync.OnceFunc(g.commit.Unlock)
}

// StallAfter lets commits reach the disk but keeps memory from learning it.
func (g *Gate) StallAfter() (release func()) {
	g.after.Lock()
	return sync.OnceFunc(g.after.Unlock)
}

// Break makes the next commits report err: after writing, or without.
func (g *Gate) Break(err error, lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.lost = err, lost
}

type gated struct {
	journal
	gate *Gate
}

func (g gated) commit(ctx context.Context, b *batch) error {
	g.gate.commit.Lock()
	defer g.gate.commit.Unlock()
	g.gate.mu.Lock()
	failure, lost := g.gate.err, g.gate.lost
	g.gate.mu.Unlock()
	if failure != nil && lost {
		return failure
	}
	err := errors.Join(g.journal.commit(ctx, b), failure)
	g.gate.after.Lock()
	defer g.gate.after.Unlock()
	return err
}

// WithGate puts g in front of the database.
func WithGate(c Config, g *Gate) Config {
	c.wrapJournal = func(j journal) journal { return gated{j, g} }
	if c.ringBytes == 0 {
		c.ringBytes = ringHeader + 64<<10
	}
	return c
}

// WithBoot makes c believe that the kernel's boot id is boot.
func WithBoot(c *Config, boot string) { c.boot = func() string { return boot } }

// WithRing sets the size of the ring's records; negative is no ring.
func WithRing(c *Config, bytes int) { c.ringBytes = max(-1, ringHeader+bytes) }

// RingFile is the name of the ring's file.
const RingFile = ringFile

// HasRing reports whether l has a ring.
func (l *Ledger) HasRing() bool { return l.ring != nil }

// Flush waits until everything queued is durable.
func (l *Ledger) Flush(ctx context.Context) error { return l.flush(ctx) }

// Tick does what time alone causes, without waiting for the ticker.
func (l *Ledger) Tick() {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.housekeep(at)
	l.signal(true)
}

// Crash copies the files as a power loss would leave them between two commits.
func (l *Ledger) Crash(g *Gate, dst string) error {
	if g != nil {
		defer g.Stall()()
	}
	return l.CopyFiles(dst)
}

// CopyFiles copies what a power loss leaves: the database's files as they are.
func (l *Ledger) CopyFiles(dst string) error {
	return l.copyFiles(dst, LockFile, databaseFile, databaseFile+"-wal")
}

// CopyAll copies what the end of the process leaves: CopyFiles and the ring.
func (l *Ledger) CopyAll(dst string) error {
	return l.copyFiles(dst, LockFile, databaseFile, databaseFile+"-wal", ringFile)
}

// copyFiles begins with the witness, which never knows more than the database.
func (l *Ledger) copyFiles(dst string, names ...string) error {
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(l.config.Dir, name)); err == nil && info.IsDir() {
			continue
		}
		in, err := os.Open(filepath.Join(l.config.Dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		out, err := os.Create(filepath.Join(dst, name))
		if err != nil {
			return errors.Join(err, in.Close())
		}
		_, err = io.Copy(out, in)
		if err := errors.Join(err, in.Close(), out.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Counters are an account's numbers for assertions.
type Counters struct{ Spent, Held, Orphan, Residue, HighWater, Limit, Used budget.Amount }

// Counters returns the current window's numbers of a budget.
func (l *Ledger) Counters(id string) Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.core.account(l.core.rules.byID[id], l.core.wall)
	return Counters{a.spent, a.held, a.orphan, a.residue, a.hw, a.usable, a.used()}
}

// Invariants checks I1 to I5 of DESIGN.md on every account in memory.
func (l *Ledger) Invariants() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.core
	held := map[*account]budget.Amount{}
	for _, h := range c.open {
		for _, a := range h.legs {
			held[a] += h.bound
		}
	}
	var errs []error
	for id, a := range c.accounts {
		bad := func(what string) {
			errs = append(errs, fmt.Errorf("account %d: %s: %+v", id, what, a.counters))
		}
		if a.spent+a.orphan+a.held > a.hw && !a.fresh {
			bad("I1: more is used than the high-water mark covers")
		}
		if a.used()-a.falling > max(a.limit, a.hw) {
			bad("I4: more is used than the cap")
		}
		if a.held != held[a] {
			bad(fmt.Sprintf("I5: open holds sum to %d", held[a]))
		}
		if a.spent < 0 || a.orphan < 0 || a.residue < 0 || a.residue > a.spent || a.rise < 0 || a.falling < 0 {
			bad("I5: a counter is out of range")
		}
		if a.usable > a.hw {
			bad("R2: the usable mark is above the durable one")
		}
	}
	return errors.Join(errs...)
}

// CheckMarks checks I2, which holds while no cap was cut below its use.
func (l *Ledger) CheckMarks() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, a := range l.core.accounts {
		if a.hw > a.limit {
			return fmt.Errorf("account %d: I2: mark %d above cap %d", id, a.hw, a.limit)
		}
	}
	return nil
}

// Sizes are the lengths of what lives in memory.
func (l *Ledger) Sizes() (open, expired, requests, accounts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.core.open), len(l.core.expired), len(l.core.requests), len(l.core.accounts)
}

// Entries are the lengths of all that lives in memory, by name.
func (l *Ledger) Entries() map[string]int64 {
	l.keys.mu.RLock()
	defer l.keys.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	c, x := l.core, &l.core.rules
	n := map[string]int64{}
	for name, size := range map[string]int{
		"open": len(c.open), "expired": len(c.expired), "requests": len(c.requests), "orphaned": len(c.orphaned), "strays": len(c.strays),
		"accounts": len(c.accounts), "marks": len(c.marks), "pools": len(c.pools), "queue": len(c.queue), "wanted": len(c.wanted), "raised": len(c.raised),
		"budgets": len(x.byID), "budget ids": len(x.ids), "targets": len(x.target), "exact": len(x.exact), "subtree": len(x.subtree), "all": len(x.all),
		"budgets of keys": len(x.keys), "groups": len(x.groups), "keys": len(l.keys.byID), "key ids": len(l.keys.ids),
	} {
		n[name] = int64(size)
	}
	return n
}

// PruneNow deletes rows older than the retention and returns how many of them
// memory knew.
func (l *Ledger) PruneNow(ctx context.Context) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	var failed error                    // prune's own, which does not end the ledger here
	err := l.onSync(ctx, func() error { // it prunes by itself, too, and has the one connection that writes
		_, failed = l.prune(ctx)
		return nil
	})
	return errors.Join(err, failed)
}

// Count runs a query that returns one number.
func (l *Ledger) Count(ctx context.Context, query string) (n int64, err error) {
	err = l.store.read.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}

// Exec runs a query on the database; only for a ledger that is idle.
func (l *Ledger) Exec(ctx context.Context, query string, args ...any) error {
	_, err := l.store.write.ExecContext(ctx, query, args...)
	return err
}

// Steps is the number of steps at which WithSteps calls.
const Steps = stepApplied

// WithSteps calls f on the sync goroutine at each numbered step of a sync.
func WithSteps(c Config, f func(step int)) Config {
	c.step = f
	return c
}

// WithoutWatch leaves checks to the test, however long it takes.
func WithoutWatch(c *Config) { c.checkFirst, c.CheckEvery = 1<<62, 1<<62 }

// MinFree and EnoughSpace are the floor of free disk space.
const MinFree = minFree

func EnoughSpace(dir string, free uint64) error { return enoughSpace(dir, free) }

// UsageByTag is the by-tag report as the API asks for it; an empty tag selects
// all.
func (l *Ledger) UsageByTag(ctx context.Context, w budget.Window, tag budget.Tag) ([]budget.UsageRow, error) {
	return l.Usage(ctx, budget.UsageQuery{Window: w, GroupBy: []budget.Dimension{budget.ByTag}, Tags: budget.TagPattern(tag)})
}

// MigrationNames are the migrations of files, in the order they run.
func MigrationNames(files fs.FS) ([]string, error) {
	list, err := migrations(files)
	var names []string
	for _, m := range list {
		names = append(names, m.name)
	}
	return names, err
}

// Between makes i call f between two slices of what it reads.
func (i *Inspector) Between(f func()) { i.between = f }

// SliceRows is about how many rows a slice has.
const SliceRows = sliceRows

// DaysLeft is growth.daysLeft over some sizes, the last of which is of now.
func DaysLeft(free int64, every time.Duration, sizes ...int64) (days float64) {
	var g growth
	at := time.Unix(0, 0)
	for _, s := range sizes {
		days = g.daysLeft(at, s, free)
		at = at.Add(every)
	}
	return days
}

// Waiting is how many calls wait for running ones.
func (l *Ledger) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.core.waiting.count
}

// ShareUsage makes changes of usage known to UsageSince, as a Lessor does.
func (l *Ledger) ShareUsage(ctx context.Context) error {
	return l.onSync(ctx, func() error { l.store.shared = true; return nil })
}

// Queue is how many events wait for a commit, and how many of them for one with the
// event behind them.
func (l *Ledger) Queue() (n, joined int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.core.queue {
		if l.core.queue[i].joined {
			joined++
		}
	}
	return len(l.core.queue), joined
}
