package main

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"

	"aigateway/internal/noopauthz"
)

// serveNoop is another process of this command, so that its CPU time can be
// told apart.
func serveNoop(ctx context.Context, role, address string) error {
	var server *grpc.Server
	switch role {
	case "stock":
		server = noopauthz.Stock()
	case "tuned":
		tuned, err := noopauthz.Tuned()
		if err != nil {
			return err
		}
		server = tuned
	default:
		return fmt.Errorf("role %q is neither stock nor tuned", role)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	return server.Serve(l)
}
