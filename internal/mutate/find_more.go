package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"
)

// inConstant reports whether a literal is part of a larger constant, which the
// language asks to be one.
func (f *finder) inConstant(n *ast.BasicLit) bool {
	for e, tv := range f.info.Types {
		if tv.Value != nil && e != ast.Expr(n) && e.Pos() <= n.Pos() && n.End() <= e.End() {
			return true
		}
	}
	return false
}

// statements finds what can be left out of a list, or changed as a whole.
func (f *finder) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if call, ok := s.X.(*ast.CallExpr); ok && !forPeople(f.text(call.Fun)) && f.text(call.Fun) != "panic" {
				f.remove(s)
			}
		case *ast.AssignStmt:
			f.assigned(s)
		case *ast.IncDecStmt:
			f.remove(s)
			op := map[token.Token]string{token.INC: "--", token.DEC: "++"}[s.Tok]
			f.instead(s, f.text(s.X)+op)
		case *ast.DeferStmt, *ast.SendStmt, *ast.GoStmt:
			f.remove(s)
		case *ast.BranchStmt:
			if s.Tok == token.BREAK || s.Tok == token.CONTINUE {
				f.remove(s)
			}
		case *ast.ReturnStmt:
			f.returned(s)
		}
	}
}

func (f *finder) remove(s ast.Stmt) { f.add(s, statement, "", "", removed) }

// instead puts another statement in the place of s.
func (f *finder) instead(s ast.Stmt, text string) { f.add(s, statement, "", text, "") }

func (f *finder) assigned(s *ast.AssignStmt) {
	if s.Tok == token.DEFINE || len(s.Lhs) == 1 && f.text(s.Lhs[0]) == "_" {
		return
	}
	f.remove(s)
	if len(s.Lhs) == 1 && isNumber(f.typeOf(s.Lhs[0])) {
		for _, op := range binaries[s.Tok] {
			f.instead(s, f.text(s.Lhs[0])+" "+op.String()+" "+f.text(s.Rhs[0]))
		}
	}
}

// returned forgets the error of a return, and turns its truth around.
func (f *finder) returned(s *ast.ReturnStmt) {
	for i, r := range s.Results {
		t := f.typeOf(r)
		if _, several := t.(*types.Tuple); several {
			continue // f() with several values stays as it is
		}
		last := i == len(s.Results)-1
		switch {
		case t == nil || f.isConst(r) && !isBool(t):
		case last && f.text(r) != "nil" && isError(t):
			var kept []string
			for _, r := range s.Results[:i] {
				kept = append(kept, f.text(r))
			}
			f.instead(s, "return "+strings.Join(append(kept, "nil"), ", "))
		case f.text(r) == "true", f.text(r) == "false":
			f.addValue(r, map[string]string{"true": "false", "false": "true"}[f.text(r)], "")
		case isBool(t):
			f.condition(r)
		}
	}
}

// cases drops the values of a switch one by one, and its conditions' opposites
// where no operator decides.
func (f *finder) cases(s *ast.SwitchStmt) {
	for _, c := range s.Body.List {
		for _, e := range c.(*ast.CaseClause).List {
			if s.Tag == nil {
				f.condition(e)
				continue
			}
			tv := f.info.Types[e]
			typ, ok := f.typeText(f.typeOf(s.Tag))
			if tv.Value == nil || !ok {
				continue
			}
			switch tv.Value.Kind() {
			case constant.String:
				f.add(e, value, typ, `"\x00"`, removed)
			case constant.Int:
				f.add(e, value, typ, "99", removed)
			}
		}
	}
}

// composite leaves out members of structs and texts of lists.
func (f *finder) composite(n *ast.CompositeLit) {
	t := f.typeOf(n)
	if t == nil {
		return
	}
	_, isStruct := t.Underlying().(*types.Struct)
	for _, e := range n.Elts {
		kv, named := e.(*ast.KeyValueExpr)
		switch {
		case isStruct && named:
			if f.text(kv.Key) == "Message" || f.isZero(kv.Value) {
				continue // for people, or nothing already
			}
			if typ, ok := f.typeText(f.typeOf(kv.Value)); ok && f.text(kv.Value) != "nil" && !isUntypedNil(f.typeOf(kv.Value)) {
				f.put(f.at(kv.Value.Pos()), f.at(kv.Value.End()), value, typ, f.text(kv), "*new("+typ+")", removed)
			}
		case !isStruct && !named:
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				f.addValue(lit, `"\x00"`, removed)
			}
		}
	}
}

func isUntypedNil(t types.Type) bool {
	b, ok := t.(*types.Basic)
	return ok && b.Kind() == types.UntypedNil
}

// isZero reports whether e is a constant that a member left out would be, too.
func (f *finder) isZero(e ast.Expr) bool {
	v := f.info.Types[e].Value
	if v == nil {
		return false
	}
	switch v.Kind() {
	case constant.String:
		return constant.StringVal(v) == ""
	case constant.Bool:
		return !constant.BoolVal(v)
	default:
		return constant.Sign(v) == 0
	}
}
