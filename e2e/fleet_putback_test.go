package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/internal/pgtest"
)

// TestStoreIsPutBack puts the store of three gateways back from a backup while they go on,
// one of which was restarted since: the cap is spent to its end and no further, and reports
// have what was spent between the backup and its return.
func TestStoreIsPutBack(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t, "max_connections = 100")
	all := newGateways(t, db, 3, 30*time.Second)
	for _, g := range all {
		g.startRun()
	}
	exec := asideOf(t, db)
	all[0].setBudget("put", 20) // six calls
	spend := func(g *gateway) {
		t.Helper()
		if r := g.chat("fake/m1", "put", "fault:out=2950", `,"max_tokens":2950`); r.status != 200 {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
	}
	spend(all[0])
	spend(all[1])
	all.settle(time.Minute)
	exec("ALTER DATABASE postgres ALLOW_CONNECTIONS false", "CREATE DATABASE backup TEMPLATE postgres", "ALTER DATABASE postgres ALLOW_CONNECTIONS true")
	all[2:].stop(t)
	all[2].startRun()
	for _, g := range all {
		eventually(t, time.Minute, "the store answers", func() bool { return g.try("GET", g.rest+"/v1/budgets", "", nil).status == 200 })
		spend(g)
	}
	exec("ALTER DATABASE postgres ALLOW_CONNECTIONS false", "ALTER DATABASE postgres RENAME TO lost", "ALTER DATABASE backup RENAME TO postgres")

	counts := all.admitted(60, 10, "put")
	if calls, nano := all.bill("put"); calls != 6 || nano > 200_000_000 {
		t.Errorf("%v, %d calls billed %d nano-USD; want 6 calls", counts, calls, nano)
	}
	all.settle(time.Minute)
	all.wantAlike(t)
}

// asideOf returns what edits the databases of db, each statement once nobody is in them.
func asideOf(t *testing.T, db *pgtest.Server) (exec func(statements ...string)) {
	t.Helper()
	config, err := pgx.ParseConfig(db.URL("admin"))
	if err != nil {
		t.Fatal(err)
	}
	config.Database = "template1"
	c, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return func(statements ...string) {
		t.Helper()
		for _, sql := range statements {
			_, err := c.Exec(t.Context(), sql)
			if err == nil {
				_, err = c.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND NOT (SELECT datallowconn FROM pg_database WHERE datname = 'postgres')")
			}
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
}
