package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// clients are the rows of the table.
var clients = []client{
	// Codex 0.171.0 takes our 402 for a broken connection, and tries five times
	// more in seven seconds.
	{name: "Codex", version: []string{"codex", "--version"}, command: codex, tool: "exec_command", refused: 6},
	{name: "Claude Code", version: []string{"claude", "--version"}, command: claude, tool: "Bash", output: "StructuredOutput"},
	{name: "opencode", version: []string{"opencode", "--version"}, command: opencode, tool: "glob", none: map[scenario]string{
		structured: "its command line takes no schema",
	}},
	{name: "aider", version: []string{"aider/bin/aider", "--version"}, command: aider, none: map[scenario]string{
		tool:       "it edits files by what the text says",
		structured: "as above",
	}},
	{name: "llm", version: []string{"python/bin/llm", "--version"}, command: llm, tool: "weather"},
	python("openai-agents", "agents_.py", "weather", ""),
	python("pydantic-ai-slim", "pydantic_.py", "weather", "final_result"),
	python("litellm", "litellm_.py", "weather", ""),
	golang("openai-go", "openai", "github.com/openai/openai-go/v3"),
	golang("anthropic-sdk-go", "anthropic", "github.com/anthropics/anthropic-sdk-go"),
	{name: "cohere", version: pipVersion("cohere"), command: script("cohere_.py"), none: map[scenario]string{
		stream:     "a ranking comes whole; its chat has a format of its own, which the gateway does not serve",
		tool:       "as above",
		structured: "as above",
	}},
}

// python is a library that a script of ours uses.
func python(name, file, tool, output string) client {
	return client{name: name, version: pipVersion(name), command: script(file), tool: tool, output: output}
}

// golang is a library of Go that a program of ours uses, built from sdks.
func golang(name, program, module string) client {
	return client{name: name, tool: "weather", version: []string{"go/version", module}, command: func(*lab, task) (command, error) {
		return command{args: []string{"go/" + program}}, nil
	}}
}

func pipVersion(name string) []string {
	return []string{"python/bin/python", "-c", "import importlib.metadata as m; print(m.version('" + name + "'))"}
}

func script(file string) func(*lab, task) (command, error) {
	return func(l *lab, t task) (command, error) {
		return command{
			args: []string{"python/bin/python", filepath.Join(l.clients, "scripts", file)},
			env:  []string{"LITELLM_LOCAL_MODEL_COST_MAP=True", "OPENAI_AGENTS_DISABLE_TRACING=1"},
		}, nil
	}
}

func codex(l *lab, t task) (command, error) {
	config := fmt.Sprintf(`model = "openai/gpt-5.5"
model_provider = "gateway"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.gateway]
name = "gateway"
base_url = "%s/v1"
env_key = "API_KEY"
wire_api = "responses"
http_headers = { "x-aig-tag" = %q }
`, t.base, t.tag)
	c := command{args: []string{"codex", "exec", "--skip-git-repo-check"}}
	switch t.scenario {
	case stream:
		c.args = append(c.args, "--json")
	case structured:
		file := filepath.Join(t.dir, "schema.json")
		if err := os.WriteFile(file, []byte(schema()), 0o600); err != nil {
			return command{}, fmt.Errorf("write schema: %w", err)
		}
		c.args = append(c.args, "--output-schema", file)
	}
	c.args = append(c.args, t.prompt)
	return c, write(filepath.Join(t.dir, ".codex"), "config.toml", config)
}

func claude(l *lab, t task) (command, error) {
	c := command{
		args: []string{"claude", "-p", t.prompt, "--allowedTools", "Bash"},
		env: []string{
			"ANTHROPIC_BASE_URL=" + t.base, "ANTHROPIC_API_KEY=" + adminKey, "ANTHROPIC_CUSTOM_HEADERS=x-aig-tag: " + t.tag,
			"ANTHROPIC_MODEL=anthropic/claude-opus-5", "ANTHROPIC_DEFAULT_HAIKU_MODEL=anthropic/claude-haiku-4.5",
			"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1",
		},
	}
	switch t.scenario {
	case stream:
		c.args = append(c.args, "--output-format", "stream-json", "--include-partial-messages", "--verbose")
	case structured:
		c.args = append(c.args, "--output-format", "json", "--json-schema", schema())
	}
	return c, nil
}

func opencode(l *lab, t task) (command, error) {
	config := fmt.Sprintf(`{"provider":{"gateway":{"npm":"@ai-sdk/openai-compatible","options":{"baseURL":"%s/v1","apiKey":%q,"headers":{"x-aig-tag":%q}},`+
		`"models":{"openai/gpt-5.5":{}}}},"model":"gateway/openai/gpt-5.5","small_model":"gateway/openai/gpt-5.5","autoupdate":false,"share":"disabled"}`,
		t.base, adminKey, t.tag)
	c := command{args: []string{"opencode", "run", t.prompt}, env: []string{"OPENCODE_DISABLE_MODELS_FETCH=1"}}
	if t.scenario == stream {
		c.args = []string{"opencode", "run", "--format", "json", t.prompt}
	}
	return c, write(filepath.Join(t.dir, ".config", "opencode"), "opencode.json", config)
}

func aider(l *lab, t task) (command, error) {
	settings := fmt.Sprintf("- name: openai/openai/gpt-5.5\n  extra_params: {extra_headers: {x-aig-tag: %q}}\n", t.tag)
	c := command{
		args: []string{"aider/bin/aider", "--model", "openai/openai/gpt-5.5", "--message", t.prompt, "--no-git", "--yes", "--no-check-update",
			"--no-show-model-warnings", "--analytics-disable", "--no-show-release-notes", "--no-pretty"},
		env: []string{"OPENAI_API_BASE=" + t.base + "/v1", "OPENAI_API_KEY=" + adminKey, "LITELLM_LOCAL_MODEL_COST_MAP=True"},
	}
	if t.scenario == answer {
		c.args = append(c.args, "--no-stream")
	}
	// What it would fetch at each start, were it not there.
	if err := write(filepath.Join(t.dir, ".aider", "caches"), "model_prices_and_context_window.json", `{"none":{}}`); err != nil {
		return command{}, err
	}
	return c, write(t.dir, ".aider.model.settings.yml", settings)
}

func llm(l *lab, t task) (command, error) {
	models := fmt.Sprintf("- model_id: gateway\n  model_name: openai/gpt-5.5\n  api_key_name: gateway\n  api_base: %s/v1\n  headers: {x-aig-tag: %q}\n  supports_tools: true\n  supports_schema: true\n",
		t.base, t.tag)
	c := command{
		args: []string{"python/bin/llm", "-m", "gateway", "--key", adminKey, t.prompt},
		env:  []string{"LLM_USER_PATH=" + t.dir},
	}
	switch t.scenario {
	case answer:
		c.args = append(c.args, "--no-stream")
	case tool:
		c.args = append(c.args, "--functions", "def weather(city: str) -> str:\n    return 'sunny'")
	case structured:
		c.args = append(c.args, "--schema", schema())
	}
	return c, write(t.dir, "extra-openai-models.yaml", models)
}

// write makes the directory and the file.
func write(dir, name, text string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
