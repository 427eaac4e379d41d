package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
func (l *lab) importBooks(ctx context.Context, c *chain, config string) error {
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

// storeTime is the CPU time of all processes of s so far: that of those which live, and
// that of those which the first one has waited for.
func storeTime(s *local.Server) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(s.Data(), "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("read the store's CPU time: %w", err)
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	pid, err := strconv.Atoi(string(first))
	if err != nil {
		return 0, fmt.Errorf("read the store's CPU time: %w", err)
	}
	total, err := cpuFields(pid, 13, 15)
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return 0, fmt.Errorf("read the store's CPU time: %w", err)
	}
	for _, process := range append(strings.Fields(string(children)), strconv.Itoa(pid)) {
		// Each has one thread and often less than a tick, so it is read in nanoseconds.
		used, err := os.ReadFile("/proc/" + process + "/schedstat")
		if err != nil {
			continue // it ended meanwhile
		}
		nanoseconds, _, _ := strings.Cut(string(used), " ")
		n, err := strconv.ParseInt(nanoseconds, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the store's CPU time: %w", err)
		}
		total += time.Duration(n)
	}
	return total, nil
}
