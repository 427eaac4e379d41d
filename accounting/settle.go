package accounting

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/metricset"
	"aigateway/pricing"
)

// Settler is the ledger. It is safe for concurrent use; both channels call it
// at the same time. An error means that it can no longer promise durability.
type Settler interface {
	// Settle takes a settlement from the stream: in memory at once, durable
	// soon. A repeat has no effect.
	Settle(ctx context.Context, s budget.Settlement) error
	// SettleSpool takes settlements from the file. Their effects and p become
	// durable in one transaction, before it returns nil.
	SettleSpool(ctx context.Context, s []budget.Settlement, p budget.SpoolPosition) error
	// SpoolPosition is the last durable p; zero when there was none.
	SpoolPosition() budget.SpoolPosition
	// Heartbeat says that the call is still running.
	Heartbeat(id budget.ReservationID, requestID string)
	// IsOpen reports false only when a settlement of id cannot change anything
	// any more, so that a duplicate entry need not be read. It is cheap.
	IsOpen(id budget.ReservationID) bool
}

// Config is what both channels work with; every field but the last five is
// required.
type Config struct {
	Ledger Settler
	Sealer *envoy.Sealer
	// Catalog prices the models that answer in place of the one asked for, whose
	// own price travels with the call.
	Catalog func() *pricing.Catalog
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Ratios, Answers, Origins and Providers learn from what is settled; nil: nothing does.
	Ratios  *Ratios
	Answers *Answers
	Origins *Origins

	Providers *Providers
	// Told gets each call that ended; nil: nobody does. It must not wait.
	Told func(Ended)
}

// Ended is a call to a provider that ended, for those who measure.
type Ended struct {
	Endpoint        pricing.Endpoint // empty: an older version admitted it
	Model, Provider string           // asked for
	Served          string           // the model that answered, where it is another; else empty
	Fault           string           // how it failed, see Providers; empty: it did not
	Duration        time.Duration    // to the last byte
	Tokens          budget.Tokens    // as reported
}

// channel reads the entries of one log channel.
type channel struct {
	ledger  Settler
	sealer  *envoy.Sealer
	catalog func() *pricing.Catalog
	now     func() time.Time
	log     *slog.Logger
	metrics metrics
	ratios  *Ratios
	answers *Answers
	origins *Origins

	providers *Providers
	told      func(Ended)
}

func newChannel(c Config, set *metricset.Set, name string) channel {
	return channel{ledger: c.Ledger, sealer: c.Sealer, catalog: c.Catalog, now: c.Now, log: c.Log, metrics: newMetrics(set, name), ratios: c.Ratios, answers: c.Answers, origins: c.Origins, providers: c.Providers, told: c.Told}
}

// settlement is what the end of a call means for the ledger; false when it
// means nothing.
func (c *channel) settlement(l *envoy.LogLine) (budget.Settlement, bool) {
	if l.Token == envoy.TokenFree {
		c.metrics.free.Inc()
		return budget.Settlement{}, false
	}
	token, ok := c.open(l.Token)
	if !ok {
		return c.unknown(l)
	}
	c.origins.observe(l, &token)
	if !c.ledger.IsOpen(budget.ReservationID(token.ID)) {
		c.metrics.duplicates.Inc()
		return budget.Settlement{}, false
	}
	out := c.charge(l, token)
	c.note(l, token, &out)
	return budget.Settlement{
		RequestID: l.RequestID, Reservation: reservation(token),
		Basis: out.Basis, Cost: out.Cost, Tokens: out.Tokens, Billed: out.Billed, At: endOf(l, c.now()), Status: providerStatus(l), Served: out.Served,
	}, true
}

// note records how a call was charged. What its provider billed beyond the bound
// is charged too, so that the books stay true; it must not pass in silence.
func (c *channel) note(l *envoy.LogLine, token envoy.Token, out *pricing.Outcome) {
	for _, f := range out.Flags {
		c.metrics.flags.WithLabelValues(f).Inc()
	}
	c.metrics.settled.WithLabelValues(string(out.Basis)).Inc()
	c.ratios.observe(budget.Tag(token.Tag), token.Model, out.Basis, budget.Amount(token.Bound), out.Cost)
	c.answers.observe(l, &token, out)
	c.providers.observe(l, &token, out.Tokens, c.now())
	if c.told != nil && token.Provider != "" {
		c.told(ended(l, &token, out))
	}
	if out.Served != "" {
		c.metrics.served.WithLabelValues(token.Model, out.Served).Inc()
	}
	if slices.Contains(out.Flags, pricing.FlagBoundExceeded) {
		c.log.Warn("a call cost more than its bound", "request_id", l.RequestID, "model", token.Model, "served", out.Served,
			"bound", budget.Amount(token.Bound).String(), "cost", out.Cost.String())
	}
	if out.Billed > 0 {
		c.metrics.absurd.Inc()
		c.log.Error("a provider reported an absurd bill, and a part of it is charged: compare with its invoice, it is absurd_bill in aigateway audit list; correct with aigateway adjustments create",
			"request_id", l.RequestID, "reservation", token.ID, "tag", token.Tag, "key", token.KeyID, "model", token.Model, "served", out.Served,
			"bound", budget.Amount(token.Bound).String(), "billed", out.Billed.String(), "cost", out.Cost.String(), "usage", budget.Clip(l.Usage, 1000))
	}
}

