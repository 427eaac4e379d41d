package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
)

// failedDrain is how long running calls get once the ledger has failed: nothing
// new is admitted until this process has started again.
const failedDrain = 30 * time.Second

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
	if c.telemetry != nil {
		flush, cancel := context.WithTimeout(ctx, 5*time.Second)
		c.telemetry.Close(flush)
		cancel()
	}
	if c.origins != nil {
		errs = append(errs, c.origins.Close())
	}
	errs = append(errs, c.shared.quit(ctx))
	if c.refused != nil && c.ledger != nil {
		c.refused.keep(ctx)
	}
	if c.ledger != nil {
		errs = append(errs, c.closeLedger(ctx))
	}
	errs = append(errs, c.shared.close(ctx, c.ledger != nil && c.ledger.Failed() == nil))
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

// drainEnvoy lets load balancers notice that this gateway goes, then clients
// end what they have begun.
func (c *controlPlane) drainEnvoy(ctx context.Context) error {
	c.stopping.Store(true)
	drain := c.cfg.Drain
	if c.ledger.Failed() != nil {
		drain.Accept, drain.Timeout = 0, min(drain.Timeout, failedDrain)
	}
	c.log.Info("stopping: not ready any more, and then running calls may end; a second signal ends this at once", "accept", drain.Accept, "timeout", drain.Timeout)
	select {
	case <-time.After(drain.Accept):
	case <-c.ledger.Stopped():
	case <-c.envoy.Done():
	}
	cut, err := c.envoy.Drain(ctx, drain.Timeout)
	if cut > 0 {
		c.log.Warn("calls were still running and were cut; they are charged by their evidence", "calls", cut, "waited", drain.Timeout)
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
