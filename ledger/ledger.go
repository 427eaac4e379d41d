package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
)

// Config is what a ledger needs. Only Dir is required.
type Config struct {
	// Dir holds the database and its lock, on a local disk; it is created.
	Dir string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// HoldTimeout is how long a reservation waits for its log entry, counted
	// from the last heartbeat, before its bound is charged. 0 is 5 minutes.
	HoldTimeout time.Duration
	// JournalWait is the longest a Reserve waits for the disk before it
	// answers 503; 0 is 250 ms. Envoy's own timeout must be longer.
	JournalWait time.Duration
	// WaitBytes is the most that is held for calls that wait for running ones to
	// end: their bodies and 16 KiB each. A key may have half of what others leave.
	// 0 is 64 MiB.
	WaitBytes int64
	// Retention is how long finished reservations stay on disk, and so how
	// late a log entry may correct an expiry. 0 is 35 days.
	Retention time.Duration
	// UsageMonths is for how many months usage is kept by the quarter of an hour;
	// what is older is kept by the day, in UTC and in Zone. 0 is 13.
	UsageMonths int
	// Zone is where the months of statements begin that name no zone. It is kept
	// in the database, for those who read that alone; nil keeps the one that is
	// there, at first UTC.
	Zone *time.Location
	// MetricBudgets is the number of budgets with metrics of their own, in
	// order of id; 0 is 200.
	MetricBudgets int
	// CheckEvery is how often the books are recounted in the background; 0 is an
	// hour.
	CheckEvery time.Duration
	// Lessor lends shares of the caps of budgets that several ledgers obey; nil: the
	// caps are this ledger's alone. It is used until Close has returned.
	Lessor Lessor
	// MaxStale is how long after the last exchange with the Lessor calls are still
	// admitted, counted from when that was sent; 0 is 30 seconds.
	MaxStale time.Duration
	// AcceptRollback opens a database that is older than the one last served,
	// such as a restored backup. Whatever its caps still leave is then held,
	// later charged, because calls it does not know may have spent it.
	AcceptRollback bool
	// Log is for events an operator should see; nil discards them.
	Log *slog.Logger
	// Metrics registers the ledger's metrics; nil leaves them out.
	Metrics prometheus.Registerer

	step        func(int)             // tests die at numbered steps of the sync
	rollBack    bool                  // the database is a backup, whatever the lock file says
	wrapJournal func(journal) journal // tests break the disk here
	ringBytes   int                   // size of the ring; 0 is ringBytes, negative none
	boot        func() string         // nil is bootID
	checkFirst  time.Duration         // how long after a start the books are checked; 0 is checkFirst
}

func (c *Config) setDefaults() {
	if c.Now == nil {
		c.Now = time.Now
	}
	setDefault(&c.HoldTimeout, 5*time.Minute)
	setDefault(&c.JournalWait, 250*time.Millisecond)
	setDefault(&c.WaitBytes, 64<<20)
	setDefault(&c.Retention, 35*24*time.Hour)
	setDefault(&c.UsageMonths, 13)
	setDefault(&c.MetricBudgets, 200)
	setDefault(&c.CheckEvery, time.Hour)
	setDefault(&c.MaxStale, 30*time.Second)
	setDefault(&c.checkFirst, checkFirst)
	if c.boot == nil {
		c.boot = bootID
	}
	if c.step == nil {
		c.step = dieAt()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Ledger reserves and settles spend. All methods are safe for concurrent use.
type Ledger struct {
	config  Config
	base    time.Time // of the monotonic clock
	lock    *lock
	store   *store
	journal journal
	metrics *metrics

	instance string
	tokenKey []byte
	keys     keyring

	// admin serialises edits: each is durable before the next is decided.
	// Taken before mu.
	admin    sync.Mutex
	lastRule int64
	// rulesVersion is that of the last ApplyRules.
	rulesVersion atomic.Uint64
	storeFolds   atomic.Pointer[budget.UsageFolds] // of the last FollowFolds

	// mu guards the fields below. No I/O happens under it.
	mu       sync.Mutex
	core     *core
	synced   chan struct{} // closed and replaced after every commit
	woken    bool          // the sync goroutine knows that there is work
	spool    budget.SpoolPosition
	queuedAt int64 // monotonic time of the oldest queued event
	ring     *ring
	closed   bool
	err      error
	// absurd bills listed on absurdDay.
	absurd    int
	absurdDay time.Time

	exchanged chan struct{} // closed and replaced after every exchange; of mu
	apart     atomic.Int64  // how far the Lessor's clock is ahead of this machine's, ns
	storeDown bool          // the last exchange failed; of mu

	checking sync.Mutex // one recount at a time
	checked  struct {   // the last recount; guarded by mu
		at         time.Time
		mismatches int
	}
	suspects *touched // what the last recount found to differ; nil before the first. Of checking.

	jobs chan func() error // for the sync goroutine

	wake    chan struct{} // work for the next commit
	hurry   chan struct{} // somebody waits for it
	failure chan struct{} // closed with err set
	stop    chan struct{}
	done    chan struct{} // the sync goroutine ended
	watched chan struct{} // the background check ended
	lacking chan struct{} // an exchange should begin at once
	lent    chan struct{} // the goroutine of the exchanges ended
}

// Open locks dir, recovers what the last process left, and starts serving. It
// fails if another process has the directory, or the database is damaged,
// newer than the program, or older than the one last served.
func Open(ctx context.Context, config Config) (*Ledger, error) {
	config.setDefaults()
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := takeLock(config.Dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		config: config, base: config.Now(), lock: lock, synced: make(chan struct{}),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), failure: make(chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}), watched: make(chan struct{}), jobs: make(chan func() error),
		exchanged: make(chan struct{}), lacking: make(chan struct{}, 1), lent: make(chan struct{}),
	}
	key, err := l.recover(ctx)
	if err != nil {
		if l.store != nil {
			err = errors.Join(err, l.store.close())
		}
		return nil, diskRemedy(errors.Join(err, lock.release()))
	}
	l.metrics = newMetrics(l, l.config.Metrics)
	if err := l.metrics.register(); err != nil {
		return nil, errors.Join(err, l.store.close(), lock.release())
	}
	l.openRing(key)
	l.store.step = l.config.step
	l.journal = l.store
	if config.wrapJournal != nil {
		l.journal = config.wrapJournal(l.store)
	}
	go l.syncLoop()
	go l.watch()
	go l.exchangeLoop()
	return l, nil
}