func ended(l *envoy.LogLine, token *envoy.Token, out *pricing.Outcome) Ended {
	e := Ended{
		Endpoint: pricing.EndpointOf(token.Pin), Model: token.Model, Provider: token.Provider, Served: out.Served,
		Duration: l.Duration, Tokens: out.Tokens,
	}
	if outcome := outcomeOf(l); outcome != outcomeOK {
		e.Fault = outcome
	}
	return e
}

// unknown handles an entry that proves no reservation: the client left during
// the check, the check was refused, timed out or failed, or the token is not
// ours. Envoy may have stopped waiting for a check that went on to reserve, so
// the ledger looks by request id.
func (c *channel) unknown(l *envoy.LogLine) (budget.Settlement, bool) {
	if l.RequestID == "" || refused(l) || l.Cluster == envoy.ClusterREST {
		c.metrics.refused.Inc() // a refusal holds nothing, our own REST routes never do
		return budget.Settlement{}, false
	}
	c.metrics.searched.Inc()
	basis := budget.BasisReleased
	if sent(l) {
		basis = budget.BasisBound // it went out, and nothing tells its price
	}
	return budget.Settlement{RequestID: l.RequestID, Basis: basis, At: endOf(l, c.now()), Status: providerStatus(l)}, true
}

// heartbeat extends the hold of a call that is still running.
func (c *channel) heartbeat(l *envoy.LogLine) {
	if token, ok := c.open(l.Token); ok {
		c.ledger.Heartbeat(budget.ReservationID(token.ID), l.RequestID)
	}
}

func (c *channel) open(text string) (envoy.Token, bool) {
	if text == "" || text == envoy.TokenFree {
		return envoy.Token{}, false
	}
	token, err := c.sealer.Open(text)
	if err != nil {
		c.metrics.forged.Inc()
		return envoy.Token{}, false
	}
	return token, true
}

// charge prices the entry. A provider's report is hostile input: a bug it finds
// must neither stop the channel, which would read it again at each start, nor
// cost nothing, so it is charged the bound.
func (c *channel) charge(l *envoy.LogLine, token envoy.Token) (out pricing.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("price a call", "request_id", l.RequestID, "err", fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			out = pricing.Outcome{Basis: budget.BasisBound, Cost: budget.Amount(token.Bound), Flags: []string{"charge_failed"}}
		}
	}()
	served := c.catalog().Served(token.Model, time.Unix(0, token.ReservedAt))
	ev := evidence(l, c.now())
	ev.Start, ev.End = ran(l, token, ev.Duration)
	ev.Refused = ev.Status == 403 && l.Code == 403 // the filter makes 502 of one about the account
	return pricing.Charge(token.Pin, budget.Amount(token.Bound), ev, served)
}

// ran is when the provider may have worked on the call: from its admission until
// Envoy saw its end, or for as long as it may have run where Envoy does not tell.
func ran(l *envoy.LogLine, token envoy.Token, longest time.Duration) (start, end time.Time) {
	start = time.Unix(0, token.ReservedAt)
	end = start.Add(longest)
	if l.Duration > 0 && l.Start.Unix() > 0 {
		end = l.Start.Add(l.Duration)
	}
	if end.Before(start) {
		end = start
	}
	return start, end
}

func reservation(t envoy.Token) *budget.Reservation {
	return &budget.Reservation{
		ID:         budget.ReservationID(t.ID),
		ReservedAt: time.Unix(0, t.ReservedAt),
		Attribution: budget.Attribution{
			KeyID: t.KeyID, Tag: budget.Tag(t.Tag), Model: t.Model, Provider: t.Provider,
		},
		Bound:    budget.Amount(t.Bound),
		Accounts: t.Accounts,
	}
}
