// Package tcpproxy stands between a client and a server and does what networks do:
// it holds bytes back, in one direction or both, and cuts connections.
package tcpproxy
