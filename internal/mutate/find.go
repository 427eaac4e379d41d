package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// point is a place in a file with alternatives to what stands there.
type point struct {
	start, end int // byte offsets
	kind       pointKind
	typ        string // of an expression
	alts       []*mutant
	dropped    bool // does not compile
}

type pointKind uint8

const (
	boolean   pointKind = iota // an expression of type bool
	value                      // any other expression
	statement                  // one that may be left out
	insertion                  // a place where a statement may be put
)

// finder collects the points of one file.
type finder struct {
	fset     *token.FileSet
	info     *types.Info
	pkg      *types.Package
	src      string
	name     string // path from the root of the repository
	imports  map[string]string
	function string
	results  *ast.FieldList // of function
	points   []*point
}

func (f *finder) at(p token.Pos) int           { return f.fset.Position(p).Offset }
func (f *finder) text(n ast.Node) string       { return f.src[f.at(n.Pos()):f.at(n.End())] }
func (f *finder) typeOf(e ast.Expr) types.Type { return f.info.TypeOf(e) }

// isConst reports whether e is a constant expression.
func (f *finder) isConst(e ast.Expr) bool { return f.info.Types[e].Value != nil }

// add notes one alternative to a node.
func (f *finder) add(n ast.Node, kind pointKind, typ, text, shown string) *mutant {
	return f.put(f.at(n.Pos()), f.at(n.End()), kind, typ, f.text(n), text, shown)
}

func (f *finder) put(start, end int, kind pointKind, typ, from, text, shown string) *mutant {
	if shown == "" {
		shown = text
	}
	i := slices.IndexFunc(f.points, func(p *point) bool { return p.start == start && p.end == end && p.kind == kind && end > start })
	if i < 0 {
		f.points = append(f.points, &point{start: start, end: end, kind: kind, typ: typ})
		i = len(f.points) - 1
	}
	line := 1 + strings.Count(f.src[:start], "\n")
	m := &mutant{file: f.name, line: line, function: f.function, from: oneLine(from), to: oneLine(shown), text: text}
	f.points[i].alts = append(f.points[i].alts, m)
	return m
}

// typeText is a type as the file can write it; false when it cannot.
func (f *finder) typeText(t types.Type) (string, bool) {
	if b, ok := t.(*types.Basic); ok && b.Info()&types.IsUntyped != 0 {
		t = types.Default(t)
	}
	ok := true
	s := types.TypeString(t, func(p *types.Package) string {
		if p == f.pkg {
			return ""
		}
		name, found := f.imports[p.Path()]
		ok = ok && found
		return name
	})
	return s, ok && !strings.Contains(s, "invalid type") && !strings.Contains(s, "untyped")
}

// addValue notes an alternative to an expression that is no condition.
func (f *finder) addValue(e ast.Expr, text, shown string) {
	if typ, ok := f.typeText(f.typeOf(e)); ok {
		f.add(e, value, typ, text, shown)
	}
}

// file walks a whole file.
func (f *finder) file(file *ast.File) {
	f.imports = map[string]string{}
	for _, spec := range file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if obj := f.info.PkgNameOf(spec); obj != nil {
			f.imports[p] = obj.Name()
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				f.function = "var"
				f.walk(d)
			}
		case *ast.FuncDecl:
			f.declared(d)
		}
	}
}

func (f *finder) declared(d *ast.FuncDecl) {
	switch d.Name.Name {
	case "String", "Lines", "feeLines", "tierNote", "joinNotes", "feeUnit": // for people
		return
	}
	if d.Body == nil {
		return
	}
	f.function, f.results = d.Name.Name, d.Type.Results
	if d.Recv != nil {
		f.function = strings.TrimPrefix(f.text(d.Recv.List[0].Type), "*") + "." + f.function
	}
	f.early(d)
	f.walk(d.Body)
}

// early returns before anything is done.
func (f *finder) early(d *ast.FuncDecl) {
	var zero []string
	single := ""
	if d.Type.Results != nil {
		for _, r := range d.Type.Results.List {
			for range max(1, len(r.Names)) {
				zero = append(zero, "*new("+f.text(r.Type)+")")
			}
			single = f.text(r.Type)
		}
	}
	at := f.at(d.Body.Lbrace) + 1
	f.put(at, at, insertion, "", "{", "return "+strings.Join(zero, ", "), "{ return zero")
	if len(zero) == 1 && single == "bool" {
		f.put(at, at, insertion, "", "{", "return true", "{ return true")
	}
}

// walk finds the points below n.
func (f *finder) walk(n ast.Node) {
	var above []ast.Node
	ast.Inspect(n, func(n ast.Node) bool {
		if n == nil {
			above = above[:len(above)-1]
			return true
		}
		deeper := f.node(n, above)
		if deeper {
			above = append(above, n)
		}
		return deeper
	})
}

// node finds the points of n itself, and tells whether to look below it.
func (f *finder) node(n ast.Node, above []ast.Node) bool {
	switch n := n.(type) {
	case *ast.BlockStmt:
		f.statements(n.List)
	case *ast.CaseClause:
		f.statements(n.Body)
	case *ast.CommClause:
		f.statements(n.Body)
	case *ast.SwitchStmt:
		f.cases(n)
	case *ast.IfStmt:
		f.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			f.condition(n.Cond)
		}
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.UnaryExpr:
		f.unary(n)
	case *ast.CallExpr:
		return f.call(n)
	case *ast.BasicLit:
		f.literal(n, above[len(above)-1])
	case *ast.CompositeLit:
		f.composite(n)
	case *ast.GenDecl:
		return n.Tok == token.VAR
	case *ast.ArrayType, *ast.StructType, *ast.InterfaceType, *ast.FuncType:
		return false
	}
	return true
}

