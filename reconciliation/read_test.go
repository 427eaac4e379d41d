package reconciliation_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/internal/goldentest"
	"aigateway/reconciliation"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func read(t testing.TB, name string) *reconciliation.Export {
	t.Helper()
	e, err := reconciliation.Read(name, fixture(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func fixtures(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*_*.*sv")
	more, err2 := filepath.Glob("testdata/*_*.json")
	if err != nil || err2 != nil || len(all) != 4 || len(more) != 5 {
		t.Fatalf("fixtures: %v %v %v %v", all, more, err, err2)
	}
	var names []string
	for _, path := range append(all, more...) {
		names = append(names, filepath.Base(path))
	}
	return names
}

// TestRead reads each form of export, and compares what was understood with
// what a person wrote down.
func TestRead(t *testing.T) {
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			e := read(t, name)
			sum := sha256.Sum256(fixture(t, name))
			if e.SHA256 != hex.EncodeToString(sum[:]) || !strings.HasPrefix(name, string(e.Vendor())) || len(e.Reports()) != 1 {
				t.Errorf("hash %s, vendor %s, reports %v", e.SHA256, e.Vendor(), e.Reports())
			}
			path := filepath.Join("testdata", "read", name+".golden")
			goldentest.Equal(t, path, e.Dump())
		})
	}
}

func TestReadToleratesABOM(t *testing.T) {
	for _, name := range []string{"openai_costs.csv", "openai_costs.json"} {
		e, err := reconciliation.Read(name, append([]byte("\ufeff"), fixture(t, name)...))
		if err != nil || e.Dump() != read(t, name).Dump() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReadSaysWhereItFails breaks exports one way at a time.
func TestReadSaysWhereItFails(t *testing.T) {
	for _, tc := range []struct {
		name, file, old, new string
		words                []string
	}{
		{"no JSON", "openai_costs.json", `"has_more": true,`, `"has_more": true`, []string{"openai_costs.json: no JSON", "offset"}},
		{"cut", "openai_costs.json", `{"value": -0.5`, "", []string{"no JSON"}},
		{"duplicate member", "openai_costs.json", `"has_more": true,`, `"has_more": true, "has_more": true,`, []string{"duplicate", "has_more"}},
		{"wrong type", "openai_usage.json", `"input_tokens":5000`, `"input_tokens":"many"`, []string{"at /data/0/results/0/input_tokens (byte "}},
		{"count with a fraction", "openai_usage.json", `"input_tokens":5000`, `"input_tokens":5000.5`, []string{"at /data/0/results/0/input_tokens"}},
		{"negative count", "openai_usage.json", `"output_tokens":1,`, `"output_tokens":-1,`, []string{"at /data/0/results/1", "negative"}},
		{"currency", "openai_costs.json", `"currency": "USD"`, `"currency": "eur"`, []string{`page 1: at /data/0/results/2/amount: the currency is "eur"`}},
		{"no currency", "openai_costs.json", `, "currency": "USD"`, ``, []string{`at /data/0/results/2/amount: the currency is ""`}},
		{"no amount", "openai_costs.json", `{"value": -0.5, "currency": "usd"}`, `null`, []string{"page 2: at /data/0/results/0/amount: the amount is missing"}},
		{"no number", "openai_costs.json", `6.25e-07`, `"cheap"`, []string{"at /data/0/results/1/amount: is no amount"}},
		{"absurd exponent", "openai_costs.json", `6.25e-07`, `6.25e-0700000`, []string{"is no amount"}},
		{"too much", "openai_costs.json", `6.25e-07`, `6.25e14`, []string{"above the largest amount"}},
		{"other report", "openai_usage.json", "organization.usage.completions.result", "organization.usage.images.result", []string{`"organization.usage.images.result" is not compared`, "costs export"}},
		{"two reports", "openai_usage.json", `{"object":"organization.usage.completions.result","input_tokens":10,`, `{"object":"organization.usage.embeddings.result","input_tokens":10,`, []string{"at /data/0/results/1", "in one file"}},
		{"local days", "openai_costs.json", `"start_time": 1775001600, "end_time": 1775088000`, `"start_time": 1775026800, "end_time": 1775113200`, []string{"at /data/0", "not within one UTC day", "bucket_width=1d"}},
		{"weeks", "openai_costs.json", `"end_time": 1775088000`, `"end_time": 1775606400`, []string{"not within one UTC day"}},
		{"backwards", "openai_costs.json", `"end_time": 1775088000`, `"end_time": 0`, []string{"ends before it starts"}},
		{"no times", "openai_costs.json", `"start_time": 1775001600, `, ``, []string{"at /data/0", "neither start_time"}},
		{"no page", "openai_costs.json", `"data"`, `"rows"`, []string{"page 1: at /: member data is missing"}},
		{"Anthropic's cents as a number", "anthropic_cost.json", `"123.78912"`, `123.78912`, []string{"at /data/0/results/0/amount", "decimal string of cents"}},
		{"Anthropic's time", "anthropic_cost.json", "2026-04-01T00:00:00Z", "yesterday", []string{"at /data/0", "starting_at"}},
		{"result of nothing", "anthropic_usage.json", `"uncached_input_tokens"`, `"tokens"`, []string{"at /data/0/results/0", "no report that is known"}},
		{"CSV amount", "openai_costs.csv", "0.8958740000000000", "0,89", []string{"openai_costs.csv: record on line 2", "wrong number of fields"}},
		{"CSV amount in words", "openai_costs.csv", "0.8958740000000000", "free", []string{"openai_costs.csv: line 2, column amount_value: is no amount"}},
		{"CSV currency", "openai_costs.csv", "0.1,usd", "0.1,gbp", []string{"line 3, column amount_currency", `"gbp"`}},
		{"CSV time", "openai_costs.csv", "1775088000,1775174400", "soon,1775174400", []string{"line 4, column start_time", "no whole number"}},
		{"CSV day", "anthropic_cost.csv", "2026-04-02", "02.04.2026", []string{"line 4, column usage_date_utc"}},
		{"CSV quote", "openai_costs.csv", `"gpt-5.5-2026-04-23, input"`, `"gpt-5.5-2026-04-23, input`, []string{"parse error on line 3, column 83", "quote"}},
		{"CSV count", "anthropic_usage.csv", ",50000,", ",50000.5,", []string{"line 2, column usage_input_tokens_no_cache"}},
		{"CSV columns", "anthropic_usage.csv", "usage_date_utc", "date", []string{"line 1", "of no export that is known", "date, model_version"}},
		{"CSV column twice", "anthropic_usage.csv", "speed", "api_key", []string{"line 1", `"api_key" appears twice`}},
		{"CSV buckets", "openai_costs.csv", "1775001600,1775088000,2026-04-01T00:00:00+00:00,2026-04-02T00:00:00+00:00,0.1", "1775001600,1775005200,,,0.1", []string{"line 3", "ends at"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := string(fixture(t, tc.file))
			broken := strings.Replace(text, tc.old, tc.new, 1)
			if broken == text {
				t.Fatalf("%q is not in %s", tc.old, tc.file)
			}
			e, err := reconciliation.Read(tc.file, []byte(broken))
			if err == nil {
				t.Fatalf("read as\n%s", e.Dump())
			}
			for _, w := range tc.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q, want %q in it", err, w)
				}
			}
		})
	}
}

