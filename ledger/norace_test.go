//go:build !race

package ledger

const RaceDetector = false
