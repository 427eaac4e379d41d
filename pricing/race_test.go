//go:build race

package pricing_test

// searches is how often rapid draws its hundred cases where one is a whole call:
// the race detector makes each some twenty times slower.
const searches = 1
