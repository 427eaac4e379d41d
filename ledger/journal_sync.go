package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"aigateway/budget"
)

const (
	// commitEvery paces commits that nobody waits for, so that a busy ledger
	// writes batches and not single rows: most of a commit's cost is the disk's.
	commitEvery = 50 * time.Millisecond
	// tickEvery is how often time alone gets a look: expiry, rollover, idling.
	tickEvery = 200 * time.Millisecond
	// maxQueue stops admission while the disk is behind.
	maxQueue = 1 << 16
	// pruneEvery spaces the deletions of old rows, a batch at a time.
	pruneEvery = 30 * time.Second
	pruneBatch = 500
)

// signal tells the sync goroutine about new work. The caller holds mu.
func (l *Ledger) signal(urgent bool) {
	if urgent {
		notify(l.hurry)
	}
	if !l.woken && l.core.pending() {
		l.woken = true
		notify(l.wake)
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// syncLoop is the sync goroutine: the only writer of the database.
func (l *Ledger) syncLoop() {
	defer close(l.done)
	w := syncer{l: l, latency: int64(commitEvery)}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case job := <-l.jobs: // also while a commit has to wait: whoever has a job waits for it
			if err := job(); err != nil {
				l.fail(err)
				return
			}
			continue
		case <-l.wake:
			pace.Reset(commitEvery - time.Since(w.started))
			continue
		case <-pace.C:
		case <-l.hurry:
		case <-tick.C:
		case <-l.stop:
			w.finish()
			return
		}
		if !w.drain() {
			return
		}
		if !w.prune() {
			return
		}
	}
}

// syncer is the sync goroutine's own state.
type syncer struct {
	l       *Ledger
	started time.Time // of the last commit
	latency int64     // a slowly falling maximum of commit times, ns
	pruned  time.Time
	leaping bool // the clock's leap was told
}

// drain commits until nothing is left that was there when it began, with a job
// that waits after each batch, and returns false once the journal failed.
func (w *syncer) drain() bool {
	for {
		more, err := w.commit(false)
		if err == nil && more {
			select {
			case job := <-w.l.jobs: // there may be more for as long as calls come
				err = job()
			default:
			}
		}
		if err != nil {
			w.l.fail(err)
			return false
		}
		if !more {
			return true
		}
	}
}

// commit makes one batch durable. more reports that a full batch was left.
func (w *syncer) commit(last bool) (more bool, err error) {
	l := w.l
	at := l.instant()
	l.mu.Lock()
	l.woken = false
	expired := l.core.housekeep(at)
	defer w.tellClock(at.wall, l.core.clock)
	l.serve(l.core.waiting.at, at) // windows end, and so does patience
	if last {
		l.core.lowerIdle(at, true)
	}
	if !l.core.pending() {
		l.mu.Unlock()
		return false, nil
	}
	b := l.core.begin(at, w.latency+int64(commitEvery))
	more = l.core.pending()
	l.queuedAt = at.mono
	l.mu.Unlock()

	l.metrics.expired.Add(float64(expired))
	w.started = time.Now()
	l.store.at(stepTaken)
	if err := l.journal.commit(context.Background(), b); err != nil {
		return false, err
	}
	took := time.Since(w.started)
	w.latency = max(int64(took), w.latency-w.latency/64)
	l.metrics.sync.Observe(took.Seconds())

	l.mu.Lock()
	for i := range b.events {
		if e := &b.events[i]; e.kind == eventSpool {
			l.spool = e.spool
		}
	}
	l.ring.release(b)
	l.core.apply(b)
	l.serve(l.core.waiting.at, l.instant())
	close(l.synced)
	l.synced = make(chan struct{})
	l.mu.Unlock()
	l.store.at(stepApplied)
	return more, nil
}

