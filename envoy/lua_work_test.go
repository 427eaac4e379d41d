package envoy_test

import (
	"fmt"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// worker counts what the filter's string functions cost: bytes looked at and
// copied. Patterns are matched here as Lua's own C code does it, step by step,
// so that one that backtracks shows. Every loop of the filter calls one of them.
type worker struct{ steps int64 }

// count replaces the functions that the filter takes from its environment.
func (w *worker) count(l *lua.LState) {
	str := l.GetGlobal("string").(*lua.LTable)
	original := func(name string, table *lua.LTable, cost func(l *lua.LState) int64) {
		f := table.RawGetString(name)
		table.RawSetString(name, l.NewFunction(func(l *lua.LState) int {
			w.steps += cost(l)
			n := l.GetTop()
			l.Insert(f, 1)
			l.Call(n, lua.MultRet)
			return l.GetTop()
		}))
	}
	str.RawSetString("find", l.NewFunction(func(l *lua.LState) int { return w.find(l, true) }))
	str.RawSetString("match", l.NewFunction(func(l *lua.LState) int { return w.find(l, false) }))
	original("byte", str, func(*lua.LState) int64 { return 1 })
	original("gmatch", str, func(l *lua.LState) int64 { return int64(len(l.CheckString(1))) }) // of one class only
	original("gsub", str, func(l *lua.LState) int64 { return int64(len(l.CheckString(1))) })   // of one byte only
	original("lower", str, func(l *lua.LState) int64 { return int64(len(l.CheckString(1))) })
	original("sub", str, func(l *lua.LState) int64 {
		n := len(l.CheckString(1))
		from, to := l.CheckInt(2), l.OptInt(3, -1)
		if to < 0 {
			to += n + 1
		}
		return int64(1 + max(0, min(to, n)-max(from, 1)+1))
	})
	original("concat", l.GetGlobal("table").(*lua.LTable), func(l *lua.LState) int64 {
		n := int64(1)
		t := l.CheckTable(1)
		for i := 1; i <= t.Len(); i++ {
			n += 1 + int64(len(t.RawGetInt(i).String()))
		}
		return n
	})
}

// find is string.find, and string.match where not the whole is wanted.
func (w *worker) find(l *lua.LState, whole bool) int {
	s, p := l.CheckString(1), l.CheckString(2)
	init := max(l.OptInt(3, 1), 1)
	if init > len(s)+1 {
		l.Push(lua.LNil)
		return 1
	}
	if whole && (l.OptBool(4, false) || !strings.ContainsAny(p, `^$*+?.([%-`)) {
		i := strings.Index(s[init-1:], p)
		if i < 0 {
			w.steps += int64(len(s) - init + 1)
			l.Push(lua.LNil)
			return 1
		}
		w.steps += int64(i + len(p))
		l.Push(lua.LNumber(init + i))
		l.Push(lua.LNumber(init + i + len(p) - 1))
		return 2
	}
	m := matcher{s: s, p: p}
	from, to := m.search(init - 1)
	w.steps += m.steps
	if from < 0 {
		l.Push(lua.LNil)
		return 1
	}
	n := 0
	if whole {
		l.Push(lua.LNumber(from + 1))
		l.Push(lua.LNumber(to))
		n = 2
	}
	for _, c := range m.captures {
		l.Push(lua.LString(s[c[0]:c[1]]))
		n++
	}
	if n == 0 {
		l.Push(lua.LString(s[from:to]))
		n = 1
	}
	return n
}

// matcher is lstrlib.c's, for the items the filter uses: classes, sets, anchors,
// the repetitions * + ? and -, and captures.
type matcher struct {
	s, p     string
	captures [][2]int
	steps    int64
}

func (m *matcher) search(init int) (from, to int) {
	p, anchored := 0, false
	if strings.HasPrefix(m.p, "^") {
		p, anchored = 1, true
	}
	for i := init; i <= len(m.s); i++ {
		m.captures = nil
		if end := m.at(i, p); end >= 0 {
			return i, end
		}
		if anchored {
			break
		}
	}
	return -1, -1
}

func (m *matcher) at(i, p int) int {
	for {
		m.steps++
		if p == len(m.p) {
			return i
		}
		switch m.p[p] {
		case '(':
			return m.open(i, p)
		case ')':
			return m.close(i, p)
		case '$':
			if p+1 == len(m.p) {
				if i == len(m.s) {
					return i
				}
				return -1
			}
		}
		ep := m.item(p)
		rep := byte(0)
		if ep < len(m.p) {
			rep = m.p[ep]
		}
		switch rep {
		case '*', '+':
			n := 0
			for i+n < len(m.s) && m.one(m.s[i+n], p, ep) {
				n++
				m.steps++
			}
			for ; n > 0 || n == 0 && rep == '*'; n-- {
				if end := m.at(i+n, ep+1); end >= 0 {
					return end
				}
			}
			return -1
		case '?':
			if i < len(m.s) && m.one(m.s[i], p, ep) {
				if end := m.at(i+1, ep+1); end >= 0 {
					return end
				}
			}
			p = ep + 1
			continue
		case '-':
			panic("the filter has no lazy repetition: " + m.p)
		}
		if i >= len(m.s) || !m.one(m.s[i], p, ep) {
			return -1
		}
		i, p = i+1, ep
	}
}

// open begins a capture, and takes it back where what follows does not match.
func (m *matcher) open(i, p int) int {
	m.captures = append(m.captures, [2]int{i, -1})
	end := m.at(i, p+1)
	if end < 0 {
		m.captures = m.captures[:len(m.captures)-1]
	}
	return end
}

// close ends the innermost open capture, likewise.
func (m *matcher) close(i, p int) int {
	for k := len(m.captures) - 1; k >= 0; k-- {
		if m.captures[k][1] < 0 {
			m.captures[k][1] = i
			end := m.at(i, p+1)
			if end < 0 {
				m.captures[k][1] = -1
			}
			return end
		}
	}
	return -1
}

// item is the end of the single item at p.
func (m *matcher) item(p int) int {
	switch m.p[p] {
	case '%':
		return p + 2
	case '[':
		p++
		if m.p[p] == '^' {
			p++
		}
		for {
			c := m.p[p]
			p++
			if c == '%' {
				p++
			}
			if m.p[p] == ']' { // not the first of the set
				return p + 1
			}
		}
	}
	return p + 1
}

func (m *matcher) one(c byte, p, ep int) bool {
	switch m.p[p] {
	case '.':
		return true
	case '%':
		return class(c, m.p[p+1])
	case '[':
		return m.set(c, m.p[p+1:ep-1])
	}
	return m.p[p] == c
}

func (m *matcher) set(c byte, set string) bool {
	want := true
	if set[0] == '^' {
		want, set = false, set[1:]
	}
	for i := 0; i < len(set); i++ {
		switch {
		case set[i] == '%':
			i++
			if class(c, set[i]) {
				return want
			}
		case i+2 < len(set) && set[i+1] == '-':
			if set[i] <= c && c <= set[i+2] {
				return want
			}
			i += 2
		case set[i] == c:
			return want
		}
	}
	return !want
}

func class(c, name byte) bool {
	switch name {
	case 's':
		return c == ' ' || c >= 9 && c <= 13
	case 'S':
		return !class(c, 's')
	case 'd':
		return c >= '0' && c <= '9'
	case 'w':
		return class(c, 'd') || c|32 >= 'a' && c|32 <= 'z'
	}
	return name == c
}

// growing are answers that a provider can make as long as it likes.
var growing = map[string]func(n int) string{
	"blanks after a name in an event":     func(n int) string { return `data: {"usage"` + pad(" ", n) + "}\n\n" },
	"blanks after a colon in an event":    func(n int) string { return `data: {"usage":` + pad(" ", n) + "}\n\n" },
	"blanks after a reason's name":        func(n int) string { return `data: {"finish_reason"` + pad(" \t", n) + "1}\n\n" },
	"blanks after a reason's colon":       func(n int) string { return `data: {"finish_reason":` + pad(" \t", n) + "1}\n\n" },
	"names with blanks":                   func(n int) string { return "data: " + pad(`"usage"  `, n) + "\n\n" },
	"names that end nothing":              func(n int) string { return "data: " + pad(`"usage" : "finish_reason"  `, n) + "\n\n" },
	"a report that is blank":              func(n int) string { return `{"usage":` + pad(" ", n) + "}" },
	"a report before blanks":              func(n int) string { return `{"usage":{"a":1}` + pad(" ", n) + "}" },
	"a report among blanks":               func(n int) string { return `{"usage":` + pad("\n", n) + `{"a":1}` + pad("\r", n) + "}" },
	"blanks in an empty report":           func(n int) string { return `{"usage":{` + pad(" ", n) + "}}" },
	"blanks in an empty array of choices": func(n int) string { return `data: {"choices":[` + pad(" ", n) + "]}\n\n" },
	"blanks in an empty text":             func(n int) string { return `data: {"choices":[{"delta":{"x":[` + pad(" ", n) + "]}}]}\n\n" },
	"blanks after the end mark":           func(n int) string { return "data: [DONE]" + pad(" ", n) + "x\n\n" },
	"end marks":                           func(n int) string { return pad("data: [DONE] \n\n", n) },
	"blank lines":                         func(n int) string { return pad("\n", n) },
	"line ends of all kinds":              func(n int) string { return "data: x" + pad("\r\n\r\n\r", n) },
	"returns in an event":                 func(n int) string { return pad("data: \"usage\":{}\r", n) + "\r\r" },
	"data lines":                          func(n int) string { return pad("data: \"usage\"\n", n) + "\n" },
	"comments":                            func(n int) string { return pad(": x\r\n", n) },
	"one endless comment":                 func(n int) string { return ":" + pad("x", n) },
	"one endless line":                    func(n int) string { return "data: " + pad("x", n) },
	"one endless blank":                   func(n int) string { return pad(" ", n) },
	"events of a byte":                    func(n int) string { return pad("x\n\n", n) },
	"types":                               func(n int) string { return pad(`data: {"type":"x"}`+"\n\n", n) },
	"an endless type":                     func(n int) string { return `data: {"type": "` + pad("a.", n) },
	"an endless type in many events":      func(n int) string { return pad(`data: {"type":"aaaaaaaa`+"\n\n", n) },
	"escapes":                             func(n int) string { return `{"a":"` + pad(`\`, n) },
	"escaped quotes":                      func(n int) string { return `{"a":"` + pad(`\"`, n) + `"}` },
	"strings with a backslash at the end": func(n int) string { return `{"a":{"b":{"c":[` + pad(`"\\",`, n) + `1]}}}` },
	"quotes":                              func(n int) string { return "{" + pad(`"`, n) },
	"brackets":                            func(n int) string { return pad("[", n) },
	"braces":                              func(n int) string { return pad(`{"a":`, n) },
	"arrays of numbers":                   func(n int) string { return `{"a":{"b":` + pad("[1,[", n) },
	"arrays of numbers and more":          func(n int) string { return `{"a":{"b":[` + pad(`[1,2],[3,"x"],{"y":[4]},`, n) },
	"reports":                             func(n int) string { return "{" + pad(`"usage":{"a":1},"usage":{"b":2},`, n) + "}" },
	"reports that shrink":                 func(n int) string { return "{" + pad(`"usage":{"a":2},"usage":{"a":1},`, n) + "}" },
	"reports in events": func(n int) string {
		return pad(`data: {"usage":{"a":2}}`+"\n\n"+`data: {"usage":{"a":1,"b":3}}`+"\n\n", n)
	},
	"a report of numbers": func(n int) string { return `{"usage":{` + pad(`"a":1,`, n) + `"b":2}}` },
	"two long reports that differ late": func(n int) string {
		return `{"usage":{` + pad(`"a":1,`, n) + `"b":2},"usage":{` + pad(`"a":1,`, n) + `"b":3}}`
	},
	"a report that is one number": func(n int) string { return `{"usage":{"a":` + pad("1", n) + `},"usage":{"a":` + pad("2", n) + `}}` },
	"a report of long texts":      func(n int) string { return `{"usage":{` + pad(`"a":"`+pad("x", 200)+`",`, n) + `"b":2}}` },
	"a report of quotes":          func(n int) string { return `{"usage":{"a":"` + pad(`\\\"`, n) + `"}}` },
	"a report of arrays":          func(n int) string { return `{"usage":{"iterations":[` + pad(`{"a":[[1]]},`, n) + `1]}}` },
	"a deep report":               func(n int) string { return `{"usage":{"a":` + pad(`{"b":[`, n) },
	"choices":                     func(n int) string { return `data: {"choices":[` + pad(`{"finish_reason":"x"},`, n) + "1]}\n\n" },
	"choices in events":           func(n int) string { return pad(`data: {"choices":[{"index":1,"finish_reason":"x"}]}`+"\n\n", n) },
	"items":                       func(n int) string { return `{"output":[` + pad(`{"id":"a"},{"id":"b"},`, n) + "1]}" },
	"deltas":                      func(n int) string { return pad(`data: {"delta":{"content":"x"},"delta":"\\`+"\n\n", n) },
	"blanks before a delta":       func(n int) string { return `data: {"delta":` + pad(" ", n) + `"delta":` + pad(" ", n) + "1}\n\n" },
	"a deep delta":                func(n int) string { return `data: {"delta":` + pad(`{"a":[`, n) + "\n\n" },
	"deltas of quotes":            func(n int) string { return "data: {" + pad(`"delta":"\"`, n) + "\n\n" },
	"texts":                       func(n int) string { return "data: {" + pad(`"text":{"a":["b"`, n) + "\n\n" },
	"items that came": func(n int) string {
		return pad(`data: {"type":"response.output_item.done","item":{"a":"b"}}`+"\n\n", n)
	},
	"documents": func(n int) string { return pad(`{"id":"a","usage":{"a":1}}`+"\n", n) },
}

func pad(s string, n int) string { return strings.Repeat(s, 1+n/len(s)) }

// No answer costs more than linear time, however it is cut: twice the answer is
// at most some twice the work, and the work is at most so many steps a byte.
func TestNoAnswerCostsMoreThanLinearTime(t *testing.T) {
	skipLong(t)
	for name, answer := range growing {
		for _, strip := range []bool{false, true} {
			for size, n := range map[int]int{1: 500, 97: 2000, 1 << 30: 6000} {
				work := func(body string) int64 {
					var w worker
					v := newVMWith(t, w.count)
					v.seen(strip, chop(body, size)...)
					return w.steps
				}
				one, two := work(answer(n)), work(answer(2*n))
				bytes := int64(len(answer(2 * n)))
				if two > one*5/2+2000 || two > 300*bytes {
					t.Errorf("%s by %d, strip %v: %d steps, twice as much %d: %d a byte", name, size, strip, one, two, two/bytes)
				}
			}
		}
	}
}

// The matcher that counts is Lua's: it shows the square that a pattern with two
// repetitions in a row makes of a run of blanks.
func TestTheMatcherSeesASquare(t *testing.T) {
	steps := func(n int) int64 {
		m := matcher{s: strings.Repeat(" ", n), p: `^%s*(.*%S)`}
		if from, _ := m.search(0); from >= 0 {
			t.Fatal("matched")
		}
		return m.steps
	}
	if one, two := steps(500), steps(1000); two < one*3 {
		t.Errorf("%d steps, then %d", one, two)
	}
	for _, tt := range []struct{ s, p, want string }{
		{"12 3 4:x", `^(%d+) (%d+) (%d+):`, "12|3|4"}, {`{"type": "a.b"`, `^{"type": ?("[%w_.]+")`, `"a.b"`}, {" x", "%S", "x"}, {"a1.5e3,", "%d[%d.eE+-]*", "1.5e3"},
		{"[ ]", "^[%[{]%s*[%]}]$", "[ ]"}, {"a]", `["%[%]{}]`, "]"}, {"a:b", `[,:"%[%]{}%s]`, ":"}, {"\t \nx", "[^ \t\r\n]", "x"}, {"abc", "^x", ""},
	} {
		m := matcher{s: tt.s, p: tt.p}
		from, to := m.search(0)
		got := ""
		if from >= 0 {
			got = tt.s[from:to]
		}
		for i, c := range m.captures {
			if got = got + "|" + tt.s[c[0]:c[1]]; i == 0 {
				got = tt.s[c[0]:c[1]]
			}
		}
		if got != tt.want {
			t.Errorf("%q in %q: %q, want %q", tt.p, tt.s, fmt.Sprint(got), tt.want)
		}
	}
}
