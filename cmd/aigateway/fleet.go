package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/fleet"
	"aigateway/gatewayconfig"
	"aigateway/ledger"
	"aigateway/metricset"
	"aigateway/postgres"
)

// shared is what a gateway has of the store that it shares with others; a nil one
// is of a gateway that is alone.
type shared struct {
	store  *postgres.Store
	fleet  *fleet.Fleet // nil before prepare
	id     string       // of this replica
	digest string       // of its configuration

	joined  chan struct{}                   // closed by a join that went well
	member  atomic.Pointer[postgres.Member] // nil before
	leaving chan struct{}                   // closed by quit: who waits for a join gives up
	problem atomic.Pointer[error]           // why the last join did not go well

	stop context.CancelFunc // ends fleet's loops; nil before Run
	done chan struct{}
}

// newStore reads the address of the configuration's store, and does not connect.
func newStore(address string, cfg *gatewayconfig.Config) (*postgres.Store, error) {
	store, err := postgres.New(postgres.Config{
		URL: address, Durability: postgres.Durability(cfg.Store.Durability), MaxStale: cfg.Store.MaxStale, ForgetAfter: cfg.Store.ForgetAfter,
		Retention: time.Duration(cfg.Retention.CallsDays) * 24 * time.Hour, UsageMonths: int(cfg.Retention.UsageMonths), Zone: cfg.TimeZone,
	})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return store, nil
}

// newShared is a gateway's part of the store of its configuration.
func newShared(address string, cfg *gatewayconfig.Config) (*shared, error) {
	store, err := newStore(address, cfg)
	if err != nil {
		return nil, err
	}
	return &shared{store: store, digest: cfg.Digest(), joined: make(chan struct{}), leaving: make(chan struct{}), done: make(chan struct{})}, nil
}

// openStore connects a command to the store of the configuration, at address.
func openStore(ctx context.Context, address string, cfg *gatewayconfig.Config) (*postgres.Store, error) {
	store, err := newStore(address, cfg)
	if err != nil {
		return nil, err
	}
	err = store.Migrate(ctx)
	if err != nil {
		store.Close()
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return store, nil
}

// Exchange is the ledger's way to the store. There is none before join, which needs
// the ledger's lock: another process may have this data directory's place.
func (s *shared) Exchange(ctx context.Context, asks []budget.Ask) (grants []budget.Grant, clock time.Time, err error) {
	m := s.member.Load()
	if m == nil {
		select {
		case <-s.joined:
		case <-s.leaving:
		case <-ctx.Done():
			return nil, clock, ctx.Err()
		}
		if m = s.member.Load(); m == nil {
			return nil, clock, errors.New("the store was not joined")
		}
	}
	return m.Exchange(ctx, asks)
}

// prepare makes what does not need the store, for the ledger of c, which is open.
func (s *shared) prepare(a *app, c *controlPlane) (err error) {
	s.id, err = replicaID(c.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("read the replica's id: %w", err)
	}
	set := metricset.New(c.metrics)
	set.Add(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "aig_store_lost_commits_total", Help: "Leases that the store no longer had as it had acknowledged them, after a failover. Alarm on any."},
			func() float64 { return float64(s.store.LostCommits()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "aig_store_failovers_total", Help: "Failovers of the store that were seen here."},
			func() float64 { return float64(s.store.Failovers()) }),
	)
	err = set.Done()
	if err != nil {
		return err
	}
	s.fleet, err = fleet.New(fleet.Config{
		Store: s.store, Ledger: c.ledger, ID: s.id, Answer: func(ctx context.Context, kind string, question []byte, most int) ([]byte, error) {
			return c.admin.Answer(ctx, kind, question, most)
		},
		Retention: time.Duration(c.cfg.Retention.CallsDays) * 24 * time.Hour,
		Dir:       c.cfg.DataDir, Now: a.now, Log: a.log, Metrics: c.metrics,
	})
	return err
}

// joinWithin is how long one attempt to join the store may take, once its tables are
// there: an upgrade takes as long as it does.
const joinWithin = 10 * time.Second

