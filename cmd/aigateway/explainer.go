package main

import (
	"context"
	"math/big"
	"strings"
	"time"

	"aigateway/accounting"
	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/pricing"
)

// explained is an explanation and the bound it is of.
type explained struct {
	*adminapi.Explanation
	bound *pricing.Bound
}

// explain says what q can cost at most, as the gateway's decision has it; caller
// may be nil.
func explain(ctx context.Context, catalog *pricing.Catalog, q pricing.Query, caller pricing.Caller) (*explained, error) {
	quote, err := catalog.Quote(ctx, q, caller)
	if err != nil {
		return nil, err
	}
	if quote.Unbounded != nil {
		return nil, quote.Unbounded
	}
	model, bound := quote.Model, quote.Bound
	doc := &explained{&adminapi.Explanation{
		Model: model.Slug, UpstreamModel: model.UpstreamModel, Endpoint: string(q.Endpoint), Stream: quote.Call.Stream,
		Lines: []adminapi.ExplanationLine{}, BoundUSD: bound.Amount.String(),
		CatalogVersion: catalog.Version(), PricesCheckedAt: date(model.Row.CheckedAt),
	}, bound}
	for _, l := range bound.Lines() {
		doc.Lines = append(doc.Lines, adminapi.ExplanationLine{
			Label: l.Label, Quantity: l.Quantity, Unit: l.Unit, PicoPerUnit: l.PicoPerUnit, AmountUSD: l.Amount.String(), Note: l.Note,
		})
	}
	if bound.InjectedCap > 0 {
		doc.InjectedMaxTokens = &bound.InjectedCap
	}
	return doc, nil
}

// compare adds what is left, of a budget or an amount; negative: nothing to
// compare with.
func (d *explained) compare(budgetID string, room budget.Amount) {
	if room < 0 {
		return
	}
	d.Room = &adminapi.ExplanationRoom{Budget: budgetID, RoomUSD: room.String(), Fits: d.bound.Amount <= room}
	if most, ok := d.bound.LargestCap(room); ok {
		d.Room.MaxTokensThatFit = &most
	}
}

// learn adds what calls with the tag cost of what they held. What is likely is
// never reserved: a cap holds for the dearest call, not for the usual one.
func (d *explained) learn(tag budget.Tag, r accounting.Ratio) {
	hundredths, _ := ratioOf(r.Bound, 100, r.Cost)
	d.Learned = &adminapi.ExplanationLearned{
		Tag: string(tag), Calls: r.Calls, BoundUSD: r.Bound.String(), CostUSD: r.Cost.String(), BoundOverCost: decimal(hundredths, 2),
	}
	if likely, ok := ratioOf(d.bound.Amount, int64(r.Cost), r.Bound); ok {
		d.Learned.LikelyUSD = budget.Amount(likely).String()
	}
}

// ratioOf is a × num / den, rounded up; false when it is too large. den is
// above 0.
func ratioOf(a budget.Amount, num int64, den budget.Amount) (int64, bool) {
	n := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(num))
	n.Add(n, big.NewInt(int64(den)-1)).Div(n, big.NewInt(int64(den)))
	return n.Int64(), n.IsInt64()
}

// explainer answers the API's questions; it implements adminapi.Explainer.
type explainer struct {
	catalog func() *pricing.Catalog
	// tightest is the budget with the least left of those that watch a call; ok
	// is false when none does.
	tightest func(ctx context.Context, tag budget.Tag, keyID string) (_ budget.Status, ok bool)
	// defaults are the smallest of the budgets that watch a call.
	defaults func(tag budget.Tag, keyID string) budget.Defaults
	// watched reports whether a budget watches a call.
	watched func(tag budget.Tag, keyID string) bool
	// settled is what earlier answers can amount to.
	settled func(keyID, model string, names []pricing.StoredName, whole bool) (int64, bool)
	// learned is what the calls of a tag held and cost.
	learned func(tag budget.Tag) (accounting.Ratio, bool)
	now     func() time.Time
}

func (e explainer) Explain(ctx context.Context, key *budget.Key, q adminapi.ExplainQuery) (*adminapi.Explanation, error) {
	if q.Endpoint == "" {
		q.Endpoint = string(pricing.Chat)
	}
	if !pricing.Endpoint(q.Endpoint).Known() {
		return nil, budget.Invalid("field_invalid", "endpoint", "endpoint is none of "+endpointNames())
	}
	if strings.TrimSpace(string(q.Body)) == "" {
		return nil, budget.Invalid("body_missing", "body", "body is missing; send the call to explain, as an object or as its text")
	}
	query := pricing.Query{Endpoint: pricing.Endpoint(q.Endpoint), Body: q.Body, Model: q.Model, At: e.now()}
	doc, err := explain(ctx, e.catalog(), query, &explainCaller{e, key, q.Tag})
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, time.Second) // of a store that is away, nothing new is heard
	defer cancel()
	if tightest, ok := e.tightest(asking, q.Tag, key.ID); ok {
		doc.compare(tightest.ID, tightest.Remaining())
	}
	if r, ok := e.learned(q.Tag); ok {
		doc.learn(q.Tag, r)
	}
	return doc.Explanation, nil
}

// explainCaller is who asks to explain; it implements pricing.Caller.
type explainCaller struct {
	explainer
	key *budget.Key
	tag budget.Tag
}

func (c *explainCaller) MayCall(slug string) error { return c.key.CheckModel(slug) }

func (c *explainCaller) DefaultCap() int64 { return c.all().DefaultMaxTokens }

func (c *explainCaller) DefaultToolCalls() int64 { return c.all().DefaultMaxToolCalls }

func (c *explainCaller) all() budget.Defaults {
	return c.key.Defaults.Least(c.defaults(c.tag, c.key.ID))
}

func (c *explainCaller) Watched() bool { return c.watched(c.tag, c.key.ID) }

// MayName implements pricing.Caller: an explanation shows nothing of what is named.
func (c *explainCaller) MayName(string, []string) error { return nil }

func (c *explainCaller) Settled(model string, names []pricing.StoredName, whole bool) (int64, bool) {
	return c.settled(c.key.ID, model, names, whole)
}