// tellClock logs when the clock leaps and when that ends.
func (w *syncer) tellClock(wall int64, c clock) {
	if w.leaping == c.leaping {
		return
	}
	w.leaping = c.leaping
	at := []any{"clock", time.Unix(0, wall).UTC(), "windows_at", time.Unix(0, c.wall).UTC()}
	if c.leaping {
		w.l.config.Log.Error("the clock leapt ahead; windows go on without the leap until it has lasted", append(at, "for", time.Duration(clockTrust))...)
	} else {
		w.l.config.Log.Warn("the clock's leap is over: it was taken back, or has lasted", at...)
	}
}

// finish commits everything before a clean end, then gives back the marks that the
// last of it left above what is used.
func (w *syncer) finish() {
	if w.flushAll() {
		w.flushAll()
	}
}

// flushAll commits until nothing is left, and returns false once the journal failed.
func (w *syncer) flushAll() bool {
	for range 1000 { // each round commits up to maxBatch events
		more, err := w.commit(true)
		if err != nil {
			w.l.fail(err)
			return false
		}
		if !more {
			return true
		}
	}
	w.l.fail(errors.New("journal did not drain"))
	return false
}

// fail stops the ledger for good. A failed commit may or may not have reached
// the disk, and a retry may report success without the data (fsync forgets
// errors), so only recovery after a restart can go on.
func (l *Ledger) fail(err error) {
	l.mu.Lock()
	l.err = journalRemedy(fmt.Errorf("journal: %w", err))
	close(l.synced) // wakes every waiter; they see err
	l.synced = make(chan struct{})
	l.mu.Unlock()
	l.config.Log.Error("ledger stopped: the journal failed; restart to recover", "error", err)
	close(l.failure)
}

// await returns once the events queued so far, up to number n, are durable.
// urgent starts the next commit at once.
func (l *Ledger) await(ctx context.Context, n uint64, urgent bool) error {
	for {
		l.mu.Lock()
		applied, synced, err := l.core.applied, l.synced, l.err
		if applied < n && err == nil {
			l.signal(urgent)
		}
		l.mu.Unlock()
		switch {
		case applied >= n:
			return nil
		case err != nil:
			return budget.Unavailable("ledger_failed", "the change may not have been recorded; check and retry", err)
		}
		select {
		case <-synced:
		case <-l.done:
			if l.caughtUp(n) {
				return nil
			}
			return budget.Unavailable("ledger_closed", "the gateway is shutting down; retry shortly", nil)
		case <-ctx.Done():
			return budget.Unavailable("ledger_slow", "the change is not durable yet; check and retry", ctx.Err())
		}
	}
}

func (l *Ledger) caughtUp(n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.core.applied >= n
}

// flush waits until everything queued before the call is durable.
func (l *Ledger) flush(ctx context.Context) error {
	l.mu.Lock()
	n := l.core.queued
	l.mu.Unlock()
	return l.await(ctx, n, true)
}

// prune deletes a batch of old rows now and then. It returns false once the
// journal failed.
func (w *syncer) prune() bool {
	if time.Since(w.pruned) < pruneEvery {
		return true
	}
	more, err := w.l.prune(context.Background())
	if err != nil {
		w.l.fail(err)
		return false
	}
	if !more {
		w.pruned = time.Now()
	}
	return true
}

// prune deletes a batch of old rows, between two commits, if nobody reads them.
func (l *Ledger) prune(ctx context.Context) (more bool, err error) {
	err = unread(l.store.reads, func() error {
		if more, err = l.pruneBatch(ctx); err != nil {
			return err
		}
		due, err := l.foldDue(ctx)
		if err != nil {
			return err
		}
		folding, err := l.store.foldUsage(ctx, due)
		more = more || folding
		return err
	})
	return more, err
}

func (l *Ledger) pruneBatch(ctx context.Context) (more bool, err error) {
	wall := l.windowTime()
	cutoff := wall - int64(l.config.Retention)
	ended, err := l.store.endedAccounts(ctx, cutoff, pruneBatch)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	retired := l.core.retire(ended)
	l.mu.Unlock()
	p, err := l.store.prune(ctx, cutoff, wall, l.core.epoch, pruneBatch, retired)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	l.core.prune(p.ids, p.strays, p.closed)
	l.mu.Unlock()
	return p.more || len(retired) == pruneBatch, nil
}
