package gatewayconfig

import (
	"net/url"
	pathpkg "path"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/envoy"
	"aigateway/pricing"
)

// Config is a configuration that is complete, checked and resolved: every
// default is filled in, every secret read, every path absolute. It is never
// changed after Read or Default returned it, so it may be shared.
type Config struct {
	// Path is the file it was read from; empty for Default.
	Path string

	// Fixed while the program runs: NeedsRestart names what differs.

	Listen       Listen
	DataDir      string         // absolute; not created here
	TimeZone     *time.Location // months of budgets and usage reports
	MaxBodyBytes int64          // of a client's request; 1 KiB to 32 MiB
	// MaxConnections are clients' connections at a time, and MaxStreams the
	// requests at a time on one HTTP/2 connection.
	MaxConnections, MaxStreams int64
	// AddressRate is how many requests per second one client address may send;
	// 0: any number.
	AddressRate int64
	// EnvoyMemory is what Envoy may use, in bytes; 0: half of what there is.
	EnvoyMemory int64
	Streams     Streams
	Drain       Drain
	// ReservationTimeout is how long a reservation without any sign of life is
	// held before its bound is charged; 1 minute to 24 hours.
	ReservationTimeout time.Duration
	// MaxWait is how long a call may wait where only running calls stand in its
	// way; 0 to 1 minute. MinInsertedCap is the least output cap, in tokens, that
	// is inserted for a call without one where its default does not fit; 0: only
	// the default is.
	MaxWait        time.Duration
	MinInsertedCap int64
	Retention      Retention
	Store          Store
	Envoy          Envoy
	AdminKey       Secret // empty: none configured
	LogFormat      string // text or json
	OTLP           OTLP
	OIDC           OIDC

	// Reloadable.

	Providers []Provider // sorted by name
	// AllowedOrigins are the web pages whose scripts may call models; empty: none.
	AllowedOrigins []string
	// Catalog is the built-in prices with PricesFile and the file's own models
	// on top, for Providers and calls as long as Streams lets them be.
	Catalog    *pricing.Catalog
	PricesFile string // absolute; empty: none
	// SystemCA is the CA bundle (PEM) that verifies providers without one of
	// their own; empty when no provider needs it.
	SystemCA []byte
	// AdminCA (PEM) signed Listen.AdminTLS, and AdminName is a name or address in
	// it: so Envoy knows the REST gateway. Empty without AdminTLS.
	AdminCA   []byte
	AdminName string
	// GCPMetadata is where Google's metadata server is, "host:port"; empty when
	// no provider needs it.
	GCPMetadata string

	sources sources // what it was read from, for the Watcher
}

// Digest is alike where the file and all it names are, so that gateways that
// should be configured alike can be compared.
func (c *Config) Digest() string { return c.sources.digest() }

// Listen is where the program listens. Clients and the rest are "host:port";
// Control and EnvoyAdmin may also be "unix:/path".
type Listen struct {
	Clients    string // Envoy: inference and REST, for clients
	REST       string // the REST gateway, reached through Envoy
	GRPC       string // the admin gRPC services
	Control    string // ext_authz, access logs and ADS, for Envoy only
	EnvoyAdmin string // Envoy's own admin interface
	// ControlGroup, by name or number, may use the socket Control besides this
	// user; empty: none.
	ControlGroup string
	ControlTLS   ControlTLS
	TLS          ServerTLS // of Clients
	AdminTLS     ServerTLS // of REST and GRPC
}

// ServerTLS is the certificate of a listener: the absolute paths of two files in
// PEM. Both are set, or none.
type ServerTLS struct{ CertFile, KeyFile string }

// Set reports whether there is one.
func (t ServerTLS) Set() bool { return t != ServerTLS{} }

// ControlTLS are the files, with absolute paths, by which the control plane and
// Envoy prove themselves to each other. All are set, or none.
type ControlTLS struct {
	CAFile                      string // signed both certificates
	CertFile, KeyFile           string // the control plane's
	EnvoyCertFile, EnvoyKeyFile string
}

// Set reports whether there are any.
func (t ControlTLS) Set() bool { return t != ControlTLS{} }

