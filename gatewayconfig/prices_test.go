package gatewayconfig_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/gatewayconfig"
)

func TestPricesFile(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	put("prices.yaml", "models: []\n")
	c, err := gatewayconfig.Read(put("good.yaml", "prices_file: prices.yaml\n"), env())
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "prices.yaml"); c.PricesFile != want || c.Catalog.Version() == builtIn(t).Version() {
		t.Errorf("file %s, want %s, and in the catalog", c.PricesFile, want)
	}
	put("broken.yaml", "models:\n- {\n")
	put("empty.yaml", "\n")
	for file, want := range map[string]string{
		"none.yaml":   "bad.yaml:1:14: prices_file: read file: stat " + filepath.Join(dir, "none.yaml"),
		"broken.yaml": "broken.yaml:3:1: YAML syntax",
		"empty.yaml":  "is empty, as a file that is being written",
	} {
		_, err := gatewayconfig.Read(put("bad.yaml", "prices_file: "+file+"\n"), env())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", file, err, want)
		}
	}
}

// TestVariableInBracesNeedsQuotes: "{api_key: ${NAME}}" is no YAML, and the
// remedy is not easy to guess.
func TestVariableInBracesNeedsQuotes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "aigateway.yaml")
	write(t, file, "providers:\n  openai: {api_key: ${OPENAI_API_KEY}}\n")
	_, err := gatewayconfig.Read(file, env())
	if err == nil || !strings.Contains(err.Error(), "2:22: YAML syntax") || !strings.Contains(err.Error(), `"${NAME}"`) {
		t.Errorf("got %v, want the place and quotes as the remedy", err)
	}
}

// TestWatcherSeesPrices: new prices are applied like a new configuration.
func TestWatcherSeesPrices(t *testing.T) {
	dir := t.TempDir()
	prices, config := filepath.Join(dir, "prices.yaml"), filepath.Join(dir, "aigateway.yaml")
	write(t, prices, "models: []\n")
	write(t, config, "prices_file: prices.yaml\n")
	w := watch(t, config, time.Hour)
	write(t, prices, "models: [{model: a/b, prices: [{input: 1, output: 1}]}]\n")
	poll(t, "the new prices", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.got) > 0 && slices.Contains(w.got[len(w.got)-1].Catalog.Slugs(), "a/b")
	})
}