// join takes the data directory's place in the store, and puts the store's rules in
// force in its ledger. It may be called again where the error says postgres.Away.
func (s *shared) join(ctx context.Context, l *ledger.Ledger) error {
	err := s.tryJoin(ctx, l)
	s.problem.Store(&err)
	if err == nil {
		close(s.joined)
	}
	return err
}

func (s *shared) tryJoin(ctx context.Context, l *ledger.Ledger) error {
	err := s.store.Migrate(ctx)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	err = s.refuseForeign(ctx, l)
	if err != nil {
		return err
	}
	name, _ := os.Hostname() // for people: "" is a name too
	m, err := s.store.Join(ctx, budget.Replica{ID: s.id, Name: name, Program: buildInfo().Version, ConfigHash: s.digest})
	if err != nil {
		return fmt.Errorf("join the store: %w", err)
	}
	l.FollowClock(m.Joined())
	err = s.fleet.Join(ctx, m)
	if err != nil {
		m.Close()
		return fmt.Errorf("follow the store: %w", err)
	}
	s.member.Store(m)
	return nil
}

// mayGo reports whether the reason why a join did not go well may go by itself.
func mayGo(err error) bool {
	var foreign *foreignBooks
	return !errors.As(err, &foreign) && postgres.Away(err)
}

// unready is why this gateway has not joined the store; nil once it has.
func (s *shared) unready() error {
	if s.member.Load() != nil {
		return nil
	}
	if err := s.problem.Load(); err != nil {
		return fmt.Errorf("the store has not been reached since the start, and no call is admitted before it is: %w", *err)
	}
	return errors.New("the store is being joined")
}

// How long after an attempt to join the store the next one begins: first, and at most.
const (
	rejoinFirst = 250 * time.Millisecond
	rejoinMost  = 5 * time.Second
)

// joinAtLast joins a store that was away at the start, as soon as it is there. The
// error is one that a person has to mend.
func (s *shared) joinAtLast(ctx context.Context, c *controlPlane) error {
	for wait := rejoinFirst; s.member.Load() == nil; wait = min(2*wait, rejoinMost) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		err := s.join(ctx, c.ledger)
		switch {
		case err == nil:
			c.log.Info("the store is there, and joined")
			s.follow(ctx, c.log)
		case ctx.Err() != nil:
			return nil
		case !mayGo(err):
			return err
		}
	}
	return nil
}

// orNil is the fleet, nil of a gateway that is alone.
func (s *shared) orNil() *fleet.Fleet {
	if s == nil {
		return nil
	}
	return s.fleet
}

// fileReplica has what the store knows this data directory by.
const fileReplica = "replica"

// replicaID reads the id of a data directory, or makes one.
func replicaID(dir string) (string, error) {
	path := filepath.Join(dir, fileReplica)
	text, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(text))
		if !strings.HasPrefix(id, "rep_") || len(id) != 4+26 {
			return "", fmt.Errorf("%s is damaged; put it back from a backup, or take a new data directory and `aigateway replicas forget` the old one", path)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := "rep_" + strings.ToLower(rand.Text())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintln(f, id)
	return id, errors.Join(err, f.Sync(), f.Close())
}

// refuseForeign refuses a ledger with budgets or keys that the store does not have:
// obeying the store would forget them.
func (s *shared) refuseForeign(ctx context.Context, l *ledger.Ledger) error {
	if l.AppliedVersion() > 0 {
		return nil
	}
	rules, _, err := s.store.Rules(ctx, 0)
	if err != nil {
		return fmt.Errorf("read the store's budgets and keys: %w", err)
	}
	known := map[string]bool{}
	for _, b := range rules.Budgets {
		known[b.ID] = true
	}
	for _, k := range rules.Keys {
		known[k.ID] = true
	}
	own, err := ownRules(l)
	if err != nil {
		return err
	}
	for _, id := range own {
		if !known[id] {
			return &foreignBooks{id}
		}
	}
	return nil
}

// foreignBooks is that a ledger has a budget or key, by its id, that the store lacks.
type foreignBooks struct{ id string }

