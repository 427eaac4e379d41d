package accounting_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/internal/envoytest"
	"aigateway/pricing"
)

// A fault in our own reading must cost the caller no more and no less than what
// was held for the call, and must not stop the channel.
func TestAFaultInPricingChargesTheBound(t *testing.T) {
	r := newRig(t)
	c, metrics := config(t, r.ledger)
	c.Catalog = func() *pricing.Catalog { panic("a fault of ours") }
	r.spool = newSpool(r.t, c, accounting.File{Path: r.path})
	r.spool.Begin()
	r.write(r.lines(1, 2))
	r.drain()
	r.want(1, 2)
	for _, s := range r.ledger.settled {
		if s.Basis != budget.BasisBound || s.Cost != 1000 {
			t.Errorf("%s is charged %s by %s, want its bound", s.RequestID, s.Cost, s.Basis)
		}
	}
	if got := counted(t, metrics, "aig_charge_flags_total", "file", "charge_failed"); got != 2 {
		t.Errorf("%v charges are flagged, want 2", got)
	}
}

// Rotated files are let go of: a gateway rotates for years.
func TestSpoolClosesWhatItHasRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/self/fd")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector closes files, too
	r := newRig(t)
	r.max = 1
	r.start()
	for id := 1; id <= 8; id++ {
		r.write(r.lines(id))
		r.drain()
		r.now = r.now.Add(time.Minute)
		r.drain()
	}
	r.want(1, 2, 3, 4, 5, 6, 7, 8)
	atMost := func(most int, when string) {
		t.Helper()
		if r.w != nil { // the writer's own
			r.must(r.w.Close())
			r.w = nil
		}
		if open := openIn(t, filepath.Dir(r.path)); len(open) > most {
			t.Errorf("%s: %d files are open, want at most %d: %v", when, len(open), most, open)
		}
	}
	atMost(1, "after eight rotations")
	// A start looks into files that are not the one of its position.
	for id := 9; id <= 12; id++ {
		r.write(r.lines(id))
		atMost(1, "between starts")
		r.must(os.Rename(r.path, fmt.Sprintf("%s.%06d", r.path, 900000+id)))
	}
	r.ledger.position = budget.SpoolPosition{File: "another", Offset: 10}
	r.start()
	r.drain()
	atMost(1, "after a start")
	r.spool.Close()
	atMost(0, "after the end")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.must(r.spool.Run(ctx))
	atMost(0, "after Run")
}

// openIn lists what this process has open in dir, deleted files included.
func openIn(t testing.TB, dir string) []string {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir+"/") {
			out = append(out, to)
		}
	}
	return out
}

// What a status, a flag or a clock at its edge proves.
func TestEvidenceAtItsEdges(t *testing.T) {
	base := envoy.LogLine{RequestID: "r", Start: noon, Duration: time.Second, Code: 200, Details: "via_upstream", Sent: true, Cluster: "moonshot"}
	ev := func(change func(*envoy.LogLine)) pricing.Evidence {
		l := base
		change(&l)
		return accounting.Evidence(&l, noon)
	}
	for code, want := range map[int]int{399: 399, 400: 0, 401: 0} { // an error that Envoy made itself is none of the provider
		if got := ev(func(l *envoy.LogLine) { l.Code, l.Details = code, "downstream_remote_disconnect" }).Status; got != want {
			t.Errorf("Envoy's own %d counts as %d, want %d", code, got, want)
		}
	}
	cut := map[string]bool{
		"-": false, "": false, "NR": false, "UAEX": false, "RL": false,
		"DC": true, "DR": true, "UC": true, "UR": true, "LR": true, "DPE": true, "UPE": true, "OM": true,
		"UT": false, "SI": false, "DT": false, "UMSDR": false,
		"DC,UT": false, "UT,DC": false, "LR,SI": false, "DT,LR": false, "UMSDR,LR": false, "URX,UC": true, "UC,URX": true,
	}
	for flags, want := range cut {
		if got := ev(func(l *envoy.LogLine) { l.Flags = flags }).Cut; got != want {
			t.Errorf("flags %q: cut %v, want %v", flags, got, want)
		}
	}
	for _, tt := range []struct {
		start    time.Time
		duration time.Duration
		want     time.Duration
	}{
		{noon.Add(-time.Minute), 1, 1},
		{noon.Add(-time.Minute), 0, time.Minute},
		{noon.Add(-time.Minute), -1, time.Minute},
		{noon.Add(-1), 0, 1},
		{noon, 0, 24 * time.Hour},                // no time has passed: the clock is not to be believed
		{noon.Add(time.Hour), 0, 24 * time.Hour}, // nor where it ran backwards
		{noon.Add(-100 * time.Hour), 0, 24 * time.Hour},
		{time.Unix(1, 0), 0, 24 * time.Hour},
		{time.Unix(0, 0), 0, 24 * time.Hour},
	} {
		if got := ev(func(l *envoy.LogLine) { l.Start, l.Duration = tt.start, tt.duration }).Duration; got != tt.want {
			t.Errorf("began at %v for %s: %s, want %s", tt.start, tt.duration, got, tt.want)
		}
	}
}

