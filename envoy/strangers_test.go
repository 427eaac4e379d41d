package envoy_test

import (
	"fmt"
	"testing"

	matchluav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/string_matcher/lua/v3"
	lua "github.com/yuin/gopher-lua"

	"aigateway/envoy"
)

// keyFirst is the matcher's script, run with a memory of its own making.
type keyFirst struct {
	*lua.LState
	t *testing.T
}

// newKeyFirst loads it with what /proc/self/statm says, and a clock to set.
func newKeyFirst(t *testing.T, memory int64, workers int, statm string) keyFirst {
	t.Helper()
	k := keyFirst{lua.NewState(), t}
	t.Cleanup(k.Close)
	k.SetGlobal("statm", lua.LString(statm))
	k.run(`looks, now = 0, 1000000
os.time = function() return now end
io.open = function(path)
  assert(path == "/proc/self/statm")
  if statm == "" then return nil end
  local at, buffer
  local buffered = true
  return {
    setvbuf = function(self, mode) buffered = mode ~= "no" end,
    seek = function(self, from, offset) assert(from == "set"); at = offset end,
    read = function(self, n)
      assert(at == 0 and n >= #statm)
      at, looks = nil, looks + 1
      if not (buffered and buffer) then buffer = statm end -- C's seek keeps what was read
      return buffer
    end,
  }
end`)
	k.run(keyFirstScript(t, memory, workers, "content-length"))
	return k
}

// keyFirstScript is the script that tests a header.
func keyFirstScript(t *testing.T, memory int64, workers int, header string) string {
	t.Helper()
	matchers, err := envoy.KeyFirst(memory, workers, []string{"/v1/chat/completions", "/v2/rerank"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range matchers {
		if m.GetName() == header {
			var config matchluav3.Lua
			if err := m.GetStringMatch().GetCustom().GetTypedConfig().UnmarshalTo(&config); err != nil {
				t.Fatal(err)
			}
			return config.GetSourceCode().GetInlineString()
		}
	}
	t.Fatalf("nothing tests %s", header)
	return ""
}

// TestKeyFirstPaths: it is for the APIs only, at the paths of their routes.
func TestKeyFirstPaths(t *testing.T) {
	k := keyFirst{lua.NewState(), t}
	t.Cleanup(k.Close)
	k.run(keyFirstScript(t, 0, 1, ":path"))
	for path, want := range map[string]bool{
		"/v1/chat/completions": true, "/v1/chat/completions/": true, "/v1/chat/completions?a=/?b": true, "/v1/chat/completions/?": true, "/v2/rerank": true,
		"/v1/chat/completions//": false, "/v1/chat": false, "/v1/chat/completionsx": false, "/v1/budgets": false, "/": false, "": false, "?": false, "*": false,
		"/?/v1/chat/completions": false, "/v1/rerank": false,
	} {
		if got := k.match(path); got != want {
			t.Errorf("%q: %t, want %t", path, got, want)
		}
	}
}

func (k keyFirst) run(script string) {
	k.t.Helper()
	if err := k.DoString(script); err != nil {
		k.t.Fatal(err)
	}
}

func (k keyFirst) match(length string) bool {
	k.t.Helper()
	if err := k.CallByParam(lua.P{Fn: k.GetGlobal("envoy_match"), NRet: 1, Protect: true}, lua.LString(length)); err != nil {
		k.t.Fatal(err)
	}
	defer k.Pop(1)
	return lua.LVAsBool(k.Get(-1))
}

// free is a process that has nothing of its own.
const free = "90000 20000 20000 1 0 1 0"

// TestKeyFirst: while memory is free only what is large, or may be, shows its
// key first; else everything does.
func TestKeyFirst(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		name, statm, length string
		memory              int64
		want                bool
	}{
		{"small", free, "1024", 256 * mib, false},
		{"empty", free, "0", 256 * mib, false},
		{"an agent's turn", free, "999999", 256 * mib, false},
		{"large", free, "1000000", 256 * mib, true},
		{"zeros", free, "0000010", 256 * mib, true},
		{"no length", free, "", 256 * mib, true},
		{"two lengths", free, "5, 5", 256 * mib, true},
		{"no number", free, "0x10", 256 * mib, true},
		{"below zero", free, "-1", 256 * mib, true},
		{"a fraction", free, "1.5", 256 * mib, true},
		{"memory taken", "90000 60000 20000", "10", 256 * mib, true},
		{"taken by files", "90000 60000 60000", "10", 256 * mib, false},
		{"no limit known", free, "9999", 0, false},
		{"no limit known, larger", free, "10000", 0, true},
		{"no limit known, an agent's turn", free, "100000", 0, true},
		{"no /proc", "", "9999", 256 * mib, false},
		{"no /proc, larger", "", "10000", 256 * mib, true},
		{"no /proc, an agent's turn", "", "100000", 256 * mib, true},
		{"an odd /proc", "12", "10000", 256 * mib, true},
	} {
		if got := newKeyFirst(t, tc.memory, 1, tc.statm).match(tc.length); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

// admitted is how many bodies of a length come without a question.
func (k keyFirst) admitted(length string) (n int) {
	k.t.Helper()
	for range 2000 {
		if !k.match(length) {
			n++
		}
	}
	return n
}

// TestKeyFirstCountsPromises: what was announced without a key counts until its
// time is over and no longer than ten seconds more, for every worker, and is never
// more than half of the memory.
func TestKeyFirstCountsPromises(t *testing.T) {
	const memory = 64 << 20
	for workers, want := range map[int]int{1: 335, 4: 83} {
		for _, second := range []int{0, 9} {
			k := newKeyFirst(t, memory, workers, free)
			k.run(fmt.Sprintf("now = now + %d", second))
			steps := []struct {
				clock string
				want  int
			}{
				{"", want}, {"now = now + 60", 0}, {"now = now + 10", want},
				{"now = now - 1000", 0}, // a clock that is set back says nothing of the time
				{"now = now + 60", 0}, {"now = now + 10", want},
			}
			for i, step := range steps {
				k.run(step.clock)
				if got := k.admitted("99999"); got != step.want {
					t.Errorf("%d workers, from second %d, step %d: %d bodies, want %d", workers, second, i, got, step.want)
				}
			}
		}
	}
}

// TestKeyFirstLargeLeaveHalf: large bodies leave half of what is free to small
// ones, whoever comes first.
func TestKeyFirstLargeLeaveHalf(t *testing.T) {
	k := newKeyFirst(t, 64<<20, 1, free)
	if got := k.admitted("999999"); got != 16 {
		t.Errorf("%d large bodies, want 16 MB of 32", got)
	}
	if got := k.admitted("9999"); got != 1755 {
		t.Errorf("%d small bodies beside them, want 17.5 MB", got)
	}
	k.run("now = now + 70")
	if got := k.admitted("9999"); got != 2000 {
		t.Errorf("%d small bodies, want all: 20 MB", got)
	}
	if got := k.admitted("100000"); got != 0 {
		t.Errorf("%d large bodies beside them, want none", got)
	}
}

// TestKeyFirstSeldomLooks: short calls do not pay for a look each.
func TestKeyFirstSeldomLooks(t *testing.T) {
	k := newKeyFirst(t, 1<<30, 1, free)
	for range 1000 {
		k.match("1024")
	}
	k.run("assert(looks >= 50 and looks <= 100, looks)")
	k.run(`statm = "900000 500000 20000"`)
	for range 16 {
		k.match("1024")
	}
	if !k.match("1024") {
		t.Error("a process of 2 GB is not noticed within 16 calls")
	}
}
