package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// named finds commands that a text names: in quotes, in a shell's line, or
// behind an indentation, as examples have them.
var named = regexp.MustCompile("(?m)(?:[`\"(]|^ +|: |\\$\\()aigateway((?: +[^\\s`\"|>)]+)+)")

// foreign are flags of other programs that our texts name.
var foreign = []string{"--file-flush-interval-msec", "--version", "--disable-hot-restart", "--log-level", "--concurrency", "--no-deps", "--dest",
	"--only-binary", "--python-version", "--platform", "--no-cache-dir", "--disable-pip-version-check", "--quiet", "--no-input", "--print-uris"}

// TestMessagesNameWhatThereIs reads every text of the program and its documents:
// a command or flag that they name is one that there is.
func TestMessagesNameWhatThereIs(t *testing.T) {
	root := newRootCommand(newApp(io.Discard, io.Discard, func(string) string { return "" }))
	all := allFlags(root)
	texts, err := texts("../..")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at, list := range texts {
		for _, text := range list {
			for _, m := range named.FindAllStringSubmatch(text, -1) {
				found++
				if problem := checkNamed(root, strings.Fields(m[1])); problem != "" {
					t.Errorf("%s: aigateway%s: %s", at, m[1], problem)
				}
			}
			if !strings.HasSuffix(at, ".go") {
				continue // documents name flags of other programs as well
			}
			// Other packages do not know for which command they speak.
			ours := strings.Contains(at, "cmd/aigateway") || strings.Contains(at, "pricedata") // of catalog diff and import alone
			for _, flag := range regexp.MustCompile(`(?:^|[\s(])--[a-z][a-z-]+`).FindAllString(named.ReplaceAllString(text, ""), -1) {
				flag = strings.TrimLeft(flag, " (\n\t")
				if (!ours || !all[strings.TrimPrefix(flag, "--")]) && !slices.Contains(foreign, flag) {
					t.Errorf("%s names %s, which is a flag of no command, or not of all that may say this: %.80q", at, flag, text)
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d commands are named", found)
	}
}

// checkNamed says what is wrong with the words behind "aigateway".
func checkNamed(root *cobra.Command, words []string) string {
	c := root
	for i, w := range words {
		if strings.HasPrefix(w, "-") {
			break
		}
		next, _, err := c.Find([]string{strings.TrimRight(w, ".,;:")})
		if err != nil || next == c {
			if c == root || c.HasSubCommands() && i == 1 && !c.Runnable() {
				return w + " is no command"
			}
			break
		}
		c = next
	}
	c.InitDefaultHelpFlag()
	for _, w := range words {
		name, isFlag := strings.CutPrefix(w, "--")
		name, _, _ = strings.Cut(name, "=")
		name = strings.TrimRight(name, ".,;:'")
		if isFlag && c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil && c.PersistentFlags().Lookup(name) == nil {
			return "has no flag --" + name
		}
	}
	return ""
}

func allFlags(root *cobra.Command) map[string]bool {
	known := map[string]bool{"help": true, "version": true}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, line := range strings.Fields(c.LocalFlags().FlagUsages() + c.PersistentFlags().FlagUsages()) {
			if name, ok := strings.CutPrefix(line, "--"); ok {
				known[name] = true
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return known
}

// texts are the string literals of the program's sources, and the documents.
func texts(root string) (map[string][]string, error) {
	out := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() {
			if skip := []string{"bin", "testdata", "e2e", "internal", "gen", ".git", "fakeprovider", "node_modules"}; slices.Contains(skip, name) {
				return filepath.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(name, ".md"), name == "example.yaml":
			text, err := os.ReadFile(path)
			out[path] = []string{string(text)}
			return err
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					out[path] = append(out[path], text)
				}
			}
			return true
		})
		return nil
	})
	return out, err
}
