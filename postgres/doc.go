// Package postgres knows the PostgreSQL in which several gateways will share their
// budgets. So far it says whether a database would do: nothing depends on one yet.
package postgres
