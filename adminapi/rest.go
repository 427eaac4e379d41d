package adminapi

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/apierror"
	"aigateway/budget"
)

//go:embed openapi.json
var openAPI []byte

// rest is the HTTP door. It checks a request as strictly as the rpc's message
// allows, then hands it to the gateway with nothing but what was checked.
type rest struct {
	auth    Authenticator
	log     *slog.Logger
	routes  []route
	gateway *runtime.ServeMux
	usage   aigatewayv1.UsageServiceClient
	models  aigatewayv1.ModelServiceClient
	static  map[string]http.Handler // GET of exactly this path
	large   turns                   // bodies over maxBodyBytes
}

func newREST(c Config, conn *grpc.ClientConn) (http.Handler, error) {
	routes, err := routesOf()
	if err != nil {
		return nil, err
	}
	h := &rest{auth: c.Auth, log: c.Log, routes: routes, usage: aigatewayv1.NewUsageServiceClient(conn), models: aigatewayv1.NewModelServiceClient(conn), static: map[string]http.Handler{
		"/openapi.json": http.HandlerFunc(serveOpenAPI),
		"/healthz":      http.HandlerFunc(serveHealth),
		"/readyz":       serveReady(c.Ready),
	}}
	if c.Gatherer != nil {
		h.static["/metrics"] = h.metrics(promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	}
	plain := newNumbers()
	h.gateway = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, plain),
		runtime.WithMarshalerOption(csvType, &csvMarshaler{plain}),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }), // Authorization passes anyway
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithForwardResponseOption(func(_ context.Context, w http.ResponseWriter, m proto.Message) error {
			if report, ok := m.(*aigatewayv1.QueryUsageResponse); ok { // which may be CSV
				tellAsOf(w.Header(), report)
			}
			return nil
		}),
		runtime.WithErrorHandler(h.gatewayError),
		runtime.WithRoutingErrorHandler(h.routingError),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
	)
	for _, svc := range services() {
		if err := svc.rest(context.Background(), h.gateway, conn); err != nil {
			return nil, fmt.Errorf("register REST routes: %w", err)
		}
	}
	return h, nil
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI)
}

// metrics serves the counters of everybody's calls to keys that may read
// everybody's usage. Prometheus sends one with authorization.credentials_file.
func (h *rest) metrics(serve http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, err := authenticate(h.auth, r.Header.Values("Authorization"), r.Header.Values("X-Api-Key"))
		if err == nil && (!key.Has(budget.ScopeUsage) || len(key.AllowedTags) > 0) {
			err = &budget.Error{
				Kind: budget.KindPermission, Reason: "scope_missing",
				Message: "metrics count every tag; this needs a key with the scope usage that is not limited to tags",
			}
		}
		if err != nil {
			writeError(w, r, apierror.From(err))
			return
		}
		serve.ServeHTTP(w, r)
	}
}

func (h *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // an answer that cannot be finished
		} else if p != nil {
			h.log.Error("REST request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			writeError(w, r, apierror.From(fmt.Errorf("panic: %v", p)))
		}
	}()
	w.Header().Set("Cache-Control", "no-store") // answers hold keys and money
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if static, ok := h.static[r.URL.Path]; ok && r.Method == http.MethodGet {
		static.ServeHTTP(w, r)
		return
	}
	if path, ok := strings.CutSuffix(r.URL.Path, "/"); ok && strings.HasPrefix(path, "/v1/") { // some clients end every path so
		plain := *r.URL
		plain.Path, plain.RawPath = path, ""
		r = r.WithContext(r.Context())
		r.URL = &plain
	}
	if r.Method == http.MethodHead && ofModels(r.URL.Path) { // the server leaves the body out
		r = r.Clone(r.Context())
		r.Method = http.MethodGet
	}
	if r.Method == http.MethodGet && asAnthropic(r) {
		h.serveAnthropic(w, r)
		return
	}
	for i := range h.routes {
		if h.routes[i].match(r.Method, r.URL.Path) {
			h.serve(w, r, &h.routes[i])
			return
		}
	}
	writeError(w, r, apierror.RouteUnknown(clip(r.Method), r.URL.Path))
}

// serve checks r in the order in which a client can mend it: key, path and
// query, body. The interceptor behind the gateway authenticates again; here it
// keeps strangers from having their bodies read.
func (h *rest) serve(w http.ResponseWriter, r *http.Request, rt *route) {
	bearers, apiKeys := r.Header.Values("Authorization"), r.Header.Values("X-Api-Key")
	key, err := authenticate(h.auth, bearers, apiKeys)
	if err != nil {
		writeError(w, r, apierror.From(err))
		return
	}
	if !utf8.ValidString(r.URL.Path) {
		writeError(w, r, apierror.RouteUnknown(r.Method, r.URL.Path))
		return
	}
	query, err := rt.readQuery(r)
	if err != nil {
		writeError(w, r, apierror.From(err))
		return
	}
	if rt.limit > maxBodyBytes && (r.ContentLength < 0 || r.ContentLength > maxBodyBytes) {
		leave, err := h.large.enter(key.ID, mostExplained)
		if err != nil {
			writeError(w, r, apierror.From(err))
			return
		}
		defer leave()
	}
	body, err := rt.readBody(w, r)
	if err != nil {
		writeError(w, r, apierror.From(err))
		return
	}
	if len(bearers) == 0 { // the gateway passes this header on, and no other
		bearers = []string{"Bearer " + apiKeys[0]}
	}
	if rt.byTag {
		h.streamByTag(w, r, bearers[0], query)
		return
	}
	header := http.Header{"Authorization": bearers}
	if rt.csv {
		csv, err := wantsCSV(r, query[formatParam])
		if err != nil {
			writeError(w, r, apierror.From(err))
			return
		}
		if csv {
			header.Set("Accept", csvType)
		}
		query.Del(formatParam)
	}
	h.gateway.ServeHTTP(w, inner(r, header, query, body))
}

// inner is the request as the gateway gets it. Only what was checked passes:
// other headers could set metadata, deadlines or encodings.
func inner(r *http.Request, header http.Header, query url.Values, body []byte) *http.Request {
	in := (&http.Request{
		Method: r.Method,
		// RawPath stays empty: the gateway then reads the decoded path, too.
		URL:   &url.URL{Path: r.URL.Path, RawQuery: query.Encode()},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}).WithContext(r.Context())
	if id := r.Header.Get("X-Request-Id"); id != "" {
		in.Header.Set("X-Request-Id", id) // for the error envelope only
	}
	return in
}

func (h *rest) gatewayError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	e := errorOf(err)
	if e.Kind == budget.KindInternal && e.Err != nil { // not from an rpc, so not logged there
		h.log.ErrorContext(ctx, "REST gateway failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeError(w, r, e)
}

func (h *rest) routingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, _ int) {
	writeError(w, r, apierror.RouteUnknown(r.Method, r.URL.Path))
}

func writeError(w http.ResponseWriter, r *http.Request, e *budget.Error) {
	dialect := apierror.OpenAI
	if asAnthropic(r) {
		dialect = apierror.Anthropic
	}
	body := apierror.Body(dialect, e, requestID(r))
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if retry, ok := apierror.RetryHeader(e); ok {
		header.Set("X-Should-Retry", retry)
	}
	if after, ok := apierror.RetryAfter(e); ok {
		header.Set("Retry-After", after)
	}
	if e.Kind == budget.KindUnauthenticated {
		header.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(apierror.Status(e))
	_, _ = w.Write(body)
}

// requestID is Envoy's id of the call; another client's may be anything and is
// repeated only if it is short and plain.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) > 128 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ""
	}
	return id
}
