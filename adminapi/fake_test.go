package adminapi_test

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"aigateway/budget"
)

// store is the ledger as far as adminapi sees it, in memory.
type store struct {
	mu       sync.Mutex
	now      func() time.Time
	keys     map[string]budget.Key // by secret
	budgets  []budget.Status
	rows     []budget.UsageRow
	queries  []budget.UsageQuery
	open     []budget.Open
	calls    []budget.Call         // the newest first
	scan     int                   // how many of calls a page looks at; 0: all
	windows  []budget.WindowReport // of every budget
	changes  []budget.BudgetChange
	refused  []budget.Refused
	adjusted []budget.Adjustment
	bills    []budget.Bill
	audit    []budget.AuditEntry
	actors   []string
	reasons  []string
	sequence int
	fail     error // returned by everything but Authenticate
	panics   bool
}

func (s *store) next(prefix string) string {
	s.sequence++
	return fmt.Sprintf("%s_%03d", prefix, s.sequence)
}

func (s *store) guard(by budget.Author) error {
	if s.panics {
		panic("store exploded")
	}
	s.actors = append(s.actors, by.Actor)
	s.reasons = append(s.reasons, by.Reason)
	return s.fail
}

func (s *store) Authenticate(secret string) (*budget.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[secret]
	if !ok {
		return nil, &budget.Error{Kind: budget.KindUnauthenticated, Reason: "key_invalid", Field: "authorization", Message: "this key is unknown; ask an admin for one"}
	}
	return &k, nil
}

func (s *store) sortedKeys() []budget.Key {
	var out []budget.Key
	for _, k := range s.keys {
		out = append(out, k)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

func (s *store) CreateKey(_ context.Context, k budget.Key, by budget.Author) (budget.Key, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard(by); err != nil {
		return budget.Key{}, "", err
	}
	k.ID, k.CreateTime = s.next("key"), s.now()
	secret := budget.KeyPrefix + "new-" + k.ID
	s.keys[secret] = k
	return k, secret, nil
}

func (s *store) GetKey(id string) (budget.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.ID == id {
			return k, s.fail
		}
	}
	return budget.Key{}, budget.NotFound("key_not_found", "there is no such key")
}

func (s *store) ListKeys(after string, limit int) ([]budget.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return window(s.sortedKeys(), func(k budget.Key) string { return k.ID }, after, limit), s.fail
}

func (s *store) DeleteKey(_ context.Context, id string, by budget.Author) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard(by); err != nil {
		return err
	}
	for secret, k := range s.keys {
		if k.ID == id {
			delete(s.keys, secret)
			return nil
		}
	}
	return budget.NotFound("key_not_found", "there is no such key")
}

func window[T any](all []T, id func(T) string, after string, limit int) []T {
	from := slices.IndexFunc(all, func(e T) bool { return id(e) > after })
	if from < 0 {
		return nil
	}
	return all[from:min(len(all), from+limit)]
}

func (s *store) status(b budget.Budget) budget.Status {
	zone, err := time.LoadLocation(b.Zone)
	if err != nil {
		zone = time.UTC
	}
	return budget.Status{Budget: b, Window: b.Period.WindowAt(s.now(), zone)}
}

func (s *store) SetBudget(_ context.Context, b budget.Budget, by budget.Author) (budget.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard(by); err != nil {
		return budget.Status{}, err
	}
	for i, old := range s.budgets {
		if old.Target == b.Target && old.Period == b.Period {
			s.budgets[i].Cap, s.budgets[i].Zone, s.budgets[i].UpdateTime = b.Cap, b.Zone, s.now()
			s.budgets[i].Defaults = b.Defaults
			return s.budgets[i], nil
		}
	}
	b.ID, b.CreateTime, b.UpdateTime = s.next("bud"), s.now(), s.now()
	s.budgets = append(s.budgets, s.status(b))
	return s.status(b), nil
}

func (s *store) find(id string) (int, error) {
	i := slices.IndexFunc(s.budgets, func(b budget.Status) bool { return b.ID == id })
	if i < 0 {
		return 0, budget.NotFound("budget_not_found", "there is no such budget")
	}
	return i, s.fail
}

