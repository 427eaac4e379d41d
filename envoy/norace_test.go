//go:build !race

package envoy_test

const raceDetector = false
