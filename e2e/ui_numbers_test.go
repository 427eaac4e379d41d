package e2e_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"aigateway/internal/ledgerfill"
)

// oddZone is the gateway's time zone: half an hour off, on the other side of the world
// from the browser's.
const oddZone = "America/St_Johns"

// runOddGateway is a gateway with a past that pages get wrong (ledgerfill.Odd), keys, and
// two months of bills that do not tie.
func runOddGateway(t *testing.T) *gateway {
	t.Helper()
	zone, err := time.LoadLocation(oddZone)
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(t)
	g.settings["Extra"] = "time_zone: " + oddZone + "\nretention: {calls_days: 400}"
	g.settings["HoldTimeout"] = 10 * time.Minute // as long as the browser may take
	g.writeConfig()
	now := time.Now()
	if err := ledgerfill.Odd(t.Context(), filepath.Join(g.dir, "data"), zone, now); err != nil {
		t.Fatal(err)
	}
	g.startRun()
	for _, name := range []string{"a <b>team</b> & co", "second", "third", strings.Repeat("N", 64)} {
		g.post("/v1/keys", fmt.Sprintf(`{"name":%q,"scopes":["usage","budgets"],"allowed_tags":["team/**","東京/検索/Größe ü"],"expire_time":"2099-01-01T00:00:00Z"}`, name), &struct{}{})
	}
	for _, month := range []string{now.UTC().AddDate(0, 0, -now.UTC().Day()).Format("2006-01"), now.UTC().Format("2006-01")} {
		for _, provider := range []string{"fake", "gem"} {
			g.post("/v1/bills", fmt.Sprintf(`{"provider":%q,"month":%q,"days":[{"day":"%[2]s-01","billed_usd":"12345.67"},{"day":"%[2]s-24","billed_usd":"0.000000001"}]}`, provider, month), &struct{}{})
		}
	}
	return g
}

// shownTable is a table of the page with what REST answers for it.
type shownTable struct {
	address string // of the page
	caption string
	rest    string
	rows    string   // leads to the rows
	columns []string // Title=member; member may be a.b, and a|text: text where there is no a. Without a caption: facts
	foot    string   // leads to the table's last row, which has the columns from sums on; the last one is an amount
	sums    int
	cli     []string // the command that says the same
	only    func(row any) bool
	flat    func(answer any) any // makes rows of it
	ordered bool                 // by the page; the first two columns tell rows apart
	few     bool                 // there may be no row, and no table
	now     bool                 // is the time of the last row, in its first column
}

// seenPage is what the browser read at an address.
type seenPage struct {
	Tables map[string]struct {
		Head       []string
		Body, Foot [][]string
	}
	Facts map[string]string // by their names
}

// moving are members that are another with each look.
var moving = map[string]bool{"projected": true, "full_at": true, "next_full_at": true, "forecast": true, "clock_ahead_ms": true, "database_bytes": true,
	"disk_free_bytes": true, "disk_full_days": true, "prices_age_days": true, "budget": true, "conditions": true, "checked_at": true, "cursor": true, "next_page_token": true}

// still is v without those, and without to, which is now.
func still(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, m := range v {
			lately := v["faults"] != nil && (k == "calls" || k == "faults" || k == "mean_ms") // of a provider
			if !moving[k] && !lately && (k != "to" || v["from"] == nil) {
				out[k] = still(m)
			}
		}
		if points, ok := out["points"].([]any); ok && len(points) > 0 { // the last one is of now
			if last, ok := points[len(points)-1].(map[string]any); ok {
				delete(last, "time")
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = still(v[i])
		}
		return out
	}
	return v
}

