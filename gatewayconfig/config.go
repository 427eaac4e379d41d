package gatewayconfig

import (
	"net/url"
	"time"

	"go.yaml.in/yaml/v4"
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
	Streams      Streams
	// ReservationTimeout is how long a reservation without any sign of life is
	// held before its bound is charged; 1 minute to 24 hours.
	ReservationTimeout time.Duration
	Envoy              Envoy
	AdminKey           Secret // empty: none configured

	// Reloadable.

	Providers []Provider // sorted by name
	// Models is the price overlay for package pricing, as written; nil when
	// the file has none. Its nodes carry the file's lines.
	Models *yaml.Node
	// SystemCA is the CA bundle (PEM) that verifies providers without one of
	// their own; empty when no provider needs it.
	SystemCA []byte

	files []string // secret and CA files it depends on, for the Watcher
}

// Listen is where the program listens. Clients and the rest are "host:port";
// Control and EnvoyAdmin may also be "unix:/path".
type Listen struct {
	Clients    string // Envoy: inference and REST, for clients
	REST       string // the REST gateway, reached through Envoy
	GRPC       string // the admin gRPC services
	Control    string // ext_authz, access logs and ADS, for Envoy only
	EnvoyAdmin string // Envoy's own admin interface
}

// Streams bounds a call to a provider.
type Streams struct {
	IdleTimeout time.Duration // without a byte in either direction; 1 s to 1 h
	MaxDuration time.Duration // whole answer; 1 s to 24 h
}

// Envoy is how the Envoy child process is started.
type Envoy struct {
	Path        string // absolute, or empty: found or installed
	Concurrency int64  // worker threads; 0: one per CPU
}

// API is an inference endpoint a provider may offer; it is the value of the
// ext_authz context extension "api".
type API string

// The endpoints that are supported.
const (
	Chat       API = "chat"       // POST /v1/chat/completions
	Embeddings API = "embeddings" // POST /v1/embeddings
)

// Provider is one upstream: where it is, how to authenticate there, and how it
// speaks.
type Provider struct {
	Name    string // first segment of a model's slug
	Preset  string
	BaseURL *url.URL // http or https, no user, query or fragment; Path without trailing slash
	APIKey  Secret   // empty: the upstream needs none
	// AuthHeader and AuthPrefix say how the key is sent, such as
	// "authorization" and "Bearer ".
	AuthHeader, AuthPrefix string
	Headers                []Header // sorted by name
	CA                     []byte   // PEM that replaces Config.SystemCA; empty: not replaced
	APIs                   []API
	Wire                   Wire
}

// Header is a fixed header on every request to a provider.
type Header struct {
	Name  string // lower case
	Value Secret
	// Hidden says the value came from a variable or a file: it travels as a
	// secret, so it appears in no configuration dump.
	Hidden bool
}

// Wire is how a provider speaks the API, which decides money: package pricing
// computes bounds and costs from it.
type Wire struct {
	Dialect             string   // usage extractor
	StreamUsage         string   // inject, require, native or charge_bound
	CapField            string   // output cap to inject: max_tokens or max_completion_tokens
	Honours             []string // cap fields it obeys; empty: both
	RunningUsage        bool     // stream reports are running totals
	CancelsOnDisconnect bool     // stops generating (and billing) when the client leaves
	MaxTokensPerSecond  int64    // per choice; 0: unknown
	DefaultTier         string   // service tier when the body names none; empty: standard
	DefaultMaxTokens    int64    // cap injected when the body has none; 0: pricing's default
}

// file is the shape of the YAML file. Its tags are the keys; schema.json
// describes the same and a test compares them.
type file struct {
	Listen       fileListen              `yaml:"listen"`
	DataDir      string                  `yaml:"data_dir"`
	TimeZone     string                  `yaml:"time_zone"`
	Providers    map[string]fileProvider `yaml:"providers"`
	Models       *yaml.Node              `yaml:"models"`
	Limits       fileLimits              `yaml:"limits"`
	Streams      fileStreams             `yaml:"streams"`
	Reservations fileReservations        `yaml:"reservations"`
	Envoy        fileEnvoy               `yaml:"envoy"`
	TLS          fileTLS                 `yaml:"tls"`
	AdminKey     secretText              `yaml:"admin_key"`
}

type fileListen struct {
	Clients    string `yaml:"clients"`
	REST       string `yaml:"rest"`
	GRPC       string `yaml:"grpc"`
	Control    string `yaml:"control"`
	EnvoyAdmin string `yaml:"envoy_admin"`
}

type fileLimits struct {
	MaxBodyBytes byteSize `yaml:"max_body_bytes"`
}

type fileStreams struct {
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	MaxDuration time.Duration `yaml:"max_duration"`
}

type fileReservations struct {
	Timeout time.Duration `yaml:"timeout"`
}

type fileEnvoy struct {
	Path        string `yaml:"path"`
	Concurrency int64  `yaml:"concurrency"`
}

type fileTLS struct {
	CAFile string `yaml:"ca_file"`
}

// fileProvider has a pointer wherever the preset decides what absence means.
type fileProvider struct {
	Preset              string                `yaml:"preset"`
	BaseURL             string                `yaml:"base_url"`
	APIKey              *secretText           `yaml:"api_key"`
	AuthHeader          *string               `yaml:"auth_header"`
	AuthPrefix          *string               `yaml:"auth_prefix"`
	Headers             map[string]secretText `yaml:"headers"`
	APIs                []string              `yaml:"apis"`
	TLS                 fileTLS               `yaml:"tls"`
	StreamUsage         *string               `yaml:"stream_usage"`
	CapField            *string               `yaml:"cap_field"`
	Honours             []string              `yaml:"honours"`
	RunningUsage        *bool                 `yaml:"running_usage"`
	CancelsOnDisconnect *bool                 `yaml:"cancels_on_disconnect"`
	MaxTokensPerSecond  *int64                `yaml:"max_tokens_per_second"`
	DefaultTier         *string               `yaml:"default_tier"`
	DefaultMaxTokens    *int64                `yaml:"default_max_tokens"`
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
		Limits:       fileLimits{MaxBodyBytes: 8 << 20},
		Streams:      fileStreams{IdleTimeout: 10 * time.Minute, MaxDuration: 30 * time.Minute},
		Reservations: fileReservations{Timeout: 5 * time.Minute},
	}
}
