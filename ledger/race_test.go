//go:build race

package ledger

// raceDetector says that everything is some ten times slower.
const raceDetector = true
