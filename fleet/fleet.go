package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"aigateway/budget"
)

// Store is what several gateways share. Its methods are safe for concurrent use.
// An edit is in the store when it returns, and gateways obey it once AwaitVersion
// of its version returned. Errors that users may read are *budget.Error; any other
// means that the store could not be asked, or that the outcome is unknown.
type Store interface {
	// Rules are the budgets and keys, all or what changed since, if their version is not
	// after.
	Rules(ctx context.Context, after uint64) (rules budget.Rules, changed bool, err error)
	// AwaitVersion waits until every gateway obeys a version, and returns the ids of
	// those that were silent for so long that they admit nothing.
	AwaitVersion(ctx context.Context, version uint64) (silent []string, err error)
	// Enforce waits until every gateway has put its calls on a new budget, and ends
	// its counting, or finds that another gateway did. version has that.
	Enforce(ctx context.Context, id string) (version uint64, err error)
	// LostCommits grows whenever the store is found to have lost what it acknowledged.
	LostCommits() int64
	// Tidy ends what a gateway began that is gone, and forgets ended windows.
	Tidy(ctx context.Context) error

	SetBudget(ctx context.Context, b budget.Budget, by budget.Author) (id string, version uint64, created bool, err error)
	UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (version uint64, err error)
	DeleteBudget(ctx context.Context, id, etag string, by budget.Author) (version uint64, err error)
	CreateKey(ctx context.Context, k budget.Key, by budget.Author) (key budget.Key, secret string, version uint64, err error)
	DeleteKey(ctx context.Context, id string, by budget.Author) (version uint64, err error)

	Replicas(ctx context.Context) ([]budget.ReplicaStatus, error)
	// CountReplicas is how many Replicas there are.
	CountReplicas(ctx context.Context) (int, error)
	Budget(ctx context.Context, id string) (budget.Status, error)
	Budgets(ctx context.Context, after string, limit int) ([]budget.Status, error)
	AuditLog(ctx context.Context, after int64, limit int) ([]budget.AuditEntry, error)
	ImportBill(ctx context.Context, b budget.Bill, by budget.Author) error
	Bills(ctx context.Context) ([]budget.Bill, error)
	Usage(ctx context.Context, q budget.UsageQuery) ([]budget.UsageRow, error)
	TagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) ([]budget.TagCost, error)
	Adjust(ctx context.Context, a budget.Adjustment, actor string) (budget.Adjustment, error)
	Adjustments(ctx context.Context, after string, limit int) ([]budget.Adjustment, error)
	LastAdjustments(ctx context.Context, limit int) ([]budget.Adjustment, error)
	// UsageAsOf says how complete the usage is that is read after it.
	UsageAsOf(ctx context.Context) (budget.AsOf, error)
	// UsageFolds are the times whose usage is kept by the day; own are those of a ledger,
	// which the store keeps so, too.
	UsageFolds(ctx context.Context, own budget.UsageFolds) (budget.UsageFolds, error)
	// FoldUsage adds up some old usage by the day, of all gateways, and reports whether
	// there is more.
	FoldUsage(ctx context.Context) (more bool, err error)
	Refused(ctx context.Context, w budget.Window) ([]budget.Refused, error)
	Windows(ctx context.Context, id string, before time.Time, limit int) ([]budget.WindowReport, error)
	BudgetChanges(ctx context.Context, id string, before int64, limit int) ([]budget.BudgetChange, error)
}

// Member is this gateway in the store.
type Member interface {
	// Acknowledge tells that a version of the rules is obeyed here.
	Acknowledge(ctx context.Context, version uint64) error
	// PushUsage tells totals, and that with them the usage is complete until now. Those of
	// before upto are of parts of days; budget.ErrUsageFolded: the store folds up to another
	// moment by now.
	PushUsage(ctx context.Context, rows []budget.UsageTotal, upto int64) error
	// PushRefused tells counts of refused calls, each of a quarter of an hour, absolute.
	PushRefused(ctx context.Context, counts []budget.Refused) error
	// Ask asks all gateways, gives this one's own answer, and returns all answers by
	// their ids; those are missing that did not answer within wait, and those that left
	// less than past ago.
	Ask(ctx context.Context, kind string, body, own []byte, wait, past time.Duration) (answers map[string][]byte, missing []string, err error)
	// Questions are those that this gateway has not answered yet.
	Questions(ctx context.Context) ([]budget.Question, error)
	Answer(ctx context.Context, id int64, body []byte) error
	// Leave tells that this gateway holds nothing any more and says nothing further.
	Leave(ctx context.Context) error
}

