package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/internal/pgtest"
)

// blocks are those of README.md and docs/operations.md that are for a shell, by a
// line of each: who runs it, or what it takes that no test here has.
var blocks = map[string]string{
	"make demo ": "TestRelease in deploy/release, as `aigateway demo`",
	"make run":   "needs a provider's key",
	"curl localhost:8080/v1/chat/completions":    "TestDocumentsAlone",
	"curl localhost:8080/v1/budgets":             "TestDocumentsAlone",
	"curl localhost:8080/v1/usage/by-tag":        "TestDocumentsAlone",
	"./aigateway demo --exit":                    "TestRelease in deploy/release",
	"sudo dpkg -i":                               "installedByRoot in deploy/release",
	"docker load":                                "needs an engine for containers; its contents are run by TestRelease in deploy/release",
	"docker compose up":                          "needs an engine for containers; its processes are run by TestComposeShape in deploy/release",
	"helm install":                               "needs a cluster; its processes are run by TestPodShape in deploy/chart",
	"kubectl create secret generic gateway-post": "needs a cluster; its processes are run by TestPodsShape in deploy/chart",
	"openssl s_client":                           "TestDocumentsOfSeveral",
	"aigateway ledger backup /backups/ledger.db": "TestDocumentsAlone",
	"aigateway ledger verify --data-dir /tmp/d":  "TestDocumentsAlone",
	"aigateway ledger backup /backups/before.db": "TestDocumentsAlone",
	"aigateway ledger release":                   "TestDocumentsAlone",
	"aigateway store check":                      "TestDocumentsOfSeveral",
	"aigateway replicas forget":                  "TestDocumentsOfSeveral",
	"aigateway envoy bootstrap":                  "TestDocumentsAlone",
}

// shellBlocks are the blocks for a shell of both documents.
func shellBlocks(t *testing.T) (all []string) {
	t.Helper()
	for _, file := range []string{"../README.md", "../docs/operations.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, after := range strings.Split(string(text), "```sh\n")[1:] {
			block, _, _ := strings.Cut(after, "```")
			all = append(all, block)
		}
	}
	return all
}

// block is the one with a line that begins so.
func block(t *testing.T, line string) string {
	t.Helper()
	for _, b := range shellBlocks(t) {
		if strings.HasPrefix(b, line) || strings.Contains(b, "\n"+line) {
			return b
		}
	}
	t.Fatalf("no block of the documents has %q", line)
	return ""
}

// TestEveryBlockIsRun: each block of commands is run by a test, or it is said why not.
func TestEveryBlockIsRun(t *testing.T) {
	t.Parallel()
	left := map[string]bool{}
	for line := range blocks {
		left[line] = true
	}
	for _, b := range shellBlocks(t) {
		known := false
		for line := range blocks {
			if strings.HasPrefix(b, line) || strings.Contains(b, "\n"+line) {
				known = true
				delete(left, line)
			}
		}
		if !known {
			t.Errorf("nobody runs, or says why not:\n%s", b)
		}
	}
	for line := range left {
		t.Errorf("no document has %s", line)
	}
}

// shell runs what the documents say, as it stands but for addresses and folders of
// this machine; `aigateway run` serves until it is ready and is then stopped.
func (g *gateway) shell(text string, env ...string) string {
	g.t.Helper()
	bin := filepath.Join(g.dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "aigateway")); err != nil && !os.IsExist(err) {
		g.t.Fatal(err)
	}
	const prelude = `aigateway() {
  if [ "$*" != run ]; then command aigateway "$@"; return; fi
  command aigateway run --config aigateway.yaml &
  for _ in $(seq 600); do if curl -sf "$REST/readyz" >ready; then kill $!; wait $!; return; fi; sleep 0.1; done
  return 1
}
`
	text = strings.NewReplacer("localhost:8080", strings.TrimPrefix(g.url, "http://"), "127.0.0.1:8080", strings.TrimPrefix(g.url, "https://"), "localhost:8081", strings.TrimPrefix(g.rest, "http://"),
		"/backups", g.dir, "/tmp/drill", g.dir+"/drill", "/run/secrets", g.dir, "DATA_DIR", g.dir+"/data", "moonshot/kimi-k2.6", "fake/m1",
		"synchronous_standby", "single_node").Replace(text) // the database of tests has no standby
	cmd := exec.CommandContext(g.t.Context(), "bash", "-euo", "pipefail", "-c", prelude+text)
	cmd.Dir = g.dir
	cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + g.dir, "REST=" + g.rest, "KEY=" + adminKey, "AIGATEWAY_API_KEY=" + adminKey, "AIGATEWAY_URL=" + g.rest, "AIGATEWAY_DATA_DIR=" + g.dir + "/data"}, env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("%s\n%v\n%s%s", text, err, out, said.String())
	}
	return string(out) + said.String()
}

func wantSaid(t *testing.T, said string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("want %q in:\n%s", w, said)
		}
	}
}

