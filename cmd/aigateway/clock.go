//go:build !faults

package main

import "time"

// clockOf is the machine's clock; see clock_faults.go.
func clockOf(func(string) string) func() time.Time { return time.Now }
