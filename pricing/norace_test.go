//go:build !race

package pricing_test

const searches = 10
