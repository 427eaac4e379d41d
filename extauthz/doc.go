// Package extauthz answers Envoy's external authorization calls: a request's
// headers and body in, a decision out.
//
// A yes means that the call's worst-case cost is reserved on every budget that
// watches it; it carries the provider to route to, the edits of the body and a
// sealed token that the access log brings back. Everything that is not a clear
// yes is a refusal in the error envelope: the package fails closed.
//
// It does no I/O and keeps no state of its own. It knows no ledger: what it
// needs of one is written down as Authenticator and Reserver.
package extauthz
