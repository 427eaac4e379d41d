// Command bench measures what a call costs in CPU time: Envoy alone, Envoy with
// an ext_authz server that always says yes, Envoy with its rate limit service
// and Redis where PATH has both, a whole aigateway, and one with a store on a
// PostgreSQL that it installs and starts, side by side in one run: with bodies of
// several sizes, with a streamed answer, with 1,000 budgets and then with a
// million settled calls. It prints tables; `make bench` runs it.
package main
