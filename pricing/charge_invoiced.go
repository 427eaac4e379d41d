package pricing

import (
	"time"

	"aigateway/budget"
)

// Counts are the tokens of many calls, as a provider's usage export adds them
// up. The counts are disjoint.
type Counts struct {
	Input, CacheRead, CacheWrite, CacheWriteLong, InputAudio int64
	Output, OutputAudio                                      int64
	WebSearches                                              int64
}

// Invoiced finds the model that a provider's exports name, however they spell it.
// Row is the price list of that moment, nil without one; the rest is for calls, and
// empty. False: the catalog knows
// no such model.
func (c *Catalog) Invoiced(provider, name string, at time.Time) (Model, bool) {
	e, _ := c.names.find(provider+"/"+name, true)
	if e == nil {
		return Model{}, false
	}
	return Model{Slug: e.slug, Row: e.rowAt(at)}, true
}

// Cost is what counts cost at the row's lowest tier, rounded up: how large the
// single calls were, which decides their tiers, an export does not tell. False:
// a count is negative or the sum too large.
func (r *Row) Cost(n Counts) (budget.Amount, bool) {
	low := &r.tiers[0]
	long := low.written(cacheWriteLong)
	if !low.priced(cacheWriteLong) {
		long = low.written(cacheWrite)
	}
	sum := wide{}.plus(n.Input, low.price(input)).plus(n.CacheRead, low.price(cacheRead)).plus(n.CacheWrite, low.written(cacheWrite)).
		plus(n.CacheWriteLong, long).plus(n.InputAudio, low.price(inputAudio)).plus(n.Output, low.price(output)).
		plus(n.OutputAudio, low.price(outputAudio)).plus(n.WebSearches, r.fees["web_search"])
	return sum.nano()
}
