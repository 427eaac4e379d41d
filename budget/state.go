package budget

import "time"

// LedgerState is how the ledger and its books are.
type LedgerState struct {
	ClockAhead    time.Duration // of the time that windows go by
	DatabaseBytes int64
	FreeBytes     int64 // on its disk
	FullDays      int64 // for which those last
	Head          string
	CheckedAt     time.Time // zero: not since the start
	Mismatches    int
}

// ProviderState is how a provider answered lately.
type ProviderState struct {
	Name          string
	Calls, Faults int64
	Took          time.Duration // all calls together
	LastFault     string
}
