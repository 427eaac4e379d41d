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
	binaries string
	rounds   int
	duration time.Duration
	clients  int
	rate     int
	budgets  int
	history  int
	sizes    string
	chunks   int
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
	flags.StringVar(&o.binaries, "binary", "bin/aigateway", "the built aigateway, or several to compare, with commas between (-share takes one)")
	flags.IntVar(&o.rounds, "rounds", 6, "rounds of each chain; the table has the 25th percentile")
	flags.StringVar(&o.sizes, "sizes", "1,128,1024", "sizes of request bodies, in KiB")
	flags.IntVar(&o.chunks, "chunks", 300, "chunks of the streamed answer; 0 leaves streams out")
	flags.DurationVar(&o.duration, "duration", time.Second, "saturated time of each round, and as long again for latencies")
	flags.IntVar(&o.clients, "clients", 16, "connections at saturation")
	flags.IntVar(&o.rate, "rate", 400, "calls a second of the latency runs with the smallest bodies")
	flags.IntVar(&o.budgets, "budgets", 1000, "budgets in the ledger")
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

// compare runs every chain with every load, prints, and the first again with a history.
func compare(ctx context.Context, o options, out io.Writer) error {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Fprintf(out, "Chat bodies of agents, Envoy with one worker, %d clients, CPU µs per call (25th percentile of %d rounds)\n\n%d budgets\n\n", o.clients, o.rounds, o.budgets)
	if err := l.fill(ctx, o.budgets, 0); err != nil {
		return err
	}
	for _, w := range l.loads {
		if err := l.measure(ctx, out, w); err != nil {
			return err
		}
	}
	if o.history == 0 {
		return nil
	}
	if err := l.fill(ctx, o.budgets, o.history); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d budgets, %d settled calls\n\n", o.budgets, o.history)
	return l.measure(ctx, out, l.loads[0])
}
