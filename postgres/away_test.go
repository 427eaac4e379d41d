package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

// TestAway tells what may go by itself from what a person has to change.
func TestAway(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	open := func(c postgres.Config) error {
		c.Durability = postgres.SingleNode
		s, err := postgres.New(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Migrate(ctx)
	}
	if err := open(postgres.Config{URL: server.URL("nobody")}); err == nil || postgres.Away(err) {
		t.Errorf("a user that is not there: %v", err)
	}
	if err := open(postgres.Config{URL: server.URL("admin", "dbname", "nothing")}); err == nil || postgres.Away(err) {
		t.Errorf("a database that is not there: %v", err)
	}
	if err := open(postgres.Config{URL: server.URL("admin")}); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(ctx, server.URL("admin"))
	if err == nil {
		_, err = c.Exec(ctx, "UPDATE aig_schema SET readable = 1000")
		err = errors.Join(err, c.Close(ctx))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := open(postgres.Config{URL: server.URL("admin")}); err == nil || postgres.Away(err) {
		t.Errorf("tables of a newer program: %v", err)
	}
	if err := open(postgres.Config{URL: "postgres://u@127.0.0.1:1/db"}); err == nil || !postgres.Away(err) {
		t.Errorf("a server that is not there: %v", err)
	}
	if postgres.Away(nil) {
		t.Error("nothing is away")
	}
}
