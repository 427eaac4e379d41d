package fleet_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"aigateway/budget"
)

// store is a store in memory, with as many members as ask.
type store struct {
	mu      sync.Mutex
	rules   budget.Rules
	obeyed  map[string]uint64 // by member
	totals  map[string]map[int64]budget.UsageTotal
	changed chan struct{} // closed and replaced by every change
	fail    error         // of everything
	enforce error
	left    []string
	silent  []string
	asked   []*question
	refused []budget.Refused
	pushes  int
	lost    int64
	older   string // a member whose program is asked one question at a time
	folds   budget.UsageFolds
	due     budget.UsageFolds // what FoldUsage comes to, one after another
}

// question is one that was asked, and the answers by member.
type question struct {
	budget.Question
	answers map[string][]byte
}

func newStore() *store {
	return &store{rules: budget.Rules{Version: 1}, obeyed: map[string]uint64{}, totals: map[string]map[int64]budget.UsageTotal{}, changed: make(chan struct{})}
}

func (s *store) change(f func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	f()
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *store) edit(f func()) (version uint64, err error) {
	err = s.change(func() {
		f()
		s.rules.Version++
		version = s.rules.Version
	})
	return version, err
}

func (s *store) Rules(_ context.Context, after uint64) (r budget.Rules, changed bool, err error) {
	err = s.change(func() {
		if changed = s.rules.Version != after; changed {
			r = s.rules
			r.Budgets, r.Keys = slices.Clone(r.Budgets), slices.Clone(r.Keys)
		}
	})
	return r, changed, err
}

func (s *store) LostCommits() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// wait ends when ok, which is asked under the lock.
func (s *store) wait(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *store) AwaitVersion(ctx context.Context, version uint64) ([]string, error) {
	err := s.wait(ctx, func() bool {
		for id, v := range s.obeyed {
			if v < version && !slices.Contains(s.silent, id) {
				return false
			}
		}
		return true
	})
	return s.silent, err
}

func (s *store) Enforce(ctx context.Context, id string) (uint64, error) {
	if s.enforce != nil {
		return 0, s.enforce
	}
	s.mu.Lock()
	version := s.rules.Version
	s.mu.Unlock()
	if _, err := s.AwaitVersion(ctx, version); err != nil {
		return 0, err
	}
	return s.edit(func() { s.find(id).Counting = false })
}

func (s *store) find(id string) *budget.SharedBudget {
	i := slices.IndexFunc(s.rules.Budgets, func(b budget.SharedBudget) bool { return b.ID == id })
	if i < 0 {
		return nil
	}
	return &s.rules.Budgets[i]
}

func (s *store) Tidy(context.Context) error { return s.change(func() {}) }

func (s *store) SetBudget(_ context.Context, b budget.Budget, _ budget.Author) (string, uint64, bool, error) {
	created := false
	b.ID = "bud_" + string(b.Target.Tags)
	version, err := s.edit(func() {
		if old := s.find(b.ID); old != nil {
			old.Cap = b.Cap
			return
		}
		created = true
		s.rules.Budgets = append(s.rules.Budgets, budget.SharedBudget{Budget: b, Counting: true})
	})
	return b.ID, version, created, err
}

func (s *store) UpdateBudget(_ context.Context, id, etag string, change func(*budget.Budget) error, _ budget.Author) (uint64, error) {
	var refused error
	version, err := s.edit(func() {
		if etag != "" {
			refused = &budget.Error{Kind: budget.KindConflict, Reason: "etag_mismatch", Message: "it has changed"}
			return
		}
		refused = change(&s.find(id).Budget)
	})
	return version, errors.Join(refused, err)
}

func (s *store) DeleteBudget(_ context.Context, id, _ string, _ budget.Author) (uint64, error) {
	return s.edit(func() {
		s.rules.Budgets = slices.DeleteFunc(s.rules.Budgets, func(b budget.SharedBudget) bool { return b.ID == id })
	})
}

