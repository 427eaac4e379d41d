package pricedata_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/pricedata"
	"aigateway/pricing"
)

// lines shows changes one a line.
func lines(changes []pricedata.Change) string {
	var out []string
	for _, c := range changes {
		from := "now"
		if !c.From.IsZero() {
			from = c.From.Format(time.DateOnly)
		}
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %s: %s -> %s %s %s %s",
			strings.TrimPrefix(c.Model, "acme/"), c.Field, c.Old, c.New, c.Delta, c.Status, from)), " "))
	}
	return strings.Join(out, "\n")
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		name    string
		row     string // of the prices file
		accept  bool
		changes string
		want    string // row afterwards; empty: as it was
	}{
		{
			name: "what rises holds today, and the past stays",
			row: `- model: acme/riser
  limits: {context: 128000, max_output: 1000}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", cache_read: "0.1", output: "6",
     fees: {web_search: "0.01"}}
`,
			changes: `riser input: 1 -> 1.5 +0.5 rises 2026-11-24
riser cache_read: 0.1 -> 0.100001 +0.000001 rises 2026-11-24
riser fees.web_search: 0.01 -> 0.012 +0.002 rises 2026-11-24
riser limits.context: 128000 -> 200000 +72000 rises now`,
			want: `- model: acme/riser
  limits: {context: 200000, max_output: 1000, source: genai-prices 9.9.9 for context, checked_at: 2026-11-04}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", cache_read: "0.1", output: "6",
     fees: {web_search: "0.01"}}
  - {from: 2026-11-24, source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1.5", cache_read: "0.100001", output: "6",
     fees: {web_search: "0.012"}}
`,
		},
		{
			name: "what falls stays, beside what rises",
			row: `- model: acme/faller
  limits: {context: 64000}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "0.6", output: "2"}
`,
			changes: `faller input: 0.6 -> 0.5 -0.1 falls 2026-11-24
faller output: 2 -> 3 +1 rises 2026-11-24
faller limits.context: 64000 -> 50000 -14000 falls now`,
			want: `- model: acme/faller
  limits: {context: 64000}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "0.6", output: "2"}
  - {from: 2026-11-24, source: genai-prices 9.9.9 where dearer than old page, checked_at: 2026-11-04,
     input: "0.6", output: "3"}
`,
		},
		{
			name: "what falls is accepted, by whom and when", accept: true,
			row: `- model: acme/faller
  limits: {context: 64000}
  accepted: # who let which values fall
  - {by: bob, at: 2026-01-01, fields: [output]}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "0.6", output: "3"}
`,
			changes: `faller input: 0.6 -> 0.5 -0.1 accepted 2026-11-24
faller limits.context: 64000 -> 50000 -14000 accepted now`,
			want: `- model: acme/faller
  limits: {context: 50000, source: genai-prices 9.9.9, checked_at: 2026-11-04}
  accepted: # who let which values fall
  - {by: bob, at: 2026-01-01, fields: [output]}
  - {by: ada, at: 2026-11-24, fields: [input, limits.context]}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "0.6", output: "3"}
  - {from: 2026-11-24, source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "0.5", output: "3"}
`,
		},
		{
			name: "a limit nobody knew is a fall",
			row: `- model: acme/faller
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "0.5", output: "3"}
`,
			changes: `faller limits.context: -> 50000 falls now`,
			want: `- model: acme/faller
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "0.5", output: "3"}
`,
		},
		{
			name: "a row that was checked after the data stays", accept: false,
			row: `- model: acme/riser
  limits: {context: 128000, max_output: 1000, checked_at: 2026-11-20}
  prices:
  - {source: new page, checked_at: 2026-11-20,
     input: "1", cache_read: "2", output: "6"}
`,
			changes: `riser input: 1 -> 1.5 +0.5 older 2026-11-24
riser cache_read: 2 -> 0.100001 -1.899999 older 2026-11-24
riser limits.context: 128000 -> 200000 +72000 older now`,
		},
		{
			name: "the dearer tier for each number of tokens; a threshold may be written either way",
			row: `- model: acme/tiered
  service_tiers: {priority: "2"}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", output: "3",
     tiers: [{from: 1000, input: "2", output: "6"}]}
`,
			changes: `tiered output: 3 -> 2 -1 falls 2026-11-24
tiered output from 501 tokens: 3 -> 5 +2 rises 2026-11-24
tiered input from 1000 tokens: 2 -> 2.5 +0.5 rises 2026-11-24
tiered output from 1000 tokens: 6 -> 5 -1 falls 2026-11-24
tiered service_tiers.priority: 2 -> 3.5 +1.5 rises now`,
			want: `- model: acme/tiered
  service_tiers: {priority: "3.5"}
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", output: "3",
     tiers: [{from: 1000, input: "2", output: "6"}]}
  - {from: 2026-11-24, source: genai-prices 9.9.9 where dearer than old page, checked_at: 2026-11-04,
     input: "1", output: "3",
     tiers: [{from: 501, input: "1", output: "5"}, {from: 1000, input: "2.5", output: "6"}]}
`,
		},
		{
			name: "announced prices",
			row: `- model: acme/Dated
  upstream_model: dated-v1
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", output: "2"}
  - {from: 2026-12-15, source: contract, checked_at: 2026-10-01,
     input: "1", output: "3"}
`,
			changes: `Dated output: 3 -> 2 -1 falls 2026-12-15
Dated input: 1 -> 2 +1 rises 2027-01-01
Dated output: 3 -> 4 +1 rises 2027-01-01`,
			want: `- model: acme/Dated
  upstream_model: dated-v1
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1", output: "2"}
  - {from: 2026-12-15, source: contract, checked_at: 2026-10-01,
     input: "1", output: "3"}
  - {from: 2027-01-01, source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "2", output: "4"}
`,
		},
		{
			name: "hours of a day, over midnight",
			row: `- model: acme/peaky
  peaks: [{from: "00:30", to: "02:00", multiplier: "1.5"}]
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", output: "2"}
`,
			changes: `peaky peaks.00:00-00:30: 1 -> 2 +1 rises now
peaky peaks.00:30-01:00: 1.5 -> 2 +0.5 rises now
peaky peaks.01:00-02:00: 1.5 -> 1 -0.5 falls now
peaky peaks.22:30-24:00: 1 -> 2 +1 rises now`,
			want: `- model: acme/peaky
  peaks: [{from: "00:00", to: "01:00", multiplier: "2"}, {from: "01:00", to: "02:00", multiplier: "1.5"}, {from: "22:30", to: "24:00", multiplier: "2"}]
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1", output: "2"}
`,
		},
		{
			name: "hours of weekdays, which no source can say",
			row: `- model: acme/peaky
  peaks: [{from: "00:00", to: "01:00", multiplier: "2", weekdays: true}, {from: "22:30", to: "24:00", multiplier: "1.5", weekdays: true}]
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", output: "2"}
`,
			changes: `peaky peaks.22:30-24:00: 1.5 -> 2 +0.5 rises now`,
			want: `- model: acme/peaky
  peaks: [{from: "00:00", to: "01:00", multiplier: "2", weekdays: true}, {from: "22:30", to: "24:00", multiplier: "2"}]
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1", output: "2"}
`,
		},
		{
			name: "a price that would allow what is refused is not taken over",
			row: `- model: acme/thinker
  prices:
  - {source: old page, checked_at: 2026-10-01,
     input: "1", output: "2"}
`,
			want: `- model: acme/thinker
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1", output: "2"}
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := pricedata.Request{
				Catalog: load(t, "models:\n"+tt.row), Now: now(), By: "ada",
				Sources: []*pricedata.Source{genai(t, fixture(t), day("2026-11-04"))},
			}
			if tt.accept {
				request.AcceptLower = []string{"acme/faller"}
			}
			r, err := pricedata.Compare(request)
			if err != nil {
				t.Fatal(err)
			}
			changes, row := only(r)
			if diff := cmp.Diff(tt.changes, lines(changes)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if tt.want == "" {
				tt.want = tt.row
			}
			if diff := cmp.Diff(tt.want, row); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			// What was written loads, and the same data changes nothing more.
			request.Catalog, request.AcceptLower = load(t, string(pricedata.Render(r.Sheets))), nil
			again, err := pricedata.Compare(request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(pricedata.Render(r.Sheets)), string(pricedata.Render(again.Sheets))); diff != "" {
				t.Errorf("a second import changes (-first +second):\n%s", diff)
			}
			if i := slices.IndexFunc(again.Changes, func(c pricedata.Change) bool { return c.Status == pricedata.Rises || c.Status == pricedata.Accepted }); i >= 0 {
				t.Errorf("a second import: %+v", again.Changes[i])
			}
		})
	}
}

func TestAdd(t *testing.T) {
	request := pricedata.Request{
		Catalog: load(t, "models: []"), Now: now(), Add: []string{"acme/dated.2", "acme/tiered", "acme/thinker"},
		Sources: []*pricedata.Source{
			genai(t, fixture(t), day("2026-11-04")),
			modelsDev(t, [4]any{"acme", "tiered", 4000, 800}, [4]any{"other", "tiered", 9, 9}),
		},
	}
	r, err := pricedata.Compare(request)
	if err != nil {
		t.Fatal(err)
	}
	_, rows := only(r)
	want := `- model: acme/dated.2
  upstream_model: dated-2
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1", output: "2"}
  - {from: 2027-01-01, source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "2", output: "4"}
- model: acme/thinker
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1", output: "2"}
- model: acme/tiered
  limits: {context: 4000, max_output: 800, source: models.dev 1.0, checked_at: 2026-11-10}
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-04,
     input: "1", output: "2",
     tiers: [{from: 501, input: "1", output: "5"}, {from: 1001, input: "2.5", output: "5"}]}
`
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range r.Changes {
		if strings.HasPrefix(c.Model, "acme/") && (c.Status != pricedata.New || c.Old != "") {
			t.Errorf("%+v", c)
		}
	}
}

// TestLimitsOfTwoSources: the larger holds, for it clamps bounds less.
func TestLimitsOfTwoSources(t *testing.T) {
	row := "models: [{model: acme/faller, limits: {context: 10000}, prices: [{input: \"0.5\", output: \"3\"}]}]"
	r, err := pricedata.Compare(pricedata.Request{
		Catalog: load(t, row), Now: now(),
		Sources: []*pricedata.Source{genai(t, fixture(t), day("2026-11-04")), modelsDev(t, [4]any{"acme", "faller", 40000, 500})},
	})
	if err != nil {
		t.Fatal(err)
	}
	changes, rows := only(r)
	want := "faller limits.context: 10000 -> 50000 +40000 rises now\nfaller limits.max_output: -> 500 falls now"
	if diff := cmp.Diff(want, lines(changes)); diff != "" || !strings.Contains(rows, "limits: {context: 50000, source: genai-prices 9.9.9 and models.dev 1.0, checked_at: 2026-11-04}") {
		t.Errorf("%s\n%s", diff, rows)
	}
}

// TestLeftAlone: a price list that does not fit a row is named and nothing of
// it taken over.
func TestLeftAlone(t *testing.T) {
	for model, want := range map[string]string{
		"odd":     "it charges for requests_kcount, which a row cannot hold; its prices stay as they are",
		"painter": "it charges for output_image_mtok, which a row cannot hold",
		"sinking": "its input price falls from the tier at 1001 input tokens on",
		"bare":    "it has no price today",
	} {
		row := "models: [{model: acme/" + model + ", prices: [{checked_at: 2026-01-01, input: \"0.25\", output: \"0.25\"}]}]"
		sources := []*pricedata.Source{genai(t, fixture(t), day("2026-11-04"))}
		r, err := pricedata.Compare(pricedata.Request{Catalog: load(t, row), Now: now(), Sources: sources})
		if err != nil {
			t.Fatal(err)
		}
		changes, _ := only(r)
		if len(changes) > 0 || !slices.ContainsFunc(r.Notes, func(n pricedata.Note) bool {
			return n.Model == "acme/"+model && strings.Contains(n.Text, want)
		}) {
			t.Errorf("%s: changes %v, notes %v", model, changes, r.Notes)
		}
		_, err = pricedata.Compare(pricedata.Request{Catalog: load(t, "models: []"), Now: now(), Sources: sources, Add: []string{"acme/" + model}})
		if err == nil || !strings.Contains(err.Error(), "acme/"+model+": ") {
			t.Errorf("add %s: %v", model, err)
		}
	}
	// Audio from the cache matters where audio is let in.
	row := "models: [{model: acme/thinker, audio: {tokens_per_second: 10}, prices: [{input: \"1\", input_audio: \"1\", output: \"2\"}]}]"
	data := strings.Replace(fixture(t), "cache_audio_read_mtok=Decimal('1')", "cache_audio_read_mtok=Decimal('2')", 1)
	r, err := pricedata.Compare(pricedata.Request{Catalog: load(t, row), Now: now(), Sources: []*pricedata.Source{genai(t, data, day("2026-11-04"))}})
	if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0].Text, "audio from the cache") {
		t.Errorf("%v %+v", err, r)
	}
}

func TestCompareRefuses(t *testing.T) {
	sources := []*pricedata.Source{genai(t, fixture(t), day("2026-11-04"))}
	for _, tt := range []struct {
		name, prices string
		add, accept  []string
		want         string
	}{
		{"malformed", "models: [{model: acme/broken, prices: [{input: 1, output: 1}]}]", nil, nil, `acme/broken: genai-prices 9.9.9, model broken: input_mtok: line `},
		{"add twice", "models: []", []string{"acme/riser", "acme/riser"}, nil, "--add acme/riser: the catalog has that model"},
		{"add what there is", "models: []", []string{"openai/gpt-6-sol"}, nil, "--add openai/gpt-6-sol: the catalog has that model"},
		{"add no slug", "models: []", []string{"riser"}, nil, "riser: write provider/model"},
		{"add unknown", "models: []", []string{"acme/nobody"}, nil, "acme/nobody: no source has prices of it"},
		{"nearly the name", "models: []", []string{"acme/riser-2"}, nil, "acme/riser-2: no source has prices of it"},
		{"nothing falls", "models: []", nil, []string{"acme/riser"}, "--accept-lower acme/riser: nothing of that model falls"},
	} {
		_, err := pricedata.Compare(pricedata.Request{
			Catalog: load(t, tt.prices), Now: now(), Sources: sources, Add: tt.add, AcceptLower: tt.accept, By: "ada",
		})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
	}
}

func TestMalformedData(t *testing.T) {
	decimal := "Decimal('1')"
	for _, tt := range []struct{ arguments, want string }{
		{"prices=ModelPrice(input_mtok=1)", "input_mtok: line 2: a whole number is no price; want a Decimal"},
		{"prices=ModelPrice(input_mtok=Decimal('x'))", `input_mtok: line 2: "x" is no price`},
		{"prices=ModelPrice(input_mtok=Decimal(1))", "want a Decimal"},
		{"prices=ModelPrice(web_searches_kcount=Decimal('1e99'))", "web_searches_kcount: line 2"},
		{"prices=ModelPrice(input_mtok=TieredPrices(tiers=[]))", "TieredPrices has no base"},
		{"prices=ModelPrice(input_mtok=TieredPrices(base=" + decimal + "))", "has no list of tiers"},
		{"prices=ModelPrice(input_mtok=TieredPrices(base=" + decimal + ", tiers=[Tier(start=1)]))", "a tier lacks its start or price"},
		{"prices=ModelPrice(input_mtok=TieredPrices(base=" + decimal + ", tiers=[Tier(start='1', price=" + decimal + ")]))", "is no number of tokens"},
		{"prices=[ConditionalPrice()]", "a ConditionalPrice lacks its prices"},
		{"prices=[ConditionalPrice(prices=ModelPrice(), until=1)]", "ConditionalPrice has the unknown field until"},
		{"prices=[ConditionalPrice(prices=ModelPrice(), constraint=Moon(phase=1))]", "the condition Moon is not understood"},
		{"prices=[ConditionalPrice(prices=ModelPrice(), constraint=StartDateConstraint(start_date=datetime.date(2026, 2, 30)))]", "start_date is no date"},
		{"prices=[ConditionalPrice(prices=ModelPrice(), constraint=StartDateConstraint())]", "has no start_date"},
		{"prices=[ConditionalPrice(prices=ModelPrice(), constraint=TimeOfDateConstraint(start_time=datetime.time(1, 0), end_time=datetime.time(2, 0)))]", "start_time is not in UTC"},
		{"prices=[ConditionalPrice(prices=ModelPrice(), constraint=TimeOfDateConstraint(start_time=datetime.time(1, 70, tzinfo=datetime.UTC), end_time=datetime.time(2, 0, tzinfo=datetime.UTC)))]", "start_time is no time of day"},
		{"prices=[ConditionalPrice(prices=ModelPrice(), constraint=TimeOfDateConstraint(start_time=datetime.time(1, 0, tzinfo=datetime.UTC), end_time=datetime.time(1, 0, tzinfo=datetime.UTC)))]", "the window is empty"},
		{"prices=ModelPrice(), context_window='big'", "context_window: line 2"},
		{"prices=ModelPrice(), discount=1", "ModelInfo has the unknown field discount"},
		{"prices=ModelPrice(), price_variants=1", "no list of price_variants"},
		{"prices=ModelPrice(), price_variants=[PriceVariant(prices=ModelPrice())]", "a variant lacks its condition"},
	} {
		s := genai(t, oneModel("m", tt.arguments), day("2026-11-04"))
		row := "models: [{model: acme/m, prices: [{input: 1, output: 1}]}]"
		_, err := pricedata.Compare(pricedata.Request{Catalog: load(t, row), Now: now(), Sources: []*pricedata.Source{s}})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "acme/m: genai-prices 9.9.9, model m: ") {
			t.Errorf("%s: got %v, want %q in it", tt.arguments, err, tt.want)
		}
	}
}

// TestEmbeddedPricesAreAsWritten: a file an import could have left, so that the
// next import shows in its diff what changed and nothing else.
func TestEmbeddedPricesAreAsWritten(t *testing.T) {
	text, err := os.ReadFile("../pricing/prices.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, "models: []")
	var sheets []pricing.Sheet
	for _, slug := range c.Slugs() {
		s, ok := c.Sheet(slug)
		if !ok {
			t.Fatalf("%s has no sheet", slug)
		}
		sheets = append(sheets, s)
	}
	if diff := cmp.Diff(string(pricedata.Render(sheets)), string(text)); diff != "" {
		t.Errorf("pricing/prices.yaml is not as an import writes it; run make catalog IMPORT=1 (-want +got):\n%s", diff)
	}
}
