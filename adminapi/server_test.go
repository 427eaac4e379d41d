package adminapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/internal/openapi"
)

// Secrets of the keys that every test has.
const (
	admin     = "sk-aig-admin"
	reporter  = "sk-aig-reporter"  // scope usage
	finance   = "sk-aig-finance"   // scope budgets
	inference = "sk-aig-inference" // scope inference, moonshot only
	teamA     = "sk-aig-team-a"    // scopes usage and budgets, team/a/** and shared
)

var instant = time.Date(2026, 4, 15, 10, 7, 0, 0, time.UTC)

type world struct {
	t       *testing.T
	store   *store
	server  *adminapi.Server
	log     *bytes.Buffer
	doc     *openapi.Document
	readyMu sync.Mutex // guards ready
	ready   []adminapi.Condition
	asOfs   atomic.Int64 // questions for how complete usage is
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, nil)
}

func newWorldIn(t *testing.T, zone *time.Location) *world { return newWorldAmong(t, zone, nil) }

func newWorldAmong(t *testing.T, zone *time.Location, peers adminapi.Peers) *world {
	t.Helper()
	now := func() time.Time { return instant }
	w := &world{t: t, log: &bytes.Buffer{}, store: &store{now: now, keys: map[string]budget.Key{
		admin:     {ID: "key_a", Name: "admin", Scopes: []budget.Scope{budget.ScopeAdmin}, CreateTime: instant},
		reporter:  {ID: "key_b", Name: "reporter", Scopes: []budget.Scope{budget.ScopeUsage}, CreateTime: instant},
		finance:   {ID: "key_c", Name: "finance", Scopes: []budget.Scope{budget.ScopeBudgets}, CreateTime: instant},
		inference: {ID: "key_d", Name: "app", Scopes: []budget.Scope{budget.ScopeInference}, AllowedModels: []string{"moonshot/*"}, CreateTime: instant},
		teamA: {ID: "key_e", Name: "team a", Scopes: []budget.Scope{budget.ScopeUsage, budget.ScopeBudgets},
			AllowedTags: []budget.TagPattern{"team/a/**", "team/a/x", "shared", "shared"}, CreateTime: instant},
	}}}
	registry := prometheus.NewRegistry()
	server, err := adminapi.New(adminapi.Config{
		Auth: w.store, Keys: w.store, Budgets: w.store, History: w.store, Refused: w.store, Usage: w.store, Calls: w.store, Refusals: refusals{w.store}, Reservations: w.store, Adjustments: w.store, Bills: w.store, Audit: w.store, State: w.store, Explainer: fakeExplainer{},
		Providers: func() []budget.ProviderState {
			return []budget.ProviderState{{Name: "moonshot", Calls: 4, Faults: 1, Took: time.Second, LastFault: "timeout"}, {Name: "openai"}}
		},
		Catalog: func() adminapi.Catalog {
			return adminapi.Catalog{Version: "c0ffee", CheckedAt: now().Add(-50 * time.Hour), Models: []adminapi.Model{
				{Slug: "moonshot/kimi-k2.6", Provider: "moonshot", CheckedAt: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}, {Slug: "openai/gpt-5.5", Provider: "openai"},
			}}
		},
		Now: now, Zone: zone, Ready: w.conditions, Peers: peers, AsOf: w.asOf(peers),
		Gatherer: registry, Metrics: registry, Log: slog.New(slog.NewTextHandler(w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if w.doc, err = openapi.Parse(text); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) conditions() []adminapi.Condition {
	w.readyMu.Lock()
	defer w.readyMu.Unlock()
	return w.ready
}

func (w *world) setReady(all ...adminapi.Condition) {
	w.readyMu.Lock()
	defer w.readyMu.Unlock()
	w.ready = all
}

// asOf is of usage of several gateways, of which one has told nothing for a minute.
func (w *world) asOf(peers adminapi.Peers) func(context.Context) (budget.AsOf, error) {
	if peers == nil {
		return nil
	}
	return func(context.Context) (budget.AsOf, error) {
		w.asOfs.Add(1)
		return budget.AsOf{Time: instant.Add(-time.Minute), Behind: []string{"c", "d"}}, w.store.fail
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request with a key (or none) and a JSON body (or none).
func (w *world) do(key, method, target, body string, headers ...string) answer {
	w.t.Helper()
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	setTarget(r, target)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return w.serve(r)
}

// setTarget takes targets that no honest client sends.
func setTarget(r *http.Request, target string) {
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery, r.RequestURI = path, query, target
}

func (w *world) serve(r *http.Request) answer {
	rec := httptest.NewRecorder()
	w.server.REST().ServeHTTP(rec, r)
	body, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{rec.Code, rec.Result().Header, string(body)}
}

// ok wants a 200 of the operation, checks it against OpenAPI, and decodes it.
func (w *world) ok(a answer, operation string) any {
	w.t.Helper()
	if a.status != http.StatusOK {
		w.t.Fatalf("%s: status %d: %s", operation, a.status, a.body)
	}
	if err := w.doc.Check(operation, a.status, []byte(a.body)); err != nil {
		w.t.Errorf("%s does not match openapi.json: %v\n%s", operation, err, a.body)
	}
	return decode(w.t, a.body)
}

func decode(t *testing.T, text string) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber() // "1" and 1 stay different, and so do 1 and 1.0
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one JSON value in %s", text)
	}
	return v
}

func wantJSON(t *testing.T, got any, want string) {
	t.Helper()
	if diff := cmp.Diff(decode(t, want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// envelope checks that a is an error in the envelope and returns its parts.
func envelope(t *testing.T, a answer) (errorType, reason, param string) {
	t.Helper()
	var e struct {
		Error struct {
			Message  string
			Type     string
			Code     int
			Param    string
			Metadata struct{ Reason string }
		}
	}
	dec := json.NewDecoder(strings.NewReader(a.body))
	if err := dec.Decode(&e); err != nil {
		t.Errorf("no envelope: %v in %q (status %d)", err, a.body, a.status)
		return "", "", ""
	}
	if e.Error.Code != a.status || e.Error.Message == "" || e.Error.Type == "" || e.Error.Metadata.Reason == "" {
		t.Errorf("incomplete envelope with status %d: %s", a.status, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("error has content type %q", got)
	}
	return e.Error.Type, e.Error.Metadata.Reason, e.Error.Param
}

func (w *world) wantError(a answer, status int, reason, param string) {
	w.t.Helper()
	_, gotReason, gotParam := envelope(w.t, a)
	if a.status != status || gotReason != reason || gotParam != param {
		w.t.Errorf("got %d %s %q, want %d %s %q\n%s", a.status, gotReason, gotParam, status, reason, param, a.body)
	}
}

// dial opens the gRPC door on a port.
func (w *world) dial() *grpc.ClientConn {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	go func() { _ = w.server.GRPC().Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func with(key string) context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+key)
}

func row(day, hour int, tag budget.Tag, model, key string, requests int64, cost budget.Amount) budget.UsageRow {
	provider, _, _ := strings.Cut(model, "/")
	return budget.UsageRow{
		Attribution: budget.Attribution{KeyID: key, Tag: tag, Model: model, Provider: provider},
		Time:        time.Date(2026, 4, day, hour, 0, 0, 0, time.UTC),
		Requests:    requests, Cost: cost,
		Tokens: budget.Tokens{Input: 10 * requests, CacheRead: requests, CacheWrite: 2 * requests, Output: 5 * requests},
	}
}

// usage fills the store with calls whose costs are no whole cents.
func (w *world) usage() {
	w.store.rows = []budget.UsageRow{
		row(1, 0, "small", "openai/gpt-5.5", "key_d", 1, 1),
		row(1, 9, "team/a", "moonshot/kimi-k2.6", "key_d", 2, 3*budget.Dollar),
		row(2, 9, "team/a/x", "moonshot/kimi-k2.6", "key_e", 3, 2*budget.Dollar+1),
		row(2, 23, "shared", "openai/gpt-5.5", "key_e", 4, budget.Dollar),
		row(15, 9, "summarize", "openai/gpt-5.5", "key_d", 8210, 42*budget.Dollar+9*budget.Cent+5),
	}
	w.store.rows[0].Unpriced = 1
}
