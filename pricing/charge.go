package pricing

import (
	"slices"
	"strings"
	"time"

	"aigateway/budget"

	"github.com/go-json-experiment/json"
)

// Evidence is what an access log entry proves about a call.
type Evidence struct {
	Sent     bool // the first byte went upstream
	Status   int  // the upstream's status where known, else the client's; 0: none
	Cut      bool // did not end normally
	Stream   bool // the answer was text/event-stream
	Duration time.Duration
	Refused  bool // the error is about the request's content, and not about our account
	// When the call ran; zero: nobody knows, and the dearest hour that it could
	// reach counts.
	Start, End time.Time
	// Raw JSON text copied from the answer; empty when absent.
	Usage, FirstUsage, Model, ServiceTier, ToolUsage string
	OtherUsage                                       []string // reports between the first and the last
	Many                                             bool     // some reports are not here

	// What proves that the last report is the last word.
	Done     bool // the answer ended as its format says, and nothing came between
	Finished int  // choices that had ended when it came

	Output bool // there is output
	Unread bool // the answer could not be read
}

// Outcome is what a call is charged, and why.
type Outcome struct {
	Basis  budget.Basis
	Cost   budget.Amount
	Tokens budget.Tokens // as reported; zero without a report
	Flags  []string      // what an operator should look at, see the Flag constants
	Served string        // slug of the model that answered, when it is not the one asked for
	Billed budget.Amount // what the report comes to, where that is absurd; else 0
}

// Flags of an outcome.
const (
	FlagPinMalformed      = "pin_malformed"        // charged at the bound
	FlagUsageMalformed    = "usage_malformed"      // the report was no report
	FlagUsageInconsistent = "usage_inconsistent"   // its parts exceed their whole
	FlagUsageHollow       = "usage_hollow"         // it counts nothing where there is something: no report
	FlagUsageUnread       = "usage_unread"         // the answer was encoded, or no JSON
	FlagUsageMany         = "usage_many"           // there were more reports than are kept: at least the bound
	FlagBucketUnpriced    = "bucket_unpriced"      // a kind of token took its parent's price, or a tool ran that has none
	FlagTierUnpriced      = "tier_unpriced"        // the billed tier has no multiplier: the dearest known counts
	FlagGeoUnpriced       = "geo_unpriced"         // the region in the answer has none: likewise
	FlagContentRefused    = "content_refused"      // the provider's fee for a refused request is charged
	FlagServedUnknown     = "served_model_unknown" // another model answered; the price is of the one asked for
	FlagBoundExceeded     = "bound_exceeded"       // the cost passed the bound: the promise broke
	FlagAbsurd            = "bill_absurd"          // the bill was far beyond what the model can cost, and is charged in part
)

// lag is how long a provider may go on after its client left.
const lag = 2 * time.Second

// Charge decides what a call cost from its pin, its bound and the evidence. It
// never fails: what cannot be proven is charged at the bound.
//
// The price is that of the model that answered, which served finds by the name
// in the answer; one it does not know is charged like the one asked for, and
// flagged. nil looks up nothing. Where an overlay has the price of the one asked
// for, a model without a price of its own there is never charged less. A cost
// above the bound is the provider's bill: it is charged in full and flagged, up
// to ten times the most that the call or a full context can cost. What exceeds
// that is no bill, but a fault of the report, and must not close every budget.
func Charge(text string, bound budget.Amount, ev Evidence, served Lookup) Outcome {
	if !ev.Sent {
		return Outcome{Basis: budget.BasisReleased}
	}
	p, err := decodePin(text)
	if err != nil {
		return Outcome{Basis: budget.BasisBound, Cost: bound, Flags: []string{FlagPinMalformed}}
	}
	s := settlement{pin: p, ev: &ev, bound: bound, served: served}
	u, reported := s.report()
	silent := !ev.hasUsage()
	// A redirect is no answer of a model, and is not followed; nor is another
	// protocol. The other 1xx come before an answer, which nobody saw.
	redirect := (ev.Status == 101 || ev.Status >= 300 && ev.Status < 400) && silent
	failed := redirect || ev.Status >= 400 && !ev.Cut && silent && !gaveUp(ev.Status)
	out := &s.out
	if ev.Unread && !failed {
		out.flag(FlagUsageUnread)
	}
	switch {
	case failed && ev.Refused && p.terms.refusal > 0:
		out.Basis, out.Cost = budget.BasisUsage, s.refusal()
		out.flag(FlagContentRefused)
	case failed: // a whole answer that says no; a cut one may have been billed
		out.Basis = budget.BasisProviderError
	case !p.has(pinPriced):
		out.Basis = budget.BasisUnpriced
	case reported && s.final(&u):
		out.Basis, out.Cost = budget.BasisUsage, s.dearest(&u, s.answered())
		if s.unpriced(&u.usage) { // no more than a part of the bill
			out.Basis, out.Cost = budget.BasisBound, max(out.Cost, bound)
			out.flag(FlagBucketUnpriced)
		}
	default:
		of := s.answered()
		out.Basis, out.Cost = s.withoutReport(&u)
		if reported { // the least it cost
			out.Cost = max(out.Cost, s.dearest(&u, of))
		}
	}
	if out.Cost > bound {
		if out.Basis == budget.BasisBound { // the ledger takes that for the bound
			out.Basis = budget.BasisUsage
		}
		out.flag(FlagBoundExceeded)
		s.limit()
	}
	return s.out
}

