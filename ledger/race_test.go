//go:build race

package ledger

// raceDetector says that this binary looks for races.
const raceDetector = true
