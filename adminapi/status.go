package adminapi

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// StateReader tells how the ledger is, and what was corrected last.
type StateReader interface {
	State(ctx context.Context) (budget.LedgerState, error)
	LastAdjustments(ctx context.Context, limit int) ([]budget.Adjustment, error)
}

type statusService struct {
	aigatewayv1.UnimplementedStatusServiceServer
	state   StateReader
	peers   Peers // may be nil
	kind    kind[stateQuestion, stateAnswer]
	catalog func() Catalog
	usage   *usageService
}

// stateQuestion asks a gateway how it is. Its books say nothing of single calls.
type stateQuestion struct{}

type stateAnswer struct {
	Ready     readiness              `json:"ready"`
	Catalog   string                 `json:"catalog"`
	State     budget.LedgerState     `json:"state"`
	Providers []budget.ProviderState `json:"providers"`
}

func stateKind(c *Config) kind[stateQuestion, stateAnswer] {
	return kind[stateQuestion, stateAnswer]{name: "state", here: func(ctx context.Context, _ stateQuestion, _ int) (a stateAnswer, err error) {
		a.Ready, a.Catalog = readinessOf(c.Ready()), c.Catalog().Version
		if c.Providers != nil {
			a.Providers = c.Providers()
		}
		a.State, err = c.State.State(ctx)
		return a, err
	}}
}

// all asks every gateway how it is. own is the answer of the one that is asked, which
// is there if err is nil.
func (s *statusService) all(ctx context.Context) (own stateAnswer, answers map[string]stateAnswer, replicas []*aigatewayv1.Replica, unreachable []string, err error) {
	answers, unreachable, err = s.kind.ask(ctx, s.peers, stateQuestion{})
	if err != nil || s.peers == nil {
		return answers[""], answers, nil, nil, err
	}
	self := s.peers.Self()
	known, err := s.peers.Replicas(ctx)
	if err != nil { // health is asked for most when something is wrong
		known, unreachable = []budget.ReplicaStatus{{Replica: budget.Replica{ID: self}}}, []string{budget.StoreName}
	}
	for i := range known {
		r := &known[i]
		out := &aigatewayv1.Replica{
			Id: r.ID, Name: r.Name, State: r.State(), SeenTime: timestamp(r.Seen), SilentMs: r.Silence.Milliseconds(), UsageTime: timestamp(r.Pushed), UsageLagMs: r.Lag.Milliseconds(),
			Leased: r.Leased.String(), RulesVersion: int64(r.Rules), RulesBehind: int64(r.Behind), Program: r.Program, Config: r.ConfigHash, Asked: r.ID == self,
		}
		if r.Seen.IsZero() {
			out.State = "" // nobody knows
		}
		if a, ok := answers[r.ID]; ok {
			out.Health = a.proto()
		}
		replicas = append(replicas, out)
	}
	return answers[self], answers, replicas, unreachable, nil
}

func (a *stateAnswer) proto() *aigatewayv1.ReplicaHealth {
	return &aigatewayv1.ReplicaHealth{
		Ready: a.Ready.Ready, Conditions: a.Ready.protos(), CatalogVersion: a.Catalog, ClockAheadMs: a.State.ClockAhead.Milliseconds(),
		DatabaseBytes: a.State.DatabaseBytes, DiskFreeBytes: a.State.FreeBytes, DiskFullDays: a.State.FullDays,
		BooksHead: a.State.Head, BooksCheckedAt: timestamp(a.State.CheckedAt), BooksMismatches: int32(a.State.Mismatches), // a few
	}
}

func (r *readiness) protos() (out []*aigatewayv1.HealthCondition) {
	for _, c := range r.Conditions {
		out = append(out, &aigatewayv1.HealthCondition{Name: c.Name, Ready: c.Ready, Message: c.Message, Warning: c.Warning})
	}
	return out
}

