// Package e2e drives the built binary and a real Envoy from outside, on
// loopback, against package fakeprovider, and compares the provider's bill
// with our ledger. It is tests only; sdk holds scripts for the unmodified
// client SDKs, bench measures the cost of a request in CPU time, and clients runs
// real agents and libraries.
//
// The tests need the pinned Envoy and the SDKs. Without them they fail and say
// which command installs them; they never skip.
package e2e
