// Package accounting turns Envoy's access logs into settlements: both channels
// in, settled cost out.
//
// The gRPC stream is fast and may lose entries; the JSON file is the durable
// spool and has them all. Both carry the same facts, become the same entry and
// are settled the same way, in any order and any number of times: the ledger
// settles a reservation once.
//
// What a call cost is decided by pricing.Charge from the price that the
// reservation's token pinned, never from today's catalog; only another model that
// answered in its place is looked up there. Nothing is released without proof
// that nothing was sent.
package accounting
