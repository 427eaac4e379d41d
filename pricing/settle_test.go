package pricing_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/internal/recordedtest"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// settleModels are models of the fixtures that the catalog has not.
const settleModels = overlayModels + `
- model: azure/gpt
  family: bytes
  prices: [{input: "2", cache_read: "0.5", output: "8"}]
- model: vllm/instruct
  family: bytes
  prices: [{input: "1.5", output: "2"}]
- model: vllm/voice
  limits: {context: 2000, max_output: 16384}
  prices: [{from: 2026-01-01, source: test, checked_at: 2026-01-01, input: "1", output: "2", output_audio: "12"}]
- model: vllm/chat
  family: bytes
  prices: [{input: "1", output: "2"}]
- model: odd/m
  family: bytes
  prices: [{input: "3", cache_read: "0.5", output: "6"}]
- model: jina/reranker
  family: rerank
  prices: [{input: "0.05", output: "0"}]
- model: anthropic/claude-haiku-5.5
  limits: {context: 200000}
`

// settleUpstreams are the providers of the fixtures: the presets, with rates
// where a fixture is cut.
func settleUpstreams() []pricing.Upstream {
	list := upstreams()
	for i := range list {
		if list[i].Provider == "anthropic" {
			list[i].MaxTokensPerSecond = 100
		}
	}
	return append(list,
		pricing.Upstream{Provider: "azure", CapField: "max_completion_tokens", CancelsOnDisconnect: true},
		pricing.Upstream{Provider: "vllm"},
		pricing.Upstream{Provider: "jina"},
		pricing.Upstream{Provider: "odd", Dialect: pricing.DialectCustom, Extractor: &pricing.Extractor{Input: "in.all", CacheRead: "in.hit", Output: "made"}},
	)
}