// Ledger is this gateway's own.
type Ledger interface {
	// ApplyRules puts budgets and keys in force; they are on return.
	ApplyRules(ctx context.Context, r budget.Rules) error
	// AppliedVersion is that of the rules in force; 0: there never were any.
	AppliedVersion() uint64
	// UsageSince are totals of what changed since a place, by parts of days where folds say
	// so.
	UsageSince(ctx context.Context, after uint64, limit int, folds budget.UsageFolds) (rows []budget.UsageTotal, upTo uint64, err error)
	// UsageFolds is what usage is kept by the day here; FollowFolds says what the store
	// keeps so, and that it may be, here, too.
	UsageFolds(ctx context.Context) (budget.UsageFolds, error)
	FollowFolds(folds budget.UsageFolds)
	GetKey(id string) (budget.Key, error)
	ListKeys(after string, limit int) ([]budget.Key, error)
}

// Config is what a fleet needs. Every field without "may be nil" is required.
type Config struct {
	Store  Store
	Ledger Ledger
	// ID is this gateway's, as Join's Member has it.
	ID string
	// Answer answers for this gateway what one of the fleet asked, in about most bytes.
	// It is not called before Run, but by Ask.
	Answer func(ctx context.Context, kind string, question []byte, most int) ([]byte, error)
	// Retention is how long finished calls are kept: that long, a gateway that has left
	// is missed where the past is asked for.
	Retention time.Duration
	// Dir is the data directory, for a note of what the store was told.
	Dir     string
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer // may be nil: no metrics
}

// Fleet keeps this gateway in step with the others while Run runs, and is the
// admin API's store of budgets, keys, usage and audit entries. It is safe for
// concurrent use.
type Fleet struct {
	c       Config
	metrics *metrics
	hurry   chan struct{} // an edit was made here: look for it now

	asking   chan struct{}   // has one for each round of questions that waits or is asked
	turn     chan struct{}   // has one while a round is asked, for turnFor at most
	rounding sync.Mutex      // guards what follows
	next     map[bool]*round // that questions join, of the past or not
	apart    time.Time       // when a gateway last had to be asked each question by itself

	peers  atomic.Int64 // how many gateways were asked last
	joined atomic.Pointer[Member]

	pushing sync.Mutex // one push at a time, which owns place and lost
	place   place
	lost    int64                             // the store's LostCommits after which all is told again
	folds   atomic.Pointer[budget.UsageFolds] // the store's, as they were last learnt; nil: never
	folding chan struct{}                     // there is more to fold: do it now

	applying     sync.Mutex // one application of rules at a time, which owns what follows
	acknowledged uint64
	told         time.Time  // when that was
	mu           sync.Mutex // guards problems
	problems     map[string]error
}

// How often the store is asked and told.
const (
	rulesEvery = 250 * time.Millisecond // so long an edit waits for gateways that it was not made at
	pushEvery  = time.Second
	tidyEvery  = 2 * time.Second // well within max_stale, 5 s at least: who looks less often cannot tell a silence from an outage
	foldEvery  = time.Minute
	tellEvery  = 5 * time.Second // the version that is obeyed: a store that failed over may have lost it
	// askWithin ends a question that should take milliseconds.
	askWithin = 10 * time.Second
)

