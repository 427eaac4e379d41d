package budget

import "time"

// ReservationID identifies a reservation within one ledger, for ever.
type ReservationID uint64

// Request asks for a reservation before a call is dispatched.
type Request struct {
	RequestID string // Envoy's x-request-id; a repeat gets the first answer
	Attribution
	// Bound is the most the call can cost. Ignored when Unbounded is set.
	Bound Amount
	// Unbounded says why no bound exists (a model without a price). It is
	// returned as the refusal when any budget matches; without one the call is
	// admitted, and its cost is unknown.
	Unbounded *Error
	// Wait is how long the call may wait where only running calls stand in its
	// way; 0: it is refused at once. Size is what is held for it meanwhile, in
	// bytes.
	Wait time.Duration
	Size int64
	// Fit is the bound of the largest call in place of this one whose bound is at
	// most room, not negative; negative: none. It is called under the ledger's
	// lock and must be quick. nil: only the whole call will do. Least is the
	// smallest bound it gives.
	Fit   func(room Amount) Amount
	Least Amount
	// Arithmetic is how Bound came about, for whoever looks at the call later: opaque,
	// some dozens of bytes that nobody changes. It is kept with the call.
	Arithmetic []byte
}

// Attribution is whom a call's cost is reported under.
type Attribution struct {
	KeyID    string
	Tag      Tag
	Model    string // slug, provider/model
	Provider string
}

// Reservation is money set aside on every budget that matched, all or none.
type Reservation struct {
	ID         ReservationID
	ReservedAt time.Time // also decides the window and the report's hour
	Attribution
	Bound    Amount
	Accounts []int64 // the ledger's accounts (budget and window) that hold Bound
	// Tightest is the matching budget with the least room after this
	// reservation; nil when no budget matched.
	Tightest *Status
	// Waited is how long the call waited for running ones to end.
	Waited time.Duration
}

// Basis says what a charge rests on.
type Basis string

// The bases, from architecture §4-6 of the design.
const (
	BasisUsage         Basis = "usage"          // the provider's own usage report
	BasisElapsed       Basis = "elapsed"        // a cut stream, from its duration
	BasisBound         Basis = "bound"          // no evidence: the whole bound
	BasisProviderError Basis = "provider_error" // the provider answered an error: 0
	BasisReleased      Basis = "released"       // nothing was sent: 0
	BasisUnpriced      Basis = "unpriced"       // sent, the model has no price: 0
	BasisExpired       Basis = "expired"        // no log before the deadline: the whole bound
)

// Sent reports whether a call with this basis reached its provider; only those
// count as requests in usage reports.
func (b Basis) Sent() bool { return b != BasisReleased }

// Estimated reports whether a charge rests on our own arithmetic alone, because
// the provider's final report never came.
func (b Basis) Estimated() bool {
	return b == BasisElapsed || b == BasisBound || b == BasisExpired
}

// Tokens are a call's token counts for reports; the buckets are disjoint.
type Tokens struct {
	Input      int64 // not from or to a cache
	CacheRead  int64
	CacheWrite int64
	Output     int64 // reasoning included
}

// Settlement is the final word on one reservation, from an access log entry.
// Settling is idempotent: either log channel, repeated, in any order.
type Settlement struct {
	RequestID string
	// Reservation comes from a verified token. It is nil when the entry
	// carried none (the client left during the check, or the check failed);
	// the ledger then looks for an open reservation with this RequestID.
	Reservation *Reservation
	Basis       Basis
	Cost        Amount // ignored for BasisBound: the reservation's bound is charged
	Tokens      Tokens
	// Billed is what the provider reported where that is absurd and Cost is less;
	// 0 otherwise. The audit log lists such calls.
	Billed Amount
	At     time.Time // end of the call
	Status int       // HTTP status of the provider; 0: it gave none
	Served string    // slug of the model that answered where it is not the one asked for
}

// SpoolPosition is how far the access-log file has been read: every byte
// before Offset is in the ledger.
type SpoolPosition struct {
	File   string // identity of the file: device and inode
	Offset int64
}

// Dimension is a column that usage can be grouped by.
type Dimension string

// The dimensions.
const (
	ByTag      Dimension = "tag"
	ByModel    Dimension = "model"
	ByProvider Dimension = "provider"
	ByKey      Dimension = "key"
	ByDay      Dimension = "day"
	ByHour     Dimension = "hour"
)

// UsageQuery selects and groups settled calls by the time they were reserved.
type UsageQuery struct {
	Window  Window // aligned to 15 minutes; End required
	GroupBy []Dimension
	Zone    *time.Location // of days and hours
	// Filters; empty selects all.
	Tags     TagPattern
	Model    string
	Provider string
	KeyID    string
}

// TagCost is one tag's row of a report by tag alone.
type TagCost struct {
	Tag      Tag
	Requests int64 // calls that reached a provider
	Cost     Amount
}

// UsageRow is one group of a usage report.
type UsageRow struct {
	// Attribution has the grouped columns; the others are empty.
	Attribution
	Time     time.Time // start of the day or hour, when grouped by one
	Requests int64     // calls that reached a provider
	Cost     Amount
	Unpriced int64 // of Requests, those whose cost is unknown
	// Estimated counts those of Requests whose charge is estimated
	// (Basis.Estimated), EstimatedCost is their part of Cost.
	Estimated     int64
	EstimatedCost Amount
	Tokens
}

// Add adds r's counts and costs to u's; Cost stays within MaxAmount, also below 0.
func (u *UsageRow) Add(r UsageRow) {
	u.Requests += r.Requests
	u.Cost = u.Cost.Plus(r.Cost)
	u.Unpriced += r.Unpriced
	u.Estimated += r.Estimated
	u.EstimatedCost += r.EstimatedCost
	u.Input += r.Input
	u.CacheRead += r.CacheRead
	u.CacheWrite += r.CacheWrite
	u.Output += r.Output
}

// Open is one open reservation, for operators.
type Open struct {
	ID        ReservationID
	RequestID string
	Attribution
	Bound      Amount
	Budgets    []string // ids of those that hold it
	ReservedAt time.Time
	Deadline   time.Time
}
