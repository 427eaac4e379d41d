package accounting_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/pricing"
)

// series is how many metrics a registry exposes.
func series(t *testing.T, g prometheus.Gatherer) int {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

// Tags that are seen once, and names that providers make up for the model that
// answered, add no metrics for ever.
func TestNamesOfOthersAddNoMetrics(t *testing.T) {
	c, registry := config(t, &fakeLedger{})
	c.Ratios = newRatios(t, registry)
	call, err := pricing.ParseCall(pricing.Chat, []byte(`{"model":"moonshot/kimi-k2.6","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Catalog().Resolve(call.Model, noon)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Bound(call, noon)
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"kimi-k2.5", "kimi-k2-thinking", "kimi-k2.6"}
	settle := func(first, last int) int {
		for i := first; i < last; i++ {
			name := fmt.Sprintf("model-%d", i)
			if i%2 == 0 {
				name = known[i/2%len(known)] + fmt.Sprintf("-%d-01-01", 1000+i)
			}
			line := &envoy.LogLine{RequestID: fmt.Sprint("r", i), Code: 200, Details: "via_upstream", Sent: true, Start: noon, Duration: time.Second, ContentType: "application/json"}
			line.Token = newSealer(t).Seal(envoy.Token{ID: uint64(i + 1), Bound: int64(b.Amount), ReservedAt: noon.UnixNano(), KeyID: fmt.Sprint("key_", i), Tag: fmt.Sprint("once/", i), Model: m.Slug, Provider: m.Provider, Pin: b.Pin})
			line.Usage, line.Model, line.Done = `{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}`, `"`+name+`"`, true
			accounting.Settlement(c, line)
		}
		return series(t, registry)
	}
	before := settle(0, 1000)
	if after := settle(1000, 5000); after != before || before < 3*200 {
		t.Errorf("%d metrics after 1000 tags and models, %d after 5000", before, after)
	}
}

// An id that is remembered is all that stays of its report, which may be a
// thousand times as long.
func TestAnswersKeepNoReports(t *testing.T) {
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	a := accounting.NewAnswers()
	before := inUse()
	for i := range 400 {
		var r envoy.Report
		id, item := fmt.Sprintf("resp_%06d", i), fmt.Sprintf("msg_%06d", i)
		text := fmt.Sprintf("usage %d:%s", 256<<10, strings.Repeat(" ", 256<<10)) + fmt.Sprintf("id %d:%sitem %d:%s", len(id), id, len(item), item)
		if err := r.Read(text); err != nil {
			t.Fatal(err)
		}
		accounting.ObserveAny(a, r.AnswerID, r.ItemIDs)
	}
	if n := accounting.Remembered(a); n != 800 {
		t.Errorf("%d ids are remembered", n)
	}
	if grown := int64(inUse()) - int64(before); grown > 20<<20 {
		t.Errorf("800 ids of reports of 100 MiB keep %d MiB", grown>>20)
	}
	runtime.KeepAlive(a)
}

// Tags seen once share what is left of the places.
func TestRatiosOfManyTags(t *testing.T) {
	r := newRatios(t, nil)
	for i := range 10_000 {
		r.Observe(budget.Tag(fmt.Sprint("once/", i)), budget.BasisUsage, 2, 1)
	}
	n := 0
	for i := range 10_000 {
		if _, ok := r.Of(budget.Tag(fmt.Sprint("once/", i))); ok {
			n++
		}
	}
	if n > 200 {
		t.Errorf("%d tags have a ratio of their own", n)
	}
}
