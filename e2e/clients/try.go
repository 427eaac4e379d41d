package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"aigateway/fakeprovider"
)

// scenario is something that a client does, and a column of the table.
type scenario string

const (
	answer     scenario = "answer"
	stream     scenario = "stream"
	tool       scenario = "tool call"
	structured scenario = "structured output"
	refusal    scenario = "refusal"
)

var scenarios = []scenario{answer, stream, tool, structured, refusal}

// client is one program or library, and a row of the table.
type client struct {
	name    string
	version []string // the command that prints it
	command func(l *lab, t task) (command, error)
	tool    string              // its function that the model calls
	output  string              // the function that takes structured output; empty: the answer is JSON
	none    map[scenario]string // what it has not, and why
	refused int                 // how often it asks for what is refused; 0 is mostRefused
}

// task is one run of a client.
type task struct {
	scenario scenario
	prompt   string
	tag      string
	base     string // URL of the gateway, without a path
	dir      string // its working directory and home, empty
}

// command is how a client is started: a file below bin/clients and its
// arguments, and what it reads beside the variables that all get.
type command struct{ args, env []string }

// says is what the user of a client has to see; the schema of structured
// output has it as the only value.
func (s scenario) says() string {
	if s == refusal {
		return spentTag // the message names the budget
	}
	return "seen-" + strings.ReplaceAll(string(s), " ", "-")
}

// prompt makes the fake provider answer as the scenario wants.
func (c client) prompt(s scenario) string {
	switch s {
	case refusal:
		return "hello"
	case tool:
		return fmt.Sprintf("hello\nfault:calls=%s says=%s\n", c.tool, s.says())
	case structured:
		if c.output != "" {
			return fmt.Sprintf("hello\nfault:calls=%s says=done\n", c.output)
		}
		return fmt.Sprintf("hello\nfault:says={\"verdict\":%q}\n", s.says())
	}
	return fmt.Sprintf("hello\nfault:says=%s\n", s.says())
}

// schema is of structured output.
func schema() string {
	return fmt.Sprintf(`{"type":"object","properties":{"verdict":{"type":"string","enum":[%q]}},"required":["verdict"],"additionalProperties":false}`, structured.says())
}

// version is the first word with a digit of what the client prints.
func (l *lab) version(ctx context.Context, c client) string {
	cmd := exec.CommandContext(ctx, filepath.Join(l.clients, c.version[0]), c.version[1:]...)
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	for word := range strings.FieldsSeq(string(out)) {
		if word = strings.TrimPrefix(word, "v"); strings.ContainsAny(word[:1], "0123456789") {
			return word
		}
	}
	return "unknown"
}

// try runs a scenario, and returns what stands in its cell.
func (l *lab) try(ctx context.Context, c client, s scenario) (string, error) {
	l.reset()
	began := time.Now()
	out, code, err := l.execute(ctx, c, s)
	if err != nil {
		return "", err
	}
	requests, calls := l.seen(began)
	if err = c.check(s, out, code, requests, calls); err != nil || l.verbose {
		fmt.Fprintf(os.Stderr, "\n%s, %s: exit code %d, requests %v\n%s\n", c.name, s, code, requests, tail(out))
	}
	if err != nil {
		return "", err
	}
	if s == refusal {
		return fmt.Sprintf("seen after %s", plural(refused(requests), "request")), nil
	}
	return "seen, " + plural(len(calls), "call"), nil
}

// execute runs the client and returns what it printed.
func (l *lab) execute(ctx context.Context, c client, s scenario) (string, int, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	dir, err := os.MkdirTemp(l.dir, "run")
	if err != nil {
		return "", 0, fmt.Errorf("make a directory: %w", err)
	}
	t := task{scenario: s, prompt: c.prompt(s), tag: openTag, base: l.url, dir: dir}
	if s == refusal {
		t.tag = spentTag
	}
	start, err := c.command(l, t)
	if err != nil {
		return "", 0, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(l.clients, start.args[0]), start.args[1:]...)
	cmd.Env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "NO_COLOR=1", "BASE_URL=" + t.base, "API_KEY=" + adminKey, "TAG=" + t.tag,
		"PROMPT=" + t.prompt, "SCENARIO=" + string(s), "SCHEMA=" + schema()}, start.env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, &out, &out, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its children, too
	err = cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil {
		fmt.Fprintf(os.Stderr, "%s\n", tail(out.String()))
		return "", 0, fmt.Errorf("did not end in %v", l.timeout)
	}
	if err != nil && !errors.As(err, &exit) {
		return "", 0, fmt.Errorf("run %s: %w", c.name, err)
	}
	return out.String(), cmd.ProcessState.ExitCode(), nil
}

// check compares what a client's user and the providers saw with the scenario.
func (c client) check(s scenario, out string, code int, requests []request, calls []fakeprovider.Call) error {
	most := mostRefused
	if c.refused > 0 {
		most = c.refused
	}
	holds := func(parts ...string) bool {
		return slices.ContainsFunc(calls, func(c fakeprovider.Call) bool {
			return slices.ContainsFunc(parts, func(part string) bool { return bytes.Contains(c.Body, []byte(part)) })
		})
	}
	switch {
	case !strings.Contains(out, s.says()):
		return fmt.Errorf("its user did not see %q", s.says())
	case s == refusal && len(calls) > 0:
		return fmt.Errorf("%s reached a provider", plural(len(calls), "call"))
	case s == refusal && refused(requests) == 0:
		return errors.New("nothing was answered 402")
	case s == refusal && refused(requests) > most:
		return fmt.Errorf("asked %d times for what was refused", refused(requests))
	case s == refusal:
		return nil
	case code != 0:
		return fmt.Errorf("exit code %d", code)
	case s == stream && !slices.ContainsFunc(calls, func(c fakeprovider.Call) bool { return c.Stream }):
		return errors.New("asked for no stream")
	case s == tool && !holds(`"role":"tool"`, `"role": "tool"`, `"function_call_output"`, `"tool_result"`):
		return errors.New("sent no result of a tool")
	case s == structured && !holds(`"verdict"`):
		return errors.New("sent no schema")
	}
	return nil
}

// mostRefused is how often a client may ask for what a budget refused: once,
// and once more for what it does beside its user's call.
const mostRefused = 2

func refused(requests []request) int {
	n := 0
	for _, r := range requests {
		if r.status == 402 {
			n++
		}
	}
	return n
}

func (l *lab) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = nil
}

// seen is what was asked for, and reached a provider, since then.
func (l *lab) seen(began time.Time) ([]request, []fakeprovider.Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var calls []fakeprovider.Call
	for _, p := range l.providers {
		for _, c := range p.Calls() {
			if c.At.After(began) {
				calls = append(calls, c)
			}
		}
	}
	return slices.Clone(l.requests), calls
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// tail is the end of a text.
func tail(text string) string {
	const most = 4000
	return text[max(0, len(text)-most):]
}
