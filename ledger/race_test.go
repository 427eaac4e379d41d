//go:build race

package ledger

// RaceDetector says that this binary looks for races.
const RaceDetector = true