// absurdly is how many times the most a call can cost is no bill any more.
const absurdly = 10

// limit cuts an absurd cost. Its counts are no counts of tokens either.
func (s *settlement) limit() {
	most := max(s.bound, s.fullContext(s.pinned()), s.fullContext(s.answered()))
	if most == 0 {
		most = budget.Dollar // all of it is free
	}
	if most = min(most, budget.MaxAmount/absurdly) * absurdly; s.out.Cost > most {
		s.out.Billed, s.out.Cost, s.out.Tokens = s.out.Cost, most, budget.Tokens{}
		s.out.flag(FlagAbsurd)
	}
}

// fullContext is what the model's limits cost: its whole context, and the
// longest answer it can give. What is unknown of them is 0, but an answer fits
// the context.
func (s *settlement) fullContext(of prices) budget.Amount {
	if len(of.rates) == 0 {
		return 0
	}
	long := of.maxOutput
	if long == 0 {
		long = of.context
	}
	r := at(of.rates, of.context)
	amount, ok := wide{}.plus(of.context, r.price(input)).plus(long, r.price(output)).times(s.multiplier(of.reach())).nano()
	if !ok {
		return budget.MaxAmount
	}
	return amount
}

// refusal is the fee for a request that the provider refused for its content.
func (s *settlement) refusal() budget.Amount {
	amount, _ := wide{}.plus(1, s.terms.refusal).nano()
	return amount
}

// settlement is one call being charged.
type settlement struct {
	*pin
	ev     *Evidence
	bound  budget.Amount
	served Lookup
	out    Outcome
	floor  bool // the pinned price is the least
}

// final reports whether the last report is the last word: only with evidence
// that the answer ended before it or with it. Zeros, running totals and
// placeholders stand in any chunk of a stream, so everything else is a lower
// bound of what the call cost, however it ended.
func (s *settlement) final(r *reports) bool {
	ended := s.ev.Done || s.ev.Finished > 0 && int64(s.ev.Finished) >= s.choices
	if !ended || !r.last || s.ev.Many {
		return false
	}
	if s.hollow(&r.usage) {
		s.out.flag(FlagUsageHollow)
		return false
	}
	return true
}

// gaveUp reports whether a status says that somebody stopped waiting, at the
// provider or on the way to it: the model may have answered, and been billed,
// after that. Every other error is an end of the work itself.
func gaveUp(status int) bool {
	switch status {
	case 408, // request timeout: some use it for the model's time
		499, // nginx: the one before it hung up
		504, // gateway timeout
		524: // Cloudflare: the origin took the request and did not answer in time
		return true
	}
	return false
}

func (o *Outcome) flag(f string) {
	for _, have := range o.Flags {
		if have == f {
			return
		}
	}
	o.Flags = append(o.Flags, f)
}

