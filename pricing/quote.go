package pricing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"aigateway/budget"
)

// Query is a call whose cost is in question.
type Query struct {
	Endpoint Endpoint
	Body     []byte // must not change while the Quote is in use
	Boundary string // of a form, see FormBoundary; empty: the body is JSON
	Model    string // slug to price in place of the body's; empty: the body's
	At       time.Time
	// Memory has earlier bodies, of which those of the same Owner are not read again
	// where this one begins like them; nil: none.
	Memory *Memory
	Owner  string
}

// Caller is who asks, and what that changes.
type Caller interface {
	// MayCall says why a model with this slug may not be called; nil: it may.
	MayCall(slug string) error
	// DefaultCap is the output cap for a body without one; 0: none of its own. It
	// is asked only about such a body.
	DefaultCap() int64
	// DefaultToolCalls is the limit for tools that the provider runs of a body
	// without one; 0: none of its own. It is asked only about such a body.
	DefaultToolCalls() int64
	// Watched reports whether a budget watches the call. It is asked only about
	// one whose tools run at the provider without a limit, or whose model has no
	// price.
	Watched() bool
	// MayName says why a call to the provider may not name what that stores under
	// these ids; nil: it may. It is asked only about a body that names some.
	MayName(provider string, ids []string) error
	// Settled is the most input tokens of the model that names together can amount
	// to; false when they may be anything. whole says that the reasoning of all
	// turns counts. It is asked only about a body that names something.
	Settled(model string, names []StoredName, whole bool) (int64, bool)
}

// Quote is a call understood: what it asks for, of which model, and what it can
// cost at most.
type Quote struct {
	Call  *Call
	Model Model
	// Bound has the edits, too. Its amount is 0 where Unbounded is set.
	Bound *Bound
	// Unbounded is why a sound call has no bound. Whether that matters depends on
	// whether a budget watches it.
	Unbounded *budget.Error
}

// Quote parses a call, resolves its model and bounds it: the one way from a body
// to an amount. A nil caller may call every model and brings nothing. The error is
// a *budget.Error about the call, or that of ctx, soon after nobody waits any more.
func (c *Catalog) Quote(ctx context.Context, q Query, caller Caller) (Quote, error) {
	parse := func(ctx context.Context, e Endpoint, body []byte) (*Call, error) {
		return parseCall(ctx, e, body, q.Memory, q.Owner)
	}
	if q.Boundary != "" {
		parse = func(ctx context.Context, e Endpoint, body []byte) (*Call, error) {
			return ParseForm(ctx, e, q.Boundary, body)
		}
	}
	call, err := parse(ctx, q.Endpoint, q.Body)
	if err != nil {
		return Quote{}, err
	}
	slug := q.Model
	if slug == "" {
		slug = call.Model
	}
	out := Quote{Call: call}
	if out.Model, err = c.resolveFor(caller, slug, q.At); err != nil {
		return Quote{}, err
	}
	if caller != nil {
		if err := call.ask(caller, &out.Model); err != nil {
			return Quote{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Quote{}, fmt.Errorf("before bounding: %w", err)
	}
	if out.Bound, err = out.Model.Bound(call, q.At); err != nil {
		var e *budget.Error
		if !errors.As(err, &e) || !unboundable(e.Reason) {
			return Quote{}, err
		}
		out.Bound, out.Unbounded = out.Model.Unbounded(call, q.At), e
	}
	return out, nil
}

// resolveFor resolves a model that the caller may call, under the name it gave or
// under our own for it. One that may call neither does not learn which models
// there are.
func (c *Catalog) resolveFor(caller Caller, slug string, at time.Time) (Model, error) {
	m, err := c.Resolve(slug, at)
	if caller == nil {
		return m, err
	}
	if refused := caller.MayCall(slug); refused != nil && (err != nil || m.Slug == slug || caller.MayCall(m.Slug) != nil) {
		return Model{}, refused
	}
	return m, err
}

// ask takes what the caller has for what the body leaves out, or an error about
// what is not the caller's.
func (c *Call) ask(caller Caller, m *Model) error {
	if len(c.stored.ids) > 0 {
		if err := caller.MayName(m.Provider, c.stored.ids); err != nil {
			return err
		}
	}
	if c.uncapped() {
		c.DefaultCap = caller.DefaultCap()
	}
	if c.unlimited() {
		c.DefaultToolCalls = caller.DefaultToolCalls()
	}
	c.Watched = (c.unlimited() || m.Row == nil) && caller.Watched()
	if m.Row == nil && !c.Watched {
		m.catalog = nil // the call is let through: nobody reads what would be near
	}
	if names := c.StoredNames(); len(names) > 0 {
		if n, ok := caller.Settled(m.Slug, names, c.allTurns); ok {
			c.Settle(n)
		}
	}
	return nil
}

// unboundable lists the reasons that concern only the bound; every other
// reason is a fault of the request, wherever it is charged.
func unboundable(reason string) bool {
	switch reason {
	case "model_not_priced", "tier_not_priced", "max_output_unknown", "unbounded_tool", "unbounded_input", "unbounded_media":
		return true
	default:
		return false
	}
}
