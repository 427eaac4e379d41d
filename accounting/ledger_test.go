package accounting_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/internal/envoytest"
	"aigateway/ledger"
	"aigateway/pricing"
)

// call is a reservation in a real ledger with the token that the log returns.
type call struct {
	id    string
	token string
	bound budget.Amount
}

// world is a real ledger with one budget on the tag "a".
type world struct {
	t      *testing.T
	ledger *ledger.Ledger
	sealer *envoy.Sealer
	model  pricing.Model
	budget string
	n      int

	log     *slog.Logger         // nil: nobody reads it
	metrics *prometheus.Registry // of the last channel
	late    atomic.Int64         // ns that the clock is ahead of noon
}

func (w *world) now() time.Time { return noon.Add(time.Duration(w.late.Load())) }

func (w *world) advance(d time.Duration) { w.late.Add(int64(d)) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	l, err := ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir(), Now: w.now, JournalWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("close the ledger: %v", err)
		}
	})
	sealer, err := envoy.NewSealer(l.TokenKey())
	if err != nil {
		t.Fatal(err)
	}
	st, err := l.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: 10 * budget.Dollar}, budget.Author{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	model, err := loadCatalog(t)().Resolve("moonshot/kimi-k2.6", noon)
	if err != nil {
		t.Fatal(err)
	}
	w.ledger, w.sealer, w.model, w.budget = l, sealer, model, st.ID
	return w
}

