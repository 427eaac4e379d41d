package gatewayconfig_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/gatewayconfig"
)

// hostile lists files that must be refused. Each is a whole file.
func hostile() []string {
	files := []string{
		// Not YAML, or not a mapping.
		"\x00", "\xff\xfe", "a: \xff", "a: \x01", "a: \x7f", "{", "}", "[", "]", "\"", "'", "- a", "just text", "42", "true", "[]", "- - -",
		"a: b: c", "a:\n\tb: c", "  a: 1\n b: 2", "? ", "? a", ": :", "*a", "!!", "!!map", "!<", "%", "%YAML 9.9\n---\n", "@", "`", "|", ">", "a: |\n b\n c: d\n  e: [",
		"---\n---\n", "listen: {}\n---\nlisten: {}\n", "...\n...\nx", "listen: *x", "a: &a [*a]", "listen: &l {rest: *l}", "listen: &l\n  <<: *l\n",
		"<<: {listen: {}}", "? [a]\n: b", "? {a: b}\n: c", "1: 2", "null: 1", "~: 1", "'': 1", strings.Repeat("k", 300) + ": 1",
		strings.Repeat("[", 20000), strings.Repeat("{a: ", 20000), strings.Repeat("- ", 20000), strings.Repeat("a:\n ", 3000),
		bomb(), strings.Repeat("x", 5<<20), strings.Repeat("# x\n", 2<<20),
		"models: &m [*m]", "models: {a: &a {b: *a}}", "models: text", "models: 3",
		// Keys.
		"listn: {}", "Listen: {}", "listen: {}\nlisten: {}", "LISTEN: {}", "listen.clients: x", "providers: {openai: {}, openai: {}}",
		"limits: {max_body: 1}", "streams: {idle: 1s}", "reservations: {time_out: 1s}", "envoy: {bin: x}", "tls: {ca: x}",
	}
	add := func(format string, values ...string) {
		for _, v := range values {
			files = append(files, fmt.Sprintf(format, v))
		}
	}
	add("listen: %s", "x", "[]", "3", "true", "{clients: [a]}", "{clients: {a: b}}")
	add("listen: {clients: %q}", "x", ":8080", "localhost:8080", "0.0.0.0", "0.0.0.0:", "0.0.0.0:http", "0.0.0.0:65536", "0.0.0.0:-1", "::1:80", "[::1]", "unix:/x", "1.2.3:80", "${HOST}:80", "0.0.0.0:80:80", " 0.0.0.0:80")
	add("listen: {control: %q}", "unix:", "unix:/"+strings.Repeat("x", 120), "x", "unix:\x00")
	files = append(files, "listen: {clients: 127.0.0.1:9000, rest: 127.0.0.1:9000}", "listen: {control: 'unix:/a', envoy_admin: 'unix:/a'}", "listen: {rest: 127.0.0.1:08082}")
	add("time_zone: %q", "Mars", "Local", "../etc/passwd", "UTC+1", "\x00", strings.Repeat("A/", 5000), "${TZ}")
	add("time_zone: %s", "[]", "{}", "3")
	add("data_dir: %s", "[]", "{}", "\"\\0\"", "\"a\\0b\"", "${HOME}/x")
	add("limits: {max_body_bytes: %s}", "0", "-1", "1023", "33554433", "99999999999999999999", "1e6", "8MB", "8 GiB", "x", "[]", "{}", "0x10", "1.5", "-8MiB", "MiB", "9223372036854775807KiB", "''")
	add("limits: {envoy_memory: %s}", "-1", "127MiB", "1025GiB", "half", "[]", "1.5GiB")
	add("streams: {idle_timeout: %s}", "0s", "-1s", "10", "x", "1h1s", "[]", "{}", "1d", "99999999999h", "''")
	add("streams: {max_duration: %s}", "0s", "25h", "1800")
	add("reservations: {timeout: %s}", "1s", "0", "25h", "never")
	add("envoy: {concurrency: %s}", "-1", "1025", "two", "'2'", "1.0", "0b1", "[]", "99999999999999999999")
	add("envoy: {path: %s}", "[]", "\"\\0\"", "${ENVOY}")
	add("tls: {ca_file: %s}", "/nonexistent", "/", "/dev/zero", "/etc/hostname", "[]", "\"\\0\"")
	add("admin_key: %s", "short", "long-enough-but-no-key-of-ours-0123456789", "[]", "${NOPE}", "${", "${}", "${1A}", "${A B}", "${A", "file:", "file:/nonexistent", "file:/dev/zero", "file:/", "\"twenty characters but\\nwith break\"", "\"ключключключключключключ\"", "\" leading-space-is-an-accident\"", "has spaces but is long enough", "\"file:\\0\"", strings.Repeat("x", 17000))
	add("providers: {azure: {base_url: 'https://h', oauth2: %s}}", "3", "[]", "{}", "{tenant_id: a/b, client_id: c, client_secret: s}", "{tenant_id: t, client_id: c}", "{tenant_id: t, client_id: c, client_secret: s, scopes: ['a b']}", "{token_url: 'http://login.example.com/t', client_id: c, client_secret: s}", "{token_url: 'https://u:p@h/t', client_id: c, client_secret: s}", "{token_url: 'ftp://h', client_id: c, client_secret: s}", "{token_url: 'https://h/t?x=y', client_id: c, client_secret: s}")
	add("providers: {bedrock: {aws: %s}}", "3", "{}", "{region: ''}", "{region: US}", "{region: a/b}", "{region: r, service: 'x y'}", "{region: r, access_key_id: a}", "{region: r, secret_access_key: s}", "{region: r, session_token: s}")
	add("providers: %s", "x", "[]", "3", "{openai: x}", "{openai: []}", "{'': {}}", "{OpenAI: {}}", "{a/b: {}}", "{-a: {}}", "{a b: {}}", "{unknown: {}}", "{"+strings.Repeat("a", 41)+": {preset: vllm}}", "{ü: {preset: vllm}}", "{x: {preset: opnai}}", "{x: {preset: ''}}", "{azure: {}}", "{openai: {api_key: k, api_key: k}}", "{openai_compatible: {}}", "{openai: }")
	add("providers: {v: {preset: vllm, base_url: %q}}", "x", "ftp://h/v1", "http://", "http:///v1", "//h/v1", "http://h:0/v1", "http://h:99999/v1", "http://h:x/v1", "http://h:/v1", "http://u:p@h/v1", "http://h/v1?key=x", "http://h/v1?", "http://h/v1#f", "http://h/v1#", "http://h/v 1", "http://h/%2e", "http://h/a//b", "http://-h/", "http://h-/", "http://a..b/", "http://1.2.3/", "http://"+strings.Repeat("a", 64)+"/", "http://ключ/v1", "http://h/ключ", "http://[::1", "http://[fe80::1%25eth0]/", "http://h\n/", "http://h/v1/chat/completions", "http://h/v1/embeddings/", "http://127.0.0.1:8080/v1", "http://localhost:8080", "http://0.0.0.0:8080", "https://h/v1\x00", "http://h/\\", "${URL}", "http://h_$/")
	add("providers: {openai: {api_key: %q}}", "", "${NOPE}", "${", "a${}b", "file:", "file:/nonexistent", "a\nb", "a\x00", "ключ", " k", "k ", "sk-aig-x", "a\x7f")
	add("providers: {openai: {api_key: %s}}", "[]", "{}", "{a: b}")
	add("providers: {openai: {api_key: k, auth_header: %q}}", "", "host", "a b", "x-aig-tag", "x-envoy-x", "content-length", "a:b", "ключ", "transfer-encoding")
	add("providers: {openai: {api_key: k, auth_prefix: %q}}", "\n", "a\x00", strings.Repeat("x", 65), "ключ")
	add("providers: {openai: {api_key: k, headers: %s}}", "x", "[]", "{authorization: x}", "{Authorization: x}", "{host: x}", "{'a b': x}", "{'a:b': x}", "{x-a: ''}", "{x-a: '${NOPE}'}", "{x-a: []}", "{x-a: 1, X-A: 2}", "{x-aig-int-edit: x}", "{'': x}", "{x-a: \"a\\nb\"}", "{accept-encoding: gzip}", "{x-a: }")
	add("providers: {openai: {api_key: k, apis: %s}}", "[]", "chat", "[Chat]", "[chat, chat]", "[rerank, rerank]", "[response]", "[[chat]]", "[1]", "{}", "[null]")
	add("providers: {openai: {api_key: k, %s}}", "stream_usage: maybe", "stream_usage: []", "stream_usage: ''", "cap_field: max", "cap_field: ''", "honours: max_tokens", "honours: [max]", "honours: [max_tokens]", "running_usage: yes", "running_usage: 1", "running_usage: 'true'", "cancels_on_disconnect: maybe", "cancels_on_disconnect: []",
		"max_tokens_per_second: -1", "max_tokens_per_second: 1.5", "max_tokens_per_second: x", "max_tokens_per_second: 1000001", "default_max_tokens: -1", "default_max_tokens: 99999999999999999999", "default_tier: 'a b'", "default_tier: []", "default_tier: "+strings.Repeat("x", 41), "tls: {ca_file: /nonexistent}", "tls: []", "tls: {verify: false}", "insecure: true", "dialect: x", "dialect: []", "dialect: custom", "name: x",
		"extractor: x", "extractor: {}", "extractor: {output: a}", "extractor: {input: .a}", "extractor: {input: a..b}", "extractor: {input: a, cost: 'a b'}", "extractor: {input: a, "+"output: "+strings.Repeat("x", 81)+"}", "extractor: {input: a, cache_outside: 1}", "extractor: {in: a}",
		"price_multiplier: 0.9", "price_multiplier: '-1'", "price_multiplier: 1e1", "price_multiplier: 101", "price_multiplier: 100.1", "price_multiplier: '1.'", "price_multiplier: '.5'", "price_multiplier: '1.1234567'", "price_multiplier: 'ten percent'", "price_multiplier: []", "price_multiplier: 99999999999999999999",
		"default_geo: 'u s'", "default_geo: "+strings.Repeat("x", 41), "require_max_tokens: 1", "strict_body: yes", "deny_omitted_image_detail: []", "allow_pdf: 'true'", "allow_stored_input: maybe")
	add("providers: {openai: {api_key: k, endpoints: %s}}", "x", "[]", "{chats: {}}", "{'': {}}", "{Messages: {}}", "{messages: x}", "{messages: {paths: /x}}", "{messages: {path: ''}}", "{messages: {path: x}}", "{messages: {path: /}}", "{messages: {path: /x/}}", "{messages: {path: //x}}", "{messages: {path: /../../x}}", "{messages: {path: '/x?y'}}", "{messages: {path: '/x#y'}}", "{messages: {path: '/%2e'}}", "{messages: {path: \"/\\n\"}}", "{messages: {path: '/${K}'}}", "{messages: {path: /"+strings.Repeat("x", 200)+"}}",
		"{messages: {auth_header: host}}", "{messages: {auth_header: x-aig-tag}}", "{messages: {auth_header: ''}}", "{messages: {auth_prefix: \"\\n\"}}", "{messages: {dialect: x}}", "{messages: {dialect: custom}}", "{messages: {}, messages: {}}")
	add("providers: {openai: {api_key: k, headers: {x-api-key: v}, endpoints: %s}}", "{messages: {auth_header: x-api-key}}", "{messages: {auth_header: X-API-Key}}")
	add("providers: {openai: {api_key: k, allowed_betas: %s}}", "x", "{}", "['']", "[a b]", "['a,b']", "[A]", "[\"\"]", "[\"a\\nb\"]", "['*']", "["+strings.Repeat("x", 101)+"]", "[[a]]")
	return files
}

