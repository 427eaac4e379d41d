package pricing

import (
	"time"

	"aigateway/budget"
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

	// What was seen of a stream's output: bytes, as JSON writes its texts, and when
	// the last of it came with nothing unfinished behind it. 0: nobody counted; a
	// zero time: never.
	Seen   int64
	SeenAt time.Time

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
	if p.has(pinRaw) {
		ev.Usage, ev.FirstUsage, ev.OtherUsage, ev.Model, ev.Many, ev.Unread = "", "", nil, "", false, false
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
	case p.has(pinUnbounded):
		s.withoutBound(&u, reported)
		return s.out
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

// withoutBound charges a call that no budget watched and that had no bound: what
// its report comes to, where anybody knows a price. A report that is not the last
// word is the least that the call cost. Without either its cost is unknown.
func (s *settlement) withoutBound(u *reports, reported bool) {
	out := &s.out
	out.Basis = budget.BasisUnpriced
	if !reported {
		return
	}
	of := s.answered()
	if len(of.rates) == 0 && !u.hasCost {
		return
	}
	final := s.final(u)
	cost := s.dearest(u, of)
	switch {
	case final:
		out.Basis, out.Cost = budget.BasisUsage, cost
	case cost > 0:
		out.Basis, out.Cost = budget.BasisElapsed, cost
	default:
		return
	}
	if s.unpriced(&u.usage) {
		out.flag(FlagBucketUnpriced)
	}
	s.limit()
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
	t.Output += u.output()
	return t
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
	if s.dialect() == openAIMedia && s.ev.Stream && s.choices > 1 { // each image has its own report
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
