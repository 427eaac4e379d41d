package envoy

// Version is the pinned Envoy release; a test keeps it equal to .envoy-version.
const Version = "1.40.0"

// MinVersion is the oldest Envoy that may be used: earlier ones have known
// holes in ext_authz.
const MinVersion = "1.39.1"

// Headers. Clients send HeaderTag; every name that starts with internalPrefix
// belongs to us and is stripped from what a client sends before any filter runs.
const (
	HeaderTag       = "x-aig-tag"
	HeaderRequestID = "x-request-id" // Envoy's own; a client's is discarded

	// HeaderBeta switches on betas of Anthropic's API. No client's reaches a
	// provider as it is: routes put there what Check allowed of it.
	HeaderBeta = "anthropic-beta"

	// HeaderTraceParent is W3C's: the trace that a call is part of. It decides
	// nothing, and reaches the provider.
	HeaderTraceParent = "traceparent"

	internalPrefix = "x-aig-int-"
	// HeaderUpstream is set by Check to the provider's name; Envoy then matches
	// its routes again, on this header.
	HeaderUpstream = internalPrefix + "upstream"
	// HeaderEdit is set by Check, to EncodeEdits, whenever the body has edits. The
	// Lua filter removes it after the splice; a request that still has it is refused.
	HeaderEdit = internalPrefix + "edit"
	// headerAnswer is on a provider's answer from its cluster's AnswerFilter to the
	// Lua filter, which removes it; filterGuard does where the script fails.
	headerAnswer = internalPrefix + "answer"
)

// Response headers that clients see.
const (
	HeaderClientRequestID   = "x-aig-request-id"
	HeaderBoundUSD          = "x-aig-bound-usd"
	HeaderRemainingUSD      = "x-aig-remaining-usd"
	HeaderReservedUSD       = "x-aig-reserved-usd"
	HeaderInjectedMaxTokens = "x-aig-injected-max-tokens"
	// HeaderInjectedMaxToolCalls is the limit put into the body for tools that the
	// provider runs: max_tool_calls, or max_uses of each without one.
	HeaderInjectedMaxToolCalls = "x-aig-injected-max-tool-calls"
	HeaderWaitedMS             = "x-aig-waited-ms" // how long the call waited for running ones
	HeaderShouldRetry          = "x-should-retry"
)

// Dynamic metadata namespaces. The first is fixed by Envoy: what Check returns
// as dynamic metadata lands there. The second is the Lua filter's report.
const (
	NamespaceDecision = "envoy.filters.http.ext_authz"
	NamespaceReport   = "aig"
)

// ContextAPI is the ext_authz context extension that tells Check which API a
// route serves: the name of a pricing.Endpoint, or APIStored. Without it the path
// tells.
const ContextAPI = "api"

// ContextStep is the context extension that is StepKey where only the caller's
// key is to be judged, from the headers alone: FilterKey's question.
const (
	ContextStep = "step"
	StepKey     = "key"
)

// pathMessages is Anthropic's own API, where every error has its envelope.
const pathMessages = "/v1/messages"

// APIStored is the API of routes to a response that its provider stores, by its
// id. It has no body.
const APIStored = "stored_response"

// pathResponses is where some clients try a WebSocket first.
const pathResponses = "/v1/responses"

// Names of bootstrap resources. The three control clusters share one address:
// they differ in timeouts, health checks and what an outage of each may break.
const (
	listenerClients = "clients"
	clusterControl  = "aig_control" // delta ADS
	clusterAuthz    = "aig_authz"   // ext_authz Check
	clusterALS      = "aig_als"     // access-log stream, actively health checked
	ClusterREST     = "aig_rest"    // the REST gateway; delivered by CDS
	// ClusterGCPMetadata is Google's metadata server; delivered by CDS where a
	// provider needs it.
	ClusterGCPMetadata = "aig_gcp_metadata"

	// ClusterNone is one that there never is: where a call goes that Check has
	// named no provider for, or none that this Envoy has a route for.
	ClusterNone = "aig_none"

	// RouteConfig is the name of the one route configuration, delivered by RDS.
	RouteConfig = "aig"
	// LogName is the log_name of the access-log stream.
	LogName = "aig"
)

// HTTP filters of the client listener, in request order, for use as keys of a
// route's typed_per_filter_config.
//
// FilterStrip removes the client's credentials, cookies and x-aig-* headers and
// asks for an unencoded answer. It acts on every route, so that a route which
// forgets about it leaks nothing; a route to our own REST gateway, which needs
// Authorization, must disable it with an
// envoy.config.route.v3.FilterConfig{disabled: true}. FilterLua and FilterAuthz
// are switched off there the same way (FilterLua merely costs time: without
// HeaderEdit and headerAnswer it touches nothing). ClusterREST is still protected
// from forged x-aig-int-* headers, which the connection manager removes early.
//
// FilterCORS is off unless a route has a policy. It answers preflights, which have
// no key, and marks answers for pages that may read them, ours as providers'. Only
// routes to clusters can have one.
//
// FilterKey is off unless a route has a configuration for it. It asks for the
// caller's key before the body is read: a stranger's large body would otherwise
// be held in memory until it is complete, and FilterAuthz asked.
//
// FilterGCP adds Google's access tokens where a route's cluster asks for them in
// its metadata; routes to other clusters switch it off, which saves its time.
//
// Every route that ends in a provider, and the undecided one Check sees first,
// needs request_body_buffer_limit = BootstrapConfig.MaxBodyBytes + EditRoom:
// the body must be held whole for Check and for the splice, and may grow by it.
// (FilterAuthz refuses what is longer than MaxBodyBytes.)
const (
	filterGuard   = "aig.guard"
	filterAddress = "aig.address" // only where AddressRate is set
	FilterCORS    = "envoy.filters.http.cors"
	FilterKey     = "aig.key"
	FilterAuthz   = "envoy.filters.http.ext_authz"
	FilterLua     = "envoy.filters.http.lua"
	filterRBAC    = "envoy.filters.http.rbac"
	FilterStrip   = "envoy.filters.http.header_mutation"
	FilterGCP     = "envoy.filters.http.gcp_authn"
	filterRouter  = "envoy.filters.http.router"
)

// EditRoom is how many bytes the edits may add to the longest body.
const EditRoom = 4096

// File names in the data directory.
const (
	FileControlSocket = "control.sock"
	FileAdminSocket   = "envoy-admin.sock"
	FileBootstrap     = "envoy.json"
	FileSpool         = "access.jsonl" // the durable access log
	FileLog           = "envoy.log"    // Envoy's own log
)

// Limits of the Lua filter, in bytes. They are written into the script, and
// tests rely on them.
const (
	// maxCapture is the longest metadata value the filter reports, but for usage
	// objects; a longer one is absent.
	maxCapture = 8192
	// maxUsage is the longest usage object the filter reports. A longer one, up
	// to maxEvent, loses long texts, long arrays and deep nesting; one that is
	// still longer then is absent.
	maxUsage = 16384
	// maxEvent is the longest server-sent event the filter withholds, and so the
	// longest it strips.
	maxEvent = 256 << 10
)
