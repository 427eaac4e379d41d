package pricedata_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"aigateway/pricedata"
	"aigateway/pricing"
)

// litellm is a litellm package with these models.
func litellm(t *testing.T, models string) *pricedata.Source {
	t.Helper()
	s, err := pricedata.ReadBytes(wheel(t, "litellm", "9.9.9", map[string]string{"litellm/model_prices_and_context_window_backup.json": models}), day("2026-11-20"), pricedata.Pins()...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const liteModels = `{
"sample_spec": {"litellm_provider": "one of"},
"mistral/agreed-1": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 2e-06, "output_cost_per_token": 4.000000000000001e-06, "max_input_tokens": 1000, "max_output_tokens": 100,
  "input_cost_per_token_priority": 4e-06, "output_cost_per_token_priority": 8e-06, "input_cost_per_token_batches": 1e-06, "output_cost_per_reasoning_token": 4e-06,
  "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.02}},
"mistral/differs-1": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 3e-06, "cache_read_input_token_cost": 1e-07, "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 6e-06},
"mistral/vectors": {"litellm_provider": "mistral", "mode": "embedding", "input_cost_per_token": 1e-07},
"mistral/odd": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "input_cost_per_character": 1e-06},
"mistral/only-here": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"mistral/painter": {"litellm_provider": "mistral", "mode": "image_generation", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"mistral/rolling-latest": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"mistral/mistral-small-2603-2026-01-01": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07},
"mistral/mistral-large-2512-2026-01-01": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 9e-06, "output_cost_per_token": 9e-06},
"mistral/some-search": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}
}`

// genaiMistral has the same models with prices of its own.
func genaiMistral(t *testing.T) *pricedata.Source {
	t.Helper()
	var b strings.Builder
	b.WriteString("\nproviders: list[Provider] = [Provider(id='mistral', models=[")
	for _, m := range [][3]string{
		{"agreed-1", "2", "4"}, {"differs-1", "2", "5"}, {"vectors", "0.1", ""}, {"odd", "1", "1"}, {"rolling-latest", "1", "1"}, {"rolling-2601", "0.5", "7"},
		{"mistral-small-2603-2026-01-01", "0.15", "0.6"}, {"mistral-large-2512-2026-01-01", "9", "9"}, {"some-search", "1", "1"},
	} {
		b.WriteString("ModelInfo(id='" + m[0] + "', match=ClauseEquals(equals='" + m[0] + "'), prices=ModelPrice(input_mtok=Decimal('" + m[1] + "')")
		if m[2] != "" {
			b.WriteString(", output_mtok=Decimal('" + m[2] + "')")
		}
		b.WriteString(")),")
	}
	b.WriteString("])]\n")
	return genai(t, b.String(), day("2026-11-20"))
}

// What two sources price is added with its limits, at the dearest of both, which
// the row says where they differ.
func TestAddAgreed(t *testing.T) {
	r, err := pricedata.Compare(pricedata.Request{
		Catalog: load(t, "models: []"), Sources: []*pricedata.Source{genaiMistral(t), litellm(t, liteModels)}, Now: now(),
		AddAgreed: true, Providers: []string{"mistral"}, Add: []string{"mistral/rolling-2601"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var added []pricing.Sheet
	for _, s := range r.Sheets {
		if _, ok := load(t, "models: []").Sheet(s.Slug); !ok {
			added = append(added, s)
		}
	}
	_, rows, _ := strings.Cut(string(pricedata.Render(added)), "models:\n")
	want := `- model: mistral/agreed-1
  limits: {context: 1000, max_output: 100, source: litellm 9.9.9, checked_at: 2026-11-20}
  prices:
  - {source: genai-prices 9.9.9 and litellm 9.9.9, checked_at: 2026-11-20,
     input: "2", output: "4",
     fees: {web_search: "0.02"}}
- model: mistral/differs-1
  prices:
  - {source: dearest of genai-prices 9.9.9 and litellm 9.9.9, checked_at: 2026-11-20,
     input: "3", cache_read: "0.1", output: "5",
     tiers: [{from: 200001, input: "6", cache_read: "0.1", output: "6"}]}
- model: mistral/mistral-large-2512-2026-01-01
  prices:
  - {source: genai-prices 9.9.9 and litellm 9.9.9, checked_at: 2026-11-20,
     input: "9", output: "9"}
- model: mistral/rolling-2601
  prices:
  - {source: genai-prices 9.9.9, checked_at: 2026-11-20,
     input: "0.5", output: "7"}
- model: mistral/rolling-latest
  prices:
  - {source: "dearest of what it may mean, and genai-prices 9.9.9 and litellm 9.9.9", checked_at: 2026-11-20,
     input: "1", output: "7"}
- model: mistral/vectors
  endpoints: [embeddings]
  prices:
  - {source: genai-prices 9.9.9 and litellm 9.9.9, checked_at: 2026-11-20,
     input: "0.1", output: "0"}
`
	if rows != want {
		t.Errorf("got\n%s\nwant\n%s", rows, want)
	}
	if len(r.Lacks) != 1 || r.Lacks[0] != (pricedata.Lack{Provider: "mistral", Single: 1}) {
		t.Errorf("still lacking: %+v", r.Lacks)
	}
	again, err := pricedata.Compare(pricedata.Request{
		Catalog: load(t, string(pricedata.Render(r.Sheets))), Sources: []*pricedata.Source{genaiMistral(t), litellm(t, liteModels)}, Now: now(), AddAgreed: true, Providers: []string{"mistral"},
	})
	if err != nil || string(pricedata.Render(again.Sheets)) != string(pricedata.Render(r.Sheets)) {
		t.Errorf("the same data again changes the file: %v", err)
	}
}

// Without a word to add them, they are counted.
func TestLacksAreCounted(t *testing.T) {
	r, err := pricedata.Compare(pricedata.Request{
		Catalog: load(t, "models: []"), Sources: []*pricedata.Source{genaiMistral(t), litellm(t, liteModels)}, Now: now(), Providers: []string{"mistral", "xai"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []pricedata.Lack{{Provider: "mistral", Agreed: 5, Single: 2}}; !slices.Equal(r.Lacks, want) {
		t.Errorf("got %+v, want %+v", r.Lacks, want)
	}
}

func TestAddOneByOne(t *testing.T) {
	for _, tt := range []struct{ slug, want string }{
		{"mistral/vectors", ""}, {"mistral/rolling-latest", ""}, {"mistral/mistral-large-2512-2026-01-01", ""}, {"mistral/only-here", ""},
		{"mistral/odd", "no source has prices"}, {"mistral/some-search", "no source has prices"}, {"mistral/painter", "no source has prices"}, {"mistral/nobody", "no source has prices"},
	} {
		_, err := pricedata.Compare(pricedata.Request{
			Catalog: load(t, "models: []"), Sources: []*pricedata.Source{genaiMistral(t), litellm(t, liteModels)}, Now: now(), Add: []string{tt.slug},
		})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("--add %s: %v, want %q", tt.slug, err, tt.want)
		}
	}
}

// A -latest that has no version of its own costs what the dearest model costs
// that it may mean, in the catalog that is carried.
func TestLatestIsTheDearest(t *testing.T) {
	c := load(t, "models: []")
	price := func(slug, kind string) int64 {
		s, _ := c.Sheet(slug)
		for _, r := range s.Periods[len(s.Periods)-1].Rates {
			if r.Kind == kind && r.FromTokens == 0 {
				return r.PicoPerToken
			}
		}
		return 0
	}
	for latest, models := range map[string][]string{
		"mistral/mistral-large-latest":    {"mistral/mistral-large-2512", "mistral/mistral-large-4"},
		"gemini/gemini-flash-latest":      {"gemini/gemini-3.5-flash", "gemini/gemini-3.8-flash"},
		"gemini/gemini-flash-lite-latest": {"gemini/gemini-3.5-flash-lite", "gemini/gemini-3.1-flash-lite"},
	} {
		for _, m := range models {
			for _, kind := range []string{"input", "output"} {
				if price(latest, kind) < price(m, kind) || price(m, kind) == 0 {
					t.Errorf("%s %s: %d, of %s %d", latest, kind, price(latest, kind), m, price(m, kind))
				}
			}
		}
	}
}

// The list is what two of the pinned sources price and a row can hold: none of it
// may be missing, under this name or as a version of another.
func TestWhatTwoSourcesPriceIsIn(t *testing.T) {
	text, err := os.ReadFile("testdata/agreed.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, "models: []")
	slugs := strings.Fields(string(text))
	if len(slugs) < 500 {
		t.Errorf("%d names only", len(slugs))
	}
	for _, slug := range slugs {
		if s, _, ok := c.Find(slug); !ok || len(s.Periods) == 0 {
			t.Errorf("%s has no price", slug)
		}
	}
}

// Of three prices the one that two sources name holds, unless the third is newer and
// higher; so it does for a row that had the dearest of two.
func TestTwoOfThreeSettle(t *testing.T) {
	source := func(name, date string, in, out [2]string) *pricedata.Source {
		models := "{"
		for i, m := range []string{"three-1", "rose-1"} {
			if i > 0 {
				models += ","
			}
			models += `"mistral/` + m + `": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": ` + in[i] + `, "output_cost_per_token": ` + out[i] + `}`
		}
		s, err := pricedata.ReadBytes(wheel(t, "litellm", name, map[string]string{"litellm/model_prices_and_context_window_backup.json": models + "}"}), day(date), pricedata.Pins()...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := source("9.9.1", "2026-11-20", [2]string{"3e-06", "9e-06"}, [2]string{"4e-06", "9e-06"})
	b := source("9.9.2", "2026-11-19", [2]string{"3e-06", "2e-06"}, [2]string{"5e-06", "9e-06"})
	c := source("9.9.3", "2026-11-18", [2]string{"2e-06", "2e-06"}, [2]string{"4e-06", "9e-06"})
	rows := func(catalog string, sources ...*pricedata.Source) (string, []pricedata.Change) {
		r, err := pricedata.Compare(pricedata.Request{Catalog: load(t, catalog), Sources: sources, Now: now(), AddAgreed: true, Providers: []string{"mistral"}})
		if err != nil {
			t.Fatal(err)
		}
		var own []pricing.Sheet
		for _, s := range r.Sheets {
			if strings.HasSuffix(s.Slug, "three-1") || strings.HasSuffix(s.Slug, "rose-1") {
				own = append(own, s)
			}
		}
		_, text, _ := strings.Cut(string(pricedata.Render(own)), "models:\n")
		return text, r.Changes
	}
	const want = `- model: mistral/rose-1
  prices:
  - {source: dearest of litellm 9.9.1 and litellm 9.9.2 and litellm 9.9.3, checked_at: 2026-11-20,
     input: "9", output: "9"}
- model: mistral/three-1
  prices:
  - {source: two of litellm 9.9.1 and litellm 9.9.2 and litellm 9.9.3, checked_at: 2026-11-20,
     input: "3", output: "4"}
`
	if got, _ := rows("models: []", a, b, c); got != want {
		t.Errorf("added:\n%s\nwant\n%s", got, want)
	}
	two, _ := rows("models: []", a, b)
	got, changes := rows("models:\n"+two, a, b, c)
	if !strings.Contains(got, `input: "3", output: "4"`) || !strings.Contains(got, "two of") || !strings.Contains(got, `input: "9", output: "9"`) {
		t.Errorf("after two: %s\nafter three:\n%s", two, got)
	}
	agreed := slices.DeleteFunc(changes, func(c pricedata.Change) bool { return c.Status != pricedata.Agreed })
	if len(agreed) != 1 || agreed[0].Model != "mistral/three-1" || agreed[0].Field != "output" || agreed[0].Old != "5" || agreed[0].New != "4" {
		t.Errorf("changes: %+v", agreed)
	}
	if again, _ := rows("models:\n"+got, a, b, c); again != got {
		t.Errorf("the same data again:\n%s", again)
	}
}
