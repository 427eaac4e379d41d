package extauthz_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/extauthz"
	"aigateway/pricing"
)

const (
	goodKey  = "sk-aig-good"
	goodBody = `{"model":"moonshot/kimi-k2.6","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// keyring authenticates from a map, like the ledger in memory.
type keyring struct{ keys map[string]*budget.Key }

func (k *keyring) Authenticate(secret string) (*budget.Key, error) {
	if key, ok := k.keys[secret]; ok {
		return key, nil
	}
	return nil, &budget.Error{Kind: budget.KindUnauthenticated, Reason: "key_invalid", Message: "unknown key"}
}

func keysWith(change func(*budget.Key)) *keyring {
	key := &budget.Key{ID: "key_1", Scopes: []budget.Scope{budget.ScopeInference}}
	if change != nil {
		change(key)
	}
	return &keyring{map[string]*budget.Key{goodKey: key}}
}

// fakeLedger admits everything and remembers it, or does what reserve says.
type fakeLedger struct {
	reserve func(context.Context, budget.Request) (budget.Reservation, error)

	mu   sync.Mutex
	seen []budget.Request
}

func (l *fakeLedger) Reserve(ctx context.Context, r budget.Request) (budget.Reservation, error) {
	if l.reserve != nil {
		return l.reserve(ctx, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, r)
	return admitted(r), nil
}

func (*fakeLedger) Defaults(budget.Tag, string) budget.Defaults { return budget.Defaults{} }
func (*fakeLedger) Watched(budget.Tag, string) bool             { return false }

func (l *fakeLedger) take() []budget.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.seen
	l.seen = nil
	return out
}

func admitted(r budget.Request) budget.Reservation {
	return budget.Reservation{
		ID: 7, ReservedAt: noon, Attribution: r.Attribution, Bound: r.Bound, Accounts: []int64{3},
		Tightest: &budget.Status{Budget: budget.Budget{Cap: budget.Dollar}, Spent: budget.Cent, Reserved: r.Bound},
	}
}

func newCatalog(t testing.TB) *pricing.Catalog {
	t.Helper()
	var rows yaml.Node // the built-in list has no reranker
	if err := yaml.Load([]byte(`[{model: voyage/rerank, endpoints: [rerank], prices: [{input: "0.05", output: "0"}]}]`), &rows); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&rows, []pricing.Upstream{
		{Provider: "moonshot", StreamUsage: "inject", CapField: "max_completion_tokens"},
		{Provider: "openai", StreamUsage: "inject", CapField: "max_completion_tokens"},
		{Provider: "anthropic"}, {Provider: "voyage"}, {Provider: "mistral"},
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newSealer(t testing.TB) *envoy.Sealer {
	t.Helper()
	s, err := envoy.NewSealer(make([]byte, envoy.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func serverOf(t testing.TB, c extauthz.Config) *extauthz.Server {
	t.Helper()
	s, err := extauthz.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newServer(t testing.TB, keys extauthz.Authenticator, ledger extauthz.Reserver, edits ...func(*extauthz.Config)) *extauthz.Server {
	t.Helper()
	catalog := newCatalog(t)
	config := extauthz.Config{
		Keys: keys, Ledger: ledger, Catalog: func() *pricing.Catalog { return catalog },
		Sealer: newSealer(t), Now: func() time.Time { return noon },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry(),
		Betas: func(provider string) []string {
			if provider == "anthropic" {
				return []string{"thinking-2025", "caching-2024"}
			}
			return nil
		},
	}
	for _, edit := range edits {
		edit(&config)
	}
	return serverOf(t, config)
}

// newCheck is what Envoy sends for a chat call with the given header pairs. A
// header with the value "-" is left out instead.
func newCheck(id, body string, headers ...string) *authv3.CheckRequest {
	m := &corev3.HeaderMap{}
	set := map[string]bool{}
	for i := 0; i < len(headers); i += 2 {
		set[headers[i]] = true
		if headers[i+1] != "-" {
			m.Headers = append(m.Headers, &corev3.HeaderValue{Key: headers[i], RawValue: []byte(headers[i+1])})
		}
	}
	for _, d := range [][2]string{{"x-request-id", id}, {"content-type", "application/json"}, {"x-envoy-auth-partial-body", "false"}} {
		if !set[d[0]] {
			m.Headers = append(m.Headers, &corev3.HeaderValue{Key: d[0], RawValue: []byte(d[1])})
		}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: map[string]string{"api": "chat"},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "POST", Path: "/v1/chat/completions", HeaderMap: m, RawBody: []byte(body),
		}},
	}}
}

func authorized(id, body string, headers ...string) *authv3.CheckRequest {
	return newCheck(id, body, append([]string{"authorization", "Bearer " + goodKey}, headers...)...)
}

func check(t testing.TB, s *extauthz.Server, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	out, err := s.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// envelope is the error body every refusal has.
type envelope struct {
	Error struct {
		Message  string         `json:"message"`
		Type     string         `json:"type"`
		Code     int            `json:"code"`
		Param    string         `json:"param"`
		Metadata map[string]any `json:"metadata"`
	} `json:"error"`
}

func (e *envelope) reason() string {
	reason, _ := e.Error.Metadata["reason"].(string)
	return reason
}

// refusal reads a denied answer, and reports what is wrong with its form.
func refusal(out *authv3.CheckResponse) (*envelope, error) {
	d := out.GetDeniedResponse()
	if d == nil || out.GetOkResponse() != nil || out.GetStatus().GetCode() == 0 || out.GetDynamicMetadata() != nil {
		return nil, errors.New("not a refusal")
	}
	var e envelope
	if err := json.Unmarshal([]byte(d.GetBody()), &e); err != nil {
		return nil, err
	}
	if e.Error.Message == "" || e.Error.Type == "" || e.reason() == "" || e.Error.Code != int(d.GetStatus().GetCode()) || e.Error.Code < 400 {
		return nil, errors.New("incomplete envelope: " + d.GetBody())
	}
	for _, h := range d.GetHeaders() {
		if h.GetHeader().GetKey() == "content-type" && h.GetHeader().GetValue() == "application/json" {
			return &e, nil
		}
	}
	return nil, errors.New("a refusal without a content type")
}

func headerOf(options []*corev3.HeaderValueOption, key string) string {
	for _, o := range options {
		if o.GetHeader().GetKey() == key {
			return o.GetHeader().GetValue()
		}
	}
	return ""
}

func TestDeniedStatusIsTheHTTPStatus(t *testing.T) {
	s := newServer(t, &keyring{}, &fakeLedger{})
	got := check(t, s, newCheck("req-1", `{}`))
	if got.GetDeniedResponse().GetStatus().GetCode() != typev3.StatusCode_Unauthorized || got.GetStatus().GetCode() == 0 {
		t.Errorf("answer without a key: %v", got)
	}
}
