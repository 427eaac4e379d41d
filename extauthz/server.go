package extauthz

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/pricing"
)

// Authenticator finds the key behind a secret. It is called once a request and
// must answer from memory. An unknown or expired secret is a *budget.Error; the
// key is shared and never written to.
type Authenticator interface {
	Authenticate(secret string) (*budget.Key, error)
}

// Reserver sets a call's bound aside on every budget that matches, or on none.
// It does no I/O while a caller waits, is safe for concurrent use, gives the
// same answer to the same request id, and refuses with a *budget.Error. After
// a nil error the money is held until the call's access log settles it.
type Reserver interface {
	Reserve(ctx context.Context, r budget.Request) (budget.Reservation, error)
	// Defaults are the smallest that the budgets of a call have. It answers from
	// memory.
	Defaults(tag budget.Tag, keyID string) budget.Defaults
	// Watched reports whether any budget watches a call. It answers from memory.
	Watched(tag budget.Tag, keyID string) bool
}

// Settled knows what earlier answers can amount to. It answers from memory and
// is safe for concurrent use.
type Settled interface {
	// Tokens is the most input tokens that names together can amount to in a call
	// of the model with the key; false when some of them may be anything. whole
	// says that the reasoning of all turns counts, whatever a turn left out.
	Tokens(keyID, model string, names []pricing.StoredName, whole bool) (int64, bool)
	// Foreign reports whether the provider is known to have given the id to an
	// answer, or a part of one, of another key.
	Foreign(keyID, provider, id string) bool
}

// Config is what a Server works with; those without a word on their zero value are required.
type Config struct {
	Keys    Authenticator
	Ledger  Reserver
	Catalog func() *pricing.Catalog // the catalog in force now; it may be reloaded
	Sealer  *envoy.Sealer
	Now     func() time.Time
	Log     *slog.Logger // failures of ours only; a refusal is a normal answer
	Metrics prometheus.Registerer
	// Betas are the values of anthropic-beta that a provider may get; nil: none.
	Betas func(provider string) []string
	// BodyMemory is how many bytes of bodies over 64 KiB are held at once, being
	// decided or waiting for that; 0: 256 MiB.
	BodyMemory int64
	// MaxWait is how long a call may wait where only running calls stand in its
	// way; a key may have less. 0: not at all.
	MaxWait time.Duration
	// MinInsertedCap is the least output cap, in tokens, that takes the place of
	// an inserted one that does not fit; 0: none does.
	MinInsertedCap int64
	// Settled bounds what a body only names; nil: nothing was settled.
	Settled Settled
	// Origins finds responses by their ids; nil: none is found.
	Origins Origins
	// Refusals remembers calls that were refused; nil: nothing does.
	Refusals *Refusals
	// Told gets each decision; nil: nobody does. It must not wait.
	Told func(Decided)
}

// Server decides calls. It is safe for concurrent use.
type Server struct {
	keys     Authenticator
	ledger   Reserver
	catalog  func() *pricing.Catalog
	sealer   *envoy.Sealer
	now      func() time.Time
	log      *slog.Logger
	metrics  metrics
	betas    func(provider string) []string
	bodies   *bodies
	memory   *pricing.Memory
	settled  Settled   // may be nil
	origins  Origins   // may be nil
	refusals *Refusals // may be nil
	told     func(Decided)
	maxWait  time.Duration
	minCap   int64

	requests sync.Pool // of *request, released
}

// New returns a Server that counts into c.Metrics; the error is a metric of
// another meaning that is there already.
func New(c Config) (*Server, error) {
	metrics, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	if c.Betas == nil {
		c.Betas = func(string) []string { return nil }
	}
	bodies := newBodies(c.BodyMemory)
	memory, err := pricing.NewMemory(min(bodies.most/4, mostRemembered))
	if err != nil {
		return nil, err
	}
	return &Server{
		betas: c.Betas, bodies: bodies, memory: memory, settled: c.Settled, origins: c.Origins, refusals: c.Refusals, told: c.Told,
		maxWait: c.MaxWait, minCap: c.MinInsertedCap,
		keys: c.Keys, ledger: c.Ledger, catalog: c.Catalog, sealer: c.Sealer,
		now: c.Now, log: c.Log, metrics: metrics,
	}, nil
}

// Register adds the server to r, which must have been made with
// wire.ServerOptions. It serves the same method as
// authv3.RegisterAuthorizationServer, at a third of the cost: requests and
// answers are read and written without objects.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Check", Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			return s.serve(ctx, decode, intercept)
		}}},
		Metadata: authv3.Authorization_ServiceDesc.Metadata,
	}, s)
}

func (s *Server) serve(ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	in, ok := s.requests.Get().(*request)
	if !ok {
		in = new(request)
	}
	defer func() {
		in.Release()
		s.requests.Put(in)
	}()
	if err := decode(in); err != nil {
		return nil, fmt.Errorf("decode check request: %w", err)
	}
	if intercept == nil {
		return s.check(ctx, in), nil
	}
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: authv3.Authorization_Check_FullMethodName}
	return intercept(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
		return s.check(ctx, in), nil
	})
}
