// Package gatewayconfig turns our one configuration file into one consistent
// xDS snapshot and serves it to Envoy over ADS: clusters with verified TLS,
// routes, and the providers' keys as secrets.
//
// Read is strict: an unknown key, a wrong type or a missing variable is an
// error with its line, and all errors of a file are reported together. Render
// is a pure function of a Config; Server hands its result to every connected
// Envoy and knows what they accepted; Watcher re-reads the file when it or a
// file it names changes. It knows nothing of budgets and understands no price:
// the rows under "models" go to package pricing as YAML, and come back as the
// Catalog that is checked and in force with the rest. cmd/aigateway is its only
// caller.
package gatewayconfig
