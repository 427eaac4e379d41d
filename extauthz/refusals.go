package extauthz

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"aigateway/apierror"
	"aigateway/budget"
)

const (
	// keptRefusals is how many different refusals of one budget, or of one key
	// where no budget refused, are remembered: the last ones.
	keptRefusals = 20
	// keptGroups is of how many budgets and keys: those that refused last. Together
	// some 10 MB.
	keptGroups = 1000
	// repeatWithin is how long after a refusal the same call counts as its repeat.
	repeatWithin = 10 * time.Minute
)

// Refusals remembers calls that were refused, in memory and bounded: a client that
// asks again and again adds to a count, and pushes nothing out. It is safe for
// concurrent use; a nil one remembers nothing.
type Refusals struct {
	seed maphash.Seed

	mu     sync.Mutex
	last   budget.ReservationID     // number of the last one
	groups map[string]*refusedGroup // by budget or key
	counts refusedCounts
}

// refusedGroup is what is remembered of a budget's or a key's refusals, the last
// one at the end.
type refusedGroup struct{ calls []refusedCall }

type refusedCall struct {
	budget.Call
	body  uint64 // its hash
	first time.Time
}

// NewRefusals returns an empty memory. now makes the numbers of its calls go on
// where those before a restart ended.
func NewRefusals(now time.Time) *Refusals {
	return &Refusals{seed: maphash.MakeSeed(), groups: map[string]*refusedGroup{}, last: budget.ReservationID(now.UnixMicro())}
}

// note remembers that c was refused with err. Who has no key is not remembered,
// nor is a client that left: nobody told it no.
func (f *Refusals) note(ctx context.Context, r *request, id string, c *call, err error, now time.Time) {
	if f == nil || c.key == nil || errors.Is(err, context.Canceled) || ctx.Err() != nil {
		return
	}
	e := apierror.From(err)
	n := refusedCall{body: maphash.Bytes(f.seed, r.Body()), first: now, Call: budget.Call{
		RequestID: id, State: budget.CallRefused, DecidedAt: now, Reason: apierror.Reason(e),
		Attribution: budget.Attribution{KeyID: c.key.ID, Tag: c.tag, Model: c.quote.Model.Slug, Provider: c.quote.Model.Provider},
	}}
	group := "key " + c.key.ID
	if e.Refusal != nil {
		group = "budget " + e.Refusal.Budget.ID
		refusal := *e.Refusal
		refusal.Lines = nil // the arithmetic has them
		n.Refusal, n.Budgets, n.Bound = &refusal, []string{refusal.Budget.ID}, refusal.Bound
		n.Arithmetic = c.quote.Bound.Record()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	n.ID = f.last
	f.group(group).add(n)
	f.counts.add(f.seed, &n)
}

// TakeCounts returns what was counted since the last time. Who cannot keep it gives it
// to ReturnCounts.
func (f *Refusals) TakeCounts() []budget.Refused {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts.take()
}

// ReturnCounts adds what TakeCounts returned.
func (f *Refusals) ReturnCounts(counts []budget.Refused) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range counts {
		f.counts.count(&counts[i])
	}
}

// group is what is remembered under name. It makes room by forgetting the group
// that refused longest ago. The caller holds mu.
func (f *Refusals) group(name string) *refusedGroup {
	g := f.groups[name]
	if g == nil {
		if len(f.groups) >= keptGroups {
			f.forget()
		}
		g = &refusedGroup{}
		f.groups[name] = g
	}
	return g
}

func (f *Refusals) forget() {
	var oldest string
	var at budget.ReservationID
	for name, g := range f.groups {
		if last := g.calls[len(g.calls)-1].ID; oldest == "" || last < at {
			oldest, at = name, last
		}
	}
	delete(f.groups, oldest)
}

// add puts n at the end. A repeat takes the place of what it repeats, with the
// numbers of now.
func (g *refusedGroup) add(n refusedCall) {
	i := slices.IndexFunc(g.calls, func(c refusedCall) bool {
		return c.body == n.body && c.Attribution == n.Attribution && c.Reason == n.Reason && n.DecidedAt.Sub(c.first) < repeatWithin
	})
	if i >= 0 {
		n.Repeats, n.first = g.calls[i].Repeats+1, g.calls[i].first
		g.calls = slices.Delete(g.calls, i, i+1)
	} else if len(g.calls) >= keptRefusals {
		g.calls = slices.Delete(g.calls, 0, 1)
	}
	g.calls = append(g.calls, n)
}

// Last is the number of the call that was refused last; calls refused later have
// larger ones.
func (f *Refusals) Last() budget.ReservationID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Calls are the remembered calls that q selects, the last one first; Before and
// Limit do not matter. Nobody changes what they point to. Decisions wait for the
// lock, so it sorts after it.
func (f *Refusals) Calls(q *budget.CallQuery) []budget.Call {
	out := f.selected(q)
	slices.SortFunc(out, func(a, b budget.Call) int { return cmp.Compare(b.ID, a.ID) })
	return out
}

func (f *Refusals) selected(q *budget.CallQuery) (out []budget.Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		for i := range g.calls {
			if c := &g.calls[i].Call; q.Selects(&c.Attribution, c.RequestID, c.State, c.DecidedAt) {
				out = append(out, *c)
			}
		}
	}
	return out
}
