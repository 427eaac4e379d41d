// Package ledgerfill puts budgets and settled calls into a data directory
// whose gateway is stopped, for benchmarks of one that has lived.
package ledgerfill
