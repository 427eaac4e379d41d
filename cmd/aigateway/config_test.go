package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/gatewayconfig"
)

func TestConfigSchemaAndExample(t *testing.T) {
	if r := runCLI(t, nil, "config", "schema"); r.code != 0 || r.stdout != gatewayconfig.Schema() || r.stderr != "" {
		t.Errorf("schema: %+v", r)
	}
	if r := runCLI(t, nil, "config", "example"); r.code != 0 || r.stdout != gatewayconfig.Example() || r.stderr != "" {
		t.Errorf("example: %+v", r)
	}
}

// TestConfigExampleIsRight: what we hand out passes our own check, prices
// included.
func TestConfigExampleIsRight(t *testing.T) {
	file := writeFile(t, "aigateway.yaml", gatewayconfig.Example())
	env := map[string]string{"XDG_DATA_HOME": t.TempDir(), "OPENAI_API_KEY": "sk-secret-1", "ANTHROPIC_API_KEY": "sk-secret-2", "RESEARCH_API_KEY": "sk-secret-3",
		"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "sk-secret-4", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "sk-secret-5"}
	for _, format := range []string{"table", "json", "yaml"} {
		r := runCLI(t, env, "config", "check", file, "-o", format)
		if r.code != 0 || !strings.Contains(r.stderr, "is right") {
			t.Fatalf("%s: %+v", format, r)
		}
		if strings.Contains(r.stdout+r.stderr, "sk-secret") {
			t.Errorf("%s shows a secret", format)
		}
	}
}

func TestConfigCheckOfTheEnvironment(t *testing.T) {
	env := map[string]string{"XDG_DATA_HOME": t.TempDir(), "MOONSHOT_API_KEY": "sk-secret"}
	r := runCLI(t, env, "config", "check")
	if r.code != 0 || !strings.Contains(r.stdout, "moonshot  moonshot  set  chat, responses, messages  https://api.moonshot.ai/v1") || !strings.Contains(r.stderr, "the environment's configuration is right") {
		t.Errorf("%+v", r)
	}
	delete(env, "MOONSHOT_API_KEY")
	if r = runCLI(t, env, "config", "check"); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "no providers") {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheckProblems(t *testing.T) {
	env := map[string]string{"XDG_DATA_HOME": t.TempDir()}
	file := writeFile(t, "aigateway.yaml", "provders: {}\nlisten: {clients: nowhere}\nproviders: {openai: {api_key: \"sk-secret\\e[2J\", \"\\e[2J\": 1}}\n")
	r := runCLI(t, env, "config", "check", file)
	wantError(t, r, exitError, "the configuration has", file+":1:1: provders: unknown key", "config example")
	if strings.Contains(r.stderr, "sk-secret") || strings.Contains(r.stderr, "\x1b") {
		t.Errorf("stderr shows the secret or a raw escape: %q", r.stderr)
	}
	file = writeFile(t, "prices.yaml", "models:\n  - model: openai/x\n    prices: [{input: \"-1\", output: \"1\"}]\n")
	wantError(t, runCLI(t, env, "config", "check", file), exitError, file+`:3:22: models[0].prices[0].input: "-1" is not a decimal number`, "config example")
	wantError(t, runCLI(t, env, "config", "check", "--config", file), exitError, file+`:3:22: models[0].prices[0].input: "-1" is not a decimal number`, "config example")
	wantError(t, runCLI(t, env, "config", "check", file, "--config", file), exitUsage, "both given")
	wantError(t, runCLI(t, env, "config", "check", "a", "b"), exitUsage, `unexpected argument "b"`)
	wantError(t, runCLI(t, env, "config", "check", file+".missing"), exitError, "read file")
}

// TestConfigCheckListsEveryPrice: rows of models are reported like all else,
// each problem with its place, its field and what to write, beside the others.
func TestConfigCheckListsEveryPrice(t *testing.T) {
	env := map[string]string{"XDG_DATA_HOME": t.TempDir()}
	file := writeFile(t, "aigateway.yaml", `time_zone: Mars
models:
  - model: openai/one
    price: "1"
    limits: {context: 1e6}
    prices:
      - {from: soon, input: "-1", output: 1.0000001}
  - model: two
  - model: openai/three
    prices:
      - input: "1"
      - {from: 2026-01-01, output: "1"}
  - {model: openai/three}
  - {model: openai/four, aliases: [openai/gpt-5.5], prices: [{input: "1", output: "1"}]}
streams: {idle_timeout: 1ms}
providers: {openai: {api_key: x}}
`)
	r := runCLI(t, env, "config", "check", file)
	wantError(t, r, exitError, "the configuration has 12 problems", "`aigateway config example` prints a file that is right")
	var got []string
	for line := range strings.Lines(r.stderr) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), file); ok {
			got = append(got, rest)
		}
	}
	want := []string{
		`:1:12: time_zone: is "Mars", which is no time zone; write an IANA name such as UTC or Europe/Berlin`,
		`:4:5: models[0].price: unknown key "price" in the model; known: accepted, aliases, audio, dated_versions, draws, endpoints, family, flat_cache_read, image, implicit_cache, inference_geo, input_bound, like, limits, model, nfkc, overhead, pdf_page_tokens, peaks, prices, reprints_tools, service_tiers, thinks_only_when_asked, tokenizer, tokens_per_byte, upstream_model, web_search_tokens`,
		`:5:23: models[0].limits.context: is "1e6"; write a whole number of tokens from 0 to 1000000000`,
		`:7:16: models[0].prices[0].from: is "soon"; write a date as YYYY-MM-DD`,
		`:7:29: models[0].prices[0].input: "-1" is not a decimal number such as "0.25"`,
		`:7:43: models[0].prices[0].output: "1.0000001" has more than 6 decimals; round it up`,
		`:8:12: models[1].model: is "two"; write provider/model`,
		`:11:9: models[2].prices[0]: model openai/three: no output price; write output: "0" if it is free`,
		`:12:9: models[2].prices[1]: model openai/three: no input price; write input: "0" if it is free`,
		`:13:5: models[3]: model openai/three appears twice; write its fields in one row`,
		`:14:5: models[4]: alias openai/gpt-5.5 of openai/four is already a name of openai/gpt-5.5; remove one of them`,
		`:15:25: streams.idle_timeout: is 1ms; write 1s to 1h0m0s`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestConfigCheckOfPricesFile: a prices file has its own name in its problems,
// and what lies over one that cannot be read is not judged.
func TestConfigCheckOfPricesFile(t *testing.T) {
	env := map[string]string{"XDG_DATA_HOME": t.TempDir()}
	prices := writeFile(t, "prices.yaml", "models:\n- {model: openai/mine, prices: [{input: x, output: y}]}\n")
	models := "models: [{model: openai/mine, limits: {context: 1000}}]\n"
	file := writeFile(t, "aigateway.yaml", "prices_file: "+prices+"\n"+models+"unknown: 1\n")
	wantError(t, runCLI(t, env, "config", "check", file), exitError, "3 problems",
		file+`:3:1: unknown: unknown key`,
		prices+`:2:41: models[0].prices[0].input: "x" is not a decimal number such as "0.25"`,
		prices+`:2:52: models[0].prices[0].output: "y" is not a decimal number such as "0.25"`)
	file = writeFile(t, "aigateway.yaml", "prices_file: nowhere.yaml\n"+models)
	wantError(t, runCLI(t, env, "config", "check", file), exitError, "1 problem\n", file+":1:14: prices_file: read file")
	good := writeFile(t, "prices.yaml", "models:\n- {model: openai/mine, prices: [{input: 1, output: 1}]}\n")
	file = writeFile(t, "aigateway.yaml", "prices_file: "+good+"\n"+models)
	if r := runCLI(t, env, "config", "check", file); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// TestConfigCheckTellsTheDisk: an estimate follows the settings, and goes where
// scripts can read it.
func TestConfigCheckTellsTheDisk(t *testing.T) {
	env := map[string]string{"XDG_DATA_HOME": t.TempDir()}
	bytes := map[string]int64{}
	for _, text := range []string{"", "retention: {calls_days: 7}\n", "retention: {usage_months: 130}\n"} {
		file := writeFile(t, "aigateway.yaml", text+"listen: {}\n")
		r := runCLI(t, env, "config", "check", file, "-o", "json")
		var doc struct {
			Retention struct {
				CallsDays   int64 `json:"calls_days"`
				UsageMonths int64 `json:"usage_months"`
				BytesAt10   int64 `json:"bytes_at_10_calls_per_second"`
				BytesAt1000 int64 `json:"bytes_at_1000_calls_per_second"`
			} `json:"retention"`
		}
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != 0 {
			t.Fatalf("%+v: %v", r, err)
		}
		got := doc.Retention
		told := fmt.Sprintf("calls are kept for %d days, usage by the quarter of an hour for %d months: some %.1f GB of disk at 10 calls/s, %.0f GB at 1,000",
			got.CallsDays, got.UsageMonths, float64(got.BytesAt10)/1e9, float64(got.BytesAt1000)/1e9)
		if !strings.Contains(r.stderr, told) {
			t.Errorf("%q: %s, want %s", text, r.stderr, told)
		}
		// A call takes 100 to 300 bytes, so that is what the estimate has to be near.
		if calls := got.CallsDays * 86400; got.BytesAt10 < 10*calls*100 || got.BytesAt1000 < 1000*calls*100 || got.BytesAt1000 > 1000*calls*300+10e9 {
			t.Errorf("%q: %+v", text, got)
		}
		bytes[text] = got.BytesAt10
	}
	if all := bytes[""]; bytes["retention: {calls_days: 7}\n"] >= all || bytes["retention: {usage_months: 130}\n"] <= all {
		t.Errorf("estimates %v do not follow the settings", bytes)
	}
}
