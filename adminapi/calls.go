package adminapi

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"aigateway/apierror"
	"aigateway/budget"
	"aigateway/metricset"
)

// calls is what every call passes through, whichever door it came by: it turns
// panics and errors into statuses, authenticates, and refuses unknown fields.
type calls struct {
	auth  Authenticator
	log   *slog.Logger
	total *prometheus.CounterVec
}

func newCalls(c Config) (*calls, error) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aig_api_requests_total",
		Help: "Calls of the admin API, over gRPC and REST, by method and gRPC code.",
	}, []string{"method", "code"})
	set := metricset.New(c.Metrics)
	set.Add(total)
	return &calls{auth: c.Auth, log: c.Log, total: total}, set.Done()
}

// open lists the services that need no key: they tell nothing that
// /openapi.json and /readyz do not.
func open(fullMethod string) bool {
	return strings.HasPrefix(fullMethod, "/grpc.health.v1.Health/") || strings.HasPrefix(fullMethod, "/grpc.reflection.")
}

func (c *calls) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	arrived(ctx)
	resp, err := c.call(ctx, req, info.FullMethod, handle)
	if err == nil {
		c.count(info.FullMethod, codes.OK)
		return resp, nil
	}
	if st, ok := status.FromError(err); ok && open(info.FullMethod) { // health's own statuses are its protocol
		c.count(info.FullMethod, st.Code())
		return nil, err
	}
	return nil, c.refuse(ctx, info.FullMethod, err)
}

// refuse counts and logs a call's error, and returns its status.
func (c *calls) refuse(ctx context.Context, method string, err error) error {
	e := apierror.From(err)
	if e.Kind == budget.KindInternal || e.Kind == budget.KindUnavailable {
		c.log.ErrorContext(ctx, "admin call failed", "method", method, "reason", apierror.Reason(e), "error", e)
	}
	st := statusOf(e)
	c.count(method, st.Code())
	return st.Err()
}

func (c *calls) count(method string, code codes.Code) {
	c.total.WithLabelValues(method, code.String()).Inc()
}

// call runs the handler with the caller's key in its context. A panic is a bug
// of one call; it must not end the process, which also decides on live traffic.
func (c *calls) call(ctx context.Context, req any, method string, handle grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, fmt.Errorf("panic in %s: %v\n%s", method, p, debug.Stack())
		}
	}()
	if open(method) {
		return handle(ctx, req)
	}
	key, err := c.caller(ctx)
	if err != nil {
		return nil, err
	}
	if err := authorize(key, method); err != nil {
		return nil, err
	}
	if m, ok := req.(proto.Message); ok {
		if err := refuseUnknown(m.ProtoReflect()); err != nil {
			return nil, err
		}
	}
	return handle(context.WithValue(ctx, keyContext{}, key), req)
}

// stream is unary for an rpc that answers with a stream.
func (c *calls) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if !info.IsClientStream { // reflection's stays where it is: more messages may come
		ss = &arrivingStream{ss}
	}
	err := c.callStream(srv, ss, info.FullMethod, handle)
	if open(info.FullMethod) {
		return err
	}
	switch {
	case err == nil:
		c.count(info.FullMethod, codes.OK)
		return nil
	case ss.Context().Err() != nil: // the client is gone
		st := status.FromContextError(ss.Context().Err())
		c.count(info.FullMethod, st.Code())
		return st.Err()
	}
	return c.refuse(ss.Context(), info.FullMethod, err)
}

func (c *calls) callStream(srv any, ss grpc.ServerStream, method string, handle grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %s: %v\n%s", method, p, debug.Stack())
			if open(method) {
				c.log.Error("admin stream panicked", "method", method, "error", err)
				err = statusOf(apierror.From(fmt.Errorf("panic in %s", method))).Err()
			}
		}
	}()
	if open(method) {
		return handle(srv, ss)
	}
	ctx := ss.Context()
	key, err := c.caller(ctx)
	if err != nil {
		return err
	}
	if err := authorize(key, method); err != nil {
		return err
	}
	return handle(srv, &keyedStream{ss, context.WithValue(ctx, keyContext{}, key)})
}

// keyedStream is a stream whose context has the caller's key.
type keyedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *keyedStream) Context() context.Context { return s.ctx }

// RecvMsg refuses unknown fields, as call does.
func (s *keyedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if m, ok := m.(proto.Message); ok {
		return refuseUnknown(m.ProtoReflect())
	}
	return nil
}

