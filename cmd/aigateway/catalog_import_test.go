package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// priceWheel is a genai-prices package with one model of OpenAI.
func priceWheel(t *testing.T, input string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "genai_prices.whl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, text := range map[string]string{
		"genai_prices-9.0.dist-info/METADATA": "Name: genai-prices\nVersion: 9.0\n",
		"genai_prices/data.py": "\nproviders: list[Provider] = [Provider(id='openai', models=[" +
			"ModelInfo(id='gpt-5.5', prices=ModelPrice(input_mtok=Decimal('" + input + "'), output_mtok=Decimal('30')))," +
			"ModelInfo(id='gpt-test', context_window=1000, prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2')))])]\n",
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// dataDay says that data is of today: no row was checked after it.
func dataDay() string { return "--data-date=" + time.Now().UTC().Format(time.DateOnly) }

func TestCatalogDiff(t *testing.T) {
	r := runCLI(t, nil, "catalog", "diff", "--from", priceWheel(t, "4"), dataDay(), "--add", "openai/gpt-test", "-o", "csv")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, row := range []string{
		"model,field,old,new,delta,status,from,source\n",
		"openai/gpt-5.5,input,5,4,-1,falls,",
		"openai/gpt-test,limits.context,-,1000,,new,now,genai-prices 9.0\n",
		"openai/gpt-test,output,-,2,,new,",
	} {
		if !strings.Contains(r.stdout, row) {
			t.Errorf("stdout lacks %q:\n%s", row, r.stdout)
		}
	}
	for _, words := range []string{"genai-prices 9.0 of 20", ": 2 models; SHA-256 ", "values fall and stay as they are; --accept-lower MODEL", "in no source: anthropic/"} {
		if !strings.Contains(r.stderr, words) {
			t.Errorf("stderr lacks %q:\n%s", words, r.stderr)
		}
	}
}

// TestCatalogImport: a file that an import wrote is what the gateway then
// charges by.
func TestCatalogImport(t *testing.T) {
	dir := t.TempDir()
	prices, config := filepath.Join(dir, "prices.yaml"), filepath.Join(dir, "aigateway.yaml")
	r := runCLI(t, nil, "catalog", "import", "--from", priceWheel(t, "4"), dataDay(), "--file", prices, "--add", "openai/gpt-test", "-o", "json")
	if r.code != 0 || !strings.Contains(r.stderr, "wrote ") || !strings.Contains(r.stdout, `"status": "falls"`) {
		t.Fatalf("%+v", r)
	}
	if err := os.WriteFile(config, []byte("prices_file: prices.yaml\nproviders: {openai: {api_key: k}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	show := func(model string) string {
		r := runCLI(t, nil, "catalog", "show", "--config", config, model)
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
		return r.stdout + r.stderr
	}
	if got := show("openai/gpt-test"); !strings.Contains(got, "prices of genai-prices 9.0") {
		t.Error(got)
	}
	if got := show("openai/gpt-5.5"); !strings.Contains(got, "5.00") {
		t.Error("a price fell unasked:", got)
	}
	r = runCLI(t, nil, "catalog", "import", "--from", priceWheel(t, "4"), dataDay(), "--config", config, "--accept-lower", "openai/gpt-5.5", "--by", "ada")
	if r.code != 0 || !strings.Contains(r.stdout, "accepted") {
		t.Fatalf("%+v", r)
	}
	if got := show("openai/gpt-5.5"); !strings.Contains(got, "4.00") || !strings.Contains(got, "ada let input") {
		t.Error(got)
	}
	broken := writeFile(t, "broken.yaml", "models:\n- {model: a/b}\n")
	onBroken := writeFile(t, "aigateway.yaml", "prices_file: "+broken+"\n")
	wantError(t, runCLI(t, nil, "catalog", "list", "--config", onBroken), exitError, broken+":2:3: models[0]: model a/b has no prices")
	before, err := os.ReadFile(prices)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, runCLI(t, nil, "catalog", "import", "--from", priceWheel(t, "-4"), dataDay(), "--file", prices), exitError, "openai/gpt-5.5: genai-prices 9.0, model gpt-5.5: input_mtok: line 2")
	if after, err := os.ReadFile(prices); err != nil || string(after) != string(before) {
		t.Errorf("a failed import changed the file: %v", err)
	}
}

func TestCatalogImportRefuses(t *testing.T) {
	w := priceWheel(t, "5")
	wantError(t, runCLI(t, nil, "catalog", "import", "--from", w), exitUsage, "--file is missing")
	wantError(t, runCLI(t, nil, "catalog", "diff", "--from", w, "--data-date", "soon"), exitUsage, "--data-date is")
	wantError(t, runCLI(t, nil, "catalog", "diff", "--from", w, "--data-date", "2999-01-01"), exitUsage, "write a day that has passed")
	wantError(t, runCLI(t, nil, "catalog", "diff", "--from", w), exitError, "does not say what day its data is of")
	wantError(t, runCLI(t, nil, "catalog", "diff", "--from", "nowhere.whl"), exitError, "--from nowhere.whl", "no such file")
	wantError(t, runCLI(t, nil, "catalog", "diff", "--from", w, dataDay(), "--file", writeFile(t, "p.yaml", "models: [{model: a/b}]")), exitError, "p.yaml", "line 1: model a/b has no prices")
	wantError(t, runCLI(t, nil, "catalog", "diff", "--from", w, dataDay(), "--accept-lower", "openai/gpt-6-sol", "--by", "ada"), exitError, "nothing of that model falls")
}