// Streams bounds a call to a provider.
type Streams struct {
	IdleTimeout time.Duration // without a byte in either direction; 1 s to 1 h
	MaxDuration time.Duration // whole answer; 1 s to 24 h
}

// Retention is how long the ledger keeps what happened.
type Retention struct {
	CallsDays   int64 // finished calls, one by one; 2 to 3650
	UsageMonths int64 // usage by the quarter of an hour, later by the day; 2 to 1200
}

// Store is the database through which gateways share their budgets. The zero
// Store is none: the budgets are this gateway's alone.
type Store struct {
	Postgres   Secret // a postgres:// URL
	Durability string // single_node, shared_storage or synchronous_standby
	// MaxStale is for how long an edit may be unknown here: a gateway that has not
	// reached the store for so long admits nothing on a budget; 5 s to 10 min.
	MaxStale time.Duration
	// ForgetAfter is the silence after which a gateway is forgotten and what it was
	// lent counts as spent; 2 × MaxStale to 720 h, or 0: only a person does that.
	ForgetAfter time.Duration
}

// Set reports whether there is one.
func (s Store) Set() bool { return s != Store{} }

// Drain is how `aigateway run` stops.
type Drain struct {
	Accept  time.Duration // still takes new connections, not ready any more; 0 to 10 min
	Timeout time.Duration // then running calls may end; 1 s to 24 h
}

// Envoy is how the Envoy child process is started.
type Envoy struct {
	Path        string // absolute, or empty: found or installed
	Concurrency int64  // worker threads; 0: one per CPU
}

// API is an inference endpoint a provider may offer; it is the value of the
// ext_authz context extension "api". Which there are is declared in pricing.
type API = pricing.Endpoint

// Provider is one upstream: where it is, how to authenticate there, and how it
// speaks.
type Provider struct {
	Name    string // first segment of a model's slug
	Preset  string
	BaseURL *url.URL // http or https, no user, query or fragment; Path without trailing slash
	APIKey  Secret   // empty: the upstream needs none, or one of the next three is set
	OAuth2  *OAuth2  // tokens that Envoy gets by client credentials
	AWS     *AWS     // requests that Envoy signs
	GCP     bool     // tokens of this machine's service account, from Google's metadata server
	Auth    Auth
	Headers []Header // sorted by name
	CA      []byte   // PEM that replaces Config.SystemCA; empty: not replaced
	APIs    []API
	// Endpoints are the APIs that differ from the usual: a path below BaseURL,
	// another way to send the key.
	Endpoints map[API]Endpoint
	// AllowedBetas are the values of anthropic-beta that reach it; others are
	// taken out, for a beta may change what is billed.
	AllowedBetas []string
	// Refuses says of APIs it has in a wire format that is not spoken here what to
	// do instead.
	Refuses map[string]string
	// Upstream is how it speaks, which decides bounds and costs.
	Upstream pricing.Upstream
}

// OAuth2 are client credentials (RFC 6749, section 4.4). Envoy gets a token with
// them, gets the next when half of its time is over, and sends it as a bearer.
type OAuth2 struct {
	TokenURL     *url.URL // https, or http on loopback
	ClientID     string
	ClientSecret Secret
	Scopes       []string
}

// AWS is how requests are signed, by Signature Version 4. Without keys Envoy
// looks for them where AWS's SDKs do: in its environment, in AWS's files, by the
// web identity, from the container's and from the machine's metadata.
type AWS struct {
	Region, Service                            string
	AccessKeyID, SecretAccessKey, SessionToken Secret
}

// Auth is how the key is sent, such as "authorization" and "Bearer ".
type Auth struct{ Header, Prefix string }

// Endpoint is where one API of a provider is and how its key is sent there.
type Endpoint struct {
	Path string // below BaseURL, with a leading slash
	Auth Auth
}

// endpoint is the way to one API.
func (p *Provider) endpoint(api API) Endpoint {
	if e, ok := p.Endpoints[api]; ok {
		return e
	}
	return Endpoint{Path: api.Path(), Auth: p.Auth}
}

// upstreamPath is where the provider has an API.
func (p *Provider) upstreamPath(api API) string {
	return pathpkg.Join(p.BaseURL.Path, p.endpoint(api).Path)
}

