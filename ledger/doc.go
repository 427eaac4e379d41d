// Package ledger keeps the money: it reserves a call's worst-case cost before
// the call is sent, settles it afterwards, and survives kill -9 without ever
// letting spent + reserved pass a budget's cap.
//
// Counters live in memory and decide without I/O; one goroutine commits what
// happened to SQLite behind them and keeps a durable high-water mark ahead of
// them. DESIGN.md has the rules and why they hold.
//
// It knows amounts, not prices, and neither Envoy nor protobuf. extauthz
// reserves, accounting settles, adminapi reads and edits, cmd opens and closes.
package ledger
