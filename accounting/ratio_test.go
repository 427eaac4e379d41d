package accounting_test

import (
	"fmt"
	"io"
	"testing"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/accounting"
	"aigateway/budget"
)

// TestRatioOfSettledCalls: what the stream settles by a report is learned.
func TestRatioOfSettledCalls(t *testing.T) {
	w := newWorld(t)
	c := w.config()
	c.Ratios = newRatios(t, w.metrics)
	one := w.reserve()
	st, err := w.ledger.GetBudget(w.budget)
	if err != nil {
		t.Fatal(err)
	}
	entries := &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: []*logv3.HTTPAccessLogEntry{one.entry(t, usageText, asked)}}
	stream := &fakeStream{ctx: t.Context(), end: io.EOF, messages: []*alsv3.StreamAccessLogsMessage{{LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{HttpLogs: entries}}}}
	if err := newStream(t, c).StreamAccessLogs(stream); err != nil {
		t.Fatal(err)
	}
	want := accounting.Ratio{Calls: 1, Bound: st.Reserved, Cost: usageCost}
	if got, ok := c.Ratios.Of("a"); !ok || got != want {
		t.Errorf("learned %+v, %v; want %+v", got, ok, want)
	}
	if got := counted(t, w.metrics, "aig_tag_cost_usd_total", "a"); got != float64(usageCost)/float64(budget.Dollar) {
		t.Errorf("the metric says $%v", got)
	}
	if got, want := counted(t, w.metrics, "aig_bound_ratio", "moonshot/kimi-k2.6"), float64(want.Bound)/float64(want.Cost); got != want {
		t.Errorf("a bound of %v times the cost, want %v", got, want)
	}
}

func TestRatiosKeepFewTags(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := newRatios(t, registry)
	for i := range 205 {
		r.Observe(budget.Tag(fmt.Sprint(i)), budget.BasisUsage, 4, 2)
	}
	r.Observe("0", budget.BasisBound, 9, 9)  // says nothing of the cost
	r.Observe("0", budget.BasisUsage, 9, 0)  // nor does a free call
	r.Observe("0", budget.BasisUsage, 10, 1) // but this
	if got, _ := r.Of("0"); got != (accounting.Ratio{Calls: 2, Bound: 14, Cost: 3}) {
		t.Errorf("learned %+v", got)
	}
	if _, ok := r.Of("204"); ok {
		t.Error("the 205th tag has a ratio of its own")
	}
	if got := counted(t, registry, "aig_tag_calls_total", ""); got != 5 {
		t.Errorf("%v calls beyond the first 200 tags, want 5", got)
	}
	if got := counted(t, registry, "aig_bound_ratio", ""); got != 5*2 {
		t.Errorf("bounds of the models beyond the first 200 were %v times their costs in sum, want 10", got)
	}
	r.Observe("0", budget.BasisUsage, budget.MaxAmount, budget.MaxAmount)
	if got, _ := r.Of("0"); got.Calls != 2 {
		t.Errorf("a sum passed its limit: %+v", got)
	}
	var none *accounting.Ratios
	none.Observe("a", budget.BasisUsage, 2, 1)
	if _, ok := none.Of("a"); ok {
		t.Error("the nil view learned something")
	}
}

// TestIdleTagsGiveTheirPlace: the first tags of a process do not keep those of
// today out of the metrics for ever, and what they counted is not lost.
func TestIdleTagsGiveTheirPlace(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := newRatios(t, registry)
	for i := range 200 {
		r.Observe(budget.Tag(fmt.Sprint(i)), budget.BasisUsage, 4, 2)
	}
	for range 10_000 {
		r.Observe("199", budget.BasisUsage, 4, 2)
	}
	r.Observe("today", budget.BasisUsage, 9, 3)
	if got, ok := r.Of("today"); !ok || got != (accounting.Ratio{Calls: 1, Bound: 9, Cost: 3}) {
		t.Errorf("learned %+v, %v", got, ok)
	}
	if _, ok := r.Of("0"); ok {
		t.Error("the tag that was idle longest kept its place")
	}
	if got, ok := r.Of("199"); !ok || got.Calls != 10_001 {
		t.Errorf("the busy tag has %+v, %v", got, ok)
	}
	if got := counted(t, registry, "aig_tag_calls_total", ""); got != 1 {
		t.Errorf("%v calls beyond the 200 tags, want those of the one that went", got)
	}
	if got := counted(t, registry, "aig_bound_ratio", "today"); got != 3 {
		t.Errorf("the model of today has bounds of %v times its costs, want a series of its own with 3", got)
	}
}