// Header is a fixed header on every request to a provider. It travels to Envoy
// as a secret, wherever its value came from: a literal one may be a key, and no
// configuration dump shows it.
type Header struct {
	Name  string // lower case
	Value Secret
}

// file is the shape of the YAML file. Its tags are the keys; schema.json
// describes the same and a test compares them.
type file struct {
	Listen     fileListen              `yaml:"listen"`
	DataDir    string                  `yaml:"data_dir"`
	TimeZone   string                  `yaml:"time_zone"`
	Providers  map[string]fileProvider `yaml:"providers"`
	PricesFile string                  `yaml:"prices_file"`
	Models     *yaml.Node              `yaml:"models"`
	// ProviderOrder is whose model a name without a provider means.
	ProviderOrder []string         `yaml:"provider_order"`
	Limits        fileLimits       `yaml:"limits"`
	Streams       fileStreams      `yaml:"streams"`
	Drain         fileDrain        `yaml:"drain"`
	Reservations  fileReservations `yaml:"reservations"`
	Retention     fileRetention    `yaml:"retention"`
	Store         *fileStore       `yaml:"store"`
	Envoy         fileEnvoy        `yaml:"envoy"`
	TLS           fileTLS          `yaml:"tls"`
	CORS          fileCORS         `yaml:"cors"`
	AdminKey      secretText       `yaml:"admin_key"`
	LogFormat     string           `yaml:"log_format"`
	OTLP          fileOTLP         `yaml:"otlp"`
	OIDC          *fileOIDC        `yaml:"oidc"`
}

type fileListen struct {
	Clients    string `yaml:"clients"`
	REST       string `yaml:"rest"`
	GRPC       string `yaml:"grpc"`
	Control    string `yaml:"control"`
	EnvoyAdmin string `yaml:"envoy_admin"`

	ControlGroup string         `yaml:"control_group"`
	ControlTLS   fileControlTLS `yaml:"control_tls"`
	TLS          fileServerTLS  `yaml:"tls"`
	AdminTLS     fileAdminTLS   `yaml:"admin_tls"`
}

type fileServerTLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

type fileAdminTLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	CAFile   string `yaml:"ca_file"`
}

type fileControlTLS struct {
	CAFile        string `yaml:"ca_file"`
	CertFile      string `yaml:"cert_file"`
	KeyFile       string `yaml:"key_file"`
	EnvoyCertFile string `yaml:"envoy_cert_file"`
	EnvoyKeyFile  string `yaml:"envoy_key_file"`
}

type fileLimits struct {
	MaxBodyBytes         byteSize `yaml:"max_body_bytes"`
	Connections          int64    `yaml:"connections"`
	StreamsPerConnection int64    `yaml:"streams_per_connection"`
	RequestsPerAddress   int64    `yaml:"requests_per_address"`
	EnvoyMemory          byteSize `yaml:"envoy_memory"`
}

type fileStreams struct {
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	MaxDuration time.Duration `yaml:"max_duration"`
}

type fileDrain struct {
	Accept  time.Duration `yaml:"accept"`
	Timeout time.Duration `yaml:"timeout"`
}

type fileReservations struct {
	Timeout        time.Duration `yaml:"timeout"`
	MaxWait        time.Duration `yaml:"max_wait"`
	MinInsertedCap int64         `yaml:"min_inserted_cap"`
}

type fileRetention struct {
	CallsDays   int64 `yaml:"calls_days"`
	UsageMonths int64 `yaml:"usage_months"`
}

type fileStore struct {
	Postgres    secretText    `yaml:"postgres"`
	Durability  string        `yaml:"durability"`
	MaxStale    time.Duration `yaml:"max_stale"`
	ForgetAfter time.Duration `yaml:"forget_after"`
}

type fileEnvoy struct {
	Path        string `yaml:"path"`
	Concurrency int64  `yaml:"concurrency"`
}

type fileCORS struct {
	AllowedOrigins []string `yaml:"allowed_origins"`
}

type fileTLS struct {
	CAFile string `yaml:"ca_file"`
}