func (w *world) reserve() call {
	w.t.Helper()
	w.n++
	c := call{id: fmt.Sprintf("req-%d", w.n)}
	parsed, err := pricing.ParseCall(pricing.Chat, []byte(`{"model":"moonshot/kimi-k2.6","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		w.t.Fatal(err)
	}
	bound, err := w.model.Bound(parsed, noon)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := w.ledger.Reserve(w.t.Context(), budget.Request{RequestID: c.id, Bound: bound.Amount, Attribution: budget.Attribution{
		KeyID: "key_1", Tag: "a", Model: w.model.Slug, Provider: w.model.Provider,
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	c.bound = res.Bound
	c.token = w.sealer.Seal(envoy.Token{
		ID: uint64(res.ID), Accounts: res.Accounts, Bound: int64(res.Bound), ReservedAt: res.ReservedAt.UnixNano(),
		KeyID: res.KeyID, Tag: string(res.Tag), Model: res.Model, Provider: res.Provider, Pin: bound.Pin,
	})
	return c
}

func (w *world) want(spent, reserved budget.Amount) {
	w.t.Helper()
	st, err := w.ledger.GetBudget(w.budget)
	if err != nil {
		w.t.Fatal(err)
	}
	if st.Spent != spent || st.Reserved != reserved {
		w.t.Errorf("spent %s, reserved %s; want %s, %s", st.Spent, st.Reserved, spent, reserved)
	}
}

// eventually waits until the budget shows the given amounts.
func (w *world) eventually(spent, reserved budget.Amount) {
	w.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := w.ledger.GetBudget(w.budget)
		if err != nil {
			w.t.Fatal(err)
		}
		if st.Spent == spent && st.Reserved == reserved {
			return
		}
		select {
		case <-deadline:
			w.want(spent, reserved)
			return
		case <-tick.C:
		}
	}
}

func (w *world) config() accounting.Config {
	c, metrics := config(w.t, w.ledger)
	c.Sealer, w.metrics = w.sealer, metrics
	if w.log != nil {
		c.Log = w.log
	}
	return c
}

const usageText = `{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}`

// asked is the name of the model asked for, as an answer has it.
const asked = `"kimi-k2.6"`

// answeredReport is what the filter reports of a whole answer.
func answeredReport(usage, model string) string {
	return envoytest.ReportText(envoy.Report{Usage: usage, Done: true, Model: model})
}

// usageCost is usageText at $0.95 and $4 a million.
const usageCost budget.Amount = 9*950 + 12*4000

func (c *call) entry(t *testing.T, usage, model string) *logv3.HTTPAccessLogEntry {
	t.Helper()
	return entry(t, 0, func(e *logv3.HTTPAccessLogEntry) {
		e.Request.RequestId = c.id
		e.CommonProperties.Metadata.FilterMetadata = map[string]*structpb.Struct{
			envoy.NamespaceDecision: envoytest.Metadata(envoy.Decision{Token: c.token}),
			envoy.NamespaceReport:   {Fields: map[string]*structpb.Value{envoy.KeyReport: structpb.NewStringValue(answeredReport(usage, model))}},
		}
	})
}

func (c *call) line(t *testing.T, usage, model string) string {
	t.Helper()
	return line(t, 0, with("id", c.id), with("rsv", c.token), with("report", answeredReport(usage, model)))
}

// stream sends entries over gRPC, as Envoy does, and waits for the end.
func (w *world) stream(entries ...*logv3.HTTPAccessLogEntry) {
	w.t.Helper()
	lis, err := net.Listen("unix", filepath.Join(w.t.TempDir(), "c.sock"))
	if err != nil {
		w.t.Fatal(err)
	}
	g := grpc.NewServer(wire.ServerOptions()...)
	newStream(w.t, w.config()).Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	conn, err := grpc.NewClient("unix:"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := alsv3.NewAccessLogServiceClient(conn).StreamAccessLogs(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if err := s.Send(&alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{
			HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: []*logv3.HTTPAccessLogEntry{e}},
		}}); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := s.CloseAndRecv(); err != nil {
		w.t.Errorf("end the stream: %v", err)
	}
	if err := conn.Close(); err != nil {
		w.t.Error(err)
	}
	g.Stop()
	if err := <-done; err != nil {
		w.t.Error(err)
	}
}

// file settles lines as a spool that starts anew.
func (w *world) file(path string, lines ...string) {
	w.t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range lines {
		if _, err := f.WriteString(l); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		w.t.Fatal(err)
	}
	s := newSpool(w.t, w.config(), accounting.File{Path: path})
	s.Begin()
	defer s.Close()
	for more := true; more; {
		if more, err = s.Step(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestBothChannelsSettleOnce(t *testing.T) {
	w := newWorld(t)
	first, second := w.reserve(), w.reserve()
	w.want(0, first.bound+second.bound)
	path := filepath.Join(t.TempDir(), "access.jsonl")

	w.stream(first.entry(t, usageText, asked), first.entry(t, usageText, asked)) // the stream first
	w.eventually(usageCost, second.bound)
	w.file(path, first.line(t, usageText, asked), second.line(t, usageText, asked), second.line(t, usageText, asked)) // the file first
	w.eventually(2*usageCost, 0)
	w.stream(second.entry(t, usageText, asked), first.entry(t, usageText, asked))
	w.file(path, first.line(t, usageText, asked), second.line(t, usageText, asked))
	w.eventually(2*usageCost, 0)
}

func TestWhatEachEndCosts(t *testing.T) {
	noReport := with("report", nil)
	tests := []struct {
		name    string
		changes []func(map[string]any)
		spent   func(bound budget.Amount) budget.Amount
	}{
		{"never sent", []func(map[string]any){with("tx_us", nil), with("code", 503), with("flags", "UF"), noReport}, nothing},
		{"provider's error", []func(map[string]any){with("code", 500), with("report", "upstream_status 3:500")}, nothing},
		{"provider's 401", []func(map[string]any){with("code", 502), with("report", "upstream_status 3:401")}, nothing},
		{"no report", []func(map[string]any){noReport}, whole},
		{"cut", []func(map[string]any){with("flags", "DC"), with("details", "downstream_remote_disconnect"), noReport}, whole},
		{"Envoy gave up", []func(map[string]any){with("code", 504), with("flags", "UT"), with("details", "response_timeout"), noReport}, whole},
		{"connection broke before the answer", []func(map[string]any){with("code", 503), with("flags", "UC"), with("details", "upstream_reset_before_response_started{connection_termination}"), noReport}, whole},
		{"refused untouched", []func(map[string]any){with("code", 502), with("flags", "URX,UR"), with("details", envoy.DetailsRefused), noReport}, nothing},
		{"hostile report", []func(map[string]any){with("report", envoytest.ReportText(envoy.Report{Usage: `{"prompt_tokens":-5,"completion_tokens":1e99}`, Done: true}))}, whole},
		{"check timed out", []func(map[string]any){with("rsv", nil), with("tx_us", nil), with("code", 503), with("flags", "UAEX"), with("details", "ext_authz_error"), noReport}, nothing},
		{"token lost, but sent", []func(map[string]any){with("rsv", "AAAA")}, whole},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.reserve()
			changes := append([]func(map[string]any){with("id", c.id), with("rsv", c.token)}, tt.changes...)
			path := filepath.Join(t.TempDir(), "access.jsonl")
			w.file(path, line(t, 0, changes...), line(t, 0, changes...))
			w.eventually(tt.spent(c.bound), 0)
		})
	}
}

// A provider may let another of its models answer, and bills that one.
func TestServedModelDecidesThePrice(t *testing.T) {
	const long = `{"prompt_tokens":9,"completion_tokens":200,"total_tokens":209}`
	tests := []struct {
		name, usage, model string
		cost               budget.Amount
		flags              []string
		served             string
	}{
		{"the one asked for", usageText, `"kimi-k2.6"`, usageCost, nil, ""},
		{"a version of it", usageText, `"kimi-k2.6-2026-01-27"`, usageCost, nil, ""},
		{"nobody says", usageText, "", usageCost, nil, ""},
		{"no name", usageText, `{"id":1}`, usageCost, nil, ""},
		{"unknown: the price of the one asked for", usageText, `"kimi-dream"`, usageCost, []string{"served_model_unknown"}, ""},
		{"a dearer one", usageText, `"kimi-k3"`, 9*3000 + 12*15_000, nil, "moonshot/kimi-k3"},
		{"a dearer one, beyond the bound", long, `"kimi-k3"`, 9*3000 + 200*15_000, []string{"bound_exceeded"}, "moonshot/kimi-k3"},
	}
	for _, tt := range tests {
		for _, channel := range []string{"stream", "file"} {
			t.Run(tt.name+"/"+channel, func(t *testing.T) {
				w := newWorld(t)
				c := w.reserve()
				var logged bytes.Buffer
				w.log = slog.New(slog.NewTextHandler(&logged, nil))
				if channel == "stream" {
					w.stream(c.entry(t, tt.usage, tt.model))
				} else {
					w.file(filepath.Join(t.TempDir(), "access.jsonl"), c.line(t, tt.usage, tt.model))
				}
				w.eventually(tt.cost, 0)
				for _, flag := range []string{"served_model_unknown", "bound_exceeded"} {
					want := 0.0
					if slices.Contains(tt.flags, flag) {
						want = 1
					}
					if got := counted(t, w.metrics, "aig_charge_flags_total", channel, flag); got != want {
						t.Errorf("%s was counted %v times, want %v", flag, got, want)
					}
				}
				if tt.served != "" && counted(t, w.metrics, "aig_served_other_model_total", "moonshot/kimi-k2.6", channel, tt.served) != 1 {
					t.Errorf("%s was not counted", tt.served)
				}
				over := slices.Contains(tt.flags, "bound_exceeded")
				if over != (tt.cost > c.bound) || over != strings.Contains(logged.String(), "a call cost more than its bound") {
					t.Errorf("cost %s, bound %s, logged %q", tt.cost, c.bound, logged.String())
				}
			})
		}
	}
}

func nothing(budget.Amount) budget.Amount { return 0 }

func whole(bound budget.Amount) budget.Amount { return bound }
