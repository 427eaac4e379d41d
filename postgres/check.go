package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Durability is what keeps an acknowledged commit when the primary is lost. The
// operator has to say it: a managed database shows nothing of it.
type Durability string

const (
	SingleNode         Durability = "single_node"         // its own disk
	SharedStorage      Durability = "shared_storage"      // storage that outlives it
	SynchronousStandby Durability = "synchronous_standby" // another server, before it answers
)

// Durabilities are all there are.
func Durabilities() []Durability { return []Durability{SingleNode, SharedStorage, SynchronousStandby} }

// minVersion is the oldest PostgreSQL that is supported, as server_version_num.
const minVersion = 14_00_00

// Check connects to the database at url and returns in words what is wrong with it,
// and what to do; nothing if it would do. It changes nothing there. The error is
// that it could not be asked; neither has the password of url.
func Check(ctx context.Context, url string, declared Durability) (problems []string, err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the address of the database: %w", err) // without the password
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // leaves nothing in a session, which a pooler may share
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	s, err := readServer(ctx, conn)
	if err == nil && s.pid != s.told {
		s.shared, err = shares(ctx, conn, conn.Config())
	}
	if err != nil {
		return nil, fmt.Errorf("ask the database about itself: %w", err)
	}
	return append(encryption(config), s.problems(declared)...), nil
}

// sharedPool is what is wrong with a pooler that shares. What a gateway sees of a server
// when it connects would say nothing of those that its next transactions reach.
const sharedPool = "a connection pooler is in between that shares connections between transactions, as PgBouncer does with pool_mode = transaction: it may turn to another server, such as a standby that was promoted and loses commits, unnoticed; name the server itself, or a pool with pool_mode = session"

// shares reports whether the pooler that c reached by to lends the server's processes for
// single transactions: c's changes, or another connection gets it while c is there.
func shares(ctx context.Context, c *pgx.Conn, to *pgx.ConnConfig) (bool, error) {
	other, err := pgx.ConnectConfig(ctx, to.Copy())
	if err != nil {
		return false, err
	}
	defer other.Close(context.WithoutCancel(ctx))
	seen := map[uint32]*pgx.Conn{} // who had a process
	for range 4 {
		for _, c := range []*pgx.Conn{c, other} {
			var pid uint32
			if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
				return false, err
			}
			if seen[pid] == nil {
				seen[pid] = c
			}
			if seen[pid] != c {
				return true, nil
			}
		}
	}
	return len(seen) > 2, nil
}

// server is what a database says of itself.
type server struct {
	version       int
	recovery      bool
	readOnly      string
	fsync, pages  string
	commit, names string
	encoding      string
	schema        *string
	create        bool
	user          string
	pid           uint32 // of the process that serves us
	told          uint32 // what the connection was told that is: another one is of a pooler
	shared        bool   // by that pooler, with other connections
	maySee        bool   // who replicates
	standbys      int    // that commits wait for
}

func readServer(ctx context.Context, conn *pgx.Conn) (s server, err error) {
	s.told = conn.PgConn().PID()
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('transaction_read_only'),
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
		current_setting('synchronous_standby_names'), current_setting('server_encoding'), current_schema()::text,
		coalesce(has_schema_privilege(current_schema(), 'CREATE') AND has_schema_privilege(current_schema(), 'USAGE'), false), current_user::text, pg_backend_pid(),
		pg_has_role('pg_read_all_stats', 'USAGE')`).Scan(&s.version, &s.recovery, &s.readOnly,
		&s.fsync, &s.pages, &s.commit, &s.names, &s.encoding, &s.schema, &s.create, &s.user, &s.pid, &s.maySee)
	if err != nil || !s.maySee {
		return s, err
	}
	err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')`).Scan(&s.standbys)
	return s, err
}

// unsafe is what would lose acknowledged commits, of a database that is used already.
func (s *server) unsafe(declared Durability) (out []string) {
	add := func(wrong bool, what string) {
		if wrong {
			out = append(out, what)
		}
	}
	add(s.version < minVersion, fmt.Sprintf("it is PostgreSQL %d", s.version/10000))
	add(s.recovery, "it is a standby")
	add(s.fsync != "on", "fsync is off")
	add(s.pages != "on", "full_page_writes is off")
	add(s.commit == "off", "synchronous_commit is off")
	add(s.encoding != "UTF8", "its encoding is "+s.encoding)
	if declared == SynchronousStandby && (s.maySee || s.names == "") {
		out = append(out, s.standbyProblems()...)
	}
	return out
}

func (s *server) problems(declared Durability) (out []string) {
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(s.version < minVersion, "it is PostgreSQL %d; use %d or newer", s.version/10000, minVersion/10000)
	add(s.recovery, "it is a standby (in recovery) and takes no writes; name the primary, or all servers with target_session_attrs=read-write")
	add(!s.recovery && s.readOnly != "off", "its transactions are read-only; take default_transaction_read_only off for %q", s.user)
	add(s.fsync != "on", "fsync is off: after a crash it may have lost what it acknowledged; set fsync = on")
	add(s.pages != "on", "full_page_writes is off: a crash may damage it; set full_page_writes = on")
	add(s.commit == "off", "synchronous_commit is off: a commit is acknowledged before it is on a disk; set it to on for %q", s.user)
	add(s.encoding != "UTF8", "its encoding is %s; tags and names need UTF8", s.encoding)
	switch {
	case s.schema == nil:
		add(true, "no schema of %q's search_path exists; create one, or set search_path", s.user)
	default:
		add(!s.create, "%q may not create tables in the schema %q; GRANT CREATE, USAGE ON SCHEMA %s TO %s", s.user, *s.schema, quoted(*s.schema), quoted(s.user))
	}
	add(s.shared, sharedPool)
	if declared == SynchronousStandby {
		out = append(out, s.standbyProblems()...)
	}
	return out
}

// standbyProblems are what contradicts that commits wait for another server.
func (s *server) standbyProblems() []string {
	switch {
	case strings.TrimSpace(s.names) == "":
		return []string{"synchronous_standby was declared, but synchronous_standby_names is empty: commits wait for no standby, and a failover loses the last ones"}
	case s.commit == "local":
		return []string{fmt.Sprintf("synchronous_standby was declared, but synchronous_commit is local: commits wait for no standby; set it to on for %q", s.user)}
	case !s.maySee:
		return []string{fmt.Sprintf("synchronous_standby was declared, and %q may not see whether a standby is there; GRANT pg_monitor TO %s", s.user, quoted(s.user))}
	case s.standbys == 0:
		return []string{"synchronous_standby was declared, and no synchronous standby is connected: every commit would wait for one"}
	}
	return nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// encryption says what is wrong with how c connects to another machine.
func encryption(c *pgx.ConnConfig) []string {
	check := func(host string, t *tls.Config) string {
		switch {
		case local(host):
			return ""
		case t == nil:
			return "the connection to " + host + " may be unencrypted; add sslmode=verify-full"
		case t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil:
			return "the connection to " + host + " does not check who answers; add sslmode=verify-full"
		default:
			return ""
		}
	}
	out := check(c.Host, c.TLSConfig)
	for _, f := range c.Fallbacks { // sslmode=prefer falls back to none
		if next := check(f.Host, f.TLSConfig); out == "" || f.TLSConfig == nil && next != "" {
			out = next
		}
	}
	if out == "" {
		return nil
	}
	return []string{out}
}

// local reports whether host is a socket or this machine.
func local(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
