package chart

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const folder = "../helm/aigateway"

var update = flag.Bool("update", false, "write goldens and the schema")

// TestChart renders the chart with the defaults, with everything on and as a Deployment, lints it,
// reads each object strictly as what Kubernetes takes, and compares with goldens.
func TestChart(t *testing.T) {
	for _, name := range []string{"defaults", "everything", "deployment"} {
		values := readValues(t, "testdata/"+name+".values.yaml")
		for _, m := range lint.RunAll(folder, values, "llm").Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: lint: %s", name, m)
			}
		}
		text := render(t, values)
		for _, object := range strings.Split(text, "\n---\n") {
			readStrictly(t, object)
		}
		golden(t, "testdata/"+name+".golden.yaml", []byte(text))
	}
}

// TestValuesAreChecked: a value that is wrong is refused with its name.
func TestValuesAreChecked(t *testing.T) {
	for wrong, want := range map[string]string{
		"replicas: 0": "replicas",
		"replicas: 2": "postgres.existingSecret",
		"{replicas: 2, postgres: {existingSecret: s, durability: single_node}}": "adminKey.existingSecret",
		"postgres: {existingSecret: s}":                                         "postgres.durability",
		"kind: DaemonSet":                                                       "kind",
		"kind: Deployment":                                                      "postgres.existingSecret",
		"{kind: Deployment, postgres: {existingSecret: s, durability: single_node}}": "adminKey.existingSecret",
		"config: {listen: {rest: '0.0.0.0:1'}}":                                      "listen",
		"config: {retention: {calls_days: many}}":                                    "calls_days",
		"config: {drain: {accept: 1.5s}}":                                            "drain",
		"budgets: [{tag: a, monthly: '1'}]":                                          "adminKey.existingSecret",
		"budgets: [{tag: a, monthly: 1.5}]":                                          "monthly",
		"budgets: [{tag: a, monthly: '1', colour: '1'}]":                             "colour",
		"serviceMonitor: {enabled: true}":                                            "keySecret",
	} {
		var values map[string]any
		if err := yaml.Unmarshal([]byte(wrong), &values); err != nil {
			t.Fatal(err)
		}
		if _, err := tryRender(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", wrong, err, want)
		}
	}
}

// TestSchema: the chart's schema is its own part and that of the gateway's
// configuration, without what the chart sets.
func TestSchema(t *testing.T) {
	var own, config map[string]any
	for path, into := range map[string]*map[string]any{"testdata/values.schema.json": &own, "../../gatewayconfig/schema.json": &config} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	delete(config, "$schema")
	for _, set := range []string{"listen", "data_dir", "store", "admin_key"} {
		properties, ok := config["properties"].(map[string]any)
		if !ok || properties[set] == nil {
			t.Fatalf("the configuration has no %s", set)
		}
		delete(properties, set)
	}
	own["properties"].(map[string]any)["config"] = config
	text, err := json.MarshalIndent(own, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, folder+"/values.schema.json", append(text, '\n'))
}

func readValues(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func render(t *testing.T, values map[string]any) string {
	t.Helper()
	text, err := tryRender(values)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tryRender is what `helm template gateway -n llm` gives, in the order of names.
func tryRender(values map[string]any) (string, error) {
	chart, err := loader.Load(folder)
	if err != nil {
		return "", err
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "gateway", Namespace: "llm", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", err
	}
	var objects []string
	for name, text := range files {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for _, object := range strings.Split(text, "\n---\n") {
			if strings.TrimSpace(object) != "" {
				objects = append(objects, "# "+name+"\n"+strings.TrimSpace(object))
			}
		}
	}
	slices.Sort(objects)
	return strings.Join(objects, "\n---\n") + "\n", nil
}

// readStrictly fails at a field that Kubernetes' own type of the object has not.
// The Prometheus operator's kinds are not Kubernetes'.
func readStrictly(t *testing.T, object string) any {
	t.Helper()
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(object), &kind); err != nil {
		t.Fatalf("%v in:\n%s", err, object)
	}
	into := map[string]any{
		"apps/v1 StatefulSet": &appsv1.StatefulSet{}, "apps/v1 Deployment": &appsv1.Deployment{}, "batch/v1 Job": &batchv1.Job{},
		"v1 Service": &corev1.Service{}, "v1 ConfigMap": &corev1.ConfigMap{},
		"networking.k8s.io/v1 NetworkPolicy": &networkingv1.NetworkPolicy{}, "policy/v1 PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
		"monitoring.coreos.com/v1 ServiceMonitor": &map[string]any{}, "monitoring.coreos.com/v1 PrometheusRule": &map[string]any{},
	}[kind.APIVersion+" "+kind.Kind]
	if into == nil {
		t.Fatalf("nobody here knows %s %s", kind.APIVersion, kind.Kind)
	}
	if err := yaml.UnmarshalStrict([]byte(object), into); err != nil {
		t.Errorf("%v in:\n%s", err, object)
	}
	return into
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what is made now (%v); -update writes it", path, err)
	}
}
