package postgres_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/postgres"
)

// olderTables makes a store as the second version had it, and returns its address.
func olderTables(w *world) (address string, c *pgx.Conn) {
	w.Helper()
	address = strings.Replace(w.url, "search_path=s", "search_path=u", 1)
	u, err := url.Parse(address)
	w.must(err)
	w.exec("CREATE SCHEMA " + u.Query().Get("search_path"))
	c = connectTo(w, address)
	for _, name := range []string{"0001_store.sql", "0002_books.sql"} {
		text, err := os.ReadFile("migrations/" + name)
		w.must(err)
		script(w, c, string(text))
	}
	script(w, c, `CREATE TABLE aig_schema (one boolean PRIMARY KEY CHECK (one), version bigint NOT NULL, readable bigint NOT NULL);
		INSERT INTO aig_schema VALUES (true, 2, 1);
		INSERT INTO aig_holder (id, name, program, config_hash, epoch, seq, seen, applied, asserted) VALUES ('old', '', '', '', 1, 0, now(), 1, 1)`)
	return address, c
}

func connectTo(w *world, address string) *pgx.Conn {
	w.Helper()
	c, err := pgx.Connect(w.Context(), address)
	w.must(err)
	w.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func script(w *world, c *pgx.Conn, sql string) {
	w.Helper()
	_, err := c.PgConn().Exec(w.Context(), sql).ReadAll()
	w.must(err)
}

// upgrade tries until the tables are upgraded, as a gateway that starts.
func upgrade(ctx context.Context, address string) error {
	s, err := postgres.New(postgres.Config{URL: address, Durability: postgres.SingleNode})
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		err := s.Migrate(ctx)
		if err == nil || !postgres.Away(err) {
			return err
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// testUpgradeBesideDump upgrades tables of an older program, at two gateways at once,
// while somebody copies the database: the exchanges of those that run are answered all
// the time, and both gateways have the tables once the copy is over.
func testUpgradeBesideDump(w *world) {
	address, old := olderTables(w)
	dump := connectTo(w, address)
	script(w, dump, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM aig_holder`)
	copied := make(chan struct{})
	var upgrades sync.WaitGroup
	for range 2 {
		upgrades.Go(func() {
			if err := upgrade(w.Context(), address); err != nil {
				w.Error(err)
			}
			select {
			case <-copied:
			default:
				w.Error("an upgrade ended while the tables were copied")
			}
		})
	}
	for began := time.Now(); time.Since(began) < 6*time.Second; time.Sleep(50 * time.Millisecond) {
		script(w, old, `BEGIN; SET LOCAL lock_timeout = 5000; UPDATE aig_holder SET seen = now(), seq = seq + 1; COMMIT`)
	}
	close(copied)
	script(w, dump, `COMMIT`)
	upgrades.Wait()
	script(w, old, `UPDATE aig_holder SET seen = now(), seq = seq + 1`)
	var version int
	w.must(old.QueryRow(w.Context(), `SELECT version FROM aig_schema`).Scan(&version))
	if files, err := os.ReadDir("migrations"); err != nil || version != len(files) {
		w.Errorf("the tables are of version %d, want %d, %v", version, len(files), err)
	}
}