func (s *store) CreateKey(_ context.Context, k budget.Key, _ budget.Author) (budget.Key, string, uint64, error) {
	k.ID = "key_" + k.Name
	version, err := s.edit(func() { s.rules.Keys = append(s.rules.Keys, budget.SharedKey{Key: k}) })
	return k, "secret", version, err
}

func (s *store) DeleteKey(_ context.Context, id string, _ budget.Author) (uint64, error) {
	return s.edit(func() {
		s.rules.Keys = slices.DeleteFunc(s.rules.Keys, func(k budget.SharedKey) bool { return k.ID == id })
	})
}

func (s *store) Budget(_ context.Context, id string) (st budget.Status, err error) {
	err = s.change(func() {
		if b := s.find(id); b != nil {
			st.Budget = b.Budget
		}
	})
	return st, err
}

func (s *store) Budgets(context.Context, string, int) (list []budget.Status, err error) {
	err = s.change(func() {
		for _, b := range s.rules.Budgets {
			list = append(list, budget.Status{Budget: b.Budget})
		}
	})
	return list, err
}

func (s *store) ImportBill(context.Context, budget.Bill, budget.Author) error {
	return s.change(func() {})
}

func (s *store) Bills(context.Context) ([]budget.Bill, error) { return nil, s.change(func() {}) }

func (s *store) AuditLog(context.Context, int64, int) ([]budget.AuditEntry, error) {
	return nil, s.change(func() {})
}

func (s *store) Usage(context.Context, budget.UsageQuery) (rows []budget.UsageRow, err error) {
	err = s.change(func() {
		sum := budget.UsageRow{}
		for _, totals := range s.totals {
			for _, u := range totals {
				sum.Add(u.UsageRow)
			}
		}
		rows = append(rows, sum)
	})
	return rows, err
}

func (s *store) TagCosts(ctx context.Context, _ budget.Window, _ budget.TagPattern) ([]budget.TagCost, error) {
	rows, err := s.Usage(ctx, budget.UsageQuery{})
	if err != nil {
		return nil, err
	}
	return []budget.TagCost{{Requests: rows[0].Requests, Cost: rows[0].Cost}}, nil
}

// member is one gateway in a store.
type member struct {
	*store
	id string
}

func (m member) Acknowledge(_ context.Context, version uint64) error {
	return m.change(func() { m.obeyed[m.id] = version })
}

func (m member) PushUsage(_ context.Context, rows []budget.UsageTotal, upto int64) error {
	m.mu.Lock()
	known := upto == m.folds.Upto()
	m.mu.Unlock()
	if len(rows) > 0 && !known {
		return budget.ErrUsageFolded
	}
	return m.change(func() {
		m.pushes++
		if m.totals[m.id] == nil {
			m.totals[m.id] = map[int64]budget.UsageTotal{}
		}
		for _, r := range rows {
			m.totals[m.id][r.Quarter] = r
		}
	})
}

func (s *store) Replicas(context.Context) (out []budget.ReplicaStatus, err error) {
	err = s.change(func() {
		for _, id := range slices.Sorted(maps.Keys(s.obeyed)) {
			out = append(out, budget.ReplicaStatus{Replica: budget.Replica{ID: id}})
		}
	})
	return out, err
}

func (s *store) CountReplicas(context.Context) (n int, err error) {
	return n, s.change(func() { n = len(s.obeyed) })
}