// report reads the provider's usage, if there is any.
func (s *settlement) report() (reports, bool) {
	r, ok := s.read()
	if s.ev.Many {
		s.out.flag(FlagUsageMany)
	}
	if !ok {
		return r, false
	}
	if r.inconsistent {
		s.out.flag(FlagUsageInconsistent)
	}
	s.out.Tokens = r.tokens(s.out.Tokens)
	for i := range r.more {
		s.out.Tokens = r.more[i].tokens(s.out.Tokens)
	}
	return r, true
}

// tokens adds a part to counts for reports.
func (u *part) tokens(t budget.Tokens) budget.Tokens {
	t.Input += u.counts[input] + u.counts[inputAudio] + u.counts[inputImage]
	t.CacheRead += u.counts[cacheRead]
	t.CacheWrite += u.counts[cacheWrite] + u.counts[cacheWriteLong]
	t.Output += u.counts[output] + u.counts[outputAudio]
	return t
}

// ratesFor picks the tier of an input; nil without prices.
func (p *pin) ratesFor(prompt int64) *rates {
	if len(p.rates) == 0 {
		return nil
	}
	return at(p.rates, prompt)
}

// cost is a report at the prices of the models that served it, or at the pinned
// ones where those are the least: within the bound, as that is no bill.
func (s *settlement) cost(u *usage, row prices) budget.Amount {
	if u.hasCost {
		return u.cost
	}
	amount := s.priced(u, row)
	if !s.floor {
		return amount
	}
	asked := settlement{pin: s.pin, ev: s.ev, bound: s.bound} // knows no other model
	own := min(asked.priced(u, s.pinned()), s.bound)
	if own <= amount {
		return amount
	}
	for _, f := range asked.out.Flags {
		s.out.flag(f)
	}
	return own
}

// priced adds up a report. An amount too large to keep becomes the bound, or
// stays above it by being the largest amount there is.
func (s *settlement) priced(u *usage, row prices) budget.Amount {
	sum := s.partCost(&u.part, row, u)
	for i := range u.more {
		sum = sum.add(s.partCost(&u.more[i], row, u))
	}
	amount, ok := sum.add(s.usesFees(u, row)).nano()
	if !ok {
		return max(s.bound, budget.MaxAmount)
	}
	return amount
}

// prices are what one part is charged at.
type prices struct {
	rates              []rates
	tiers              []namedRatio
	terms              pinTerms
	fixed              ratio            // of a pin without terms; a denominator of 0: it has them
	fees               map[string]int64 // of another model than the pinned, where it has them
	context, maxOutput int64
	flatCache          bool // a cheaper service tier does not make cache reads cheaper
}

// reach is the dearest factor that the call could have: of the region asked for.
func (of *prices) reach() ratio {
	if of.fixed.den > 0 {
		return of.fixed
	}
	if f, ok := product(of.terms.base, of.terms.geo, of.terms.peak); ok {
		return f
	}
	return one()
}

// factor is that of the region in the answer, else of the one asked for, and of
// the minutes in which the call ran. The hour that the bound was taken at is the
// dearest: a call does not begin before it is admitted.
func (s *settlement) factor(geo string, of *prices) ratio {
	if of.fixed.den > 0 {
		return of.fixed
	}
	t := of.terms
	if !s.ev.Start.IsZero() {
		if f := dearestPeak(t.peaks, s.ev.Start, s.ev.End); t.peak.above(f) {
			t.peak = f
		}
	}
	switch geo = strings.ToLower(geo); geo {
	case "", "not_available": // of models that run anywhere
	case "global":
		t.geo = one()
	default:
		i := slices.IndexFunc(t.geos, func(g namedRatio) bool { return g.name == geo })
		if i >= 0 {
			t.geo = t.geos[i].factor
			break
		}
		s.out.flag(FlagGeoUnpriced)
		for _, g := range t.geos {
			if g.factor.above(t.geo) {
				t.geo = g.factor
			}
		}
	}
	settled := prices{terms: t}
	return settled.reach()
}

// answered finds the prices of the model that answered: the pinned ones, unless
// the catalog knows it as another model.
func (s *settlement) answered() prices {
	var name string
	if json.Unmarshal([]byte(s.ev.Model), &name) != nil {
		name = ""
	}
	of, slug := s.find(name, s.pinned())
	s.out.Served = slug
	return of
}