// bomb is a billion nodes in nine lines.
func bomb() string {
	var b strings.Builder
	b.WriteString("models:\n  - &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "  - &a%d [%s]\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

func TestHostileFilesAreRefusedWithTheirPlace(t *testing.T) {
	files := hostile()
	if len(files) < 200 {
		t.Fatalf("only %d hostile files", len(files))
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	for _, text := range files {
		name := text[:min(len(text), 80)]
		write(t, path, text)
		start := time.Now()
		_, err := gatewayconfig.Read(path, env())
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%q took %v", name, took)
		}
		checkRefusal(t, name, path, err)
	}
}

func checkRefusal(t *testing.T, name, path string, err error) {
	t.Helper()
	var problems gatewayconfig.Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Errorf("%q: err = %v, want problems", name, err)
		return
	}
	for _, p := range problems {
		if p.File != path || p.Line < 1 || p.Column < 1 || p.Message == "" || strings.ContainsRune(p.Message, '\n') {
			t.Errorf("%q: problem without a place or in two lines: %#v", name, p)
		}
	}
	if len(problems) > 51 {
		t.Errorf("%q: %d problems", name, len(problems))
	}
}

func FuzzRead(f *testing.F) {
	for i, text := range hostile() {
		if i%20 == 0 && len(text) < 2000 { // each seed is run before a mutation is: a few to start from
			f.Add([]byte(text))
		}
	}
	f.Add([]byte(gatewayconfig.Example()))
	getenv := env("OPENAI_API_KEY", "k", "ANTHROPIC_API_KEY", "k", "RESEARCH_API_KEY", "k",
		"AZURE_TENANT_ID", "t", "AZURE_CLIENT_ID", "c", "AZURE_CLIENT_SECRET", "s", "AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "s")
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := gatewayconfig.Parse("/nowhere/c.yaml", data, getenv)
		if err != nil {
			var problems gatewayconfig.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("err = %v", err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 {
					t.Errorf("no place: %#v", p)
				}
			}
			return
		}
		// What Read accepts, Envoy's own rules accept.
		if _, err := gatewayconfig.Render(c, c.Listen.REST); err != nil {
			t.Errorf("a valid file does not render: %v", err)
		}
	})
}
