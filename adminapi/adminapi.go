package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"aigateway/budget"
)

// Authenticator finds the key of a secret. It is called on every request, by
// many goroutines; its errors are *budget.Error of kind unauthenticated.
type Authenticator interface {
	Authenticate(secret string) (*budget.Key, error)
}

// Condition is one part of the gateway and why it is not ready; a nil Err is
// ready. Warning is what somebody should look at though calls are served.
type Condition struct {
	Name         string
	Err, Warning error
}

// Config is what the services need. Every field without "may be nil" is
// required.
type Config struct {
	Auth         Authenticator
	Keys         KeyStore
	Budgets      BudgetStore
	History      BudgetHistory
	Usage        UsageReader
	AsOf         func(ctx context.Context) (budget.AsOf, error) // how complete Usage is that is read after it; may be nil: it is
	Calls        CallReader
	Refusals     RefusalReader // may be nil: none are remembered
	Refused      RefusedReader // may be nil: none are counted
	Reservations ReservationReader
	Adjustments  AdjustmentStore
	Bills        BillStore
	Audit        AuditReader
	State        StateReader
	Providers    func() []budget.ProviderState // may be nil: none are told of
	Explainer    Explainer                     // may be nil: nothing can be explained
	Catalog      func() Catalog
	Now          func() time.Time
	Zone         *time.Location        // of months and budgets without a time zone of their own; nil is UTC
	Ready        func() []Condition    // may be nil: always ready
	Peers        Peers                 // may be nil: this gateway is alone
	Gatherer     prometheus.Gatherer   // for /metrics; may be nil: no such path
	Metrics      prometheus.Registerer // may be nil: no metrics of this package
	Log          *slog.Logger
}

func (c *Config) check() error {
	switch {
	case c.Auth == nil, c.Keys == nil, c.Budgets == nil, c.History == nil, c.Usage == nil, c.Calls == nil, c.Reservations == nil, c.Adjustments == nil, c.Bills == nil, c.Audit == nil, c.State == nil:
		return errors.New("adminapi: a store is missing")
	case c.Catalog == nil, c.Now == nil, c.Log == nil:
		return errors.New("adminapi: Catalog, Now or Log is missing")
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Ready == nil {
		c.Ready = func() []Condition { return nil }
	}
	return nil
}

// self is this gateway's id among its peers; "" where it is alone.
func (c *Config) self() string {
	if c.Peers == nil {
		return ""
	}
	return c.Peers.Self()
}

// Server is both doors of the admin API.
type Server struct {
	cfg   Config
	kinds map[string]answerer
	grpc  *grpc.Server
	pipe  *pipeListener
	conn  *grpc.ClientConn
	rest  http.Handler
}

const (
	maxRequestBytes = 9 << 20  // a gRPC request, which may hold a call to explain; REST bodies are limited to maxBodyBytes
	maxHeaderBytes  = 64 << 10 // of a gRPC request
	maxStreams      = 1000     // of one connection at once
	maxAnswerBytes  = 64 << 20 // between the REST door and our own server: the largest report
)

// New returns a server whose REST door works at once and whose gRPC door works
// when the caller serves GRPC() on a port. Close it to release both.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	calls, err := newCalls(c)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: c, kinds: kinds(&c), pipe: newPipeListener()}
	door := newDoor(calls)
	s.grpc = grpc.NewServer(
		grpc.InTapHandle(door.tap),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(10*time.Second), // until it speaks HTTP/2
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(calls.unary),
		grpc.StreamInterceptor(calls.stream),
	)
	for _, svc := range services() {
		s.grpc.RegisterService(svc.desc, svc.serve(&c))
	}
	healthpb.RegisterHealthServer(s.grpc, &healthService{ready: c.Ready})
	reflection.Register(s.grpc)
	door.knows(s.grpc)

	s.conn, err = grpc.NewClient("passthrough:///adminapi",
		grpc.WithContextDialer(s.pipe.dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the pipe does not leave the process
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
	)
	if err != nil {
		return nil, fmt.Errorf("dial own server: %w", err)
	}
	s.rest, err = newREST(c, s.conn)
	if err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	go func() {
		if err := s.grpc.Serve(s.pipe); err != nil {
			c.Log.Error("in-memory gRPC server ended", "error", err)
		}
	}()
	return s, nil
}

// GRPC is the gRPC server, with health and reflection. The caller may serve it
// on any number of listeners and may stop it gracefully; then REST ends, too.
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// REST is the HTTP door: /v1/…, /openapi.json, /healthz, /readyz, and /metrics,
// which needs a key as all of /v1 does.
func (s *Server) REST() http.Handler { return s.rest }

// Close ends both doors at once; calls that are running fail.
func (s *Server) Close() error {
	err := s.conn.Close()
	s.grpc.Stop()
	return err
}
