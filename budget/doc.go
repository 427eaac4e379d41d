// Package budget is the domain: money, tags, budgets and their windows, keys,
// reservations, settlements and the one error type.
//
// It holds values and pure rules only. It knows no protobuf, gRPC, HTTP, SQL,
// logging or clock; time enters as an argument. Every other package speaks in
// these types, so two of them never need to import each other.
package budget
