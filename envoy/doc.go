// Package envoy is what the control plane and Envoy agree on: header, filter,
// cluster and metadata names, the codec of what travels in dynamic metadata,
// the sealed reservation token, the two access-log forms, the Lua filter and
// the bootstrap that puts them together. It also finds, installs, starts and
// drains the pinned Envoy binary.
//
// It decides nothing about money and serves nothing. extauthz encodes with it,
// accounting decodes, gatewayconfig names its resources after it, cmd runs it.
package envoy