func (s *statusService) GetHealth(ctx context.Context, _ *aigatewayv1.GetHealthRequest) (*aigatewayv1.GetHealthResponse, error) {
	if err := seesAll(caller(ctx)); err != nil {
		return nil, err
	}
	own, answers, replicas, unreachable, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	catalog, now, state := s.catalog(), s.usage.now(), own.State
	resp := &aigatewayv1.GetHealthResponse{
		Ready: own.Ready.Ready, Conditions: own.Ready.protos(), CatalogVersion: catalog.Version, PricesCheckedAt: timestamp(catalog.CheckedAt),
		ClockAheadMs: state.ClockAhead.Milliseconds(), DatabaseBytes: state.DatabaseBytes, DiskFreeBytes: state.FreeBytes, DiskFullDays: state.FullDays,
		Replicas: replicas, Unreachable: unreachable,
	}
	if !catalog.CheckedAt.IsZero() {
		resp.PricesAgeDays = max(0, int64(now.Sub(catalog.CheckedAt)/(24*time.Hour)))
	}
	for _, p := range providersOf(answers) {
		out := &aigatewayv1.ProviderHealth{Provider: p.Name, Calls: p.Calls, Faults: p.Faults, LastFault: p.LastFault}
		if p.Calls > 0 {
			out.MeanMs = new(p.Took.Milliseconds() / p.Calls)
		}
		resp.Providers = append(resp.Providers, out)
	}
	rows, _, err := s.usage.rows(ctx, budget.UsageQuery{Window: budget.Month.WindowAt(now, s.usage.zone), Zone: s.usage.zone, GroupBy: []budget.Dimension{budget.ByModel}})
	for _, r := range rows {
		if r.Unpriced > 0 {
			resp.UnpricedModels = append(resp.UnpricedModels, &aigatewayv1.UnpricedModel{Model: r.Model, Calls: r.Unpriced})
		}
	}
	if err != nil && s.peers != nil { // usage is the store's: the rest is true all the same
		resp.Unreachable, err = []string{budget.StoreName}, nil
	}
	return resp, err
}

// providersOf adds up what gateways saw of providers, by their names.
func providersOf(answers map[string]stateAnswer) (out []budget.ProviderState) {
	at := map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(answers)) {
		for _, p := range answers[id].Providers {
			i, ok := at[p.Name]
			if !ok {
				at[p.Name] = len(out)
				out = append(out, p)
				continue
			}
			sum := &out[i]
			sum.Calls, sum.Faults, sum.Took = sum.Calls+p.Calls, sum.Faults+p.Faults, sum.Took+p.Took
			sum.LastFault = cmp.Or(p.LastFault, sum.LastFault)
		}
	}
	if len(answers) > 1 {
		slices.SortStableFunc(out, func(a, b budget.ProviderState) int { return cmp.Compare(a.Name, b.Name) })
	}
	return out
}

// lastCorrections is how many corrections the books show.
const lastCorrections = 100

func (s *statusService) GetBooks(ctx context.Context, _ *aigatewayv1.GetBooksRequest) (*aigatewayv1.GetBooksResponse, error) {
	if err := seesAll(caller(ctx)); err != nil {
		return nil, err
	}
	own, answers, replicas, unreachable, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.GetBooksResponse{Head: own.State.Head, CheckedAt: timestamp(own.State.CheckedAt), Replicas: replicas, Unreachable: unreachable}
	for _, a := range answers {
		resp.Mismatches += int32(a.State.Mismatches) // a few
	}
	all, err := s.state.LastAdjustments(ctx, lastCorrections)
	for _, a := range all {
		subject := a.BudgetID
		if subject == "" {
			subject = string(a.Tag)
		}
		resp.Corrections = append(resp.Corrections, &aigatewayv1.BookedCorrection{CreateTime: timestamp(a.Time), Subject: subject, Amount: a.Amount.String(), Reason: a.Reason, Actor: a.Actor})
	}
	return resp, err
}

func seesAll(key *budget.Key) error {
	if len(key.AllowedTags) == 0 {
		return nil
	}
	return &budget.Error{Kind: budget.KindPermission, Reason: "key_not_allowed", Message: "this key is limited to some tags, and this concerns all; use a key without that limit"}
}
