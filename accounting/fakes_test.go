package accounting_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/pricing"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// fakeLedger remembers what it is told. Once settled, a reservation is closed.
type fakeLedger struct {
	mu         sync.Mutex
	settled    []budget.Settlement // effects, each once
	streamed   int                 // calls of Settle
	batches    int                 // calls of SettleSpool
	position   budget.SpoolPosition
	heartbeats []budget.ReservationID
	closed     map[budget.ReservationID]bool
	fail       error // what both settle methods return
}

func (l *fakeLedger) Settle(_ context.Context, s budget.Settlement) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streamed++
	if l.fail != nil {
		return l.fail
	}
	l.apply(s)
	return nil
}

func (l *fakeLedger) SettleSpool(_ context.Context, all []budget.Settlement, p budget.SpoolPosition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches++
	if l.fail != nil {
		return l.fail
	}
	for _, s := range all {
		l.apply(s)
	}
	l.position = p
	return nil
}

func (l *fakeLedger) apply(s budget.Settlement) {
	if s.Reservation != nil {
		if l.closed[s.Reservation.ID] {
			return
		}
		if l.closed == nil {
			l.closed = map[budget.ReservationID]bool{}
		}
		l.closed[s.Reservation.ID] = true
	}
	l.settled = append(l.settled, s)
}

func (l *fakeLedger) SpoolPosition() budget.SpoolPosition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position
}

func (l *fakeLedger) Heartbeat(id budget.ReservationID, _ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heartbeats = append(l.heartbeats, id)
}

func (l *fakeLedger) IsOpen(id budget.ReservationID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed[id]
}

// ids are the settled reservations in order.
func (l *fakeLedger) ids() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []int{}
	for _, s := range l.settled {
		out = append(out, int(s.Reservation.ID))
	}
	return out
}

func newSealer(t testing.TB) *envoy.Sealer {
	t.Helper()
	s, err := envoy.NewSealer(make([]byte, envoy.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newStream(t testing.TB, c accounting.Config) *accounting.Stream {
	t.Helper()
	s, err := accounting.NewStream(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newSpool(t testing.TB, c accounting.Config, f accounting.File) *accounting.Spool {
	t.Helper()
	s, err := accounting.NewSpool(c, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRatios(t testing.TB, r prometheus.Registerer) *accounting.Ratios {
	t.Helper()
	ratios, err := accounting.NewRatios(r)
	if err != nil {
		t.Fatal(err)
	}
	return ratios
}

func config(t testing.TB, l accounting.Settler) (accounting.Config, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewRegistry()
	return accounting.Config{
		Ledger: l, Sealer: newSealer(t), Catalog: loadCatalog(t), Now: func() time.Time { return noon },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: r,
	}, r
}

// moonshot is read once: thousands of spools are made here.
var moonshot = sync.OnceValues(func() (*pricing.Catalog, error) {
	return pricing.Load(nil, []pricing.Upstream{{Provider: "moonshot", StreamUsage: "inject", CapField: "max_completion_tokens"}}, time.Hour)
})

func loadCatalog(t testing.TB) func() *pricing.Catalog {
	t.Helper()
	c, err := moonshot()
	if err != nil {
		t.Fatal(err)
	}
	return func() *pricing.Catalog { return c }
}

func token(t testing.TB, id int) string {
	t.Helper()
	return newSealer(t).Seal(envoy.Token{
		ID: uint64(id), Accounts: []int64{1}, Bound: 1000, ReservedAt: noon.UnixNano(),
		KeyID: "key_1", Tag: "a", Model: "moonshot/kimi-k2.6", Provider: "moonshot",
	})
}

// line is a line of the file log: an answered call, with changes.
func line(t testing.TB, id int, changes ...func(map[string]any)) string {
	t.Helper()
	m := map[string]any{
		"id": fmt.Sprintf("req-%d", id), "start": fmt.Sprintf("%d.000000000", noon.Unix()), "ms": 1500, "code": 200,
		"flags": "-", "details": "via_upstream", "cluster": "moonshot", "type": "application/json",
		"tx_us": 200, "rsv": token(t, id), "report": nil,
	}
	for _, change := range changes {
		change(m)
	}
	rsv := m["rsv"]
	delete(m, "rsv")
	b, err := json.Marshal(map[string]any{"v": 3, "call": m, "copy": m, "rsv": rsv})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func with(key string, value any) func(map[string]any) {
	return func(m map[string]any) { m[key] = value }
}

// counted is a metric's value by its label values in the order of their names.
func counted(t testing.TB, g prometheus.Gatherer, name string, labels ...string) float64 {
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
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
			}
		}
	}
	return 0
}
