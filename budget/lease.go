package budget

import "errors"

// AccountName names an account, one budget in one window and scope, alike on every
// replica.
type AccountName struct {
	BudgetID string
	Start    int64 // of the window, in nanoseconds of Unix time; 0 for one that never ends
	// Scope is which of the budget's calls the account is of. Empty is all of them, and
	// the only one there is; a budget for each tag of its pattern will have the tag here.
	Scope string
}

// Ask is what a replica wants of an account that it shares with others. All amounts
// are absolute, so that asking again changes nothing.
type Ask struct {
	AccountName
	// Has is the lease that the replica's admission obeys, as its disk has it: at most
	// what the store said last. A store that knows of less has lost a commit.
	Has Amount
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
	// Refunded is by how much all leases together may exceed the cap: corrections have
	// refunded so much more than they charged. 0 if they have not.
	Refunded Amount
	// Spent and Reserved are all replicas', as each told them last.
	Spent, Reserved Amount
	// Recall says that another replica lacks what is unused here: give it back.
	Recall bool
}

// ErrFenced is the store's answer to a replica that it does not listen to any more:
// another process has taken over its id, or a person has it forgotten. It may admit
// nothing, for good.
var ErrFenced = errors.New("the store knows a newer process by this replica's id, or was told to forget it")

// ErrRulesBehind is the store's answer to a replica that has not told that it obeys
// the rules, since it started or since it was silent for too long: edits were
// answered without it.
var ErrRulesBehind = errors.New("the replica has yet to take the store's rules and acknowledge them")