func TestReadRefusesWhatIsNoExport(t *testing.T) {
	for text, word := range map[string]string{
		"": "is empty", " \n": "is empty", "hello": "of no export that is known", "{}": "data is missing", "[]": "no page has a result",
		`{"error":{"message":"no"}}`: "data is missing", `{"data":[]}`: "no page has a result", `{"data":[{"start_time":1775001600,"end_time":1775088000,"results":[]}]}`: "no page has a result",
		"usage_date_utc,cost_usd\n": "holds no days", "\"": "neither JSON nor CSV", "{\"data\":1}": "at /data",
	} {
		if _, err := reconciliation.Read("x", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "x: ") || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want %q", text, err, word)
		}
	}
}

func TestSplitLineItem(t *testing.T) {
	for s, want := range map[string][2]string{
		"gpt-5.5-2026-04-23, input":                    {"gpt-5.5-2026-04-23", ""},
		"gpt-5.5-2026-04-23, cached input":             {"gpt-5.5-2026-04-23", ""},
		"priority | gpt-5.6-sol, output, long context": {"gpt-5.6-sol", ""},
		"gpt-image-2 text, cached input":               {"gpt-image-2", ""},
		"whisper-1, audio":                             {"whisper-1", ""},
		"web search tool calls":                        {"", "web search tool calls"},
		"assistants api | file search":                 {"", "assistants api | file search"},
		"storage, hours":                               {"", "storage, hours"},
		"":                                             {"", ""},
		", input":                                      {"", ", input"},
	} {
		if model, label := reconciliation.SplitLineItem(s); model != want[0] || label != want[1] {
			t.Errorf("%q is %q, %q; want %q", s, model, label, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range fixtures(f) {
		f.Add(fixture(f, name))
	}
	f.Add([]byte("usage_date_utc,cost_usd\n2026-04-01,1e-9\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := reconciliation.Read("x", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "x: ") {
				t.Fatalf("%q does not name the file", err)
			}
			return
		}
		if e.Vendor() == "" || len(e.Reports()) == 0 {
			t.Fatal("an export of nobody")
		}
		checkCompared(t, e)
	})
}
