// Package apierror is the one error envelope: the kinds of budget.Error as
// HTTP statuses, error types and JSON, in the dialect a client's SDK reads.
//
// It exists because the decision service and the admin API must send the same
// bytes for the same error and may not import each other. It is no transport:
// gRPC codes and Envoy's answer types are mapped where they are used.
package apierror