func settleCatalog(t testing.TB) *pricing.Catalog {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(settleModels), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, settleUpstreams(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return pricing.Round(c)
}

// pair is one request with the provider's answer and what it must cost.
type pair struct {
	name, body, answer string
	endpoint           pricing.Endpoint
	status             int
	stream             bool
	cut                bool
	duration           time.Duration
	basis              budget.Basis
	cost               string
	tokens             budget.Tokens
	flags              []string
	served             string
}

// readPairs reads a fixture: "=== name", comments, the request's endpoint and
// body, the answer's status, type and how it was cut, its text, and the
// expectation. A cost of BOUND is the bound, whatever it is.
func readPairs(t testing.TB, path string) []pair {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []pair
	for chunk := range strings.SplitSeq("\n"+string(text), "\n=== ") {
		if strings.TrimSpace(chunk) == "" {
			continue
		}
		out = append(out, readPair(t, chunk))
	}
	return out
}

func readPair(t testing.TB, chunk string) pair {
	t.Helper()
	name, rest, _ := strings.Cut(chunk, "\n")
	p := pair{name: name}
	for strings.HasPrefix(rest, "#") {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	line, rest, _ := strings.Cut(rest, "\n")
	p.endpoint = pricing.Endpoint(strings.TrimPrefix(line, "POST "))
	p.body, rest, _ = strings.Cut(rest, "\n")
	line, rest, _ = strings.Cut(rest, "\n")
	fields := strings.Fields(line)
	var err error
	if p.status, err = strconv.Atoi(fields[1]); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p.stream = fields[2] == "text/event-stream"
	for _, f := range fields[3:] {
		p.cut = true
		if p.duration, err = time.ParseDuration(strings.TrimPrefix(f, "cut=")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	answer, want, ok := strings.Cut("\n"+rest, "\nWANT ")
	if !ok {
		t.Fatalf("%s has no WANT", name)
	}
	p.answer = strings.TrimPrefix(answer, "\n")
	p.want(t, strings.Fields(want))
	return p
}

func (p *pair) want(t testing.TB, fields []string) {
	t.Helper()
	p.basis, p.cost = budget.Basis(fields[0]), fields[1]
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		switch key {
		case "in":
			p.tokens.Input = n
		case "read":
			p.tokens.CacheRead = n
		case "write":
			p.tokens.CacheWrite = n
		case "out":
			p.tokens.Output = n
		case "flags":
			p.flags, err = strings.Split(value, ","), nil
		case "served":
			p.served, err = value, nil
		default:
			t.Fatalf("%s: unknown expectation %q", p.name, f)
		}
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
}

// evidence is what the data plane would report of the answer.
func (p *pair) evidence() pricing.Evidence {
	r := recordedtest.Read(p.answer, p.stream, p.status >= 400)
	return pricing.Evidence{
		Sent: true, Status: p.status, Stream: p.stream, Cut: p.cut, Duration: p.duration,
		Usage: r.Usage, FirstUsage: r.FirstUsage, OtherUsage: r.OtherUsage,
		Model: r.Model, ServiceTier: r.ServiceTier, ToolUsage: r.ToolUsage,
		Done: r.Done, Finished: r.Finished, Output: r.Output,
	}
}

func fixtures(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/settle/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	slices.Sort(files)
	return files
}

// Each pair of a request and a recorded answer settles to a cost worked out
// beside it.
func TestRecordedPairsSettle(t *testing.T) {
	c := settleCatalog(t)
	n := 0
	for _, file := range fixtures(t) {
		for _, p := range readPairs(t, file) {
			n++
			t.Run(filepath.Base(file)+"/"+p.name, func(t *testing.T) { settlePair(t, c, &p) })
		}
	}
	if n < 200 {
		t.Errorf("only %d pairs", n)
	}
}

// call is the request. Recordings come in forms, of which the fixture has the fields
// and how many seconds of sound.
func (p *pair) call(t testing.TB) *pricing.Call {
	t.Helper()
	read := func() (*pricing.Call, error) {
		if p.endpoint != pricing.Transcriptions && p.endpoint != pricing.Translations {
			return pricing.ParseCall(p.endpoint, []byte(p.body))
		}
		var given map[string]string
		if err := json.Unmarshal([]byte(p.body), &given); err != nil {
			return nil, err
		}
		seconds, err := strconv.Atoi(given["seconds"])
		if err != nil {
			return nil, err
		}
		delete(given, "seconds")
		fields := []field{{name: "file", data: wav(seconds)}}
		for _, name := range slices.Sorted(maps.Keys(given)) {
			fields = append(fields, field{name: name, text: given[name]})
		}
		return parseForm(t, p.endpoint, form(t, fields...))
	}
	call, err := read()
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return call
}

func (p *pair) bound(t testing.TB, c *pricing.Catalog) *pricing.Bound {
	t.Helper()
	call := p.call(t)
	m, err := c.Resolve(call.Model, noon())
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Bound(call, noon())
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return b
}

func settlePair(t *testing.T, c *pricing.Catalog, p *pair) {
	call := p.call(t)
	b := p.bound(t, c)
	ev := p.evidence()
	got := pricing.Charge(b.Pin, b.Amount, ev, c.Served(call.Model, noon()))
	want := pricing.Outcome{Basis: p.basis, Tokens: p.tokens, Flags: p.flags, Served: p.served, Cost: b.Amount}
	if p.cost != "BOUND" {
		want.Cost = dollars(t, p.cost)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bound %s, evidence %+v\n(-want +got):\n%s", b.Amount, ev, diff)
	}
	if p.basis == budget.BasisBound && got.Cost != b.Amount {
		t.Errorf("cost is %s, not the bound %s", got.Cost, b.Amount)
	}
}

// Wherever a stream breaks off: once its final report is there it costs what it
// costs, and before that no less, as long as it ran.
func TestStreamsCutAfterEveryEventAreNoCheaper(t *testing.T) {
	c := settleCatalog(t)
	streams := 0
	for _, file := range fixtures(t) {
		for _, p := range readPairs(t, file) {
			if !p.stream || p.basis != budget.BasisUsage || p.status != http.StatusOK {
				continue
			}
			streams++
			b := p.bound(t, c)
			events := strings.SplitAfter(p.answer, "\n\n")
			for n := range len(events) {
				cut := p
				cut.cut, cut.duration, cut.answer = true, time.Hour, strings.Join(events[:n], "")
				got := pricing.Charge(b.Pin, b.Amount, cut.evidence(), nil)
				if full := dollars(t, p.cost); got.Cost < full || got.Basis == budget.BasisUsage && got.Cost != full || got.Cost > max(b.Amount, full) {
					t.Errorf("%s/%s: after %d events it costs %s by %s, whole %s", filepath.Base(file), p.name, n, got.Cost, got.Basis, full)
				}
			}
		}
	}
	if streams < 50 {
		t.Errorf("only %d streams", streams)
	}
}

// dollars reads an exact decimal as nano-USD.
func dollars(t testing.TB, s string) budget.Amount {
	t.Helper()
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 9 {
		t.Fatalf("%s has more than 9 decimals", s)
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", 9-len(fraction)), 10, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("read %s: %w", s, err))
	}
	return budget.Amount(n)
}
