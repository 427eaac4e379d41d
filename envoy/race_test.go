//go:build race

package envoy_test

// raceDetector says that this binary looks for races.
const raceDetector = true
