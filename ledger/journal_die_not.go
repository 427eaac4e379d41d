//go:build !(faults && unix)

package ledger

// dieAt is for tests; see journal_die.go.
func dieAt() func(step int) { return nil }