// fileProvider has a pointer wherever the preset decides what absence means.
type fileProvider struct {
	Preset                 string                  `yaml:"preset"`
	BaseURL                string                  `yaml:"base_url"`
	APIKey                 *secretText             `yaml:"api_key"`
	AuthHeader             *string                 `yaml:"auth_header"`
	AuthPrefix             *string                 `yaml:"auth_prefix"`
	OAuth2                 *fileOAuth2             `yaml:"oauth2"`
	GCPMetadata            *bool                   `yaml:"gcp_metadata"`
	AWS                    *fileAWS                `yaml:"aws"`
	Headers                map[string]secretText   `yaml:"headers"`
	APIs                   []string                `yaml:"apis"`
	Endpoints              map[string]fileEndpoint `yaml:"endpoints"`
	AllowedBetas           []string                `yaml:"allowed_betas"`
	TLS                    fileTLS                 `yaml:"tls"`
	Dialect                *string                 `yaml:"dialect"`
	Extractor              *pricing.Extractor      `yaml:"extractor"`
	StreamUsage            *string                 `yaml:"stream_usage"`
	CapField               *string                 `yaml:"cap_field"`
	Honours                []string                `yaml:"honours"`
	RunningUsage           *bool                   `yaml:"running_usage"` // of older files; decides nothing
	CancelsOnDisconnect    *bool                   `yaml:"cancels_on_disconnect"`
	StreamsAllOutput       *bool                   `yaml:"streams_all_output"`
	MaxTokensPerSecond     *int64                  `yaml:"max_tokens_per_second"`
	DefaultTier            *string                 `yaml:"default_tier"`
	DefaultMaxTokens       *int64                  `yaml:"default_max_tokens"`
	DefaultMaxToolCalls    *int64                  `yaml:"default_max_tool_calls"`
	DefaultGeo             *string                 `yaml:"default_geo"`
	PriceMultiplier        *string                 `yaml:"price_multiplier"`
	InputBound             *string                 `yaml:"input_bound"`
	RequireMaxTokens       *bool                   `yaml:"require_max_tokens"`
	StrictBody             *bool                   `yaml:"strict_body"`
	DenyOmittedImageDetail *bool                   `yaml:"deny_omitted_image_detail"`
	AllowPDF               *bool                   `yaml:"allow_pdf"`
	AllowStoredInput       *bool                   `yaml:"allow_stored_input"`
}

type fileOAuth2 struct {
	TokenURL     string     `yaml:"token_url"`
	TenantID     secretText `yaml:"tenant_id"`
	ClientID     secretText `yaml:"client_id"`
	ClientSecret secretText `yaml:"client_secret"`
	Scopes       []string   `yaml:"scopes"`
}

type fileAWS struct {
	Region          string     `yaml:"region"`
	Service         string     `yaml:"service"`
	AccessKeyID     secretText `yaml:"access_key_id"`
	SecretAccessKey secretText `yaml:"secret_access_key"`
	SessionToken    secretText `yaml:"session_token"`
}

// fileEndpoint is what differs for one API.
type fileEndpoint struct {
	Path       *string `yaml:"path"`
	AuthHeader *string `yaml:"auth_header"`
	AuthPrefix *string `yaml:"auth_prefix"`
	Dialect    *string `yaml:"dialect"`
}

// defaults is the file before anything is read into it.
func defaults() file {
	return file{
		Listen: fileListen{
			Clients: "0.0.0.0:8080",
			REST:    "127.0.0.1:8081",
			GRPC:    "127.0.0.1:8082",
		},
		TimeZone:     "UTC",
		LogFormat:    "text",
		OTLP:         fileOTLP{Protocol: ProtocolGRPC},
		Limits:       fileLimits{MaxBodyBytes: envoy.DefaultMaxBodyBytes, Connections: envoy.DefaultMaxConnections, StreamsPerConnection: envoy.DefaultMaxStreams},
		Streams:      fileStreams{IdleTimeout: envoy.DefaultStreamIdleTimeout, MaxDuration: envoy.DefaultMaxStreamDuration},
		Drain:        fileDrain{Accept: 2 * time.Second},
		Reservations: fileReservations{Timeout: 5 * time.Minute, MaxWait: 3 * time.Second, MinInsertedCap: 2048},
		Retention:    fileRetention{CallsDays: 35, UsageMonths: 13},
	}
}
