// Package adminapi serves the gRPC services of aigateway.v1 (budgets, usage,
// calls, keys, models, open reservations) and the REST gateway in front of them.
//
// REST is grpc-gateway dialling our own gRPC server in memory, so both doors
// share authentication, validation and errors. It decides nothing about money:
// it checks what clients send, asks the ledger through the interfaces of
// Config, and shows the answer. cmd/aigateway wires it and opens the ports.
//
// A key limited to some tags is limited here, too: its reports and lists are
// filtered, naming another tag is 403, and another tag's budget is 404.
package adminapi
