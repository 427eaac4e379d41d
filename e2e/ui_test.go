package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"aigateway/internal/oidctest"
)

// seen is what the browser read: of each table the rows of its body, then its foot.
type seen struct {
	Bills, Usage, Budgets, Refused, Calls, Lines, Pressed, Reasons, Windows, Changes [2][][]string
	Today                                                                            []string
	Sentence, Why                                                                    string
	Problems                                                                         []string
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
	history := g.history(t, b.ID)

	month, today := time.Now().UTC().Format("2006-01"), time.Now().UTC().Format(time.DateOnly)
	if r := g.try(http.MethodPost, g.rest+"/v1/bills", fmt.Sprintf(`{"provider":"fake","month":%q,"days":[{"day":%q,"billed_usd":"0.01"}]}`, month, today), nil); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	var bills struct {
		Providers []struct {
			Provider                     string
			Billed, Recorded, Difference string
			Corrected, Open              string
			Actor                        string
		}
	}
	r = g.try(http.MethodGet, g.rest+"/v1/bills", "", nil)
	if err := json.Unmarshal(bytes.ReplaceAll(r.body, []byte("_usd"), nil), &bills); err != nil || len(bills.Providers) != 1 || bills.Providers[0].Recorded != report.Rows[0].Cost {
		t.Fatalf("%s: %v", r.body, err)
	}
	bill := bills.Providers[0]

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
		{"the budget", strings.Join(rowOf(page.Budgets[0], 1)[:8], " "), strings.Join([]string{"found", usd(report.Rows[0].Cost), "1 month", usd(spent.Cap), usd(spent.Spent), usd(spent.Reserved), usd(spent.Remaining)}, " ")},
		{"today", strings.Join(page.Today, " "), strings.Join([]string{usd(history.overview.Spent), usd(history.overview.Reserved), projected(history.overview.Projected), usd(history.overview.Kept)}, " ")},
		{"the bill", strings.Join(rowOf(page.Bills[0], 0)[:6], " ") + " " + cell(page.Bills[0], 0, 7), strings.Join([]string{bill.Provider, usd(bill.Billed), usd(bill.Recorded), usd(bill.Difference), usd(bill.Corrected), usd(bill.Open), bill.Actor}, " ")},
		{"the sentence", page.Sentence[:len(usd(history.overview.Spent))], usd(history.overview.Spent)},
		{"the budget under pressure", cell(page.Pressed[0], 0, 0) + " " + cell(page.Pressed[0], 0, 2), "found, month " + usd(spent.Spent)},
		{"refusals by reason", strings.Join(rowOf(page.Reasons[0], 0), " "), fmt.Sprintf("%s %d %d %s", history.refusals.Rows[0].Reason, history.refusals.Rows[0].Calls, history.refusals.Rows[0].Distinct, usd(history.refusals.Rows[0].Kept))},
		{"what was kept", usd(history.refusals.Total.Kept), usd(told["bound"].(string))},
		{"the window", strings.Join(rowOf(page.Windows[0], 0)[3:8], " "), fmt.Sprintf("%s %s %d %d %s", usd(history.windows[0].Cap), usd(history.windows[0].Spent), history.windows[0].Refused, history.windows[0].Distinct, usd(history.windows[0].Kept))},
		{"the change", strings.Join(rowOf(page.Changes[0], 0)[2:6], " "), "$0.02 $0.03 UTC seen in the browser"},
		{"the refused call's bound", cell(page.Refused[0], 0, 3), usd(told["bound"].(string))},
		{"the calls", cell(page.Calls[0], 0, 1) + " " + cell(page.Calls[0], 1, 1), calls[0].State + " " + calls[1].State},
		{"a call's cost", cell(page.Calls[0], 1, 5), usd(calls[1].Cost)},
		{"why a call was refused", strings.ReplaceAll(page.Why, ",", ""), fmt.Sprintf("It could have cost %s of %s that were left; max_tokens %v would have fit.", usd(told["bound"].(string)), usd(spent.Remaining), told["max_tokens_that_fit"])},
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

// TestPageByOIDC signs in by an issuer on another site: edits are audited under who made
// them, and a group that may look can do no more.
func TestPageByOIDC(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	issuer := oidctest.New(t, time.Now)
	issuer.URL = strings.Replace(issuer.URL, "127.0.0.1", "localhost", 1) // another site than the page's
	issuer.Named = issuer.URL
	issuer.Claims = map[string]any{"groups": []string{"leads"}, "email": "anna@example.com", "email_verified": true}
	g.settings["Extra"] = fmt.Sprintf(`oidc: {issuer: %q, client_id: %q, client_secret: %q, redirect_url: "%s/ui/oidc/callback", groups: [{group: leads, scopes: [usage, budgets]}, {group: finance, scopes: [usage]}]}`,
		issuer.URL, issuer.ClientID, issuer.ClientSecret, g.rest)
	g.writeConfig()
	g.startRun()
	b := g.setBudget("found", 2)
	var read struct {
		Changes  [2][][]string
		Problems []string
	}
	g.script(t, &read, func(what string) {
		switch what {
		case "look only":
			issuer.Claims["groups"] = []string{"finance"}
		case "nobody":
			issuer.Claims["groups"] = []string{}
		case "expired":
			issuer.Claims["exp"] = 1
		}
	}, "oidc.mjs", issuer.URL, b.ID)
	for _, p := range read.Problems {
		t.Error(p)
	}
	if got := strings.Join(rowOf(read.Changes[0], 0)[1:6], " "); got != "oidc:anna@example.com $0.02 $0.05 UTC by her group" {
		t.Errorf("the change is of %q", got)
	}
	var spent budgetJSON
	g.get("/v1/budgets/"+b.ID, &spent)
	if spent.Cap != "0.05" {
		t.Errorf("the cap is %s", spent.Cap)
	}
	audit := g.try(http.MethodGet, g.rest+"/v1/audit?page_size=1000", "", nil)
	if !strings.Contains(string(audit.body), `"actor":"oidc:anna@example.com"`) {
		t.Errorf("the audit log: %s", audit.body)
	}
}

// pastJSON is what of a budget and a month REST and the CLI both tell.
type pastJSON struct {
	overview struct {
		Spent, Reserved, Kept string
		Projected             *string
	}
	refusals struct {
		Rows  []refusalJSON
		Total refusalJSON
	}
	windows []windowJSON
}

type refusalJSON struct {
	Reason   string
	Calls    int
	Distinct int `json:"distinct_calls"`
	Kept     string
}

type windowJSON struct {
	Cap, Spent, Kept string
	Refused          int `json:"refused_calls"`
	Distinct         int `json:"distinct_calls"`
}

// history asks REST and the CLI, which must say the same.
func (g *gateway) history(t *testing.T, id string) (rest pastJSON) {
	t.Helper()
	var cli pastJSON
	var page struct{ Windows []windowJSON }
	g.get("/v1/overview", &rest.overview)
	g.get("/v1/refusals", &rest.refusals)
	g.get("/v1/budgets/"+id+"/windows", &page)
	rest.windows = page.Windows
	g.cli(t, &cli.overview, "overview")
	g.cli(t, &cli.refusals, "refusals")
	g.cli(t, &cli.windows, "budgets", "windows", id)
	if !reflect.DeepEqual(rest, cli) || len(rest.windows) != 1 || len(rest.refusals.Rows) != 1 {
		t.Fatalf("REST says %+v, the CLI %+v", rest, cli)
	}
	return rest
}

func projected(p *string) string {
	if p == nil {
		return "too early"
	}
	return "$" + *p
}

// cli runs a command against g and reads its JSON into v; a *string gets the text.
func (g *gateway) cli(t *testing.T, v any, args ...string) {
	t.Helper()
	text, plain := v.(*string)
	if !plain {
		args = append(args, "-o", "json")
	}
	c := exec.CommandContext(t.Context(), binary, args...)
	c.Env = append(os.Environ(), "AIGATEWAY_URL="+g.rest, "AIGATEWAY_API_KEY="+adminKey)
	out, err := c.CombinedOutput()
	if err == nil && plain {
		*text = strings.TrimSpace(string(out))
	} else if err == nil {
		err = json.Unmarshal(out, v)
	}
	if err != nil {
		t.Fatalf("aigateway %s: %v: %s", strings.Join(args, " "), err, out)
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
	var address string
	g.cli(t, &address, "ui")
	ticket, ok := strings.CutPrefix(address, g.rest)
	if !ok {
		t.Fatalf("aigateway ui prints %s", address)
	}
	g.script(t, &page, nil, "browse.mjs", adminKey, ticket)
	return page
}

// script runs one of browser/ against g and reads what it prints last into v. do does
// what it asks for between.
func (g *gateway) script(t testing.TB, v any, do func(what string), name string, args ...string) {
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
	script := exec.CommandContext(t.Context(), node, append([]string{filepath.Join("browser", name), g.rest, shots}, args...)...)
	script.Env = append(os.Environ(), "BROWSER_MODULES="+modules)
	var stderr bytes.Buffer
	script.Stderr = &stderr
	in, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	var last []byte
	lines := bufio.NewScanner(out)
	for lines.Buffer(nil, 1<<24); lines.Scan(); {
		last = bytes.Clone(lines.Bytes())
		var asked struct{ Do string }
		if json.Unmarshal(last, &asked) == nil && asked.Do != "" {
			do(asked.Do)
			if _, err := fmt.Fprintln(in, "done"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := script.Wait(); err != nil || json.Unmarshal(last, v) != nil {
		t.Fatalf("%s: %v: %s\n%s", name, err, last, stderr.String())
	}
}
