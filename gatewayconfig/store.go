package gatewayconfig

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// defaultMaxStale is Store.MaxStale where the file has none: some tries of a store
// that fails over, and no longer than a person waits for an edit.
const defaultMaxStale = 30 * time.Second

// store checks what can be checked without asking the database, as `aigateway
// store check` does. No message has the address, which may hold a password.
func (v *validator) store(f *fileStore) Store {
	if f == nil {
		return Store{}
	}
	address := v.secret("store.postgres", string(f.Postgres))
	s := Store{Postgres: address, Durability: f.Durability, MaxStale: defaultMaxStale}
	if !v.secrets.skip {
		if problem := postgresProblem(string(f.Postgres), address.text); problem != "" {
			v.fail("store.postgres", "%s", problem)
		}
	}
	if words := []string{"single_node", "shared_storage", "synchronous_standby"}; f.Durability == "" {
		v.fail("store.durability", "is missing; say what keeps an acknowledged commit when the primary is lost: %s", strings.Join(words, ", "))
	} else if !slices.Contains(words, f.Durability) {
		v.fail("store.durability", "is %s%s", shown(f.Durability), suggest(f.Durability, words))
	}
	if f.MaxStale != 0 {
		s.MaxStale = v.between("store.max_stale", f.MaxStale, 5*time.Second, 10*time.Minute)
	}
	if f.ForgetAfter != 0 {
		s.ForgetAfter = v.between("store.forget_after", f.ForgetAfter, 2*s.MaxStale, 30*24*time.Hour)
	}
	return s
}

// postgresProblem is what is wrong with an address that was written as text.
func postgresProblem(text, address string) string {
	const form = "postgres://user@host/database?sslmode=verify-full"
	u, err := url.Parse(address)
	switch {
	case text == "":
		return "is missing; write " + form + ", or file:PATH of a file that has it"
	case address == "":
		return "" // what kept it from being resolved is told already
	case err != nil:
		return "is no URL; write " + form + ", with % and two hex digits for what a password may not have in one, such as %40 for @"
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return "must begin with postgres://, as " + form + " does"
	case u.Host == "" && u.Query().Get("host") == "":
		return "names no host; write " + form + ", or postgres:///database?host=/run/postgresql for a socket"
	case len(strings.Trim(u.Path, "/")) == 0 && u.Query().Get("dbname") == "":
		return "names no database; write " + form
	}
	return ""
}
