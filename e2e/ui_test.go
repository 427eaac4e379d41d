package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// seen is what the browser read: of each table the rows of its body, then its foot.
type seen struct {
	Usage, Budgets, Refused, Calls, Lines [2][][]string
	Problems                              []string
}

// TestPage opens every page of /ui/ in a real browser, from 360 to 1280 pixels, light
// and dark, by keys alone where they lead: no error in the console, no request to
// another origin, no finding of axe. What it shows is what REST answers, number by
// number. The screenshots are in bin/browser/shots.
func TestPage(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	b := g.setBudget("found", 2)
	if r := g.chat("fake/m1", "found", "words", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	told := wantError(t, g.chat("fake/m1", "found", "other words", `,"max_tokens":50000`), http.StatusPaymentRequired, "budget_exceeded").Error.Metadata
	var report struct{ Rows []struct{ Tag, Cost string } }
	r := g.try(http.MethodGet, g.rest+"/v1/usage?group_by=tag", "", nil)
	if err := json.Unmarshal(bytes.ReplaceAll(r.body, []byte("cost_usd"), []byte("cost")), &report); err != nil || len(report.Rows) != 1 {
		t.Fatalf("%s: %v", r.body, err)
	}
	var spent budgetJSON
	g.get("/v1/budgets/"+b.ID, &spent)
	calls := g.calls("tag=found")

	page := g.browse(t)
	for _, p := range page.Problems {
		t.Error(p)
	}
	usd := func(amount string) string { return "$" + amount }
	for _, v := range []struct {
		what      string
		got, want string
	}{
		{"usage by tag", cell(page.Usage[0], 0, 0) + " " + cell(page.Usage[0], 0, 6), "found " + usd(report.Rows[0].Cost)},
		{"the total", cell(page.Usage[1], 0, 6), usd(report.Rows[0].Cost)},
		{"the budget", strings.Join(rowOf(page.Budgets[0], 0)[:6], " "), strings.Join([]string{"found month", usd(spent.Cap), usd(spent.Spent), usd(spent.Reserved), usd(spent.Remaining)}, " ")},
		{"the refused call's bound", cell(page.Refused[0], 0, 3), usd(told["bound"].(string))},
		{"the calls", cell(page.Calls[0], 0, 1) + " " + cell(page.Calls[0], 1, 1), calls[0].State + " " + calls[1].State},
		{"a call's cost", cell(page.Calls[0], 1, 5), usd(calls[1].Cost)},
		{"the bound's last line", cell(page.Lines[0], len(page.Lines[0])-1, 3), usd(told["bound"].(string))},
	} {
		if v.got != v.want {
			t.Errorf("%s: the page says %q, REST %q", v.what, v.got, v.want)
		}
	}
	g.get("/v1/budgets/"+b.ID, &spent)
	audit := g.try(http.MethodGet, g.rest+"/v1/audit?page_size=1000", "", nil)
	if spent.Cap != "0.03" || !strings.Contains(string(audit.body), "seen in the browser") {
		t.Errorf("the cap is %s; the audit log: %s", spent.Cap, audit.body)
	}
}

func rowOf(rows [][]string, i int) []string {
	if i < 0 || i >= len(rows) {
		return make([]string, 16)
	}
	return rows[i]
}

func cell(rows [][]string, row, column int) string {
	if r := rowOf(rows, row); column < len(r) {
		return r[column]
	}
	return ""
}

// browse runs browser/browse.mjs against g.
func (g *gateway) browse(t *testing.T) (page seen) {
	t.Helper()
	modules, err := filepath.Abs("../bin/browser/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	node, err := filepath.Abs("../bin/sdk/node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(modules); err != nil {
		t.Fatalf("what drives the browser is missing; run: make sdks\n%v", err)
	}
	shots := filepath.Join(filepath.Dir(modules), "shots")
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	script := exec.CommandContext(t.Context(), node, filepath.Join("browser", "browse.mjs"), g.rest, adminKey, shots)
	script.Env = append(os.Environ(), "BROWSER_MODULES="+modules)
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil || json.Unmarshal(out, &page) != nil {
		t.Fatalf("%v: %s\n%s", err, out, stderr.String())
	}
	return page
}
