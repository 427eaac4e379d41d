package main

import (
	"fmt"
	"strings"
	"testing"
)

// misuse are command lines that no command takes, BODY a file. What is said of
// them stands in testdata/wording.golden.
var misuse = []string{
	`budget`,
	`frobnicate`,
	`budgets lst`,
	`--frob`,
	`version extra`,
	`version -o xml`,
	`help frobnicate`,
	`budgets set`,
	`budgets set --tag a`,
	`budgets set --tag a --key key_1 --monthly 1`,
	`budgets set --tag a --monthly 1 --daily 1`,
	`budgets set --tag= --monthly 1`,
	`budgets set --tag a --monthly=`,
	`budgets set --tag a --monthly 0.001`,
	`budgets set --tag a --monthly=-1`,
	`budgets set --tag a --monthly $5`,
	`budgets set --tag a --monthly 1e3`,
	`budgets set --tag a --monthly 99999999999`,
	`budgets set summarize --monthly 1 --tag a`,
	`budgets set --tag a --monthly`,
	`budgets set --tag a --monthly 1 --default-max-tokens=x`,
	`budgets set --tag a --cap 5`,
	`budgets get`,
	`budgets get ../keys`,
	`budgets get bud_..%2fkeys`,
	`budgets get bud_`,
	`budgets get key_3`,
	`budgets delete bud_1?x=1`,
	`budgets delete bud_1 bud_2`,
	`budgets list -o xml`,
	`keys create`,
	`keys create --name a --expires tomorrow`,
	`keys create --name a --secret sk-aig-x`,
	`keys create extra`,
	`keys create --name a -o xml`,
	`keys get bud_7`,
	`keys delete`,
	`keys revoke key_3`,
	`usage --month 2026-4`,
	`usage --month april`,
	`usage quer`,
	`usage query --by color`,
	`usage query --by day,hour`,
	`usage query --month 2026-04`,
	`usage query x`,
	`calls list --limit 0`,
	`calls list --state gone --limit x`,
	`calls show`,
	`calls tail -o yaml`,
	`reservations list --limit 0`,
	`reservations list --limit 1001`,
	`reservations list --limit x`,
	`reconcile --month 2026-04 -f x`,
	`reconcile --provider openai -f x`,
	`reconcile --provider openai --month 2026-04`,
	`reconcile --provider openai --month 2026-04 -f x --api`,
	`reconcile --provider openai --month 2026-4 -f x`,
	`reconcile --provider openai --month 2026-04 -f x --yes`,
	`reconcile --provider openai --month 2026-04 -f x --admin-key-file y`,
	`reconcile --provider openai --month 2026-04 -f x --min -1`,
	`reconcile --provider openai --month 2026-04 -f x extra`,
	`reconcile --provider moonshot --month 2026-04 --api`,
	`explain`,
	`explain BODY`,
	`explain -f BODY --endpoint videos`,
	`explain -f BODY --room much`,
	`catalog import --from x`,
	`catalog diff --from x --data-date soon`,
	`catalog diff --from x --data-date 2999-01-01`,
	`catalog show`,
	`config check a b`,
	`config check a --config b`,
	`envoy bootstrap file`,
	`envoy instal`,
	`ledger release`,
	`statement export --month 2026-04`,
}

// TestWording holds what commands say to who uses them wrongly: nothing is asked
// of a server, nothing printed but what is wrong and a hint.
func TestWording(t *testing.T) {
	f := &fakeREST{answer: "{}"}
	env := f.start(t)
	body := writeFile(t, "body.json", "{}")
	var said strings.Builder
	for _, line := range misuse {
		r := runCLI(t, env, strings.Fields(strings.ReplaceAll(line, "BODY", body))...)
		if r.code != exitUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, "aigateway: ") || !strings.Contains(r.stderr, "\nhint: ") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", line, r.code, r.stdout, r.stderr)
		}
		fmt.Fprintf(&said, "%s\n\t%s\n", line, strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(r.stderr, body, "BODY")), "\n", "\n\t"))
	}
	if len(f.asked) != 0 {
		t.Errorf("wrong usage reached the server: %v", f.asked)
	}
	golden(t, "wording.golden", said.String())
}
