// Command bench measures what a call costs in CPU time: Envoy alone, Envoy with
// an ext_authz server that always says yes, and a whole aigateway, side by
// side in one run, with 100,000 budgets and then with a million settled calls.
// It prints a table; `make bench` runs it.
package main
