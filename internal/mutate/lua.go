package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua/parse"
)

// luaVariable names a file that is run instead of the filter's source.
const luaVariable = "AIG_MUTANT_LUA"

// findLua makes the mutants of the filter, each a whole text of its own, and
// lets the package read that text from a file.
func (b *build) findLua(overlay map[string]string) error {
	for _, name := range b.target.files {
		if path.Ext(name) != ".lua" {
			continue
		}
		dir := filepath.Join(b.root, b.target.dir)
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		list, err := luaMutants(path.Join(b.target.dir, name), string(text))
		if err != nil {
			return err
		}
		b.all = append(b.all, list...)
		source := filepath.Join(dir, "lua.go")
		own, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		const declared = "var luaSource string"
		if strings.Count(string(own), declared) != 1 {
			return fmt.Errorf("lua.go no longer declares %q; mend internal/mutate", declared)
		}
		changed := strings.Replace(string(own), declared, `var luaEmbedded string

var luaSource = func() string {
	if text, err := os.ReadFile(os.Getenv("`+luaVariable+`")); err == nil {
		return string(text)
	}
	return luaEmbedded
}()`, 1)
		changed = strings.Replace(changed, "import ", "import \"os\"\nimport ", 1)
		at := filepath.Join(b.work, "lua.go")
		if err := os.WriteFile(at, []byte(changed), 0o600); err != nil {
			return err
		}
		overlay[source] = at
	}
	return nil
}

// luaTests are the tests in files that drive the filter outside of Envoy.
func (b *build) luaTests() map[string]bool {
	out := map[string]bool{}
	if b.target.lua == "" {
		return out
	}
	files, _ := filepath.Glob(filepath.Join(b.root, b.target.dir, b.target.lua))
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			continue // the compiler says so
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				out[fn.Name.Name] = true
			}
		}
	}
	return out
}

var (
	// Long names first; a comment and a string are tokens that stay.
	luaToken    = regexp.MustCompile(`--[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\.\.\.?|[<>=~]=|[<>+*/%#^-]|0x[0-9a-fA-F]+|\d+|[A-Za-z_]\w*`)
	luaFunction = regexp.MustCompile(`^(?:local )?function (\w+)`)
	// A line that is a statement of its own.
	luaStatement = regexp.MustCompile(`^\s*(?:[\w.:\[\]#, ]+ = .*|[\w.:]+\(.*\)|return\b.*|break)\s*(?:--.*)?$`)
)

var luaOther = map[string][]string{
	"<": {"<=", ">="}, "<=": {"<", ">"}, ">": {">=", "<="}, ">=": {">", "<"}, "==": {"~="}, "~=": {"=="},
	"and": {"or"}, "or": {"and"}, "not": {""}, "true": {"false"}, "false": {"true"}, "+": {"-"}, "-": {"+"},
}

// luaMutants changes one token of the text, or leaves out one line.
func luaMutants(name, src string) ([]*mutant, error) {
	var out []*mutant
	function, offset := "", 0
	add := func(line, start, end int, with, from, to string) *mutant {
		text := src[:start] + with + src[end:]
		if _, err := parse.Parse(strings.NewReader(text), name); err != nil {
			return nil
		}
		m := &mutant{file: name, line: line, function: function, from: oneLine(from), to: oneLine(to), text: text}
		out = append(out, m)
		return m
	}
	if _, err := parse.Parse(strings.NewReader(src), name); err != nil {
		return nil, err
	}
	line := 0
	for text := range strings.Lines(src) {
		line++
		if m := luaFunction.FindStringSubmatch(text); m != nil {
			function = m[1]
		}
		body := strings.TrimSuffix(text, "\n")
		if luaStatement.MatchString(body) && !strings.HasPrefix(strings.TrimSpace(body), "local") {
			add(line, offset, offset+len(body), "", body, removed)
		}
		for _, at := range luaToken.FindAllStringIndex(body, -1) {
			tok := body[at[0]:at[1]]
			var boundary *mutant
			for _, other := range luaOthers(tok) {
				changed := body[:at[0]] + other + body[at[1]:]
				m := add(line, offset+at[0], offset+at[1], other, body, changed)
				if m != nil && boundary != nil {
					m.finer = boundary
				}
				if boundary == nil {
					boundary = m
				}
			}
		}
		offset += len(text)
	}
	return out, nil
}

func luaOthers(tok string) []string {
	if n, err := strconv.ParseInt(tok, 0, 64); err == nil && tok[0] >= '0' && tok[0] <= '9' {
		return []string{strconv.FormatInt(n+1, 10)}
	}
	return luaOther[tok]
}
