package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	binary  string
	clients string
	only    string
	timeout time.Duration
	verbose bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("clients", flag.ContinueOnError)
	flags.StringVar(&o.binary, "binary", "bin/aigateway", "the built aigateway")
	flags.StringVar(&o.clients, "clients", "bin/clients", "where install.sh put the clients")
	flags.StringVar(&o.only, "only", "", "names of clients, separated by commas; empty runs all")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "the most that one run of a client may take")
	flags.BoolVar(&o.verbose, "v", false, "print what every client printed and asked for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	return l.compare(ctx, chosen, out)
}

func choose(only string) ([]client, error) {
	if only == "" {
		return clients, nil
	}
	var chosen []client
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(clients, func(c client) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no client %q", name)
		}
		chosen = append(chosen, clients[i])
	}
	return chosen, nil
}

// compare runs every scenario of the clients and prints a row for each.
func (l *lab) compare(ctx context.Context, chosen []client, out io.Writer) error {
	fmt.Fprint(out, "| client | version |")
	for _, s := range scenarios {
		fmt.Fprintf(out, " %s |", s)
	}
	fmt.Fprintf(out, "\n|---|---|%s\n", strings.Repeat("---|", len(scenarios)))
	wrong, reasons := 0, []string(nil)
	for _, c := range chosen {
		fmt.Fprintf(out, "| %s | %s |", c.name, l.version(ctx, c))
		for _, s := range scenarios {
			if why := c.none[s]; why != "" {
				reasons = append(reasons, fmt.Sprintf("%s, %s: %s", c.name, s, why))
				fmt.Fprint(out, " - |")
				continue
			}
			seen, err := l.try(ctx, c, s)
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted: %w", ctx.Err())
			}
			if err != nil {
				wrong++
				seen = "**wrong**: " + err.Error()
			}
			fmt.Fprintf(out, " %s |", seen)
		}
		fmt.Fprintln(out)
	}
	for i, why := range reasons {
		if i == 0 {
			fmt.Fprint(out, "\n-: a client has no such thing\n")
		}
		fmt.Fprintln(out, "-", why)
	}
	if wrong > 0 {
		return fmt.Errorf("%d cells are wrong", wrong)
	}
	return nil
}
