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

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// Authenticator finds the key of a secret. It is called on every request, by
// many goroutines; its errors are *budget.Error of kind unauthenticated.
type Authenticator interface {
	Authenticate(secret string) (*budget.Key, error)
}

// KeyStore keeps keys. Changes are durable before they return. Lists are in the
// order of ids, after the id given, at most limit long. All its errors are
// *budget.Error or internal; it is safe for concurrent use.
type KeyStore interface {
	CreateKey(ctx context.Context, k budget.Key, by budget.Author) (key budget.Key, secret string, err error)
	GetKey(id string) (budget.Key, error)
	ListKeys(after string, limit int) ([]budget.Key, error)
	DeleteKey(ctx context.Context, id string, by budget.Author) error
}

// BudgetStore keeps budgets, under the contract of KeyStore. SetBudget creates,
// or replaces by target and period. UpdateBudget fails with kind conflict if
// etag is neither empty nor the budget's; change may run more than once.
type BudgetStore interface {
	SetBudget(ctx context.Context, b budget.Budget, by budget.Author) (budget.Status, error)
	UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (budget.Status, error)
	GetBudget(id string) (budget.Status, error)
	ListBudgets(after string, limit int) ([]budget.Status, error)
	DeleteBudget(ctx context.Context, id, etag string, by budget.Author) error
}

// UsageReader reports settled calls. Rows come in any order.
type UsageReader interface {
	Usage(ctx context.Context, q budget.UsageQuery) ([]budget.UsageRow, error)
	// TagCosts is the report by tag of w, for the tags that a pattern selects;
	// the empty one selects all.
	TagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) ([]budget.TagCost, error)
}

// ReservationReader lists open reservations, oldest first, at most limit.
type ReservationReader interface {
	OpenReservations(limit int) []budget.Open
}

// AdjustmentStore books corrections of what was charged, under the contract of
// KeyStore. Adjust does nothing when its RequestID was used for the same
// adjustment, and fails with kind conflict when it was used for another.
type AdjustmentStore interface {
	Adjust(ctx context.Context, a budget.Adjustment, actor string) (budget.Adjustment, error)
	Adjustments(ctx context.Context, after string, limit int) ([]budget.Adjustment, error)
}

// AuditReader lists changes by administrators with ids above after, oldest
// first, at most limit.
type AuditReader interface {
	AuditLog(ctx context.Context, after int64, limit int) ([]budget.AuditEntry, error)
}

// Catalog is the price list in force.
type Catalog struct {
	Version   string    // hash of its content
	CheckedAt time.Time // day its newest price was checked; zero: unknown
	Models    []Model   // in the order to list them
}

// Model is a model that calls can name.
type Model struct {
	Slug      string // provider/model
	Provider  string
	CheckedAt time.Time // day its prices were checked; zero: unknown
}

// Condition is one part of the gateway and why it is not ready; a nil Err is
// ready.
type Condition struct {
	Name string
	Err  error
}

// Config is what the services need. Every field without "may be nil" is
// required.
type Config struct {
	Auth         Authenticator
	Keys         KeyStore
	Budgets      BudgetStore
	Usage        UsageReader
	Reservations ReservationReader
	Adjustments  AdjustmentStore
	Audit        AuditReader
	Explainer    Explainer // may be nil: nothing can be explained
	Catalog      func() Catalog
	Now          func() time.Time
	Zone         *time.Location        // of months and budgets without a time zone of their own; nil is UTC
	Ready        func() []Condition    // may be nil: always ready
	Gatherer     prometheus.Gatherer   // for /metrics; may be nil: no such path
	Metrics      prometheus.Registerer // may be nil: no metrics of this package
	Log          *slog.Logger
}

func (c *Config) check() error {
	switch {
	case c.Auth == nil, c.Keys == nil, c.Budgets == nil, c.Usage == nil, c.Reservations == nil, c.Adjustments == nil, c.Audit == nil:
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

// Server is both doors of the admin API.
type Server struct {
	cfg  Config
	grpc *grpc.Server
	pipe *pipeListener
	conn *grpc.ClientConn
	rest http.Handler
}

const (
	maxRequestBytes = 9 << 20  // a gRPC request, which may hold a call to explain; REST bodies are limited to maxBodyBytes
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
	s := &Server{cfg: c, pipe: newPipeListener()}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(calls.unary),
		grpc.StreamInterceptor(calls.stream),
	)
	aigatewayv1.RegisterBudgetServiceServer(s.grpc, &budgetService{keys: c.Keys, budgets: c.Budgets, zone: budgetZone(c.Zone)})
	aigatewayv1.RegisterUsageServiceServer(s.grpc, &usageService{usage: c.Usage, now: c.Now, zone: c.Zone})
	aigatewayv1.RegisterKeyServiceServer(s.grpc, &keyService{keys: c.Keys, now: c.Now})
	aigatewayv1.RegisterModelServiceServer(s.grpc, &modelService{catalog: c.Catalog, now: c.Now})
	aigatewayv1.RegisterReservationServiceServer(s.grpc, &reservationService{reservations: c.Reservations})
	aigatewayv1.RegisterAdjustmentServiceServer(s.grpc, &adjustmentService{adjustments: c.Adjustments})
	aigatewayv1.RegisterAuditServiceServer(s.grpc, &auditService{audit: c.Audit})
	aigatewayv1.RegisterExplainServiceServer(s.grpc, &explainService{explainer: c.Explainer})
	healthpb.RegisterHealthServer(s.grpc, &healthService{ready: c.Ready})
	reflection.Register(s.grpc)

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

// REST is the HTTP door: /v1/…, /openapi.json, /healthz, /readyz, /metrics.
func (s *Server) REST() http.Handler { return s.rest }

// Close ends both doors at once; calls that are running fail.
func (s *Server) Close() error {
	err := s.conn.Close()
	s.grpc.Stop()
	return err
}