// caller is the key in a call's metadata.
func (c *calls) caller(ctx context.Context) (*budget.Key, error) {
	return authenticate(c.auth, metadata.ValueFromIncomingContext(ctx, "authorization"), metadata.ValueFromIncomingContext(ctx, "x-api-key"))
}

// authenticate reads "Authorization: Bearer sk-aig-…" or "x-api-key: sk-aig-…".
// Both may be sent where they hold the same key. bearers and apiKeys are all
// values that were sent: of two in one header, we would have to guess which one
// is meant. A browser never adds either header by itself, so a page elsewhere
// cannot act with its visitor's rights.
func authenticate(auth Authenticator, bearers, apiKeys []string) (*budget.Key, error) {
	const remedy = "; send one header: Authorization: Bearer " + budget.KeyPrefix + "…"
	switch {
	case len(bearers) > 1:
		return nil, budget.KeyRepeated("Authorization")
	case len(apiKeys) > 1:
		return nil, budget.KeyRepeated("x-api-key")
	case len(apiKeys) == 0 && (len(bearers) == 0 || bearers[0] == ""):
		return nil, unauthenticated("key_missing", "no key was sent"+remedy)
	case len(bearers) == 0:
		return authenticateIn(auth, "x-api-key", apiKeys[0], apiKeys[0])
	}
	scheme, secret, ok := strings.Cut(bearers[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		secret = "" // no key of this gateway, nor the same as another
	}
	secret = strings.Trim(secret, " ") // RFC 9110 allows several behind the scheme
	if len(apiKeys) == 1 && !budget.SameKey([]byte(secret), []byte(apiKeys[0])) {
		return nil, unauthenticated("key_invalid", "Authorization and x-api-key were sent with different keys"+remedy)
	}
	return authenticateIn(auth, "Authorization", bearers[0], secret)
}

// authenticateIn finds the key whose secret stood in a header of that value.
func authenticateIn(auth Authenticator, header, value, secret string) (*budget.Key, error) {
	err := error(&budget.Error{
		Kind: budget.KindUnauthenticated, Reason: "key_invalid", Field: strings.ToLower(header),
		Message: "the " + header + " header holds no key of this gateway; its keys start with " + budget.KeyPrefix +
			"; send one header: Authorization: Bearer " + budget.KeyPrefix + "…",
	})
	if strings.HasPrefix(secret, budget.KeyPrefix) {
		var key *budget.Key
		if key, err = auth.Authenticate(secret); err == nil {
			return key, nil
		}
	}
	return nil, budget.KeyRefusal(err, header, value)
}

func unauthenticated(reason, message string) *budget.Error {
	return &budget.Error{Kind: budget.KindUnauthenticated, Reason: reason, Field: "authorization", Message: message}
}

func authorize(key *budget.Key, method string) error {
	scopes, ok := scopesOf(method)
	if !ok {
		return apierror.RouteUnknown("rpc", method)
	}
	may := func(s budget.Scope) bool { return s == "" || key.Has(s) }
	if !slices.ContainsFunc(scopes, may) {
		return &budget.Error{
			Kind: budget.KindPermission, Reason: "scope_missing",
			Message: fmt.Sprintf("this needs a key with the scope %s; ask an admin for one", scopes[0]),
		}
	}
	if slices.Equal(scopes, []budget.Scope{budget.ScopeAdmin}) {
		return seesAll(key) // or a key for some tags would make itself one for all
	}
	return nil
}

// refuseUnknown refuses fields of a newer API: silently dropping one could
// change what the call means.
func refuseUnknown(m protoreflect.Message) error {
	if len(m.GetUnknown()) > 0 {
		return budget.Invalid("unknown_field", "", fmt.Sprintf("%s has a field that this server does not know; update the server or leave the field out", m.Descriptor().FullName()))
	}
	var err error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Message() != nil && !fd.IsList() && !fd.IsMap() {
			err = refuseUnknown(v.Message())
		}
		return err == nil
	})
	return err
}

type keyContext struct{}

// caller is the key that call authenticated. Only handlers behind it ask.
func author(key *budget.Key, req interface{ GetReason() string }) budget.Author {
	return budget.Author{Actor: key.ID, Reason: req.GetReason()}
}

func caller(ctx context.Context) *budget.Key {
	if k, ok := ctx.Value(keyContext{}).(*budget.Key); ok {
		return k
	}
	return &budget.Key{} // no scopes; unreachable behind the interceptor
}
