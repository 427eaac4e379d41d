package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
)

// drainTimeout is how long running calls get after SIGTERM before they are cut.
const drainTimeout = 30 * time.Second

// Close stops in the reverse order of the start: Envoy first, for it talks to
// everything else; the ledger last, once both log channels have had their say.
func (c *controlPlane) Close(ctx context.Context) error {
	var errs []error
	if c.envoy != nil {
		errs = append(errs, c.drainEnvoy(ctx))
	}
	if c.rest != nil {
		shutdown, cancel := context.WithTimeout(ctx, 5*time.Second)
		errs = append(errs, c.rest.Shutdown(shutdown))
		cancel()
	}
	if c.admin != nil {
		errs = append(errs, c.admin.Close())
	}
	if c.xds != nil {
		c.xds.Close()
	}
	if c.control != nil {
		gracefulStop(c.control, 2*time.Second)
	}
	if c.stopSpool != nil {
		c.stopSpool()
		<-c.spoolDone
	}
	if c.ledger != nil {
		errs = append(errs, c.closeLedger(ctx))
	}
	for _, l := range []net.Listener{c.controlL, c.restL, c.adminL} {
		if l != nil {
			l.Close() // mostly closed already by the server on it
		}
	}
	return errors.Join(errs...)
}

// closeLedger says once why the ledger failed, now or before: what fails in
// closing it then has the same cause.
func (c *controlPlane) closeLedger(ctx context.Context) error {
	err := c.ledger.Close(ctx)
	if failed := c.ledger.Failed(); failed != nil {
		return fmt.Errorf("the ledger in %s stopped: %w", c.cfg.DataDir, failed)
	}
	return err
}

func (c *controlPlane) drainEnvoy(ctx context.Context) error {
	cut, err := c.envoy.Drain(ctx, drainTimeout)
	if cut > 0 {
		c.log.Warn("calls were still running and were cut; they are charged by their evidence", "calls", cut, "waited", drainTimeout)
	}
	return errors.Join(err, c.envoyLog.Close())
}

// gracefulStop lets the last log batch arrive, but does not wait for an Envoy
// that holds its streams open.
func gracefulStop(s *grpc.Server, wait time.Duration) {
	timer := time.AfterFunc(wait, s.Stop)
	defer timer.Stop()
	s.GracefulStop()
}
