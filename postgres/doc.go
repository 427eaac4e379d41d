// Package postgres is the store of a fleet: the PostgreSQL in which several gateways
// share budgets, keys, usage and the audit log, without a round trip for each call.
//
// Each replica is a holder of leases. A lease is what it may use of one account in
// all, an absolute amount; the store's only invariant is that the leases of an
// account are together within its cap, or within what they were when the cap was cut
// or what was already spent when the budget was made. Exchanges are absolute and
// numbered, so they can be sent again, and what is late changes nothing.
//
// A commit counts only if the server says so and nothing else: any notice, error or
// silence leaves it unknown. Then the connection is given up, and the next exchange,
// which writes, both finds out and makes sure (docs of Member.Exchange).
package postgres