func (s *settlement) pinned() prices {
	of := prices{rates: s.rates, tiers: s.tiers, terms: s.terms, context: s.terms.context, maxOutput: s.terms.maxOutput, flatCache: s.has(pinFlatCache)}
	if !s.has(pinHasTerms) {
		of.fixed = s.pin.factor
	}
	return of
}

// find is the prices of a model by the name in the answer, and its slug when it
// is not the pinned one.
func (s *settlement) find(name string, own prices) (prices, string) {
	if name == "" || s.served == nil {
		return own, ""
	}
	m := s.served(name)
	switch {
	case m.Same:
		return s.pinned(), ""
	case m.Row == nil:
		s.out.flag(FlagServedUnknown)
		return own, ""
	}
	s.floor = s.floor || s.has(pinOwn) && !m.Row.own
	of := prices{rates: m.Row.tiers, tiers: m.Row.rules.tiers, fees: m.Row.fees, context: m.Row.Context, maxOutput: m.Row.MaxOutput, flatCache: m.Row.rules.flatCache}
	if !s.has(pinHasTerms) {
		if of.fixed = s.pin.factor; m.peak.above(of.fixed) {
			of.fixed = m.peak
		}
		return of, m.Slug
	}
	of.terms = pinTerms{base: s.terms.base, geo: s.terms.geo, geos: m.Row.rules.geoList, peak: m.peak, peaks: m.Row.rules.peaks}
	return of, m.Slug
}

// partCost is one part's tokens, at its own price tier and service tier.
func (s *settlement) partCost(u *part, of prices, whole *usage) wide {
	if u.model != "" {
		of, _ = s.find(u.model, of)
	}
	billed := s.billed(whole, of)
	if factor := s.factor(whole.geo, &of); of.flatCache && factor.above(billed) {
		rest, read := *u, part{prompt: u.prompt}
		rest.counts[cacheRead], read.counts[cacheRead] = 0, u.counts[cacheRead]
		return s.tokens(&rest, of.rates, &s.out, input, bucketCount).times(billed).add(s.tokens(&read, of.rates, &s.out, cacheRead, cacheWrite).times(factor))
	}
	return s.tokens(u, of.rates, &s.out, input, bucketCount).times(billed)
}

// usesFees is what is billed by use: as often as the provider counted, else as
// often as the bound allowed.
func (s *settlement) usesFees(u *usage, of prices) wide {
	sum := s.fees
	for i, f := range s.counted {
		uses, pico := f.uses, f.pico
		switch told := u.ran(f.kind); {
		case f.kind == feeSearchUnit:
			uses = u.units
		case told.told:
			uses = s.share(i, told.n)
		}
		if other, ok := of.fees[f.kind]; ok && f.kind != feeContainer {
			pico = other
		}
		sum = sum.plus(uses, pico)
	}
	return sum
}

// ran is how often the tool with a kind of fee ran.
func (u *usage) ran(kind string) uses {
	for t, k := range toolFees() {
		if k == kind {
			return u.tools[t]
		}
	}
	return uses{}
}

// share is how many of n uses the i-th fee takes of those of its kind: the
// dearest first, which is also the one for more than the bound allowed.
func (s *settlement) share(i int, n int64) int64 {
	f := &s.counted[i]
	dearest := true
	all, before := int64(0), int64(0)
	for k := range s.counted {
		o := &s.counted[k]
		if o.kind != f.kind {
			continue
		}
		all += o.uses
		if k != i && (o.pico > f.pico || o.pico == f.pico && k < i) {
			dearest = false
			before += o.uses
		}
	}
	own := min(f.uses, max(0, n-before))
	if dearest {
		own += max(0, n-all)
	}
	return own
}

// unpriced reports whether the provider did something that it bills apart and
// that the bound has no fee for: it drew images, or ran a tool unasked. Fetches
// are free of charge where they are reported.
func (s *settlement) unpriced(u *usage) bool {
	if u.hasCost {
		return false
	}
	for t, kind := range toolFees() {
		if tool(t) == webFetch || u.tools[t].n == 0 {
			continue
		}
		if !slices.ContainsFunc(s.counted, func(f countedFee) bool { return f.kind == kind }) {
			return true
		}
	}
	return u.unpriced
}