// TestDocumentsAlone runs what README.md and docs/operations.md say of one gateway, on
// one: a call, a cap, the usage, a key for Prometheus, a backup, its drill, a restore.
func TestDocumentsAlone(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	wantSaid(t, g.shell(block(t, "curl localhost:8080/v1/chat/completions")), `"choices"`)
	wantSaid(t, g.shell(block(t, "curl localhost:8080/v1/budgets")), `"cap_cents":50000`, `"tag":"summarize"`)
	g.settle(time.Minute)
	wantSaid(t, g.shell(block(t, "curl localhost:8080/v1/usage/by-tag")), `"tag":"summarize"`, `"requests":1`)
	wantSaid(t, g.shell("curl -s localhost:8081/readyz"), `"ready":true`)
	wantSaid(t, g.shell("curl -s --unix-socket DATA_DIR/envoy-admin.sock 'http://e/stats?filter=upstream_rq_retry'"), "upstream_rq_retry: 0")
	wantSaid(t, g.shell("aigateway keys create --name prometheus --scope usage > prometheus.key\ncurl -sf localhost:8081/metrics -H \"authorization: Bearer $(cat prometheus.key)\""), "aig_ledger_up 1")
	g.shell(block(t, "aigateway envoy bootstrap"))
	if text, err := os.ReadFile(g.dir + "/envoy.json"); err != nil || !json.Valid(text) {
		t.Errorf("the bootstrap: %v, %.200s", err, text)
	}

	g.shell(block(t, "aigateway ledger backup /backups/before.db"))
	g.shell(block(t, "aigateway ledger backup /backups/ledger.db"))
	wantSaid(t, g.shell(block(t, "aigateway ledger verify --data-dir /tmp/d")), "restored the ledger", "the books agree", "the history is whole")
	if r := g.chat("fake/m1", "summarize", "after the backup", `,"max_tokens":9`); r.status != 200 {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	g.program.stop()
	g.shell(block(t, "aigateway ledger release"))
	g.startRun()
	if r := g.chat("fake/m1", "summarize", "after the restore", `,"max_tokens":9`); r.status != 200 {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	u, b := g.usage()["summarize"], g.mustBudgets()["summarize"]
	if u.requests != 3 || u.nano != b.spent || b.reserved != 0 {
		t.Errorf("the usage is %+v, the budget %+v; want all three calls on both", u, b)
	}
}

// asDocumented starts two gateways on one PostgreSQL with the settings of
// docs/operations.md; the second serves with a certificate.
func asDocumented(t *testing.T) gateways {
	t.Helper()
	db := pgtest.Start(t, "max_connections = 100")
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, settings, _ := strings.Cut(string(text), "```yaml\nstore:\n")
	settings, _, _ = strings.Cut(settings, "```")
	const adminLine = "admin_key: file:/run/secrets/aigateway-admin\n"
	if !strings.HasSuffix(settings, adminLine) {
		t.Fatalf("the settings of several gateways are %q", settings)
	}
	all := gateways{newGateway(t), nil}
	all[1], _, _, _ = secureGateway(t)
	for i, g := range all {
		extra := strings.NewReplacer(adminLine, "", "/run/secrets", g.dir, "synchronous_standby", "single_node").Replace("store:\n" + settings)
		g.settings["Extra"], g.settings["AdminKey"], g.settings["MaxWait"] = extra, "file:"+g.dir+"/aigateway-admin", 3*time.Second
		for name, secret := range map[string]string{"postgres": db.URL("admin"), "aigateway-admin": adminKey} {
			if err := os.WriteFile(filepath.Join(g.dir, name), []byte(secret+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		g.writeConfig()
		if i == 0 {
			wantSaid(t, g.shell(block(t, "aigateway store check")), "nothing is wrong with it")
		}
		g.startRun()
	}
	return all
}

// TestDocumentsOfSeveral goes the way of docs/operations.md to two gateways and one
// PostgreSQL, one with a certificate; loses one with its disk, and lets it come back.
func TestDocumentsOfSeveral(t *testing.T) {
	t.Parallel()
	all := asDocumented(t)
	first, second := all[0], all[1]
	wantSaid(t, second.shell(block(t, "openssl s_client")), "notAfter=")
	wantSaid(t, first.shell(block(t, "curl localhost:8080/v1/budgets")), `"tag":"summarize"`)
	for _, g := range all {
		if r := g.chat("fake/m1", "summarize", "hello", `,"max_tokens":9`); r.status != 200 {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
	}
	all.settle(time.Minute)
	all.wantAlike(t)

	id, err := os.ReadFile(second.dir + "/data/replica")
	if err != nil {
		t.Fatal(err)
	}
	second.program.kill()
	if err := os.RemoveAll(second.dir + "/data"); err != nil {
		t.Fatal(err)
	}
	gone := strings.TrimSpace(string(id))
	said := first.shell(strings.ReplaceAll(block(t, "aigateway replicas forget"), "rep_…", gone))
	wantSaid(t, said, gone, "live", "is forgotten")
	second.startRun() // on an empty directory
	said = first.shell("aigateway replicas list --config aigateway.yaml -o json")
	if strings.Contains(said, gone) || strings.Count(said, `"live"`) != 2 {
		t.Errorf("the gateways are %s", said)
	}
	if r := second.chat("fake/m1", "summarize", "hello", `,"max_tokens":9`); r.status != 200 {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	all.settle(time.Minute)
	all.wantAlike(t)
	if calls, _ := all.bill("summarize"); calls != 3 {
		t.Errorf("%d calls were billed", calls)
	}
}