func (m member) Ask(ctx context.Context, kind string, body, own []byte, wait, _ time.Duration) (answers map[string][]byte, missing []string, err error) {
	q := &question{answers: map[string][]byte{m.id: own}}
	err = m.change(func() {
		q.Question = budget.Question{ID: int64(len(m.asked)), Kind: kind, Body: body}
		m.asked = append(m.asked, q)
	})
	for over := time.Now().Add(wait); err == nil; {
		err = m.change(func() {
			answers, missing = maps.Clone(q.answers), nil
			for _, id := range slices.Sorted(maps.Keys(m.obeyed)) {
				if answers[id] == nil {
					missing = append(missing, id)
				}
			}
		})
		if len(missing) == 0 || time.Now().After(over) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return answers, missing, err
}

func (m member) Questions(context.Context) (out []budget.Question, err error) {
	err = m.change(func() {
		for _, q := range m.asked {
			if q.answers[m.id] == nil {
				out = append(out, q.Question)
			}
		}
	})
	return out, err
}

func (m member) Answer(_ context.Context, id int64, body []byte) error {
	return m.change(func() {
		if q := m.asked[id]; m.older == m.id && q.Kind == "several" {
			body = []byte(`{"error":"nobody knows what that is"}`)
		}
		m.asked[id].answers[m.id] = body
	})
}

func (m member) Leave(context.Context) error {
	return m.change(func() { m.left = append(m.left, m.id); delete(m.obeyed, m.id) })
}

// ledger is one gateway's: rules it was given, and rows of usage, each of one
// change.
type ledger struct {
	mu    sync.Mutex
	rules budget.Rules
	usage []budget.UsageTotal
	fail  error
	own   budget.UsageFolds
	folds budget.UsageFolds // the last that it follows
}

func (l *ledger) UsageFolds(context.Context) (budget.UsageFolds, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.own, nil
}

func (l *ledger) FollowFolds(folds budget.UsageFolds) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.folds = folds
}

func (l *ledger) ApplyRules(_ context.Context, r budget.Rules) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail == nil {
		l.rules = r
	}
	return l.fail
}

func (l *ledger) AppliedVersion() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rules.Version
}

func (l *ledger) UsageSince(_ context.Context, after uint64, limit int, _ budget.UsageFolds) ([]budget.UsageTotal, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo := min(len(l.usage), int(after)+limit)
	return slices.Clone(l.usage[after:upTo]), uint64(upTo), nil
}

func (l *ledger) GetKey(id string) (budget.Key, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.rules.Keys {
		if k.ID == id {
			return k.Key, nil
		}
	}
	return budget.Key{}, budget.NotFound("key_not_found", "there is no such key")
}

func (l *ledger) ListKeys(string, int) (keys []budget.Key, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.rules.Keys {
		keys = append(keys, k.Key)
	}
	return keys, nil
}

// book adds a row of usage.
func (l *ledger) book(quarter int64, cost budget.Amount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.usage = append(l.usage, budget.UsageTotal{Quarter: quarter, UsageRow: budget.UsageRow{Requests: 1, Cost: cost}})
}

func (s *store) UsageAsOf(context.Context) (asOf budget.AsOf, err error) {
	return budget.AsOf{Time: time.Now()}, s.change(func() {})
}

func (s *store) UsageFolds(_ context.Context, own budget.UsageFolds) (folds budget.UsageFolds, err error) {
	err = s.change(func() {
		if own.Upto() > s.folds.Upto() {
			s.folds = own
		}
		folds = s.folds
	})
	return folds, err
}

func (s *store) FoldUsage(context.Context) (more bool, err error) {
	err = s.change(func() {
		if len(s.due) > 0 {
			s.folds, s.due = s.due[:1], s.due[1:]
		}
		more = len(s.due) > 0
	})
	return more, err
}

func (s *store) Refused(context.Context, budget.Window) (out []budget.Refused, err error) {
	return s.refused, s.change(func() {})
}

func (s *store) Windows(context.Context, string, time.Time, int) ([]budget.WindowReport, error) {
	return nil, s.change(func() {})
}

func (s *store) BudgetChanges(context.Context, string, int64, int) ([]budget.BudgetChange, error) {
	return nil, s.change(func() {})
}

func (m member) PushRefused(_ context.Context, counts []budget.Refused) error {
	return m.change(func() { m.refused = append(m.refused, counts...) })
}

func (s *store) Adjust(_ context.Context, a budget.Adjustment, _ string) (budget.Adjustment, error) {
	return a, s.change(func() {})
}

func (s *store) Adjustments(context.Context, string, int) ([]budget.Adjustment, error) {
	return nil, s.change(func() {})
}

func (s *store) LastAdjustments(context.Context, int) ([]budget.Adjustment, error) {
	return nil, s.change(func() {})
}
