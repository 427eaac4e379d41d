// Package pgtest runs PostgreSQL servers of a test's own: on a Unix socket, as a
// user without rights, from the pinned package on PyPI.
package pgtest
