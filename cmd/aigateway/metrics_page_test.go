package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/gatewayconfig"
	"aigateway/internal/envoytest"
	"aigateway/internal/goldentest"
	"aigateway/internal/pgtest"
)

// TestMetricsPage compares docs/metrics.md with the metrics of a gateway, and sees
// that alerts, dashboard and documents name only those, with labels they have.
func TestMetricsPage(t *testing.T) {
	known := gatewayMetrics(t)
	page := "# Metrics\n\nWritten by `go test ./cmd/aigateway -run TestMetricsPage -update` from a gateway's own list. They are at `/metrics` of `listen.rest`, for a key with the scope `usage` that is not limited to tags; beside them are Go's `go_…` and `process_…`. What to alarm on: [operations.md](operations.md#alerts). A dashboard: [deploy/grafana](../deploy/grafana/aigateway.json).\n\n| Metric | Labels | |\n|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(known)) {
		page += fmt.Sprintf("| `%s` | %s | %s |\n", name, strings.Join(known[name].labels, ", "), known[name].help)
	}
	goldentest.Equal(t, "../../docs/metrics.md", page)
	files, err := filepath.Glob("../../deploy/*/*.json")
	for _, more := range []string{"../../deploy/*/*.yaml", "../../docs/*.md"} {
		found, e := filepath.Glob(more)
		files, err = append(files, found...), e
	}
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	named := 0
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(aig_[a-z_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(read(t, file), -1) {
			named++
			metric, ok := known[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")]
			if !ok {
				t.Errorf("%s names %s, which is no metric", file, m[1])
			}
			for _, label := range regexp.MustCompile(`([a-z_]+)(?:=|!)`).FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(append(metric.labels, "job", "instance"), label[1]) {
					t.Errorf("%s gives %s a label %s", file, m[1], label[1])
				}
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d metrics are named", named)
	}
}

// TestRunbook: every alert has a heading in docs/operations.md, which it links to,
// and every heading under Alerts an alert.
func TestRunbook(t *testing.T) {
	rules := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read(t, "../../deploy/prometheus/alerts.yaml"), -1)
	_, section, _ := strings.Cut(read(t, "../../docs/operations.md"), "\n## Alerts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if got := strings.Count(section, "\n### "); got != len(rules) || got == 0 {
		t.Errorf("docs/operations.md has %d headings under Alerts, and there are %d alerts", got, len(rules))
	}
	for _, rule := range rules {
		if !strings.Contains(section, "\n### "+rule[1]+"\n") {
			t.Errorf("docs/operations.md says nothing of %s", rule[1])
		}
		if link := "runbook: docs/operations.md#" + strings.ToLower(rule[1]) + "}"; !strings.Contains(read(t, "../../deploy/prometheus/alerts.yaml"), link) {
			t.Errorf("alerts.yaml has no %s", link)
		}
	}
}

type metric struct {
	help   string
	labels []string
}

// gatewayMetrics are those of a whole control plane with a store, with or without series yet.
func gatewayMetrics(t *testing.T) map[string]metric {
	t.Helper()
	dir := envoytest.Dir(t)
	config, err := gatewayconfig.Read(writeFile(t, "aigateway.yaml", fmt.Sprintf(`
listen: {control: "unix:%s/control.sock", rest: "127.0.0.1:0", grpc: "127.0.0.1:0"}
data_dir: %s
providers: {openai: {api_key: sk-x}}
store: {postgres: %q, durability: single_node}
`, dir, filepath.Join(dir, "data"), pgtest.Start(t).URL("admin"))), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newControlPlane(t.Context(), newApp(io.Discard, io.Discard, os.Getenv), config, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	descriptions := make(chan *prometheus.Desc)
	go func() {
		c.metrics.Describe(descriptions)
		close(descriptions)
	}()
	known := map[string]metric{}
	for d := range descriptions {
		m := regexp.MustCompile(`fqName: "(aig_[a-z_]+)", help: "(.*?)", .*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		if m == nil {
			continue // Go's own
		}
		var labels []string
		if m[3] != "" {
			labels = strings.Split(m[3], ",")
		}
		known[m[1]] = metric{help: m[2], labels: labels}
	}
	return known
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
