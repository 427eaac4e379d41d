// Command aigateway is the program: it serves the gateway (run, serve, demo),
// talks to a running one over REST (budgets, keys, usage, reservations) and
// answers questions offline (explain, config, catalog, envoy, version).
//
// It is the only package that knows all others; everything else is handed
// what it needs. Data goes to standard output, notes and errors to standard
// error. Exit codes: 0 done, 1 failed, 2 wrong usage.
package main
