// Package wire is what Envoy and the control plane say to each other, in bytes:
// the codec and the options of the gRPC server that Envoy calls, and readers of
// the two messages it sends, a Check request and an access log entry, as plain
// structs. It decides nothing: extauthz and accounting do.
package wire
