package e2e_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"aigateway/internal/pgtest"
)

// TestStoreBehindPgBouncer has three gateways spend one cap through a pool of sessions of
// the size that docs/operations.md says. One that starts on a pool of transactions ends
// with the words of the check.
func TestStoreBehindPgBouncer(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t, "max_connections = 100")
	address := db.PgBouncer("session", "default_pool_size = 21")
	var all gateways
	for range 3 {
		g := newGateway(t)
		g.shareStore(address, "single_node", 30*time.Second)
		g.startRun()
		all = append(all, g)
	}
	all[0].setBudget("pool", 10)
	if counts := all.admitted(50, 10, "pool"); counts["200"] != 3 || counts["402"] != 47 {
		t.Errorf("%v; want 3 of 50 admitted, the others refused by the cap", counts)
	}
	all[1].setBudget("pool", 100)
	for _, g := range all {
		if r := g.insist("POST", g.url+"/v1/chat/completions", chatBody("fake/m1", "pool", "hello", `,"max_tokens":9`), tagged("pool")); r.status != 200 {
			t.Errorf("with a higher cap: %d %s %v", r.status, r.body, r.err)
		}
	}
	all.settle(time.Minute)
	all.wantAlike(t)

	address = db.PgBouncer("transaction")
	check, err := exec.Command(binary, "store", "check", "--postgres", address, "--durability", "single_node").CombinedOutput()
	if err == nil {
		t.Errorf("the check of a pool of transactions: %s", check)
	}
	lines := strings.Split(string(check), "\n") // PROBLEM, and what it is
	g := newGateway(t)
	g.shareStore(address, "single_node", 30*time.Second)
	p := startProcess(t, g.dir, "run", nil, binary, "run", "--config", g.config)
	p.wanted.Store(true)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatal("it runs on a pool of transactions")
	}
	if code := p.cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(lines[1], "pool_mode = session") || !strings.Contains(p.output(), lines[1]) {
		t.Errorf("exit code %d: %s; want the words of the check: %s", code, p.output(), check)
	}
}
