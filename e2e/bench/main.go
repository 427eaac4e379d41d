package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	binary   string
	rounds   int
	duration time.Duration
	clients  int
	rate     int
	budgets  int
	history  int
	share    bool
	role     string
	listen   string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.binary, "binary", "bin/aigateway", "the built aigateway")
	flags.IntVar(&o.rounds, "rounds", 6, "rounds of each chain; the table has the 25th percentile")
	flags.DurationVar(&o.duration, "duration", 1500*time.Millisecond, "saturated time of each round")
	flags.IntVar(&o.clients, "clients", 16, "connections at saturation")
	flags.IntVar(&o.rate, "rate", 400, "calls a second of the latency runs")
	flags.IntVar(&o.budgets, "budgets", 100_000, "budgets in the ledger")
	flags.IntVar(&o.history, "history", 1_000_000, "settled calls in the second part; 0 leaves it out")
	flags.BoolVar(&o.share, "share", false, "measure how much of a cap can be spent instead")
	flags.StringVar(&o.role, "role", "", "internal: be an ext_authz server (stock or tuned)")
	flags.StringVar(&o.listen, "listen", "", "internal: address of the role")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.role != "" {
		return serveNoop(ctx, o.role, o.listen)
	}
	if o.share {
		return share(ctx, o, out)
	}
	return compare(ctx, o, out)
}

// compare runs every chain, prints, and again with a history.
func compare(ctx context.Context, o options, out io.Writer) error {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Fprintf(out, "1 KiB chat body, Envoy with one worker, %d clients, CPU µs per call (25th percentile of %d rounds); p50 and p99 at %d calls a second\n\n", o.clients, o.rounds, o.rate)
	for _, calls := range []int{0, o.history} {
		if calls == 0 && l.filled {
			break
		}
		if err := l.fill(ctx, o.budgets, calls); err != nil {
			return err
		}
		fmt.Fprintf(out, "%d budgets, %d settled calls\n", o.budgets, calls)
		if err := l.measure(ctx, out); err != nil {
			return err
		}
	}
	return nil
}
