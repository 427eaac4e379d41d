package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestCommandsOfTheDocuments: every command line of README and docs is one that
// this program takes, with its flags and arguments.
func TestCommandsOfTheDocuments(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range append(files, "../../README.md") {
		text := read(t, file)
		for _, line := range shellLines(text) {
			if args, ok := commandOf(line); ok {
				seen++
				wantCommand(t, file, args, true)
			}
		}
		for _, m := range regexp.MustCompile("`(aigateway [a-z][^`]*)`").FindAllStringSubmatch(text, -1) {
			args, _ := commandOf(m[1])
			seen++
			wantCommand(t, file, args, false) // in a sentence, arguments may be left out
		}
	}
	if seen < 60 {
		t.Errorf("only %d commands were found", seen)
	}
}

// TestCommandsOfThePage is the same for what the page at /ui/ says.
func TestCommandsOfThePage(t *testing.T) {
	files, err := filepath.Glob("../../webui/page/*.js")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range files {
		for _, m := range regexp.MustCompile("\"(aigateway [a-z][^\"]*)\"|'(aigateway [a-z][^']*)'|`(aigateway [a-z][^`]*)`").FindAllStringSubmatch(read(t, file), -1) {
			line := regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(m[1]+m[2]+m[3], "2026-04")
			if args, ok := commandOf(line); ok {
				seen++
				wantCommand(t, file, args, false)
			}
		}
	}
	if seen < 6 {
		t.Errorf("only %d commands were found", seen)
	}
}

// shellLines are those of the blocks that are for a shell.
func shellLines(text string) []string {
	var lines []string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside:
			lines = append(lines, line)
		}
	}
	return lines
}

// commandOf is what of a line comes after aigateway's name, up to what the shell
// takes for itself.
func commandOf(line string) ([]string, bool) {
	words := regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`).FindAllString(line, -1)
	var args []string
	found := false
	for _, w := range words {
		switch {
		case strings.HasPrefix(w, "#"), w == "|", w == ">", w == "&&", w == ";", strings.HasPrefix(w, ">"):
			if found {
				return args, true
			}
			args = nil
		case !found && (w == "aigateway" || w == "./aigateway" || w == "bin/aigateway"):
			found = true
		case w == "aigateway": // docker compose exec SERVICE PROGRAM
		case found:
			args = append(args, strings.Trim(w, `"'`))
		}
	}
	return args, found
}

func wantCommand(t *testing.T, file string, args []string, whole bool) {
	t.Helper()
	// Alternatives, as in list|show, stand for each.
	for i, a := range args {
		if first, rest, ok := strings.Cut(a, "|"); ok && !strings.HasPrefix(a, "-") {
			for _, one := range append([]string{first}, strings.Split(rest, "|")...) {
				wantCommand(t, file, append(append(append([]string(nil), args[:i]...), one), args[i+1:]...), whole)
			}
			return
		}
	}
	root := newRootCommand(newApp(io.Discard, io.Discard, os.Getenv))
	c, rest, err := root.Find(args)
	if err == nil && c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && strings.ToLower(rest[0]) == rest[0] && rest[0] != "…" {
		t.Errorf("%s: aigateway %s: there is no %s", file, strings.Join(args, " "), rest[0])
	}
	if err == nil {
		c.InitDefaultHelpFlag()
		err = c.ParseFlags(rest)
		if err != nil && !whole && strings.Contains(err.Error(), "needs an argument") {
			err = nil
		}
	}
	if err == nil && whole {
		err = c.ValidateArgs(c.Flags().Args())
	}
	if err != nil && err != pflag.ErrHelp {
		t.Errorf("%s: aigateway %s: %v", file, strings.Join(args, " "), err)
	}
}

// TestDrill runs the backup and the drill of docs/operations.md, line by line, on
// books with a call in them.
func TestDrill(t *testing.T) {
	dir, backups, drill := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "drill")
	l, _ := oneCall(t, dir)
	defer l.Close(t.Context())
	_, section, _ := strings.Cut(read(t, "../../docs/operations.md"), "\n## Backup, and the drill\n")
	section, _, _ = strings.Cut(section, "\n## ")
	paths := strings.NewReplacer("/backups", backups, "/tmp/drill", drill)
	var said []string
	for _, line := range shellLines(section) {
		args, ok := commandOf(line)
		if !ok {
			t.Fatalf("%s is no command", line)
		}
		for i := range args {
			args[i] = paths.Replace(args[i])
		}
		r := runCLI(t, map[string]string{"AIGATEWAY_DATA_DIR": dir}, args...)
		if r.code != 0 {
			t.Fatalf("%s: %d, %s", line, r.code, r.stderr)
		}
		said = append(said, r.stdout+r.stderr)
	}
	if len(said) != 4 || !strings.Contains(said[1], "restored the ledger") || !strings.Contains(said[2], "the books agree: 1 accounts, 0 open reservations, 2 rows") || !strings.Contains(said[3], "the history is whole") {
		t.Errorf("the drill says %q", said)
	}
}