// A settlement says who, what and when.
func TestSettlementSaysEverything(t *testing.T) {
	r := newRig(t)
	r.write(line(t, 1, with("ms", 1500)), line(t, 2, with("start", "0.000000000")), line(t, 3, with("ms", 1500), with("rsv", "")))
	r.drain()
	want := budget.Settlement{
		RequestID: "req-1", Basis: budget.BasisBound, Cost: 1000, At: noon.Add(1500 * time.Millisecond), Status: 200,
		Reservation: &budget.Reservation{
			ID: 1, ReservedAt: noon, Bound: 1000, Accounts: []int64{1},
			Attribution: budget.Attribution{KeyID: "key_1", Tag: "a", Model: "moonshot/kimi-k2.6", Provider: "moonshot"},
		},
	}
	if len(r.ledger.settled) != 3 {
		t.Fatalf("%d settlements, want 3", len(r.ledger.settled))
	}
	if diff := cmp.Diff(want, r.ledger.settled[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	lost := budget.Settlement{RequestID: "req-3", Basis: budget.BasisBound, At: noon.Add(1500 * time.Millisecond), Status: 200}
	if diff := cmp.Diff(lost, r.ledger.settled[2]); diff != "" {
		t.Errorf("without a token (-want +got):\n%s", diff)
	}
	if got := r.ledger.settled[1].At; !got.Equal(r.now) {
		t.Errorf("a call that began at no time ended at %v, want now", got)
	}
}

// A call costs what its minutes do, from its admission on: Envoy's clock may be
// behind, and is not believed then.
func TestCallsCostWhatTheirMinutesDo(t *testing.T) {
	const flash = 150_000 // deepseek-v4-flash: $0.15 for 1,000 tokens of input, twice that in the peak from 01:00 on
	for _, tt := range []struct {
		name, admitted, began string
		want                  budget.Amount
	}{
		{"before the peak", "00:30:00", "00:30:00", flash},
		{"in the peak", "01:00:30", "01:00:30", 2 * flash},
		{"in the peak, says our clock", "01:00:30", "00:59:00", 2 * flash},
		{"in the peak, says Envoy's", "00:30:00", "01:00:00", 2 * flash},
	} {
		at := func(clock string) time.Time {
			d, err := time.Parse(time.DateTime, "2026-11-24 "+clock)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		c, sealed := pricedCallAt(t, at(tt.admitted), "deepseek", pricing.Chat, `{"model":"deepseek/deepseek-v4-flash","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`)
		report := answeredReport(`{"prompt_tokens":1000,"completion_tokens":0,"total_tokens":1000}`, "")
		l, err := envoy.ParseLogLine([]byte(line(t, 1, with("rsv", sealed), with("start", fmt.Sprintf("%d.000000000", at(tt.began).Unix())), with("report", report))))
		if err != nil {
			t.Fatal(err)
		}
		cfg, _ := config(t, &fakeLedger{})
		cfg.Catalog = func() *pricing.Catalog { return c }
		if got := accounting.Settlement(cfg, &l); got.Cost != tt.want || got.Basis != budget.BasisUsage {
			t.Errorf("%s: %s by %s, want %s", tt.name, got.Cost, got.Basis, tt.want)
		}
	}
}

// Which key made a response is remembered as its call ends.
func TestSettlementRemembersTheOrigin(t *testing.T) {
	_, sealed := pricedCall(t, "openai", pricing.Responses, `{"model":"openai/gpt-5.5","max_output_tokens":10,"input":"hi","store":true}`)
	report := envoytest.ReportText(envoy.Report{Usage: `{"input_tokens":10,"output_tokens":5}`, Done: true, AnswerID: "resp_1"})
	l, err := envoy.ParseLogLine([]byte(line(t, 1, with("rsv", sealed), with("report", report))))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := config(t, &fakeLedger{})
	cfg.Origins = openOrigins(t, filepath.Join(t.TempDir(), "responses"))
	accounting.Settlement(cfg, &l)
	if got := now(cfg.Origins, "key_1", "resp_1"); got != "openai" {
		t.Errorf("it was made at %q, want openai", got)
	}
}

// Another model that answers costs what it did when the call was admitted, to the
// second before dearer prices are in reach.
func TestModelsThatAnswerCostWhatTheyDidAtAdmission(t *testing.T) {
	var rows yaml.Node
	if err := yaml.Load([]byte(`
- {model: mistral/asked, family: bytes, limits: {context: 10000}, prices: [{input: "1", output: "1"}]}
- {model: mistral/stand-in, family: bytes, limits: {context: 10000}, prices: [{input: "1", output: "1"}, {from: 2026-11-24, input: "5", output: "5"}]}
`), &rows); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&rows, []pricing.Upstream{{Provider: "mistral"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	change := time.Date(2026, 11, 23, 23, 0, 0, 0, time.UTC) // an hour before the day: the call may run as long
	for admitted, want := range map[time.Time]budget.Amount{change.Add(-time.Second / 2): 1_000_000, change: 5_000_000} {
		q, err := c.Quote(t.Context(), pricing.Query{Endpoint: pricing.Chat, Body: []byte(`{"model":"mistral/asked","max_tokens":10,"messages":[{"role":"user","content":"x"}]}`), At: admitted}, nil)
		if err != nil {
			t.Fatal(err)
		}
		sealed := newSealer(t).Seal(envoy.Token{ID: 1, Accounts: []int64{1}, Bound: int64(q.Bound.Amount), ReservedAt: admitted.UnixNano(), Model: q.Model.Slug, Provider: "mistral", Pin: q.Bound.Pin})
		report := answeredReport(`{"prompt_tokens":1000,"completion_tokens":0,"total_tokens":1000}`, `"stand-in"`)
		l, err := envoy.ParseLogLine([]byte(line(t, 1, with("rsv", sealed), with("report", report))))
		if err != nil {
			t.Fatal(err)
		}
		cfg, _ := config(t, &fakeLedger{})
		cfg.Catalog = func() *pricing.Catalog { return c }
		if got := accounting.Settlement(cfg, &l); got.Cost != want {
			t.Errorf("admitted at %s: %s by %s, want %s", admitted, got.Cost, got.Basis, want)
		}
	}
}