// New returns a fleet that has not joined the store yet: whatever needs the store says
// that it cannot be reached.
func New(c Config) (*Fleet, error) {
	f := &Fleet{c: c, hurry: make(chan struct{}, 1), folding: make(chan struct{}, 1), asking: make(chan struct{}, asking), turn: make(chan struct{}, 1), next: map[bool]*round{}, problems: map[string]error{}}
	var err error
	f.place, err = openPlace(c.Dir)
	if err != nil {
		return nil, err
	}
	f.metrics, err = newMetrics(f, c.Metrics)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Join makes this gateway a member: the rules of the store are in force in its ledger
// when it returns nil. After an error it may be called again.
func (f *Fleet) Join(ctx context.Context, m Member) error {
	f.joined.Store(&m)
	err := f.follow(ctx, true)
	if err == nil {
		var n int
		n, err = f.c.Store.CountReplicas(ctx)
		f.peers.Store(int64(n))
	}
	if err != nil {
		f.joined.Store(nil)
	}
	return err
}

// member is this gateway in the store, once it has joined.
func (f *Fleet) member() (Member, error) {
	m := f.joined.Load()
	if m == nil {
		return nil, errors.New("the store has not been joined yet")
	}
	return *m, nil
}

// Run follows the rules and tells the usage until ctx ends, once Join succeeded. A store that cannot be
// asked is asked again: what that means for calls is the ledger's to say.
func (f *Fleet) Run(ctx context.Context) error {
	loops, ctx := errgroup.WithContext(ctx)
	loops.Go(func() error {
		return f.each(ctx, "rules", rulesEvery, f.hurry, func(ctx context.Context) error { return f.follow(ctx, false) })
	})
	loops.Go(func() error { return f.each(ctx, "usage", pushEvery, nil, f.push) })
	loops.Go(func() error { return f.each(ctx, "fold", foldEvery, f.folding, f.fold) })
	loops.Go(func() error { return f.each(ctx, "questions", questionsEvery, nil, f.answer) })
	loops.Go(func() error { return f.each(ctx, "tidy", tidyEvery, nil, f.c.Store.Tidy) })
	return loops.Wait()
}

// each calls do every so often, and at once when somebody is in a hurry, until ctx
// ends.
func (f *Fleet) each(ctx context.Context, name string, every time.Duration, hurry <-chan struct{}, do func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, askWithin)
		err := do(limited)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		f.note(name, err)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-hurry:
		}
	}
}

// note keeps how the last try of a loop went, and logs when that changes.
func (f *Fleet) note(name string, err error) {
	f.metrics.asked(name, err)
	f.mu.Lock()
	before := f.problems[name]
	f.problems[name] = err
	f.mu.Unlock()
	switch {
	case err != nil && before == nil:
		f.c.Log.Warn("the store does not answer as it should; it is asked again", "asked", name, "error", err)
	case err == nil && before != nil:
		f.c.Log.Info("the store answers again", "asked", name)
	}
}

// Problem is what somebody should look at, nil if all is well: whether calls are
// served is the ledger's to say.
func (f *Fleet) Problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []error
	for _, job := range []string{"rules", "usage", "fold", "tidy", "questions", "refusals"} {
		err := f.problems[job]
		if err != nil && !slices.ContainsFunc(all, func(o error) bool { return o.Error() == err.Error() }) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// follow puts the store's rules in force here, if they are newer, and says so there.
func (f *Fleet) follow(ctx context.Context, first bool) error {
	f.applying.Lock()
	defer f.applying.Unlock()
	obeyed := f.c.Ledger.AppliedVersion()
	rules, changed, err := f.c.Store.Rules(ctx, obeyed)
	if err != nil {
		return err
	}
	if changed {
		err = f.c.Ledger.ApplyRules(ctx, rules)
		if err != nil {
			return err
		}
		obeyed = rules.Version
	}
	now := f.c.Now()
	if f.acknowledged == obeyed && now.Sub(f.told) < tellEvery && !now.Before(f.told) && !first {
		return nil
	}
	m, err := f.member()
	if err == nil {
		err = m.Acknowledge(ctx, obeyed)
	}
	if err == nil {
		f.acknowledged, f.told = obeyed, now
	}
	return err
}

// Leave tells what is left to tell, once nothing more is booked here. The ledger
// must have given back what it may.
func (f *Fleet) Leave(ctx context.Context) error {
	defer f.metrics.set.Remove()
	m, err := f.member()
	if err != nil {
		return err
	}
	return m.Leave(ctx)
}

// Push tells the store all usage that is booked by now.
func (f *Fleet) Push(ctx context.Context) error { return f.push(ctx) }
