// Package fleet joins this gateway's ledger to the store that it shares with other
// gateways: it brings what people set there to the ledger, tells the store what
// calls cost here, and serves the admin API from the store, so that every gateway
// answers alike. Leases are not its business: the ledger asks the store for them
// itself.
package fleet
