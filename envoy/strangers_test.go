package envoy_test

import (
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
		{"an agent's turn", free, "99999", 256 * mib, false},
		{"large", free, "100000", 256 * mib, true},
		{"zeros", free, "000010", 256 * mib, true},
		{"no length", free, "", 256 * mib, true},
		{"two lengths", free, "5, 5", 256 * mib, true},
		{"no number", free, "0x10", 256 * mib, true},
		{"below zero", free, "-1", 256 * mib, true},
		{"a fraction", free, "1.5", 256 * mib, true},
		{"memory taken", "90000 60000 20000", "10", 256 * mib, true},
		{"taken by files", "90000 60000 60000", "10", 256 * mib, false},
		{"no limit known", free, "9999", 0, false},
		{"no limit known, larger", free, "10000", 0, true},
		{"no /proc", "", "9999", 256 * mib, false},
		{"no /proc, larger", "", "10000", 256 * mib, true},
		{"an odd /proc", "12", "10000", 256 * mib, true},
	} {
		if got := newKeyFirst(t, tc.memory, 1, tc.statm).match(tc.length); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

// TestKeyFirstCountsPromises: what was announced without a key counts until its
// time is over, for every worker, and is never more than half of the memory.
func TestKeyFirstCountsPromises(t *testing.T) {
	const memory = 64 << 20
	for workers, want := range map[int]int{1: 335, 4: 83} {
		k := newKeyFirst(t, memory, workers, free)
		admitted := func() (n int) {
			for range 2000 {
				if !k.match("99999") {
					n++
				}
			}
			return n
		}
		if got := admitted(); got != want {
			t.Errorf("%d workers: %d bodies, want %d", workers, got, want)
		}
		k.run("now = now + 60")
		if got := admitted(); got != 0 {
			t.Errorf("%d workers: %d more before the first must have come", workers, got)
		}
		k.run("now = now + 60")
		if got := admitted(); got != want {
			t.Errorf("%d workers: %d bodies when the first are over, want %d", workers, got, want)
		}
		k.run("now = now - 1000") // a clock that is set back says nothing of the time
		if got := admitted(); got != 0 {
			t.Errorf("%d workers: %d bodies when the clock was set back", workers, got)
		}
		k.run("now = now + 120")
		if got := admitted(); got != want {
			t.Errorf("%d workers: %d bodies two minutes later, want %d", workers, got, want)
		}
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
