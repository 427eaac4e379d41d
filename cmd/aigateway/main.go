package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // budgets name time zones; a bare machine has none
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once stopping has begun, a second signal ends the process the hard way.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv)
	os.Exit(report(os.Stderr, err))
}

// run is the program: args without the program's name, env looks up one
// environment variable. It prints no error; report does.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) string) error {
	root := newRootCommand(newApp(stdout, stderr, env))
	root.SetArgs(append([]string{}, args...)) // cobra would read nil as "the process's own"
	return root.ExecuteContext(ctx)
}

// report prints err for a person and returns the exit code it stands for.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(w, "aigateway: %s\n", clean(err.Error()))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
	return exitCode(err)
}