var utc = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$`)

// plain is how a text of the page and one of REST are the same.
func plain(s string) string {
	if m := utc.FindStringSubmatch(s); m != nil {
		s = m[1] + " " + m[2]
	}
	return strings.NewReplacer("$", "", ",", "", "−", "-", "✓ ", "", "✗ ", "").Replace(strings.TrimSuffix(s, " UTC"))
}

// follow is what a path of members and of places in lists leads to in v, nil: nothing.
func follow(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch have := v.(type) {
		case map[string]any:
			v = have[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(have) {
				return nil
			}
			v = have[i]
		default:
			return nil
		}
	}
	return v
}

// memberOf is the text of what path leads to in row.
func memberOf(row any, path string) string {
	path, otherwise, _ := strings.Cut(path, "|")
	switch v := follow(row, path).(type) {
	case nil:
		return otherwise
	case string:
		if v == "" {
			return otherwise
		}
		return v
	case []any:
		all := make([]string, len(v))
		for i := range v {
			all[i] = fmt.Sprint(v[i])
		}
		if len(all) == 0 {
			return otherwise
		}
		return strings.Join(all, " ")
	default:
		return fmt.Sprint(v)
	}
}

// decode reads JSON with its numbers as they are written.
func decode(t *testing.T, what string, body []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v: %s", what, err, body)
	}
	return v
}

// all asks REST and follows its pages, a few rows at a time.
func (g *gateway) all(t *testing.T, path, rows string) any {
	t.Helper()
	read := func(path string) map[string]any {
		var text json.RawMessage
		g.get(path, &text)
		m, ok := decode(t, path, text).(map[string]any)
		if !ok {
			t.Fatalf("GET %s: %s", path, text)
		}
		return m
	}
	first := read(path)
	for next := first["next_page_token"]; next != nil && next != ""; {
		more := read(fmt.Sprintf("%s&page_token=%v", path, next))
		have, ok := first[rows].([]any)
		list, also := more[rows].([]any)
		if !ok || !also {
			t.Fatalf("GET %s has no list of %s", path, rows)
		}
		first[rows], next = append(have, list...), more["next_page_token"]
	}
	return first
}

// compare checks what the page shows against REST, and REST against the CLI.
func (s shownTable) compare(t *testing.T, g *gateway, page seenPage) {
	t.Helper()
	answer := g.all(t, s.rest, s.rows)
	if s.cli != nil {
		s.compareCLI(t, g, answer)
	}
	if s.flat != nil {
		answer = s.flat(answer)
	}
	if s.caption == "" {
		for _, column := range s.columns {
			title, member, _ := strings.Cut(column, "=")
			s.same(t, title, page.Facts[title], memberOf(answer, member))
		}
		return
	}
	list, _ := follow(answer, s.rows).([]any)
	rows := slices.DeleteFunc(slices.Clone(list), func(r any) bool { return s.only != nil && !s.only(r) })
	table := page.Tables[s.caption]
	if len(rows) == 0 && !s.few || len(table.Body) != len(rows) {
		t.Errorf("%s, %s: the page has %d rows, REST %d", s.address, s.caption, len(table.Body), len(rows))
		return
	}
	if s.ordered {
		s.sort(rows, table.Body)
	}
	for i, r := range rows {
		columns := s.columns
		if s.now && i == len(rows)-1 {
			columns = columns[1:]
		}
		s.row(t, table.Head, columns, table.Body[i], r)
	}
	if s.foot != "" {
		s.row(t, table.Head, s.columns[s.sums:], table.Foot[0], follow(answer, s.foot))
		s.sum(t, rows, follow(answer, s.foot))
	}
}

// compareCLI wants a command to print what REST answered.
func (s shownTable) compareCLI(t *testing.T, g *gateway, answer any) {
	t.Helper()
	var text string
	g.cli(t, &text, append(s.cli, "-o", "json")...)
	cli := decode(t, strings.Join(s.cli, " "), []byte(text))
	if _, list := cli.([]any); list { // which is without what is around it
		answer = follow(answer, s.rows)
	}
	if !reflect.DeepEqual(still(cli), still(answer)) {
		t.Errorf("aigateway %s says %v, REST %v", strings.Join(s.cli, " "), still(cli), still(answer))
	}
}

// sort brings rows and what is shown of them in one order.
func (s shownTable) sort(rows []any, shown [][]string) {
	id := func(r any) string {
		_, first, _ := strings.Cut(s.columns[0], "=")
		_, second, _ := strings.Cut(s.columns[1], "=")
		return memberOf(r, first) + " " + memberOf(r, second)
	}
	slices.SortFunc(rows, func(a, b any) int { return strings.Compare(id(a), id(b)) })
	slices.SortFunc(shown, func(a, b []string) int { return strings.Compare(a[0]+" "+a[1], b[0]+" "+b[1]) })
}

// row compares the cells of a row under head.
func (s shownTable) row(t *testing.T, head, columns, got []string, want any) {
	t.Helper()
	for _, column := range columns {
		title, member, _ := strings.Cut(column, "=")
		i := slices.Index(head, title)
		if i < 0 {
			t.Fatalf("%s, %s: no column %q in %q", s.address, s.caption, title, head)
		}
		s.same(t, title, got[i], memberOf(want, member))
	}
}

// sum wants the rows to have together what the total has, in the last column.
func (s shownTable) sum(t *testing.T, rows []any, total any) {
	t.Helper()
	_, amount, _ := strings.Cut(s.columns[len(s.columns)-1], "=")
	var sum int64
	for _, r := range rows {
		sum += mustNano(t, memberOf(r, amount))
	}
	if want := mustNano(t, memberOf(total, amount)); sum != want {
		t.Errorf("%s, %s: the rows have %d nano-USD together, the total %d", s.address, s.caption, sum, want)
	}
}

// same compares a text of the page with one of REST; a day is the beginning of a time,
// and a tag's cell also has what is below it.
func (s shownTable) same(t *testing.T, title, got, want string) {
	t.Helper()
	got, want = plain(got), plain(want)
	if got != want && !(title == "Day" && got != "" && strings.HasPrefix(want, got)) && !(title == "Tag" && s.caption == "Budgets" && strings.Contains(got, want)) {
		t.Errorf("%s, %s, %s: the page says %q, REST %q", s.address, s.caption, title, got, want)
	}
}

// usageColumns are those of every pivot.
var usageColumns = []string{"Requests=requests", "Input=input_tokens", "Cache read=cache_read_tokens", "Cache write=cache_write_tokens",
	"Output=output_tokens", "Of it estimated=estimated_cost_usd", "Unpriced calls=unpriced_requests", "Cost USD=cost_usd"}

// shownTables are the tables of every page, for the budget and calls of a gateway.
func (g *gateway) shownTables(t *testing.T, budget, settled, refused string) (all []shownTable) {
	t.Helper()
	all = []shownTable{
		{address: "#/today", caption: "Refusals by reason", rest: "/v1/refusals", rows: "reasons", columns: []string{"Reason=reason", "Calls=calls", "Different=distinct_calls", "Kept from being spent=kept"}, foot: "total", sums: 1, cli: []string{"refusals"}},
		{address: "#/today", caption: "Refusals by budget", rest: "/v1/refusals", rows: "rows", columns: []string{"Reason=reason", "Calls=calls", "Different=distinct_calls", "Kept from being spent=kept"}},
		{address: "#/today", rest: "/v1/overview", cli: []string{"overview"}, columns: []string{"Spent=spent", "Reserved by 1 running call=reserved", "Kept from being spent=kept"}},
		{address: "#/budgets?open=team", caption: "Budgets", rest: "/v1/usage/tree", rows: "rows", flat: g.tree(t), cli: []string{"usage", "tree"},
			columns: []string{"Tag=tag", "Cost this month=cost_usd", "Calls=requests", "Cap=cap", "Spent=spent", "Held=reserved", "Left=remaining"}},
		{address: "#/budgets/" + budget, rest: "/v1/budgets/" + budget, cli: []string{"budgets", "get", budget}, columns: []string{"Cap=cap", "Spent=spent", "Held by running calls=reserved", "Left=remaining", "Since=window_start", "Starts anew=resets_at", "Id=id"}},
		{address: "#/usage", rest: "/v1/usage?group_by=tag", columns: []string{"Cost=total.cost_usd", "Requests=total.requests"}},
		{address: "#/budgets?order=pressure", caption: "Budgets", rest: "/v1/budgets?page_size=3", rows: "budgets", cli: []string{"budgets", "list"}, ordered: true,
			columns: []string{"Target=tag", "Period=period", "Cap=cap", "Spent=spent", "Held=reserved", "Left=remaining"}},
		{address: "#/budgets/" + budget, caption: "Spent by then", rest: "/v1/budgets/" + budget + "/curve", rows: "points", now: true, cli: []string{"budgets", "curve", budget}, columns: []string{"By, UTC=time", "Spent=spent"}},
		{address: "#/budgets/" + budget, caption: "Windows", rest: "/v1/budgets/" + budget + "/windows?page_size=3", rows: "windows", cli: []string{"budgets", "windows", budget},
			columns: []string{"Cap=cap", "Spent=spent", "Refused calls=refused_calls", "Different=distinct_calls", "Kept from being spent=kept"}},
		{address: "#/budgets/" + budget, caption: "Changes", rest: "/v1/budgets/" + budget + "/changes?page_size=1", rows: "changes", cli: []string{"budgets", "changes", budget},
			columns: []string{"When, UTC=create_time", "Who=actor", "Cap before=before.cap|made", "Cap after=after.cap", "Why=reason|no reason given", "Time zone=after.time_zone"}},
		{address: "#/budgets/" + budget, caption: "Running calls", rest: "/v1/calls?state=running&page_size=200", rows: "calls", cli: []string{"calls", "list", "--state", "running"}, few: true,
			only:    func(c any) bool { return strings.Contains(memberOf(c, "budgets"), budget) },
			columns: []string{"Since, UTC=decide_time", "Tag=tag", "Model=model", "Holds=bound_usd"}},
		{address: "#/budgets/" + budget, caption: "Refused calls", rest: "/v1/calls?state=refused&page_size=200", rows: "calls", cli: []string{"calls", "list", "--state", "refused"},
			only:    func(c any) bool { return memberOf(c, "budgets") == budget },
			columns: []string{"When, UTC=decide_time", "Tag=tag", "Model=model", "Could have cost=bound_usd", "Left then=refusal.remaining_usd", "Again=repeats"}},
		{address: "#/calls", caption: "Calls", rest: "/v1/calls?page_size=50", rows: "calls", cli: []string{"calls", "list", "--limit", "100000"},
			columns: []string{"Decided, UTC=decide_time", "State=state", "Tag=tag", "Model=model", "Cost USD=cost_usd", "Bound USD=bound_usd", "Status=provider_status", "ms=latency_ms"}},
		{address: "#/books", caption: "Bills", rest: "/v1/bills", rows: "providers", cli: []string{"bills"},
			columns: []string{"Provider=provider", "They billed=billed_usd", "We recorded=recorded_usd", "Difference=difference_usd", "Corrected=corrected_usd", "Still open=open_usd", "Imported, UTC=import_time", "By=actor"}},
		{address: "#/books", caption: "Bills by day", rest: "/v1/bills", rows: "rows", columns: []string{"Day=day", "Provider=provider", "They billed=billed_usd", "We recorded=recorded_usd", "Difference=difference_usd", "Corrected=corrected_usd", "Still open=open_usd"}},
		{address: "#/books", caption: "Corrections", rest: "/v1/books", rows: "corrections", cli: []string{"books"}, columns: []string{"When, UTC=create_time", "Of=subject", "USD=amount", "Why=reason", "Who=actor"}},
		{address: "#/keys", caption: "Keys", rest: "/v1/keys?page_size=3", rows: "keys", cli: []string{"keys", "list"},
			columns: []string{"Name=name", "Scopes=scopes", "Tags=allowed_tags|all", "Models=allowed_models|all", "Made, UTC=create_time", "Ends, UTC=expire_time|never"}},
		{address: "#/health", caption: "Providers", rest: "/v1/health", rows: "providers", cli: []string{"health"}, columns: []string{"Provider=provider", "The last failure=last_fault|none"}},
	}
	for _, id := range []string{settled, refused} {
		rest := "/v1/calls?request_id=" + id
		facts := []string{"State=state", "Tag=tag", "Model=model", "Key=key_id"}
		if id == settled {
			facts = append(facts, "Ended=end_time", "Provider answered=provider_status", "Charged=cost_usd", "On the evidence of=basis")
		} else {
			facts = append(facts, "Reason=reason", "Cap=refusal.cap_usd", "Spent=refusal.spent_usd", "Held by running calls=refusal.reserved_usd", "Left=refusal.remaining_usd", "Starts anew=refusal.resets_at")
		}
		for i := range facts {
			facts[i] = strings.Replace(facts[i], "=", "=calls.0.", 1)
		}
		all = append(all, shownTable{address: "#/calls/" + id, rest: rest, rows: "calls", columns: facts},
			shownTable{address: "#/calls/" + id, caption: "The bound, line by line", rest: rest, rows: "calls.0.lines", flat: onlyPriced,
				columns: []string{"What=label", "Quantity=quantity", "Unit=unit", "USD=amount_usd", "Where it comes from=note"}})
	}
	return append(all, usageTables()...)
}

// onlyPriced takes the amounts from lines that have no price: they are no sums.
func onlyPriced(answer any) any {
	lines, _ := follow(answer, "calls.0.lines").([]any)
	for _, l := range lines {
		if line, ok := l.(map[string]any); ok && memberOf(line, "pico_usd_per_unit") == "0" && memberOf(line, "amount_usd") == "0.00" {
			line["amount_usd"] = ""
		}
	}
	return answer
}

// tree is the tree of tags as rows, with what is below team.
func (g *gateway) tree(t *testing.T) func(answer any) any {
	below, _ := follow(g.all(t, "/v1/usage/tree?parent=team", "nodes"), "nodes").([]any)
	return func(answer any) any {
		var rows []any
		add := func(node any) {
			n, _ := node.(map[string]any)
			budgets, _ := n["budgets"].([]any)
			row := maps.Clone(n)
			for _, b := range budgets {
				for _, member := range []string{"cap", "spent", "reserved", "remaining"} {
					row[member] = follow(b, member)
				}
				rows, row = append(rows, row), map[string]any{}
			}
			if len(row) > 0 {
				rows = append(rows, row)
			}
		}
		top, _ := follow(answer, "parent").(map[string]any)
		top["tag"] = "all tags"
		add(top)
		nodes, _ := follow(answer, "nodes").([]any)
		for _, n := range nodes {
			add(n)
			if memberOf(n, "tag") == "team" {
				for _, b := range below {
					add(b)
				}
			}
		}
		return map[string]any{"rows": rows}
	}
}

// usageTables are the pivots, of all there is.
func usageTables() (all []shownTable) {
	for _, by := range []string{"tag", "model", "provider", "key", "day", "hour", "day,tag", "day,model", "tag,model", "tag,key"} {
		var columns []string
		for d := range strings.SplitSeq(by, ",") {
			member, ok := map[string]string{"hour": "time", "day": "time", "key": "key_id"}[d]
			if !ok {
				member = d
			}
			columns = append(columns, strings.ToUpper(d[:1])+d[1:]+"="+member)
		}
		all = append(all, shownTable{address: "#/usage?from=2026-01&by=" + by, caption: "Usage", rest: "/v1/usage?from=2026-01&group_by=" + by, rows: "rows", foot: "total",
			sums: len(columns), columns: append(columns, usageColumns...), cli: []string{"usage", "query", "--from", "2026-01", "--by", by}})
	}
	return all
}

// wantSameCSV compares the rows of usage by day and tag with the file made of them.
func wantSameCSV(t *testing.T, rows [][]string, text string) {
	t.Helper()
	file, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(file) != len(rows)+1 || len(rows) < 2 {
		t.Fatalf("the page has %d rows; as CSV, with its head, %d: %v", len(rows), len(file), err)
	}
	members := []string{"time", "tag", "cost_usd", "requests", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "estimated_cost_usd", "unpriced_requests"}
	for i, row := range rows {
		for j, shown := range row {
			got := file[i+1][slices.Index(file[0], members[j])]
			switch members[j] {
			case "time":
				got = got[:len(shown)]
			case "tag":
				if strings.HasPrefix(shown, "=") { // which a spreadsheet would run
					shown = "'" + shown
				}
			default:
				shown = plain(shown)
			}
			if got != shown {
				t.Errorf("row %d, %s: the page says %q, its CSV %q", i, members[j], shown, got)
			}
		}
	}
}
