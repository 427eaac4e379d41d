package pricing

import (
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
	// Raw JSON text copied from the answer; empty when absent.
	Usage, FirstUsage, Model, ServiceTier, Type, ToolUsage string
	Done                                                   bool // the answer ended as its format says
}

// Outcome is what a call is charged, and why.
type Outcome struct {
	Basis  budget.Basis
	Cost   budget.Amount
	Tokens budget.Tokens // as reported; zero without a report
	Flags  []string      // what an operator should look at, see the Flag constants
}

// Flags of an outcome.
const (
	FlagPinMalformed      = "pin_malformed"      // charged at the bound
	FlagUsageMalformed    = "usage_malformed"    // the report was no report
	FlagUsageInconsistent = "usage_inconsistent" // its parts exceed their whole
	FlagBucketUnpriced    = "bucket_unpriced"    // a kind of token took its parent's price
	FlagTierUnpriced      = "tier_unpriced"      // the billed tier has no multiplier
	FlagBoundExceeded     = "bound_exceeded"     // the cost passed the bound: the promise broke
)

// lag is how long a provider may go on after its client left.
const lag = 2 * time.Second

// Charge decides what a call cost from its pin, its bound and the evidence. It
// never fails: what cannot be proven is charged at the bound.
func Charge(text string, bound budget.Amount, ev Evidence) Outcome {
	if !ev.Sent {
		return Outcome{Basis: budget.BasisReleased}
	}
	p, err := decodePin(text)
	if err != nil {
		return Outcome{Basis: budget.BasisBound, Cost: bound, Flags: []string{FlagPinMalformed}}
	}
	var out Outcome
	u, reported := p.report(ev, &out)
	failed := ev.Status >= 400 && !ev.Cut && !ev.hasUsage()
	switch {
	case failed: // a whole answer that says no; a cut one may have been billed
		out.Basis = budget.BasisProviderError
	case !p.has(pinPriced):
		out.Basis = budget.BasisUnpriced
	case reported && (ev.Done || !ev.Stream || !p.has(pinRunning)):
		out.Basis, out.Cost = budget.BasisUsage, p.cost(u, ev.ServiceTier, bound, &out)
	default:
		out.Basis, out.Cost = p.withoutReport(u, reported, bound, ev)
		if reported { // a running report is the least it cost
			out.Cost = max(out.Cost, p.cost(u, ev.ServiceTier, bound, &out))
		}
	}
	if out.Cost > bound {
		out.flag(FlagBoundExceeded)
	}
	return out
}

func (ev *Evidence) hasUsage() bool { return ev.Usage != "" && ev.Usage != "null" }

func (o *Outcome) flag(f string) {
	for _, have := range o.Flags {
		if have == f {
			return
		}
	}
	o.Flags = append(o.Flags, f)
}

// report reads the provider's usage, if there is one.
func (p *pin) report(ev Evidence, out *Outcome) (usage, bool) {
	if !ev.hasUsage() {
		return usage{}, false
	}
	u, err := openAIChat(ev.Usage, p)
	if err != nil {
		out.flag(FlagUsageMalformed)
		return usage{}, false
	}
	if u.inconsistent {
		out.flag(FlagUsageInconsistent)
	}
	out.Tokens = budget.Tokens{
		Input:      u.counts[input] + u.counts[inputAudio] + u.counts[inputImage],
		CacheRead:  u.counts[cacheRead],
		CacheWrite: u.counts[cacheWrite],
		Output:     u.counts[output] + u.counts[outputAudio],
	}
	return u, true
}

// ratesFor picks the tier of an input; nil without prices.
func (p *pin) ratesFor(prompt int64) *rates {
	if len(p.rates) == 0 {
		return nil
	}
	return at(p.rates, prompt)
}

// cost is a report at the pinned prices. An amount too large to keep becomes
// the bound, or stays above it by being the largest amount there is.
func (p *pin) cost(u usage, tier string, bound budget.Amount, out *Outcome) budget.Amount {
	if u.hasCost {
		return u.cost
	}
	amount, ok := p.tokens(&u, out, input, bucketCount).times(p.billed(tier, out)).add(p.fees).nano()
	if !ok {
		return max(bound, budget.MaxAmount)
	}
	return amount
}

// tokens sums the buckets from low up to high at the report's own price tier.
func (p *pin) tokens(u *usage, out *Outcome, low, high bucket) wide {
	r := p.ratesFor(u.prompt)
	var sum wide
	for b := low; b < high; b++ {
		if n := u.counts[b]; n > 0 {
			if !r.priced(b) {
				out.flag(FlagBucketUnpriced)
			}
			sum = sum.plus(n, r.price(b))
		}
	}
	return sum
}

// multiplier is the factor the bound used.
func (p *pin) multiplier() ratio {
	f, ok := p.factor.times(p.asked)
	if !ok {
		return p.factor
	}
	return f
}

// billed is the factor of the tier the provider says it billed; without a word
// from it, of the tier that was asked for.
func (p *pin) billed(raw string, out *Outcome) ratio {
	var name string
	if raw == "" || raw == "null" || json.Unmarshal([]byte(raw), &name) != nil {
		return p.multiplier()
	}
	r := rules{tiers: p.tiers}
	f, ok := r.tier(name)
	if !ok {
		out.flag(FlagTierUnpriced)
		return p.multiplier()
	}
	if f, ok = p.factor.times(f); !ok {
		return p.multiplier()
	}
	return f
}

// withoutReport charges a call whose final report never came: a stopped stream
// by its duration, where the provider is known to stop and how fast it is at
// most; everything else at its bound.
func (p *pin) withoutReport(u usage, reported bool, bound budget.Amount, ev Evidence) (budget.Basis, budget.Amount) {
	began := ev.Stream || ev.Status == 0 // a stream, or cut before the answer
	if !ev.Cut || !p.has(pinStream) || !p.has(pinElapsed) || !began || p.rate <= 0 || ev.Status >= 400 || ev.Duration < 0 {
		return budget.BasisBound, bound
	}
	generated := wide{}.plus(p.rate*p.choices, int64(ev.Duration+lag)).times(ratio{1, uint64(time.Second)})
	if generated.bad || generated.hi != 0 || generated.lo > maxCount {
		return budget.BasisElapsed, bound
	}
	sum := wide{}.plus(p.input, p.inPico)
	if reported {
		sum = p.tokens(&u, &Outcome{}, input, output)
	}
	amount, ok := sum.plus(int64(generated.lo), p.outPico).times(p.multiplier()).add(p.fees).nano()
	if !ok {
		return budget.BasisElapsed, bound
	}
	return budget.BasisElapsed, min(bound, amount)
}
