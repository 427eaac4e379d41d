// Package pricing turns a request body into the most it can cost, and a
// provider's usage report into what it did cost.
//
// It holds the price catalog, the strict request parser, the worst-case bound,
// the body edits and the usage extractors. It is pure: no network, no clock, no
// files but the embedded catalog; everything it returns may be shared between
// goroutines. Package extauthz calls it before a request is sent, package
// accounting after it ended; a pin carries the same price row from one to the
// other.
package pricing
