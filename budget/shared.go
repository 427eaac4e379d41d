package budget

import (
	"crypto/sha256"
	"time"
)

// SharedBudget is a budget of the store that several replicas share.
type SharedBudget struct {
	Budget
	// Counting: it is new and limits nothing yet. Each replica puts its calls on it
	// and tells what its target has cost there.
	Counting bool
	// Running is the window that was open when the zone was edited: it keeps its start
	// and ends at a border of the new zone. What it does not contain is in the windows
	// of Period and Zone. Zero where none was moved.
	Running Window
}

// WindowAt is the window of b that t falls in; loc is b's zone.
func (b *SharedBudget) WindowAt(t time.Time, loc *time.Location) Window {
	if !b.Running.Start.Equal(b.Running.End) && b.Running.Contains(t) {
		return b.Running
	}
	return b.Period.WindowAt(t, loc)
}

// SharedKey is a key and the hash of its secret, which no store has.
type SharedKey struct {
	Key
	Hash [sha256.Size]byte
}

// Rules are the budgets and keys of a store. Every edit raises the version.
type Rules struct {
	Version uint64
	// Since is a version; 0: Budgets and Keys are all there are. Else they are those that
	// were made or changed since, and Gone the ids of those that were deleted.
	Since   uint64
	Gone    []string
	Budgets []SharedBudget
	Keys    []SharedKey
}

// UsageTotal is all that one replica has booked for a quarter of an hour, or for a part
// of a day of UsageFolds, and an attribution: absolute, so that telling it again changes
// nothing.
type UsageTotal struct {
	Quarter int64 // since 1970: the first 15 minutes that its calls were reserved in
	Next    int64 // the first 15 minutes behind them; 0: one more than Quarter
	UsageRow
}

// Replica is a gateway that shares its budgets with others.
type Replica struct {
	ID         string // random, kept in its data directory
	Name       string // of its machine, for people
	Program    string // its version
	ConfigHash string // of its configuration, so that drift is seen
}

// ReplicaStatus is a replica as the store last heard of it.
type ReplicaStatus struct {
	Replica
	Seen   time.Time // its last exchange
	Pushed time.Time // its usage was complete until then; zero: never pushed
	// Silence is how long ago Seen was by the store's clock, Lag how long ago Pushed, or
	// where that is zero, when it joined.
	Silence, Lag time.Duration
	Silent       bool   // for so long that nobody waits for it; it admits nothing by itself
	Rules        uint64 // the version it obeys; 0: none yet
	Behind       uint64 // versions that it does not obey yet; 0 for one that left
	Leased       Amount // of all accounts whose window is open
	Left         bool   // it stopped in order, and holds nothing
}

// State is live, silent or left.
func (r *ReplicaStatus) State() string {
	switch {
	case r.Left:
		return "left"
	case r.Silent:
		return "silent"
	default:
		return "live"
	}
}

// Question is what a replica wants to know of all, such as their open reservations.
// Kind and Body are the askers' own; who asks has the rights that Body says.
type Question struct {
	ID   int64
	Kind string
	Body []byte
}

// StoreName stands for the store among replicas that did not answer: it could not be
// asked, and so none of them was.
const StoreName = "store"

// AsOf says how complete a report of several replicas is.
type AsOf struct {
	// Time is the moment up to which all of them had told; zero: one is alone, and
	// nothing is missing.
	Time time.Time
	// Behind are the ids of those that have told nothing for ReportLag.
	Behind []string
}

// ReportLag is what a report may lack without a word.
const ReportLag = 10 * time.Second
