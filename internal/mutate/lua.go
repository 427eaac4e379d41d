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

// luaVariable begins the name of a variable, which the name of a text's variable
// ends, that names a file which is run instead of that text.
const luaVariable = "AIG_MUTANT_"

// findLua makes the mutants of the filter's texts, each a whole text of its own,
// and lets the package read them from a file.
func (b *build) findLua(overlay map[string]string) error {
	dir := filepath.Join(b.root, b.target.dir)
	source := filepath.Join(dir, "lua.go")
	changed := ""
	for _, name := range b.target.files {
		if path.Ext(name) != ".lua" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		list, err := luaMutants(path.Join(b.target.dir, name), string(text))
		if err != nil {
			return err
		}
		b.all = append(b.all, list...)
		if changed == "" {
			own, err := os.ReadFile(source)
			if err != nil {
				return err
			}
			changed = strings.Replace(string(own), "import ", "import \"os\"\nimport ", 1)
		}
		embedded := regexp.MustCompile(`(//go:embed ` + regexp.QuoteMeta(name) + `\nvar )(\w+) string\n`)
		m := embedded.FindStringSubmatch(changed)
		if m == nil {
			return fmt.Errorf("lua.go no longer embeds %s as a string; mend internal/mutate", name)
		}
		for _, mutant := range list {
			mutant.variable = luaVariable + m[2]
		}
		changed = embedded.ReplaceAllString(changed, `${1}${2}Embedded string

var ${2} = func() string {
	if text, err := os.ReadFile(os.Getenv("`+luaVariable+`${2}")); err == nil {
		return string(text)
	}
	return ${2}Embedded
}()
`)
	}
	if changed == "" {
		return nil
	}
	at := filepath.Join(b.work, "lua.go")
	overlay[source] = at
	return os.WriteFile(at, []byte(changed), 0o600)
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
	luaFunction = regexp.MustCompile(`^\s*(?:local )?function (\w+)`)
	// A member that is absent is nil, and no less false.
	luaAbsent = regexp.MustCompile(`^\s*\w+ = (?:false|nil),`)
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
		if luaStatement.MatchString(body) && !luaAbsent.MatchString(body) && !strings.HasPrefix(strings.TrimSpace(body), "local") {
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