// recover reads the database, takes the next epoch and rebuilds the state. It
// returns what the new ring is to say of itself.
func (l *Ledger) recover(ctx context.Context) (k ringKey, err error) {
	if l.store, err = openStore(ctx, l.config.Dir, l.instant().wall); err != nil {
		return k, err
	}
	l.store.shared = l.config.Lessor != nil
	at := l.startInstant()
	v, err := l.store.load(ctx, at.wall)
	if err != nil {
		return k, err
	}
	if err := l.rolledBack(v); err != nil {
		return k, err
	}
	if !v.clean && v.epoch > 1 {
		if err := l.store.check(ctx); err != nil {
			return k, err
		}
		if !v.rolledBack {
			if err := l.recoverRing(ctx, v); err != nil {
				return k, err
			}
		}
	}
	if v.instance == "" {
		v.instance = "aig_" + randomText(16)
		v.tokenKey = make([]byte, 32)
		rand.Read(v.tokenKey) // never fails
	}
	if l.config.Zone != nil {
		v.zone = l.config.Zone.String()
	}
	if err := l.store.loadSeal(ctx, v.zone); err != nil {
		return k, err
	}
	k = ringKey{epoch: v.epoch, salt: randomSalt(), boot: l.config.boot()}
	v.nextRing = k.salt
	c, held := restore(&v.snapshot, int64(l.config.HoldTimeout), at)
	if err := l.store.begin(ctx, v, held, c.wall); err != nil {
		return k, fmt.Errorf("start epoch: %w", err)
	}
	if err := l.lock.setEpoch(v.epoch); err != nil {
		return k, err
	}
	if err := l.lock.setCommits(l.store.chain.commits); err != nil {
		return k, err
	}
	l.store.witness = l.lock.setCommits
	l.shareCaps(c)
	l.core, l.spool, l.lastRule = c, v.spool, v.lastRule
	l.rulesVersion.Store(v.rulesVersion)
	c.waiting.most = l.config.WaitBytes
	l.instance, l.tokenKey = v.instance, v.tokenKey
	l.keys.set(v.keys)
	if !v.clean && v.epoch > 1 {
		l.config.Log.Warn("ledger recovered from an unclean end", "epoch", v.epoch, "exact", v.exact, "open_reservations", len(c.open), "budgets_with_undecided_spend", len(c.pools))
	}
	return k, nil
}