func (s *store) UpdateBudget(_ context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (budget.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard(by); err != nil {
		return budget.Status{}, err
	}
	i, err := s.find(id)
	if err != nil {
		return budget.Status{}, err
	}
	if etag != "" && etag != s.budgets[i].Etag() {
		return budget.Status{}, conflict()
	}
	b := s.budgets[i].Budget
	if err := change(&b); err != nil {
		return budget.Status{}, err
	}
	b.UpdateTime = s.now()
	s.budgets[i].Budget = b
	return s.budgets[i], nil
}

func conflict() error {
	return &budget.Error{Kind: budget.KindConflict, Reason: "etag_mismatch", Field: "etag", Message: "the budget has changed; read it again"}
}

func (s *store) GetBudget(id string) (budget.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panics {
		panic("store exploded")
	}
	i, err := s.find(id)
	if err != nil {
		return budget.Status{}, err
	}
	return s.budgets[i], nil
}

func (s *store) ListBudgets(after string, limit int) ([]budget.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return window(s.budgets, func(b budget.Status) string { return b.ID }, after, limit), s.fail
}

func (s *store) DeleteBudget(_ context.Context, id, etag string, by budget.Author) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard(by); err != nil {
		return err
	}
	i, err := s.find(id)
	if err != nil {
		return err
	}
	if etag != "" && etag != s.budgets[i].Etag() {
		return conflict()
	}
	s.budgets = slices.Delete(s.budgets, i, i+1)
	return nil
}

// Usage groups the rows as the ledger does, in the order they come.
func (s *store) TagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) ([]budget.TagCost, error) {
	rows, err := s.Usage(ctx, budget.UsageQuery{Window: w, GroupBy: []budget.Dimension{budget.ByTag}, Tags: tags})
	var out []budget.TagCost
	for _, r := range rows {
		out = append(out, budget.TagCost{Tag: r.Tag, Requests: r.Requests, Cost: r.Cost})
	}
	return out, err
}

func (s *store) Usage(_ context.Context, q budget.UsageQuery) ([]budget.UsageRow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, q)
	if err := s.guard(budget.Author{}); err != nil {
		return nil, err
	}
	groups := map[budget.UsageRow]*budget.UsageRow{}
	var out []*budget.UsageRow
	for _, r := range s.rows {
		if !q.Window.Contains(r.Time) || q.Tags != "" && !q.Tags.Matches(r.Tag) || q.Model != "" && q.Model != r.Model ||
			q.Provider != "" && q.Provider != r.Provider || q.KeyID != "" && q.KeyID != r.KeyID {
			continue
		}
		var g budget.UsageRow
		for _, d := range q.GroupBy {
			switch d {
			case budget.ByTag:
				g.Tag = r.Tag
			case budget.ByModel:
				g.Model = r.Model
			case budget.ByProvider:
				g.Provider = r.Provider
			case budget.ByKey:
				g.KeyID = r.KeyID
			case budget.ByDay:
				g.Time = budget.Day.WindowAt(r.Time, q.Zone).Start
			case budget.ByHour:
				g.Time = r.Time.Truncate(time.Hour)
			}
		}
		sum, ok := groups[g]
		if !ok {
			row := g
			sum = &row
			groups[g] = sum
			out = append(out, sum)
		}
		sum.Requests += r.Requests
		sum.Cost += r.Cost
		sum.Unpriced += r.Unpriced
		sum.Estimated += r.Estimated
		sum.EstimatedCost += r.EstimatedCost
		sum.Input += r.Input
		sum.CacheRead += r.CacheRead
		sum.CacheWrite += r.CacheWrite
		sum.Output += r.Output
	}
	rows := make([]budget.UsageRow, 0, len(out))
	for _, r := range out {
		rows = append(rows, *r)
	}
	return rows, nil
}

func (s *store) OpenReservations(limit int) []budget.Open {
	return s.open[:min(len(s.open), limit)]
}

func (s *store) Adjust(_ context.Context, a budget.Adjustment, actor string) (budget.Adjustment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard(budget.Author{Actor: actor, Reason: a.Reason}); err != nil {
		return budget.Adjustment{}, err
	}
	a.ID, a.Actor, a.Time = s.next("adj"), actor, s.now()
	s.adjusted = append(s.adjusted, a)
	return a, nil
}

