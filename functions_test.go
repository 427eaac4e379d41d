package aigateway_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// longest is how many lines a function may have. The rows of a table in it do
// not count: data is as long as it is.
const longest = 60

// long are the functions that are longer, each with the reason.
var long = map[string]string{
	"ledger take": "a case for each step of the model",
}

// TestFunctionsAreShort reads every function by hand, tests included.
func TestFunctionsAreShort(t *testing.T) {
	for _, f := range goFiles(t) {
		if strings.HasPrefix(f.name, "api/gen/") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, f.name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := f.dir + " " + fn.Name.Name
			if n := codeLines(set, fn); n > longest && long[name] == "" {
				t.Errorf("%s: %s has %d lines, more than %d: give its parts names, or its rows a table", f.name, fn.Name.Name, n, longest)
			}
		}
	}
}

// codeLines counts a function's lines without those inside of composite literals.
func codeLines(set *token.FileSet, fn *ast.FuncDecl) int {
	line := func(p token.Pos) int { return set.Position(p).Line }
	n := line(fn.End()) - line(fn.Pos()) + 1
	ast.Inspect(fn, func(x ast.Node) bool {
		lit, ok := x.(*ast.CompositeLit)
		if ok {
			n -= max(0, line(lit.Rbrace)-line(lit.Lbrace)-1)
		}
		return !ok
	})
	return n
}
