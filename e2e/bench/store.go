package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"aigateway/postgres/local"
)

// startStore starts an empty PostgreSQL of c's own and returns the line of the
// configuration that names it.
func (l *lab) startStore(ctx context.Context, c *chain) (line string, err error) {
	s, err := local.New(l.postgres)
	if err != nil {
		return "", fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	if err = s.Init(ctx); err == nil {
		err = s.Serve(ctx)
	}
	if err != nil {
		return "", errors.Join(err, s.Remove())
	}
	c.store = s
	return fmt.Sprintf("store: {postgres: %q, durability: single_node}\n", s.URL("admin")), nil
}

// importBooks moves what the ledger was filled with into the store.
func importBooks(ctx context.Context, c *chain, config string) error {
	if said, err := exec.CommandContext(ctx, c.binary, "store", "import", "--config", config).CombinedOutput(); err != nil {
		return fmt.Errorf("move the books into the store: %w: %s", err, said)
	}
	return nil
}

func stopStore(c *chain) {
	if c.store != nil {
		_ = errors.Join(c.store.Stop(), c.store.Remove()) // nothing of it is wanted any more
		c.store = nil
	}
}
