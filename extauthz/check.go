package extauthz

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"aigateway/apierror"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/pricing"
)

func (s *Server) check(ctx context.Context, r *request) *answer {
	start := s.now()
	var c call
	a := s.guard(ctx, r, start, &c)
	end := s.now()
	s.metrics.took(end.Sub(start))
	if s.told != nil && !a.keyOnly {
		s.told(decided(r, &c, a, start, end))
	}
	return a
}

// guard is the edge where a bug becomes a refusal: a panic below it answers
// this one call with an internal error and leaves the server to the others.
// What was reserved by then is settled by the call's access log, which finds
// it by request id and shows that nothing was sent.
func (s *Server) guard(ctx context.Context, r *request, now time.Time, c *call) (a *answer) {
	defer func() {
		if p := recover(); p != nil {
			a = s.refuse(r, string(r.Headers.RequestID.Value), fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	id, err := r.id()
	if err != nil {
		return s.refuse(r, "", err)
	}
	a, err = s.decide(ctx, r, id, now, c)
	if err != nil {
		return s.refuse(r, id, err)
	}
	return a
}

// decide is the whole of a decision: who asks and for what, what it can cost
// at most, and whether the budgets have that much left. c is what was understood
// until then.
func (s *Server) decide(ctx context.Context, r *request, id string, now time.Time, c *call) (*answer, error) {
	if r.keyOnly() {
		_, err := s.caller(r)
		return &answer{keyOnly: true}, err
	}
	if string(r.API) == envoy.APIStored {
		return s.stored(ctx, r, id)
	}
	err := s.understand(ctx, r, now, c)
	if err != nil {
		s.refused(ctx, r, id, c, err, now)
		return nil, err
	}
	if err := ctx.Err(); err != nil { // nobody waits for the answer: hold nothing
		return nil, fmt.Errorf("before reserving: %w", err)
	}
	if c.endpoint.Free() {
		s.metrics.free.Inc()
		return s.admit(id, c, nil), nil
	}
	res, err := s.reserve(ctx, id, c)
	if err != nil {
		err = explain(err, c.endpoint, c.quote.Bound)
		s.refused(ctx, r, id, c, err, now)
		return nil, err
	}
	s.metrics.admitted.Inc()
	if c.quote.Unbounded != nil {
		s.metrics.unpriced.Inc()
	}
	return s.admit(id, c, &res), nil
}

// refused tells metrics and memory that c was refused with err.
func (s *Server) refused(ctx context.Context, r *request, id string, c *call, err error, now time.Time) {
	s.metrics.attribute(c, err)
	s.refusals.note(ctx, r, id, c, err, now)
}

// reserve sets the call's bound aside. A call that names no output cap gets a
// smaller one than its default where only that fits, and any waits for running
// calls where they alone keep it out.
func (s *Server) reserve(ctx context.Context, id string, c *call) (budget.Reservation, error) {
	bound := c.quote.Bound
	r := budget.Request{
		RequestID: id,
		Attribution: budget.Attribution{
			KeyID: c.key.ID, Tag: c.tag, Model: c.quote.Model.Slug, Provider: c.quote.Model.Provider,
		},
		Bound:      bound.Amount,
		Unbounded:  c.quote.Unbounded,
		Wait:       c.key.WaitAtMost(s.maxWait),
		Size:       int64(c.size),
		Arithmetic: bound.Record(),
	}
	if least, ok := bound.Least(s.minCap); ok && s.minCap > 0 {
		r.Least, r.Fit = least, func(room budget.Amount) budget.Amount { return bound.Within(room, s.minCap) }
	}
	res, err := s.ledger.Reserve(ctx, r)
	if err == nil && res.Bound < bound.Amount { // never of a call without a bound
		c.quote.Shrink(res.Bound)
	}
	return res, err
}

// call is a request understood.
type call struct {
	key      *budget.Key
	tag      budget.Tag
	endpoint pricing.Endpoint
	size     int // of the body, in bytes
	quote    pricing.Quote
	betas    string // of Anthropic's API, those that may be switched on
	misnamed bool   // the content type does not say that the body is JSON
}

// understand names and bounds the call, as c, or says what is wrong with it. The
// cheap checks come first; nothing is looked up for a caller without a key.
func (s *Server) understand(ctx context.Context, r *request, now time.Time, c *call) error {
	var err error
	if c.key, err = s.caller(r); err != nil {
		return err
	}
	if c.tag, err = r.tagFor(c.key); err != nil {
		return err
	}
	if c.endpoint, err = r.endpoint(); err != nil {
		return err
	}
	body, boundary, err := r.content(c.endpoint)
	if err != nil {
		return err
	}
	if len(body) >= largeBody {
		leave, err := s.bodies.enter(ctx, c.key.ID, len(body))
		if err != nil {
			return err
		}
		defer leave()
	}
	c.misnamed = boundary == "" && !isJSON(r.Headers.ContentType)
	c.size = len(body)
	c.quote, err = s.catalog().Quote(ctx, pricing.Query{Endpoint: c.endpoint, Body: body, Boundary: boundary, At: now, Memory: s.memory, Owner: c.key.ID}, &payer{s, c.key, c.tag})
	if err != nil {
		return err
	}
	if r.anthropic() {
		c.betas, err = r.betas(s.betas(c.quote.Model.Provider))
	}
	return err
}

// payer is who the call is charged to; it implements pricing.Caller.
type payer struct {
	server *Server
	key    *budget.Key
	tag    budget.Tag
}

// MayCall implements pricing.Caller.
func (p *payer) MayCall(slug string) error { return p.key.CheckModel(slug) }

// DefaultCap implements pricing.Caller.
func (p *payer) DefaultCap() int64 { return p.defaults().DefaultMaxTokens }

// DefaultToolCalls implements pricing.Caller.
func (p *payer) DefaultToolCalls() int64 { return p.defaults().DefaultMaxToolCalls }

func (p *payer) defaults() budget.Defaults {
	return p.key.Defaults.Least(p.server.ledger.Defaults(p.tag, p.key.ID))
}

// Watched implements pricing.Caller.
func (p *payer) Watched() bool { return p.server.ledger.Watched(p.tag, p.key.ID) }

// Settled implements pricing.Caller.
func (p *payer) Settled(model string, names []pricing.StoredName, whole bool) (int64, bool) {
	if p.server.settled == nil {
		return 0, false
	}
	return p.server.settled.Tokens(p.key.ID, model, names, whole)
}

// caller is the key that asks, if it may call models.
func (s *Server) caller(r *request) (*budget.Key, error) {
	secret, err := r.secret()
	if err != nil {
		return nil, r.refusal(err)
	}
	key, err := s.keys.Authenticate(secret)
	if err != nil {
		return nil, r.refusal(err)
	}
	if !key.Has(budget.ScopeInference) {
		return nil, &budget.Error{
			Kind: budget.KindPermission, Reason: "scope_missing", Field: "authorization",
			Message: "this key may not call models; use one with the scope inference",
		}
	}
	return key, nil
}

// admit is the answer for a call whose bound is held, or, without a reservation,
// for one that is free.
func (s *Server) admit(id string, c *call, res *budget.Reservation) *answer {
	bound := c.quote.Bound
	edits := make([]envoy.Edit, len(bound.Edits))
	for i, e := range bound.Edits {
		edits[i] = envoy.Edit(e)
	}
	a := &answer{
		requestID: id,
		provider:  c.quote.Model.Provider,
		decision: envoy.Decision{
			Token:       envoy.TokenFree,
			Edits:       edits,
			StripUsage:  bound.StripUsage,
			CountOutput: bound.CountOutput,
			Anthropic:   c.endpoint.Anthropic(),
			Betas:       c.betas,
		},
		misnamed:          c.misnamed,
		injectedCap:       bound.InjectedCap,
		injectedToolCalls: bound.InjectedToolCalls,
	}
	if res == nil {
		return a
	}
	a.decision.Token = s.sealer.Seal(envoy.Token{
		ID: uint64(res.ID), Accounts: res.Accounts, Bound: int64(res.Bound), ReservedAt: res.ReservedAt.UnixNano(),
		KeyID: res.KeyID, Tag: string(res.Tag), Model: res.Model, Provider: res.Provider, Pin: bound.Pin,
	})
	a.bounded, a.bound, a.tightest, a.waited = c.quote.Unbounded == nil, res.Bound, res.Tightest, res.Waited
	return a
}

// refuse is the answer for a call that may not pass, whatever err is.
func (s *Server) refuse(r *request, id string, err error) *answer {
	e := apierror.From(err)
	outcome := "refused"
	if e.Kind == budget.KindInternal || e.Kind == budget.KindUnavailable {
		outcome = "failed"
	}
	s.metrics.refuse(outcome, apierror.Reason(e))
	if e.Kind == budget.KindInternal {
		s.log.Error("decide a call", "request_id", id, "err", e)
	}
	retry, _ := apierror.RetryHeader(e)
	dialect := apierror.OpenAI
	if r.anthropic() {
		dialect = apierror.Anthropic
	}
	out := &answer{requestID: id, status: apierror.Status(e), reason: apierror.Reason(e), failed: outcome == "failed", body: apierror.Body(dialect, e, id), retry: retry}
	out.retryAfter, _ = apierror.RetryAfter(e)
	if e.Refusal != nil {
		out.waited = e.Refusal.Waited
	}
	return out
}
