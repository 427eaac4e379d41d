// Package noopauthz is an ext_authz server that says yes without looking: the
// floor that the benchmarks measure a decision against.
package noopauthz
