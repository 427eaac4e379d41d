package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

// wants reports problems that are not exactly of want's kinds, each known by a word.
func wants(t *testing.T, url string, declared postgres.Durability, want ...string) {
	t.Helper()
	got, err := postgres.Check(t.Context(), url, declared)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return
	}
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d (%q):\n%s", len(got), len(want), want, strings.Join(got, "\n"))
		return
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			t.Errorf("problem %q, want one about %q", got[i], w)
		}
	}
}

func run(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestCheck asks a real PostgreSQL, whose settings are wrong in one way at a time.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	admin := s.URL("admin")
	for _, d := range []postgres.Durability{postgres.SingleNode, postgres.SharedStorage} {
		wants(t, admin, d)
	}
	wants(t, s.URL("admin", "synchronous_commit", "off"), postgres.SingleNode, "synchronous_commit is off")
	wants(t, s.URL("admin", "synchronous_commit", "local"), postgres.SingleNode)
	wants(t, s.URL("admin", "default_transaction_read_only", "on"), postgres.SingleNode, "read-only")
	wants(t, s.URL("admin", "search_path", "nowhere"), postgres.SingleNode, "no schema")
	wants(t, admin, postgres.SynchronousStandby, "synchronous_standby_names is empty")
	run(t, admin, `CREATE ROLE "we""ak" LOGIN`, `REVOKE CREATE ON SCHEMA public FROM PUBLIC` /* as since 15 */, `CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
	wants(t, s.URL(`we"ak`), postgres.SingleNode, `GRANT CREATE, USAGE ON SCHEMA "public" TO "we""ak"`)
	wants(t, strings.Replace(admin, "/postgres?", "/latin?", 1), postgres.SingleNode, "LATIN1")

	if _, err := postgres.Check(t.Context(), s.URL("nobody"), postgres.SingleNode); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a user who is not there: %v", err)
	}
	for _, url := range []string{"postgres://u:hush@127.0.0.1:1/db", "postgres://u:hush@localhost:port/db", "postgres://u:hush@[::1/db"} {
		if _, err := postgres.Check(t.Context(), url, postgres.SingleNode); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestPgBouncer asks through a real one: a store behind it is used exactly where nothing is
// wrong with how it pools, which else the check and who opens the store say alike.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	for _, settings := range [][]string{{"default_pool_size = 20"}, {"default_pool_size = 1"}, {"server_round_robin = 1", "min_pool_size = 3"}} {
		for _, mode := range []string{"transaction", "statement"} {
			url := s.PgBouncer(mode, settings...)
			for range 2 { // leaves nothing behind that the next one trips over
				wants(t, url, postgres.SingleNode, "pool_mode = transaction")
			}
			_, err := postgres.Open(t.Context(), postgres.Config{URL: url, Durability: postgres.SingleNode})
			if problems, _ := postgres.Check(t.Context(), url, postgres.SingleNode); err == nil || len(problems) != 1 || err.Error() != problems[0] || postgres.Away(err) {
				t.Errorf("%s mode, %s: opened with %v (by itself it may go: %v), checked with %q", mode, settings, err, postgres.Away(err), problems)
			}
		}
	}
	url := s.PgBouncer("session")
	wants(t, url, postgres.SingleNode)
	store, err := postgres.Open(t.Context(), postgres.Config{URL: url, Durability: postgres.SingleNode})
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
}

// TestCheckUnsafeServer asks one that may lose what it acknowledged.
func TestCheckUnsafeServer(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, "fsync = off", "full_page_writes = off")
	wants(t, s.URL("admin"), postgres.SingleNode, "fsync is off", "full_page_writes is off")
}

// TestCheckPair asks a primary and its standby.
func TestCheckPair(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	standby := primary.Standby()
	run(t, primary.URL("admin"), "CREATE ROLE app LOGIN", "GRANT CREATE ON SCHEMA public TO app", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	wants(t, standby.URL("admin"), postgres.SingleNode, "it is a standby")
	wants(t, primary.URL("app"), postgres.SynchronousStandby, "GRANT pg_monitor")
	run(t, primary.URL("admin"), "GRANT pg_monitor TO app") // waits for the standby
	wants(t, primary.URL("app"), postgres.SynchronousStandby)
	wants(t, primary.URL("app", "synchronous_commit", "local"), postgres.SynchronousStandby, "synchronous_commit is local")
	run(t, primary.URL("admin"), "ALTER SYSTEM SET synchronous_standby_names = 'elsewhere'", "SELECT pg_reload_conf()")
	wants(t, primary.URL("app"), postgres.SynchronousStandby, "no synchronous standby is connected")
}
