package postgres_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
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
	wants(t, pooler(t, s, false), postgres.SingleNode) // in session mode
	for range 2 {                                      // leaves nothing behind that the next one trips over
		wants(t, pooler(t, s, true), postgres.SingleNode, "pool_mode = transaction")
	}

	if _, err := postgres.Check(t.Context(), s.URL("nobody"), postgres.SingleNode); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a user who is not there: %v", err)
	}
	for _, url := range []string{"postgres://u:hush@127.0.0.1:1/db", "postgres://u:hush@localhost:port/db", "postgres://u:hush@[::1/db"} {
		if _, err := postgres.Check(t.Context(), url, postgres.SingleNode); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", url, err)
		}
	}
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

// pooler is the address of something in front of s that, as poolers do, tells clients a
// process of its own, and has one connection to s for each of them, or for all
// transactions of all.
func pooler(t *testing.T, s *pgtest.Server, shared bool) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex // held through a transaction of all
	var all net.Conn
	var greeting []byte // what s said to the first
	serve := func(client net.Conn) {
		defer client.Close()
		hello, err := message(client, 0)
		if err != nil {
			return
		}
		mu.Lock()
		back, said := all, greeting
		if back == nil {
			if back, err = net.Dial("unix", s.Socket()); err == nil {
				_, _ = back.Write(hello)
				said, err = until(back, client, 'Z', false)
			}
			if shared {
				all, greeting = back, said
			} else {
				defer back.Close()
			}
		}
		mu.Unlock()
		if err != nil {
			return
		}
		if _, err := client.Write(said); err != nil {
			return
		}
		for err == nil {
			err = lend(client, back, &mu)
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go serve(client)
		}
	}()
	return strings.Replace(s.URL("admin"), "host="+strings.ReplaceAll(filepath.Dir(s.Socket()), "/", "%2F"), "host="+strings.ReplaceAll(dir, "/", "%2F"), 1)
}

// lend gives client the connection back for one transaction, while it holds mu.
func lend(client, back net.Conn, mu *sync.Mutex) error {
	m, err := message(client, 1)
	if err != nil {
		return err
	}
	if m[0] == 'X' { // Terminate
		return io.EOF
	}
	mu.Lock()
	defer mu.Unlock()
	_, _ = back.Write(m)
	for m[0] != 'S' && m[0] != 'Q' { // Sync, or a simple query
		if m, err = message(client, 1); err != nil {
			return err
		}
		_, _ = back.Write(m)
	}
	_, err = until(back, client, 'Z', true)
	return err
}

// message reads one of the protocol, which has its length behind so many bytes.
func message(from io.Reader, kind int) ([]byte, error) {
	head := make([]byte, kind+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[kind:])-4)
	_, err := io.ReadFull(from, body)
	return append(head, body...), err
}

// until reads messages up to one of the last kind, and passes them on, or returns them.
func until(from io.Reader, to io.Writer, last byte, pass bool) (said []byte, err error) {
	for {
		m, err := message(from, 1)
		if err != nil {
			return nil, err
		}
		if m[0] == 'K' { // BackendKeyData
			binary.BigEndian.PutUint32(m[5:], 7)
		}
		if said = append(said, m...); pass {
			if _, err := to.Write(m); err != nil {
				return nil, err
			}
		}
		if m[0] == last {
			return said, nil
		}
	}
}