// binaries are the operators and what each becomes.
var binaries = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL}, token.REM: {token.MUL},
	token.SHL: {token.SHR}, token.SHR: {token.SHL}, token.AND: {token.OR}, token.OR: {token.AND}, token.AND_NOT: {token.AND}, token.XOR: {token.AND},
	token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN}, token.MUL_ASSIGN: {token.QUO_ASSIGN},
	token.OR_ASSIGN: {token.AND_ASSIGN}, token.AND_NOT_ASSIGN: {token.OR_ASSIGN}, token.SHR_ASSIGN: {token.SHL_ASSIGN}, token.SHL_ASSIGN: {token.SHR_ASSIGN},
}

func (f *finder) binary(n *ast.BinaryExpr) {
	if f.isConst(n) {
		return
	}
	x, y := f.text(n.X), f.text(n.Y)
	switch n.Op {
	case token.LAND, token.LOR:
		f.add(n, boolean, "", x, "")
		f.add(n, boolean, "", y, "")
		return
	case token.EQL, token.NEQ:
		if y == "nil" && isError(f.typeOf(n.X)) {
			f.add(n, boolean, "", strconv.FormatBool(n.Op == token.EQL), "")
			return
		}
	}
	compares := n.Op == token.EQL || n.Op == token.NEQ || n.Op == token.LSS || n.Op == token.LEQ || n.Op == token.GTR || n.Op == token.GEQ
	var boundary *mutant
	for _, op := range binaries[n.Op] {
		text := x + " " + op.String() + " " + y
		if compares {
			m := f.add(n, boolean, "", text, "")
			if m.finer = boundary; boundary == nil {
				boundary = m
			}
		} else if isNumber(f.typeOf(n)) {
			f.addValue(n, text, "")
		}
	}
}

func isNumber(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsNumeric != 0
}

// isError reports whether t is an error, or a type of ours that is one.
func isError(t types.Type) bool {
	return t != nil && types.AssignableTo(t, types.Universe.Lookup("error").Type())
}

func isBool(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsBoolean != 0
}

func (f *finder) unary(n *ast.UnaryExpr) {
	if f.isConst(n) {
		return
	}
	switch n.Op {
	case token.NOT:
		f.add(n, boolean, "", f.text(n.X), "")
	case token.SUB:
		f.addValue(n, f.text(n.X), "")
	}
}

// condition negates what no operator decides.
func (f *finder) condition(e ast.Expr) {
	switch e := ast.Unparen(e).(type) {
	case *ast.BinaryExpr, *ast.UnaryExpr:
	default:
		if !f.isConst(e) && isBool(f.typeOf(e)) {
			f.add(e, boolean, "", "!("+f.text(e)+")", "!"+f.text(e))
		}
	}
}

// call swaps max and min. Where text is made for people, it looks no further.
func (f *finder) call(n *ast.CallExpr) bool {
	switch fun := n.Fun.(type) {
	case *ast.Ident:
		if _, builtin := f.info.Uses[fun].(*types.Builtin); builtin && !f.isConst(n) {
			swapped := map[string]string{"max": "min", "min": "max"}[fun.Name]
			if swapped != "" {
				f.addValue(n, swapped+f.text(n)[len(fun.Name):], "")
			}
			return fun.Name != "panic" && fun.Name != "make"
		}
	case *ast.SelectorExpr:
		name := f.text(fun)
		return !strings.HasPrefix(name, "fmt.") && name != "budget.Invalid" && !forPeople(name)
	}
	return true
}

// forPeople reports whether a call logs or counts.
func forPeople(name string) bool {
	for _, part := range strings.Split(name, ".") {
		if i := strings.IndexByte(part, '('); i >= 0 {
			part = part[:i]
		}
		switch part {
		case "log", "Log", "metrics", "WithLabelValues":
			return true
		}
	}
	return false
}

// literal makes a number one more. Its key shows where it stands.
func (f *finder) literal(n *ast.BasicLit, parent ast.Node) {
	tv := f.info.Types[n]
	if n.Kind != token.INT || tv.Value == nil || !isNumber(tv.Type) {
		return
	}
	v, ok := constant.Int64Val(tv.Value)
	typ, writable := f.typeText(tv.Type)
	if !ok || !writable || f.inConstant(n) {
		return
	}
	if r, isReturn := parent.(*ast.ReturnStmt); isReturn && f.fails(r) {
		return // nobody reads what comes with an error
	}
	around := f.text(parent)
	start, end := f.at(n.Pos()), f.at(n.End())
	at := start - f.at(parent.Pos())
	if sameAsBoundary(parent, n) {
		return
	}
	text := strconv.FormatInt(v+1, 10)
	f.put(start, end, value, typ, around, text, around[:at]+text+around[at+end-start:])
}

// fails reports whether a return gives an error that is not nil, or ends in false.
func (f *finder) fails(r *ast.ReturnStmt) bool {
	last := r.Results[len(r.Results)-1]
	return f.text(last) == "false" || f.text(last) != "nil" && isError(f.typeOf(last))
}

// sameAsBoundary reports whether a comparison with a number one higher is what
// binary makes of it anyway: n < 4 is n <= 3.
func sameAsBoundary(parent ast.Node, n *ast.BasicLit) bool {
	b, ok := parent.(*ast.BinaryExpr)
	if !ok {
		return false
	}
	op := b.Op
	if b.X == ast.Expr(n) { // 3 > n is n < 3
		op = map[token.Token]token.Token{token.LSS: token.GTR, token.LEQ: token.GEQ, token.GTR: token.LSS, token.GEQ: token.LEQ}[op]
	}
	return op == token.LSS || op == token.GEQ
}
