// Command clients runs real programs and client libraries, installed and
// unmodified, through the built gateway and a real Envoy before the fake
// provider, and prints a table of what each of them saw. install.sh installs
// them, at pinned versions, into bin/clients; sdks, a module of its own, has programs
// with the SDKs of Go.
//
// Every client does what its users do, under a tag with a budget: an answer, a
// stream, a call of a tool and its result, structured output, and a call that
// the budget refuses. A cell is wrong when the client's user did not see what
// was said, or when it was not asked for as the scenario tells: then the
// command ends with exit code 1, after the client's output.
//
// It needs the network to install, minutes to run, and programs that change
// weekly: it is no part of `make test`, whose bodies have the same shapes.
package main
