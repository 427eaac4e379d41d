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

// explain does what the gateway does between parsing and reserving, for the
// command as for the API. may refuses a model by its slug; nil refuses none.
// defaultCap is the caller's own default output cap; 0: none.
func explain(catalog *pricing.Catalog, q adminapi.ExplainQuery, may func(slug string) error, defaultCap int64, now time.Time) (*explained, error) {
	call, err := pricing.ParseCall(pricing.Endpoint(q.Endpoint), q.Body)
	if err != nil {
		return nil, err
	}
	call.DefaultCap = defaultCap
	slug := q.Model
	if slug == "" {
		slug = call.Model
	}
	if may != nil {
		if err := may(slug); err != nil {
			return nil, err
		}
	}
	model, err := catalog.Resolve(slug, now)
	if err != nil {
		return nil, err
	}
	bound, err := model.Bound(call, now)
	if err != nil {
		return nil, err
	}
	doc := &explained{&adminapi.Explanation{
		Model: model.Slug, UpstreamModel: model.UpstreamModel, Endpoint: q.Endpoint, Stream: call.Stream,
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
	tightest func(tag budget.Tag, keyID string) (_ budget.Status, ok bool)
	// defaults is the smallest default output cap of the budgets that watch a call.
	defaults func(tag budget.Tag, keyID string) int64
	// learned is what the calls of a tag held and cost.
	learned func(tag budget.Tag) (accounting.Ratio, bool)
	now     func() time.Time
}

func (e explainer) Explain(_ context.Context, key *budget.Key, q adminapi.ExplainQuery) (*adminapi.Explanation, error) {
	if q.Endpoint == "" {
		q.Endpoint = string(pricing.Chat)
	}
	if !pricing.Endpoint(q.Endpoint).Known() {
		return nil, budget.Invalid("field_invalid", "endpoint", "endpoint is none of "+endpointNames())
	}
	if strings.TrimSpace(string(q.Body)) == "" {
		return nil, budget.Invalid("body_missing", "body", "body is missing; send the call to explain, as an object or as its text")
	}
	doc, err := explain(e.catalog(), q, func(slug string) error {
		if key.MayUseModel(slug) {
			return nil
		}
		return &budget.Error{
			Kind: budget.KindPermission, Reason: "model_not_allowed", Field: "model",
			Message: "this key may not call that model; name one of its allowed models",
		}
	}, budget.SmallerDefault(key.DefaultMaxTokens, e.defaults(q.Tag, key.ID)), e.now())
	if err != nil {
		return nil, err
	}
	if tightest, ok := e.tightest(q.Tag, key.ID); ok {
		doc.compare(tightest.ID, tightest.Remaining())
	}
	if r, ok := e.learned(q.Tag); ok {
		doc.learn(q.Tag, r)
	}
	return doc.Explanation, nil
}
