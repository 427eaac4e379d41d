//go:build !(faults && unix)

package ledger

// dieAt is for tests; see die.go.
func dieAt() func(step int) { return nil }