func (f *foreignBooks) Error() string {
	return "the data directory has budgets or keys of its own, such as " + f.id + ", which the store does not have; move them there with `aigateway store import`, or choose another data_dir"
}

// ownRules are the ids of all budgets and keys of l.
func ownRules(l *ledger.Ledger) (ids []string, err error) {
	budgets, err := l.ListBudgets("", 1<<30)
	if err != nil {
		return nil, err
	}
	keys, err := l.ListKeys("", 1<<30)
	for _, b := range budgets {
		ids = append(ids, b.ID)
	}
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids, err
}

// follow follows the others, once the store is joined, until quit: also while this
// gateway drains, for until its end edits have to be obeyed here and costs told. false:
// it is not joined.
func (s *shared) follow(ctx context.Context, log *slog.Logger) bool {
	if s.member.Load() == nil {
		return false
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(s.done)
		err := s.fleet.Run(ctx)
		if err != nil {
			log.Error("following the store ended", "error", err)
		}
	}()
	return true
}

// leaveWithin is how long a gateway that stops tries to tell the store what is left
// to tell: its container's end is near.
const leaveWithin = 10 * time.Second

// quit tells the last usage. The ledger is closed next, then comes close.
func (s *shared) quit(ctx context.Context) error {
	if s == nil {
		return nil
	}
	close(s.leaving)
	if s.stop != nil {
		s.stop()
		<-s.done
	}
	if s.member.Load() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	err := s.fleet.Push(ctx)
	if err != nil {
		return fmt.Errorf("tell the store the last usage: %w", err)
	}
	return nil
}

// close leaves the store, once the ledger has given back what it may. Nothing was
// lost if that fails: the lease stays charged until this data directory's gateway
// starts again.
func (s *shared) close(ctx context.Context, inOrder bool) error {
	if s == nil {
		return nil
	}
	defer s.store.Close()
	if m := s.member.Load(); m != nil {
		defer m.Close()
	}
	if !inOrder || s.member.Load() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	err := s.fleet.Leave(ctx)
	if err != nil {
		return fmt.Errorf("leave the store: %w", err)
	}
	return nil
}

// stores are where the admin API keeps and reads what it serves.
func (c *controlPlane) stores(cfg *adminapi.Config) *adminapi.Config {
	cfg.Keys, cfg.Budgets, cfg.Usage, cfg.Adjustments, cfg.Audit = c.ledger, c.ledger, c.ledger, c.ledger, c.ledger
	cfg.History, cfg.Bills = c.ledger, c.ledger
	if c.shared != nil {
		cfg.Keys, cfg.Budgets, cfg.Usage, cfg.Audit = c.shared.fleet, c.shared.fleet, c.shared.fleet, c.shared.fleet
		cfg.Peers, cfg.AsOf, cfg.History = c.shared.fleet, c.shared.fleet.UsageAsOf, c.shared.fleet
		cfg.Adjustments, cfg.State, cfg.Bills = c.shared.fleet, sharedState{c.ledger, c.shared.fleet}, c.shared.fleet
	}
	return cfg
}

// sharedState is the ledger's state, and the corrections that the store has.
type sharedState struct {
	*ledger.Ledger
	fleet *fleet.Fleet
}

func (s sharedState) LastAdjustments(ctx context.Context, limit int) ([]budget.Adjustment, error) {
	return s.fleet.LastAdjustments(ctx, limit)
}

// authenticator knows the operator's key and the ledger's.
func (c *controlPlane) authenticator() authenticator {
	auth := authenticator{admin: sha256.Sum256([]byte(c.adminKey)), ledger: c.ledger}
	if c.shared != nil {
		auth.ledger = following{c.ledger}
	}
	return auth
}

// following knows keys as long as this gateway may act on what it knows.
type following struct{ *ledger.Ledger }

// Authenticate is the ledger's, but for a gateway that has not heard of edits for too
// long: the key may be revoked.
func (f following) Authenticate(secret string) (*budget.Key, error) {
	err := f.Ready()
	if err != nil {
		return nil, err
	}
	return f.Ledger.Authenticate(secret)
}
