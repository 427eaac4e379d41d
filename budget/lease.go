package budget

import "time"

// AccountName names an account, one budget in one window, alike on every replica.
type AccountName struct {
	BudgetID string
	Start    int64 // of the window, in nanoseconds of Unix time; 0 for one that never ends
}

// Ask is what a replica wants of an account that it shares with others. All amounts
// are absolute, so that asking again changes nothing.
type Ask struct {
	AccountName
	// Lease is what the replica wants to have in all: what it has spent and reserved
	// there, and what it may still admit. Less than it has is a return: admission
	// must obey the lower lease, durably, before it is asked for.
	Lease Amount
	// Least is the smallest lease that is worth a raise: less than that raises
	// nothing. It is above what the replica has only if a call cannot do without.
	Least Amount
	// Spent and Reserved are what the lease is used for now, for reports.
	Spent, Reserved Amount
}

// Grant is what a replica has of an account after an Ask.
type Grant struct {
	AccountName
	// Lease is what it may use in all, absolute: never less than what it asked to
	// keep, and a raise only if all leases together stay within the cap.
	Lease Amount
	// Cap is the budget's, and Free what no replica has: negative after a cut.
	Cap, Free Amount
	// Spent and Reserved are all replicas' at AsOf, the oldest of their reports.
	Spent, Reserved Amount
	AsOf            time.Time
	// Recall says that another replica lacks what is unused here: give it back.
	Recall bool
}
