package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/testing/protocmp"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/pricing"
)

func TestAdmittedCall(t *testing.T) {
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	body := `{"model":"moonshot/kimi-k2.6","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	out := check(t, s, authorized("req-1", body, "x-aig-tag", "team/a"))

	seen := ledger.take()
	if len(seen) != 1 {
		t.Fatalf("%d reservations, want 1", len(seen))
	}
	r := seen[0]
	want := budget.Attribution{KeyID: "key_1", Tag: "team/a", Model: "moonshot/kimi-k2.6", Provider: "moonshot"}
	if r.RequestID != "req-1" || r.Attribution != want || r.Bound <= 0 || r.Unbounded != nil {
		t.Errorf("reserved %+v, want %+v of req-1 with a bound", r, want)
	}
	ok := out.GetOkResponse()
	if got := headerOf(ok.GetHeaders(), "x-aig-int-upstream"); got != "moonshot" {
		t.Errorf("request header x-aig-int-upstream is %q, want moonshot", got)
	}
	if got := headerOf(ok.GetHeaders(), "x-aig-int-edit"); !strings.Contains(got, `"kimi-k2.6"`) {
		t.Errorf("the edits %q do not name the model", got)
	}
	for key, want := range map[string]string{
		"x-aig-request-id": "req-1", "x-aig-bound-usd": r.Bound.String(), "x-aig-reserved-usd": r.Bound.String(),
		"x-aig-remaining-usd": (budget.Dollar - budget.Cent - r.Bound).String(), "x-aig-injected-max-tokens": "32768",
	} {
		if got := headerOf(ok.GetResponseHeadersToAdd(), key); got != want {
			t.Errorf("response header %s is %q, want %q", key, got, want)
		}
	}
	md := out.GetDynamicMetadata().GetFields()
	token, err := newSealer(t).Open(md["rsv"].GetStringValue())
	if err != nil {
		t.Fatalf("open the token: %v", err)
	}
	if token.ID != 7 || token.Bound != int64(r.Bound) || token.Tag != "team/a" || token.Pin == "" || !slices.Equal(token.Accounts, []int64{3}) {
		t.Errorf("token %+v does not describe the reservation", token)
	}
	if md["stream"].GetStringValue() != "true" {
		t.Errorf("metadata %v does not strip the usage chunk", md)
	}
}

func TestUnwatchedCallHasNoBudgetHeaders(t *testing.T) {
	ledger := &fakeLedger{reserve: func(_ context.Context, r budget.Request) (budget.Reservation, error) {
		res := admitted(r)
		res.Tightest = nil
		return res, nil
	}}
	out := check(t, newServer(t, keysWith(nil), ledger), authorized("req-1", goodBody))
	for _, key := range []string{"x-aig-remaining-usd", "x-aig-reserved-usd"} {
		if got := headerOf(out.GetOkResponse().GetResponseHeadersToAdd(), key); got != "" {
			t.Errorf("%s is %q without a budget", key, got)
		}
	}
}

func TestTagOfACall(t *testing.T) {
	tests := []struct {
		name    string
		key     func(*budget.Key)
		headers []string
		tag     budget.Tag
		reason  string
	}{
		{name: "none", tag: "untagged"},
		{name: "default", key: func(k *budget.Key) { k.DefaultTag = "team/x" }, tag: "team/x"},
		{name: "sent beats default", key: func(k *budget.Key) { k.DefaultTag = "team/x" }, headers: []string{"x-aig-tag", "b"}, tag: "b"},
		{name: "unicode", headers: []string{"x-aig-tag", "münchen"}, tag: "münchen"},
		{name: "comma", headers: []string{"x-aig-tag", "a,b"}, tag: "a,b"},
		{name: "64 bytes", headers: []string{"x-aig-tag", strings.Repeat("a", 64)}, tag: budget.Tag(strings.Repeat("a", 64))},
		{name: "65 bytes", headers: []string{"x-aig-tag", strings.Repeat("a", 65)}, reason: "tag_invalid"},
		{name: "empty", headers: []string{"x-aig-tag", ""}, reason: "tag_invalid"},
		{name: "twice", headers: []string{"x-aig-tag", "a", "x-aig-tag", "b"}, reason: "tag_repeated"},
		{name: "twice the same", headers: []string{"x-aig-tag", "a", "x-aig-tag", "a"}, reason: "tag_repeated"},
		{name: "invalid utf-8", headers: []string{"x-aig-tag", "\xff"}, reason: "tag_invalid"},
		{name: "control", headers: []string{"x-aig-tag", "a\x01"}, reason: "tag_invalid"},
		{name: "allowed", key: func(k *budget.Key) { k.AllowedTags = []budget.TagPattern{"team/a/**"} }, headers: []string{"x-aig-tag", "team/a/b"}, tag: "team/a/b"},
		{name: "not allowed", key: func(k *budget.Key) { k.AllowedTags = []budget.TagPattern{"team/a/**"} }, headers: []string{"x-aig-tag", "team/ab"}, reason: "tag_not_allowed"},
		{name: "untagged not allowed", key: func(k *budget.Key) { k.AllowedTags = []budget.TagPattern{"team/a"} }, reason: "tag_not_allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ledger := &fakeLedger{}
			out := check(t, newServer(t, keysWith(tt.key), ledger), authorized("req-1", goodBody, tt.headers...))
			seen := ledger.take()
			if tt.reason != "" {
				e, err := refusal(out)
				if err != nil || e.reason() != tt.reason || len(seen) != 0 {
					t.Errorf("answer %v (%v), want reason %s and no reservation", out, err, tt.reason)
				}
				return
			}
			if len(seen) != 1 || seen[0].Tag != tt.tag {
				t.Errorf("reserved %+v, want tag %q", seen, tt.tag)
			}
		})
	}
}

// Envoy without encode_raw_headers joins repeated headers; then a comma cannot
// be told from a second header.
func TestJoinedTagIsRefused(t *testing.T) {
	in := authorized("req-1", goodBody)
	http := in.GetAttributes().GetRequest().GetHttp()
	http.Headers = map[string]string{"x-aig-tag": "a,b"}
	for _, h := range http.GetHeaderMap().GetHeaders() {
		http.Headers[h.GetKey()] = string(h.GetRawValue())
	}
	http.HeaderMap = nil
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	if e, err := refusal(check(t, s, in)); err != nil || e.reason() != "tag_repeated" {
		t.Errorf("joined tag: %+v, %v", e, err)
	}
	http.Headers["x-aig-tag"] = "a"
	if out := check(t, s, in); out.GetOkResponse() == nil {
		t.Errorf("one tag in a header map: %v", out)
	}
}

// refused is a call that a server does not let go.
type refused struct {
	name   string
	key    func(*budget.Key)
	in     *authv3.CheckRequest
	code   int
	reason string
}

func refusedCalls() []refused {
	bearer := "Bearer " + goodKey
	return []refused{
		{name: "no key", in: newCheck("r", goodBody), code: 401, reason: "key_missing"},
		{name: "two authorization headers", in: newCheck("r", goodBody, "authorization", bearer, "authorization", bearer), code: 401, reason: "key_invalid"},
		{name: "two kinds of credential", in: authorized("r", goodBody, "x-api-key", "sk-aig-other"), code: 401, reason: "key_invalid"},
		{name: "only x-api-key", in: newCheck("r", goodBody, "x-api-key", goodKey), code: 401, reason: "key_missing"},
		{name: "basic", in: newCheck("r", goodBody, "authorization", "Basic Zm9v"), code: 401, reason: "key_invalid"},
		{name: "no scheme", in: newCheck("r", goodBody, "authorization", goodKey), code: 401, reason: "key_invalid"},
		{name: "a provider's key", in: newCheck("r", goodBody, "authorization", "Bearer sk-proj-1"), code: 401, reason: "key_invalid"},
		{name: "unknown key", in: newCheck("r", goodBody, "authorization", "Bearer sk-aig-other"), code: 401, reason: "key_invalid"},
		{name: "joined keys", in: newCheck("r", goodBody, "authorization", bearer+","+bearer), code: 401, reason: "key_invalid"},
		{name: "no inference scope", key: func(k *budget.Key) { k.Scopes = []budget.Scope{budget.ScopeUsage} }, in: authorized("r", goodBody), code: 403, reason: "scope_missing"},
		{name: "model not allowed", key: func(k *budget.Key) { k.AllowedModels = []string{"openai/*"} }, in: authorized("r", goodBody), code: 403, reason: "model_not_allowed"},
		{name: "parts", in: authorized("r", goodBody, "content-type", "Multipart/form-data; boundary=x"), code: 400, reason: "content_type_unsupported"},
		{name: "a form", in: authorized("r", "model=moonshot%2Fkimi-k2.6", "content-type", "application/x-www-form-urlencoded"), code: 400, reason: "body_not_json"},
		{name: "joined content types", in: authorized("r", goodBody, "content-type", "application/json, text/plain"), code: 400, reason: "content_type_unsupported"},
		{name: "latin text", in: authorized("r", goodBody, "content-type", "text/plain; charset=ISO-8859-1"), code: 400, reason: "content_type_unsupported"},
		{name: "two content types", in: authorized("r", goodBody, "content-type", "application/json", "content-type", "application/json"), code: 400, reason: "content_type_unsupported"},
		{name: "utf-16", in: authorized("r", goodBody, "content-type", "application/json; charset=utf-16"), code: 400, reason: "content_type_unsupported"},
		{name: "gzip", in: authorized("r", goodBody, "content-encoding", "gzip"), code: 400, reason: "content_encoding_unsupported"},
		{name: "two encodings", in: authorized("r", goodBody, "content-encoding", "identity", "content-encoding", "identity"), code: 400, reason: "content_encoding_unsupported"},
		{name: "upgrade", in: authorized("r", "", "upgrade", "websocket"), code: 400, reason: "body_missing"},
		{name: "empty", in: authorized("r", ""), code: 400, reason: "body_missing"},
		{name: "partial", in: authorized("r", goodBody, "x-envoy-auth-partial-body", "true"), code: 413, reason: "body_too_large"},
		{name: "odd partial", in: authorized("r", goodBody, "x-envoy-auth-partial-body", "TRUE"), code: 413, reason: "body_too_large"},
		{name: "short of its length", in: authorized("r", goodBody, "content-length", "100000"), code: 400, reason: "body_missing"},
		{name: "not json", in: authorized("r", "hello"), code: 400, reason: "body_not_json"},
		{name: "twice a cap", in: authorized("r", `{"model":"moonshot/kimi-k2.6","max_tokens":1,"max_tokens":100000,"messages":[]}`), code: 400, reason: "duplicate_key"},
		{name: "no provider", in: authorized("r", `{"model":"nobody/m","messages":[]}`), code: 404, reason: "provider_unknown"},
		{name: "no request id", in: authorized("r", goodBody, "x-request-id", "-"), code: 500, reason: "request_id_missing"},
		{name: "two request ids", in: authorized("r", goodBody, "x-request-id", "a", "x-request-id", "b"), code: 500, reason: "request_id_missing"},
		{name: "no attributes", in: &authv3.CheckRequest{}, code: 500, reason: "request_id_missing"},
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range refusedCalls() {
		t.Run(tt.name, func(t *testing.T) {
			ledger := &fakeLedger{}
			out := check(t, newServer(t, keysWith(tt.key), ledger), tt.in)
			e, err := refusal(out)
			if err != nil {
				t.Fatalf("%v: %v", err, out)
			}
			if e.Error.Code != tt.code || e.reason() != tt.reason {
				t.Errorf("got %d %s (%s), want %d %s", e.Error.Code, e.reason(), e.Error.Message, tt.code, tt.reason)
			}
			if seen := ledger.take(); len(seen) != 0 {
				t.Errorf("a refused call reserved %+v", seen)
			}
		})
	}
}

func TestAcceptedContentHeaders(t *testing.T) {
	s := newServer(t, keysWith(nil), &fakeLedger{})
	for _, headers := range [][]string{
		{"content-type", "application/json; charset=utf-8"},
		{"content-type", `Application/JSON;charset="UTF-8"`},
		{"content-encoding", "identity"},
		{"content-length", fmt.Sprint(len(goodBody))},
		{"x-envoy-auth-partial-body", "-"},
	} {
		if out := check(t, s, authorized("r", goodBody, headers...)); out.GetOkResponse() == nil {
			t.Errorf("%v: %s", headers, out.GetDeniedResponse().GetBody())
		}
	}
}

// TestJSONByAnyName: `curl -d` calls JSON a form. It is read, and the provider is
// told what it is: one that reads forms would read another call.
func TestJSONByAnyName(t *testing.T) {
	s := newServer(t, keysWith(nil), &fakeLedger{})
	for _, name := range []string{
		"-", "", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "application/octet-stream", "text/json", "application/jsonp",
		"application/vnd.api+json", "*/*", ";;;", "json",
	} {
		for e, body := range calls() {
			out := check(t, s, on(e, authorized("r", body, "content-type", name)))
			if got := headerOf(out.GetOkResponse().GetHeaders(), "content-type"); out.GetOkResponse() == nil || got != "application/json" {
				t.Errorf("%s called %q: sent as %q: %s", e, name, got, out.GetDeniedResponse().GetBody())
			}
		}
	}
	for _, name := range []string{"application/json", "Application/JSON;charset=utf-8"} {
		out := check(t, s, authorized("r", goodBody, "content-type", name))
		if got := headerOf(out.GetOkResponse().GetHeaders(), "content-type"); got != "" {
			t.Errorf("%q was replaced by %q", name, got)
		}
	}
}

func TestOnlyPostIsAnswered(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "post", ""} {
		in := authorized("r", goodBody)
		in.Attributes.Request.Http.Method = method
		if e, err := refusal(check(t, newServer(t, keysWith(nil), &fakeLedger{}), in)); err != nil || e.Error.Code != 404 {
			t.Errorf("%q: %+v, %v", method, e, err)
		}
	}
}

func TestRouteWithoutAPI(t *testing.T) {
	in := authorized("r", goodBody)
	in.Attributes.ContextExtensions = map[string]string{"api": "videos"}
	if e, err := refusal(check(t, newServer(t, keysWith(nil), &fakeLedger{}), in)); err != nil || e.reason() != "api_unknown" || e.Error.Code != 500 {
		t.Errorf("unknown api: %+v, %v", e, err)
	}
}

func TestUnpricedModelIsTheLedgersToRefuse(t *testing.T) {
	body := `{"model":"moonshot/no-such-price","max_tokens":5,"messages":[]}`
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	out := check(t, s, authorized("r", body))
	seen := ledger.take()
	if len(seen) != 1 || seen[0].Unbounded == nil || seen[0].Unbounded.Reason != "model_not_priced" || seen[0].Bound != 0 {
		t.Fatalf("reserved %+v, want an unbounded request", seen)
	}
	if got := headerOf(out.GetOkResponse().GetResponseHeadersToAdd(), "x-aig-bound-usd"); got != "" || out.GetOkResponse() == nil {
		t.Errorf("answer %v, want a yes without a bound", out)
	}
	ledger.reserve = func(_ context.Context, r budget.Request) (budget.Reservation, error) {
		return budget.Reservation{}, r.Unbounded
	}
	if e, err := refusal(check(t, s, authorized("r2", body))); err != nil || e.reason() != "model_not_priced" {
		t.Errorf("watched: %+v, %v", e, err)
	}
}

func TestInternalFailuresAreRefusals(t *testing.T) {
	tests := []struct {
		name    string
		reserve func(context.Context, budget.Request) (budget.Reservation, error)
		code    int
	}{
		{"panic", func(context.Context, budget.Request) (budget.Reservation, error) { panic("secret detail") }, 500},
		{"out of range", func(_ context.Context, r budget.Request) (budget.Reservation, error) {
			return budget.Reservation{}, errors.New(r.RequestID[100:])
		}, 500},
		{"unknown error", func(context.Context, budget.Request) (budget.Reservation, error) {
			return budget.Reservation{}, errors.New("secret detail")
		}, 500},
		{"store", func(context.Context, budget.Request) (budget.Reservation, error) {
			return budget.Reservation{}, budget.Unavailable("store_unavailable", "try again", errors.New("secret detail"))
		}, 503},
		{"deadline", func(context.Context, budget.Request) (budget.Reservation, error) {
			return budget.Reservation{}, context.DeadlineExceeded
		}, 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := check(t, newServer(t, keysWith(nil), &fakeLedger{reserve: tt.reserve}), authorized("r", goodBody))
			e, err := refusal(out)
			if err != nil || e.Error.Code != tt.code || strings.Contains(out.GetDeniedResponse().GetBody(), "secret") {
				t.Errorf("%+v, %v; want %d without internals", e, err, tt.code)
			}
		})
	}
}

func TestCancelledCallHoldsNothing(t *testing.T) {
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := s.Check(ctx, authorized("r", goodBody))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := refusal(out); err != nil || e.reason() != "decision_timeout" || len(ledger.take()) != 0 {
		t.Errorf("%+v, %v; want decision_timeout and no reservation", e, err)
	}
}

func TestNoSecretInLogs(t *testing.T) {
	var logged strings.Builder
	catalog := newCatalog(t)
	registry := prometheus.NewRegistry()
	s := serverOf(t, extauthz.Config{
		Keys:    keysWith(nil),
		Ledger:  &fakeLedger{reserve: func(context.Context, budget.Request) (budget.Reservation, error) { panic("boom") }},
		Catalog: func() *pricing.Catalog { return catalog }, Sealer: newSealer(t), Now: func() time.Time { return noon },
		Log: slog.New(slog.NewTextHandler(&logged, nil)), Metrics: registry,
	})
	check(t, s, authorized("req-77", goodBody))
	if !strings.Contains(logged.String(), "req-77") || !strings.Contains(logged.String(), "boom") || strings.Contains(logged.String(), goodKey) {
		t.Errorf("log %q, want the request id and the cause but no key", logged.String())
	}
	if got := counted(t, registry, "aig_decisions_total", "failed", "internal"); got != 1 {
		t.Errorf("%v internal failures counted, want 1", got)
	}
	if got := counted(t, registry, "aig_decisions_total", "admitted", ""); got != 0 {
		t.Errorf("%v admitted calls counted, want 0", got)
	}
}

// counted is a counter's value by its label values in their order.
func counted(t *testing.T, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(values, labels) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestSecondServerOnOneRegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := extauthz.Config{Metrics: registry, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for range 2 {
		if _, err := extauthz.New(c); err != nil {
			t.Fatal(err)
		}
	}
	if families, err := registry.Gather(); err != nil || len(families) != 3 {
		t.Errorf("%d metrics, %v; want the 3 of one server", len(families), err)
	}
}

func TestMessageOfAForeignShape(t *testing.T) {
	s := newServer(t, keysWith(nil), &fakeLedger{})
	out, err := s.CheckWire(t.Context(), []byte{0x0a, 0x7f, 1}, nil)
	if err == nil {
		t.Errorf("a torn message was answered with %d bytes", len(out))
	}
}

func TestHeadersAreReplacedNotAppended(t *testing.T) {
	out := check(t, newServer(t, keysWith(nil), &fakeLedger{}), authorized("r", goodBody))
	var actions []corev3.HeaderValueOption_HeaderAppendAction
	for _, o := range slices.Concat(out.GetOkResponse().GetHeaders(), out.GetOkResponse().GetResponseHeadersToAdd()) {
		actions = append(actions, o.GetAppendAction())
	}
	for _, a := range actions {
		if diff := cmp.Diff(corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD, a); diff != "" {
			t.Error(diff)
		}
	}
}

// TestKeyIsJudgedBeforeTheBody: the first of two questions about a large body.
func TestKeyIsJudgedBeforeTheBody(t *testing.T) {
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	ask := func(in *authv3.CheckRequest) *authv3.CheckResponse {
		in.Attributes.ContextExtensions = map[string]string{"api": "chat", "step": "key"}
		return check(t, s, in)
	}
	good := ask(authorized("req-1", "", "content-length", "8000000"))
	want := &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}
	if diff := cmp.Diff(want, good, protocmp.Transform()); diff != "" {
		t.Errorf("a good key (-want +got):\n%s", diff)
	}
	for name, headers := range map[string][]string{
		"no key": nil, "a wrong key": {"authorization", "Bearer sk-aig-wrong"}, "another's key": {"authorization", "Bearer sk-x"},
	} {
		// The same answer as to the whole call.
		small, large := check(t, s, newCheck("req-2", goodBody, headers...)), ask(newCheck("req-2", "", headers...))
		if diff := cmp.Diff(small, large, protocmp.Transform()); diff != "" || large.GetDeniedResponse().GetStatus().GetCode() != 401 {
			t.Errorf("%s: %v (-with the body +without):\n%s", name, large, diff)
		}
	}
	if seen := ledger.take(); len(seen) != 0 {
		t.Errorf("%d reservations", len(seen))
	}
}
