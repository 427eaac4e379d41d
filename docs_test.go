package aigateway_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDecisionIndex: every record has a row in the index with its title, a date
// and a status, and every row a record.
func TestDecisionIndex(t *testing.T) {
	index, err := os.ReadFile("docs/decisions/README.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| \[(\d{4})\]\(([^)]+)\) \| (\d{4}-\d\d-\d\d) \| (.+) \| (.+) \|$`)
	titles := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(index), -1) {
		if !strings.HasPrefix(m[2], m[1]+"-") {
			t.Errorf("the row %s links to %s", m[1], m[2])
		}
		titles[m[2]] = m[4]
	}
	files, err := filepath.Glob("docs/decisions/[0-9]*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := map[string]string{}
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\n")
		title := strings.TrimPrefix(head, "# "+name[:4]+": ")
		if !strings.EqualFold(titles[name], title) {
			t.Errorf("docs/decisions/README.md has %q for %s, which is headed %q: give it a row", titles[name], name, title)
		}
		if other := seen[name[:4]]; other != "" {
			t.Errorf("%s and %s have one number", other, name)
		}
		seen[name[:4]] = name
		delete(titles, name)
	}
	for name := range titles {
		t.Errorf("docs/decisions/README.md has a row for %s, which does not exist", name)
	}
}

// TestLinks: what the documents link to is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "ledger/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", file, m[1])
			}
		}
	}
}
