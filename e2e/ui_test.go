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
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/internal/oidctest"
)

// seen is what the browser read: what it was asked for by address, and then some.
type seen struct {
	Pages         []seenPage
	Changes       [2][][]string
	Sentence, Why string
	CSV           struct {
		Rows [][]string // of the table of usage by day and tag
		Text string     // the same, downloaded
	}
	Stranger map[string]string // what somebody found who follows what is to be seen, by question
	Problems []string
}

// TestPage opens every page of /ui/ in a real browser, from 360 to 1280 pixels, light
// and dark, by keys alone where they lead: no error in the console, no request to
// another origin, no finding of axe. Every number that it shows is what REST and the CLI
// answer at that time, also where the gateway's time zone is not the browser's, clocks
// change, sums are tiny, huge or negative, and tags have characters of HTML and
// addresses; and so does what it gives as CSV. On paper nothing is cut, and nothing moves
// for who wants no motion. The screenshots are in bin/browser/shots.
func TestPage(t *testing.T) {
	t.Parallel()
	g := runOddGateway(t)
	b := g.setBudget("found", 2)
	if r := g.chat("fake/m1", "found", "words", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	settled := g.calls("tag=found")[0]
	open := make(chan struct{})
	g.doors["gem"].hold(open) // a call runs all the time
	defer close(open)
	go g.chat("gem/m1", "found", "words that take long", `,"max_tokens":50`)
	eventually(t, time.Minute, "a call runs", func() bool { return g.doors["gem"].came("found") == 1 })
	told := wantError(t, g.chat("fake/m1", "found", "other words", `,"max_tokens":50000`), http.StatusPaymentRequired, "budget_exceeded").Error.Metadata
	refused := g.calls("tag=found&state=refused")[0]
	wantError(t, g.chat("fake/m1", "team/search", "words", ""), http.StatusPaymentRequired, "budget_exceeded")
	var spent budgetJSON
	g.get("/v1/budgets/"+b.ID, &spent)
	var over struct{ Budgets []struct{ ID, Period string } } // of its cap
	g.get("/v1/budgets?tag=team/**", &over)
	month := slices.IndexFunc(over.Budgets, func(b struct{ ID, Period string }) bool { return b.Period == "month" })

	var address string
	g.cli(t, &address, "ui")
	ticket, ok := strings.CutPrefix(address, g.rest)
	if !ok {
		t.Fatalf("aigateway ui prints %s", address)
	}
	tables := g.shownTables(t, b.ID, settled.RequestID, refused.RequestID)
	for _, s := range g.shownTables(t, over.Budgets[month].ID, settled.RequestID, refused.RequestID) {
		if strings.HasPrefix(s.address, "#/budgets/") {
			tables = append(tables, s)
		}
	}
	page := g.browse(t, ticket, tables)
	var overview struct{ Spent string }
	g.get("/v1/overview", &overview)
	var past struct{ Windows []struct{} }
	if g.get("/v1/budgets/"+b.ID+"/windows", &past); len(past.Windows) != 1 {
		t.Errorf("a budget made now has %d windows", len(past.Windows))
	}
	for _, v := range []struct {
		what      string
		got, want string
	}{
		{"the sentence", page.Sentence[:strings.Index(page.Sentence, " of ")], overview.Spent},
		{"why a call was refused", page.Why, fmt.Sprintf("The monthly budget of found had $%s of $%s left; this call could have cost $%s. With max_tokens %v it would have fit.", spent.Remaining, spent.Cap, told["bound"], told["max_tokens_that_fit"])},
		{"the change", strings.Join(rowOf(page.Changes[0], 0)[2:5], " "), "$0.02 $0.03 seen in the browser"},
	} {
		if plain(v.got) != plain(v.want) {
			t.Errorf("%s: the page says %q, REST %q", v.what, v.got, v.want)
		}
	}
	wantSameCSV(t, page.CSV.Rows, page.CSV.Text)
	g.wantStrangerFinds(t, page.Stranger, fmt.Sprint("max_tokens ", told["max_tokens_that_fit"]))
	g.get("/v1/budgets/"+b.ID, &spent)
	audit := g.try(http.MethodGet, g.rest+"/v1/audit?page_size=1000", "", nil)
	if spent.Cap != "0.03" || !strings.Contains(string(audit.body), "seen in the browser") {
		t.Errorf("the cap is %s; the audit log: %s", spent.Cap, audit.body)
	}
}

// browse runs browser/browse.mjs and compares what it read of tables.
func (g *gateway) browse(t *testing.T, ticket string, tables []shownTable) (page seen) {
	t.Helper()
	var addresses []string
	for _, s := range tables {
		if !slices.Contains(addresses, s.address) {
			addresses = append(addresses, s.address)
		}
	}
	list, err := json.Marshal(addresses)
	if err != nil {
		t.Fatal(err)
	}
	g.script(t, &page, nil, "browse.mjs", adminKey, ticket, string(list))
	for _, p := range page.Problems {
		t.Error(p)
	}
	if len(page.Pages) != len(addresses) {
		t.Fatalf("the browser read %d of %d pages", len(page.Pages), len(addresses))
	}
	for _, s := range tables {
		s.compare(t, g, page.Pages[slices.Index(addresses, s.address)])
	}
	return page
}

// wantStrangerFinds compares what a stranger found with REST.
func (g *gateway) wantStrangerFinds(t *testing.T, found map[string]string, fits string) {
	t.Helper()
	zone, err := time.LoadLocation(oddZone)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().In(zone)
	monday := now.AddDate(0, 0, -int(now.Weekday()+6)%7).Format(time.DateOnly)
	var week struct{ Rows []struct{ Tag string } }
	g.get("/v1/usage?group_by=tag&from="+monday, &week)
	for question, want := range map[string]string{
		"which tag cost most this week": week.Rows[0].Tag,
		"why a call was refused":        "this call could have cost",
		"what would fit":                fits,
		"who raised a cap and why":      "admin$0.02$0.03seen in the browser",
		"whether the books tie":         "and the bill differ: fake, gem.",
	} {
		if !strings.Contains(plain(found[question]), plain(want)) {
			t.Errorf("a stranger asks %s, and finds %q; it is %q", question, found[question], want)
		}
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
	if got := strings.Join(rowOf(read.Changes[0], 0)[1:6], " "); got != "oidc:anna@example.com $0.02 $0.05 by her group UTC" {
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