func (s *store) ImportBill(_ context.Context, b budget.Bill, by budget.Author) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard(by); err != nil {
		return err
	}
	if err := b.Check(); err != nil {
		return err
	}
	b.Actor, b.Time = by.Actor, s.now()
	s.bills = append(s.bills, b)
	return nil
}

func (s *store) Bills(context.Context) ([]budget.Bill, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bills), s.fail
}

func (s *store) Adjustments(_ context.Context, after string, limit int) ([]budget.Adjustment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return window(s.adjusted, func(a budget.Adjustment) string { return a.ID }, after, limit), s.fail
}

func (s *store) AuditLog(_ context.Context, after int64, limit int) ([]budget.AuditEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := slices.IndexFunc(s.audit, func(e budget.AuditEntry) bool { return e.ID > after })
	if from < 0 {
		return nil, s.fail
	}
	return s.audit[from:min(len(s.audit), from+limit)], s.fail
}

// Calls is a list that fits one page.
func (s *store) Calls(_ context.Context, q budget.CallQuery) (budget.CallPage, error) {
	var out []budget.Call
	looked := 0
	for _, c := range s.calls {
		if c.State == budget.CallRefused || q.Before != 0 && c.ID >= q.Before {
			continue
		}
		if looked++; s.scan > 0 && looked > s.scan {
			page := budget.CallPage{Calls: out, Before: c.ID + 1, Reached: c.DecidedAt}
			if len(out) > q.Limit {
				last := out[q.Limit-1]
				page = budget.CallPage{Calls: out[:q.Limit], Before: last.ID, Reached: last.DecidedAt}
			}
			return page, s.fail
		}
		if c.State != budget.CallRefused && q.Selects(&c.Attribution, c.RequestID, c.State, c.DecidedAt) && (q.Before == 0 || c.ID < q.Before) {
			out = append(out, c)
		}
	}
	page := budget.CallPage{Calls: out[:min(len(out), q.Limit)]}
	if len(out) > q.Limit {
		last := out[q.Limit-1]
		page.Before, page.Reached = last.ID, last.DecidedAt
	}
	return page, s.fail
}

func (s *store) LastEnded(context.Context) (budget.CallCursor, error) {
	return budget.CallCursor{Link: uint64(len(s.calls))}, s.fail
}

func (s *store) EndedCalls(_ context.Context, _ budget.CallQuery, from budget.CallCursor) ([]budget.Call, budget.CallCursor, error) {
	return nil, from, s.fail
}

// refusals are the refused ones of the store's calls.
type refusals struct{ *store }

func (s refusals) Calls(q *budget.CallQuery) []budget.Call {
	var out []budget.Call
	for _, c := range s.calls {
		if c.State == budget.CallRefused && q.Selects(&c.Attribution, c.RequestID, c.State, c.DecidedAt) {
			out = append(out, c)
		}
	}
	return out
}

func (s refusals) Last() (last budget.ReservationID) {
	for _, c := range s.Calls(&budget.CallQuery{}) {
		last = max(last, c.ID)
	}
	return last
}

func (s *store) Windows(_ context.Context, id string, before time.Time, limit int) ([]budget.WindowReport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := 0
	for !before.IsZero() && from < len(s.windows) && !s.windows[from].Start.Before(before) {
		from++
	}
	return s.windows[from:min(len(s.windows), from+limit)], s.fail
}

func (s *store) BudgetChanges(_ context.Context, id string, before int64, limit int) ([]budget.BudgetChange, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := 0
	for before != 0 && from < len(s.changes) && s.changes[from].ID >= before {
		from++
	}
	return s.changes[from:min(len(s.changes), from+limit)], s.fail
}

func (s *store) Refused(context.Context, budget.Window) ([]budget.Refused, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused), s.fail
}

func (s *store) State(context.Context) (budget.LedgerState, error) {
	return budget.LedgerState{ClockAhead: 20 * time.Millisecond, DatabaseBytes: 1 << 20, FreeBytes: 1 << 30, FullDays: 3651, Head: "42:9f86d0", CheckedAt: s.now(), Mismatches: 1}, s.fail
}

func (s *store) LastAdjustments(context.Context, int) ([]budget.Adjustment, error) {
	return s.adjusted, s.fail
}