// tokens sums the buckets from low up to high at the report's own price tier.
func (p *pin) tokens(u *part, list []rates, out *Outcome, low, high bucket) wide {
	r := at(list, u.prompt)
	var sum wide
	for b := low; b < high; b++ {
		if n := u.counts[b]; n > 0 {
			if !r.priced(b) {
				out.flag(FlagBucketUnpriced)
			}
			sum = sum.plus(n, p.priceOf(r, b))
		}
	}
	return sum
}

// priceOf is a bucket's price. Long-lived writes without a price of their own
// cost at least what short-lived ones do.
func (p *pin) priceOf(r *rates, b bucket) int64 {
	if b == cacheWriteLong && !r.priced(b) {
		return r.price(cacheWrite)
	}
	return r.price(b)
}

// multiplier is a factor with that of the service tier asked for.
func (p *pin) multiplier(factor ratio) ratio {
	f, ok := factor.times(p.asked)
	if !ok {
		return factor
	}
	return f
}

// billed is the factor of the tier the provider says it billed; without a word
// from it, of the tier that was asked for.
func (s *settlement) billed(u *usage, of prices) ratio {
	var name string
	raw := s.ev.ServiceTier
	if raw == "null" || json.Unmarshal([]byte(raw), &name) != nil {
		name = u.tier
	}
	factor := s.factor(u.geo, &of)
	if name == "" && u.speed == "" {
		return s.multiplier(factor)
	}
	r := rules{tiers: of.tiers}
	best := ratio{}
	for _, tier := range [2]string{name, u.speed} {
		tier = strings.ToLower(tier)
		f, ok := r.tier(tier)
		if tier == "auto" && s.asked.above(f) { // not what was billed
			f = s.asked
		}
		if !ok {
			s.out.flag(FlagTierUnpriced)
			return s.dearestTier(factor, of.tiers)
		}
		if tier != "" && (best.den == 0 || f.above(best)) {
			best = f
		}
	}
	if f, ok := factor.times(best); ok {
		return f
	}
	return s.multiplier(factor)
}

// dearestTier is a factor with the dearest tier there is, known or asked for.
func (s *settlement) dearestTier(factor ratio, tiers []namedRatio) ratio {
	best := s.asked
	for _, t := range tiers {
		if t.factor.above(best) {
			best = t.factor
		}
	}
	if f, ok := factor.times(best); ok {
		return f
	}
	return s.multiplier(factor)
}

// withoutReport charges a call whose final report never came: a stopped stream
// by its duration, where the provider is known to stop and how fast it is at
// most; everything else at its bound. How fast another model is, nobody said.
func (s *settlement) withoutReport(u *reports) (budget.Basis, budget.Amount) {
	p, ev := s.pin, s.ev
	began := ev.Stream || ev.Status == 0 // a stream, or cut before the answer
	if !ev.Cut || !p.has(pinStream) || !p.has(pinElapsed) || !began || p.rate <= 0 || ev.Status >= 400 || ev.Duration < 0 || ev.Many || s.out.Served != "" {
		return budget.BasisBound, s.bound
	}
	generated := wide{}.plus(p.rate*p.choices, int64(ev.Duration+lag)).times(ratio{1, uint64(time.Second)})
	if generated.bad || generated.hi != 0 || generated.lo > maxCount {
		return budget.BasisElapsed, s.bound
	}
	sum := wide{}.plus(p.input, p.inPico)
	if u.prompt > 0 {
		sum = p.tokens(&u.part, p.rates, &Outcome{}, input, output)
	}
	amount, ok := sum.plus(int64(generated.lo), p.outPico).times(p.multiplier(p.factor)).add(p.allFees()).nano()
	if !ok {
		return budget.BasisElapsed, s.bound
	}
	return budget.BasisElapsed, min(s.bound, amount)
}

// allFees is every fee at the bound's number of uses.
func (p *pin) allFees() wide {
	sum := p.fees
	for _, f := range p.counted {
		sum = sum.plus(f.uses, f.pico)
	}
	return sum
}
