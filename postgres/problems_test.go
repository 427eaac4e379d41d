package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestOldServer(t *testing.T) {
	public := "public"
	s := server{version: 13_00_22, readOnly: "off", fsync: "on", pages: "on", commit: "on", encoding: "UTF8", schema: &public, create: true}
	if p := s.problems(SingleNode); len(p) != 1 || !strings.Contains(p[0], "PostgreSQL 13; use 14") {
		t.Errorf("%q", p)
	}
	if s.version = 14_00_00; len(s.problems(SingleNode)) != 0 {
		t.Errorf("%q", s.problems(SingleNode))
	}
}

func TestEncryption(t *testing.T) {
	for url, want := range map[string]string{
		"postgres:///db?host=/run/postgresql":                          "",
		"postgres://localhost/db?sslmode=disable":                      "",
		"postgres://127.0.0.2/db":                                      "",
		"postgres://[::1]/db?sslmode=disable":                          "",
		"postgres://db.example/db":                                     "unencrypted",
		"postgres://db.example/db?sslmode=disable":                     "unencrypted",
		"postgres://10.0.0.1/db?sslmode=prefer":                        "unencrypted",
		"postgres://db.example/db?sslmode=require":                     "does not check",
		"postgres://db.example/db?sslmode=verify-full":                 "",
		"postgres://localhost,db.example/db?sslmode=disable":           "db.example",
		"postgres://db.example/db?sslmode=verify-full&host=a.test,b.c": "",
	} {
		c, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if got := strings.Join(encryption(c), "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
