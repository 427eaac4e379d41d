package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// TestBooks runs the commands that read a data directory on a real one.
func TestBooks(t *testing.T) {
	dir := t.TempDir()
	l, zone := oneCall(t, dir)
	command := func(args ...string) (string, string, error) {
		var out, errs strings.Builder
		err := run(t.Context(), append(args, "--data-dir", dir), &out, &errs, func(string) string { return "" })
		return out.String(), errs.String(), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, errs, err := command(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out + errs
	}
	if got := must("ledger", "check"); !strings.Contains(got, "the books agree") {
		t.Errorf("check beside the running ledger: %s", got)
	}
	head := strings.TrimSpace(strings.Split(must("ledger", "verify"), "\n")[0])
	must("ledger", "verify", "--expect", head)
	saved := filepath.Join(t.TempDir(), "backup.db")
	must("ledger", "backup", saved)
	month := time.Now().In(zone).Format("2006-01")
	exports(t, must, month)
	if _, _, err := command("ledger", "restore", saved); err == nil || !strings.Contains(err.Error(), "another aigateway") {
		t.Errorf("restore under a running gateway: %v", err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := must("ledger", "restore", saved); !strings.Contains(got, "$0.61 is held on 1 budgets") {
		t.Errorf("restore: %s", got)
	}
	if got := must("statement", "export", "--month", month, "--tag", "a"); !strings.Contains(got, `"time_zone": "Asia/Tokyo"`) {
		t.Errorf("a restore forgets the zone: %s", got)
	}
	must("ledger", "verify", "--expect", head)
	repairs(t, command)
}

// exports makes statements of the month and reads them.
func exports(t *testing.T, must func(...string) string, month string) {
	t.Helper()
	text := must("statement", "export", "--month", month, "--tag", "a")
	file := filepath.Join(t.TempDir(), "statement.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if err := run(t.Context(), []string{"statement", "verify", file}, &out, &errs, func(string) string { return "" }); err != nil || !strings.Contains(out.String(), "0.39 USD for 1 requests, -0.01") {
		t.Errorf("statement: %s%s, %v", out.String(), errs.String(), err)
	}
	if got := out.String(); !strings.Contains(got, month+" (Asia/Tokyo)") {
		t.Errorf("the month is not that of the gateway's zone: %s", got)
	}
	for zone, offset := range map[string]string{"UTC": "Z", "Asia/Kolkata": "+05:30"} {
		if got := must("statement", "export", "--month", month, "--tag", "a", "--time-zone", zone); !strings.Contains(got, `"time_zone": "`+zone+`"`) || !strings.Contains(got, "-01T00:00:00"+offset) {
			t.Errorf("--time-zone %s: %s", zone, got)
		}
	}
}

// repairs tries heads and repairs of good books.
func repairs(t *testing.T, command func(...string) (string, string, error)) {
	t.Helper()
	if _, _, err := command("ledger", "verify", "--expect", "1:"+strings.Repeat("0", 64)); err == nil {
		t.Error("a head of another history is accepted")
	}
	if _, _, err := command("ledger", "repair"); exitCode(err) != exitUsage {
		t.Errorf("a repair without a reason: %v", err)
	}
	if out, errs, err := command("ledger", "repair", "--reason", "see"); err != nil || !strings.Contains(out+errs, "nothing to repair") {
		t.Errorf("a repair of good books: %s%s, %v", out, errs, err)
	}
	if _, _, err := command("ledger", "verify", "--expect", "x"); exitCode(err) != exitUsage {
		t.Errorf("a malformed head: %v", err)
	}
}

// oneCall opens a ledger of Tokyo with one call of a tag and a correction of it.
func oneCall(t *testing.T, dir string) (*ledger.Ledger, *time.Location) {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), ledger.Config{Dir: dir, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: budget.Dollar}, budget.Author{Actor: "admin"}); err != nil {
		t.Fatal(err)
	}
	r, err := l.Reserve(t.Context(), budget.Request{RequestID: "r", Bound: 100 * budget.Cent, Attribution: budget.Attribution{Tag: "a", Model: "p/m", Provider: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(t.Context(), budget.Settlement{Reservation: &r, Basis: budget.BasisUsage, Cost: 40 * budget.Cent}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Adjust(t.Context(), budget.Adjustment{RequestID: "x", Tag: "a", Amount: -budget.Cent, Reason: "invoice"}, "admin"); err != nil {
		t.Fatal(err)
	}
	return l, zone
}