// rolledBack compares the file with what the directory last served. An older one
// is refused, unless that was accepted: then epochs are left out whose records
// are gone.
func (l *Ledger) rolledBack(v *saved) error {
	served, err := l.lock.epoch()
	if err != nil {
		return err
	}
	commits, err := l.lock.commits()
	if err != nil {
		return err
	}
	lost := served > 0 && commits > l.store.chain.commits
	if l.config.rollBack && served == 0 { // on another machine: who knows how often it was started since
		served = v.epoch + restoreEpochs
	}
	if v.rolledBack = served >= v.epoch && served > 0 || lost || l.config.rollBack; !v.rolledBack {
		return nil
	}
	if l.config.Lessor != nil {
		return fmt.Errorf("%s is older than the ledger last served from this directory (epoch %d of %d, commit %d of %d), so it does not know what was spent of the shared budgets meanwhile; start with an empty directory, as a new replica, and forget the old one with `aigateway replicas forget`",
			databaseFile, v.epoch-1, served, l.store.chain.commits, commits)
	}
	if !l.config.AcceptRollback {
		return fmt.Errorf("%s is older than the ledger last served from this directory (epoch %d of %d, commit %d of %d): it was replaced, or its journal lost its end; put the newer file back, or accept the rollback with `aigateway ledger restore` to hold everything its caps still leave",
			databaseFile, v.epoch-1, served, l.store.chain.commits, commits)
	}
	for e := v.epoch; e <= served; e++ {
		v.marks[e] = 0 // dead epochs whose records are gone
		v.forgotten = append(v.forgotten, e)
	}
	v.epoch = max(v.epoch, served+1)
	return nil
}

// restoreEpochs is how many starts of a gateway a restore leaves room for when
// nothing tells how many there were after the backup.
const restoreEpochs = 1000

// instant reads both clocks with one call.
func (l *Ledger) instant() instant {
	t := l.config.Now()
	return instant{wall: t.UnixNano() + l.apart.Load(), mono: l.monotonic(t)}
}

// startInstant is the instant of a start. With a Lessor windows stay as the last process
// left them: see FollowClock.
func (l *Ledger) startInstant() instant {
	at := l.instant()
	if l.config.Lessor != nil {
		at.wall = 0
	}
	return at
}

// shareCaps makes c share its caps, if there is a Lessor.
func (l *Ledger) shareCaps(c *core) {
	if l.config.Lessor != nil {
		c.lend(int64(l.config.MaxStale))
		c.clock = clock{wall: c.wall, stopped: true}
	}
}

// Now is the time that windows, reports and keys go by: this machine's clock or, with a
// Lessor, that one's. Unlike windows, it follows each leap at once.
func (l *Ledger) Now() time.Time { return time.Unix(0, l.instant().wall) }

// clockAhead is how far this machine's clock is ahead of window time, which is at. The
// caller holds mu.
func (l *Ledger) clockAhead(at instant) time.Duration {
	if l.core.stopped {
		return 0
	}
	return l.config.Now().Sub(time.Unix(0, at.wall))
}

// monotonic is t on the clock that nobody sets.
func (l *Ledger) monotonic(t time.Time) int64 { return l.base.UnixNano() + int64(t.Sub(l.base)) }

// Close commits what is queued, gives back every unused high-water mark, so
// that the next start finds nothing undecided, and releases the directory.
// Reservations stay open for the next start. A nil error means all is durable.
func (l *Ledger) Close(ctx context.Context) error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return errors.New("ledger is already closed")
	}
	close(l.stop)
	for _, ended := range []<-chan struct{}{l.done, l.watched, l.lent} {
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("close ledger: %w", ctx.Err())
		}
	}
	err := l.Failed()
	if err == nil {
		l.giveBack(ctx)
		err = l.store.markClean(ctx)
	}
	l.metrics.set.Remove()
	return errors.Join(err, l.closeRing(), l.store.close(), l.lock.release())
}

// Stopped is closed when the journal failed; the process must then exit, because
// only a restart can tell what the disk has.
func (l *Ledger) Stopped() <-chan struct{} { return l.failure }

// Failed is why Err is closed, and what to do; nil while it is open.
func (l *Ledger) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Ready is nil while reservations are served.
func (l *Ledger) Ready() error {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unavailable(); err != nil {
		return err
	}
	if l.core.stale(at) {
		return storeUnreachable()
	}
	return nil
}

// unavailable is the refusal when nothing can be decided, else nil. The caller
// holds mu.
func (l *Ledger) unavailable() error {
	switch {
	case l.err != nil:
		return budget.Unavailable("ledger_failed", "spending cannot be recorded right now; retry shortly", l.err)
	case l.closed:
		return budget.Unavailable("ledger_closed", "the gateway is shutting down; retry shortly", nil)
	default:
		return nil
	}
}

// TokenKey is the 32-byte key that signs reservation tokens. It outlives
// restarts, as tokens do.
func (l *Ledger) TokenKey() []byte { return append([]byte(nil), l.tokenKey...) }

// InstanceID names this ledger's history for ever.
func (l *Ledger) InstanceID() string { return l.instance }

// SpoolPosition is how far the access-log file has durably been read.
func (l *Ledger) SpoolPosition() budget.SpoolPosition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spool
}

// randomText is n (up to 26) characters of a-z2-7, five random bits each.
func randomText(n int) string { return strings.ToLower(rand.Text()[:n]) }
