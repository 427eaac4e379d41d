package envoy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"aigateway/envoy"
)

// standIn is the part of Envoy's Lua stream handle the filter uses, in Lua: the
// same names and, for what the filter relies on, the same behaviour.
const standIn = `
now = 1764444444000
local every = pairs
function pairs(t) return every(t.map or t) end -- Envoy's pairs takes headers, too
function stand_in(decision, headers, body, pieces)
  local h = { out = {}, pieces = pieces, md = { aig = {} }, headers_map = headers }
  local hdr = {
    map = headers,
    get = function(_, k) return headers[k] end,
    remove = function(_, k) headers[k] = nil end,
    replace = function(_, k, v) headers[k] = v end,
  }
  function h:headers() return hdr end
  local dm = {
    get = function(_, ns) if ns == "envoy.filters.http.ext_authz" then return decision end end,
    set = function(_, ns, k, v) assert(v ~= nil); h.md[ns][k] = v end,
  }
  function h:streamInfo() return { dynamicMetadata = function() return dm end } end
  local function buffer(text)
    local b = { text = text }
    function b:length() return #self.text end
    function b:getBytes(at, n) assert(at >= 0 and at + n <= #self.text); return self.text:sub(at + 1, at + n) end
    function b:setBytes(s) assert(not self.dead, "object used outside of proper scope"); self.text = s end
    return b
  end
  function h:body(always)
    if body == nil and not always then return nil end
    h.buffer = buffer(body or "")
    return h.buffer
  end
  function h:timestamp() now = now + 10; return now end
  function h:bodyChunks()
    local i = 0
    return function()
      if i > 0 and i < #pieces then h.out[i].dead = true end
      i = i + 1
      if i > #pieces then return nil end
      h.out[i] = buffer(pieces[i])
      return h.out[i]
    end
  end
  return h
end
`

// vm is one Lua state with the filter loaded, as one Envoy worker has it.
type vm struct {
	t testing.TB
	l *lua.LState
}

func newVM(t testing.TB) *vm { return newVMWith(t, func(*lua.LState) {}) }

// newVMWith prepares the state before the filter is loaded.
func newVMWith(t testing.TB, prepare func(*lua.LState)) *vm {
	t.Helper()
	if raceDetector {
		t.Skip("the interpreter has one goroutine, which the race detector makes ten times slower; these run without it")
	}
	l := lua.NewState(lua.Options{RegistryMaxSize: 1 << 20}) // for long concatenations
	t.Cleanup(l.Close)
	prepare(l)
	for _, src := range []string{envoy.LuaSource(), standIn} {
		if err := l.DoString(src); err != nil {
			t.Fatalf("load Lua: %v", err)
		}
	}
	return &vm{t: t, l: l}
}

// skipLong skips a test in which the interpreter works for many seconds.
func skipLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("works for many seconds")
	}
}

func (v *vm) table(m map[string]any) *lua.LTable {
	t := v.l.NewTable()
	for k, e := range m {
		switch e := e.(type) {
		case string:
			t.RawSetString(k, lua.LString(e))
		case bool:
			t.RawSetString(k, lua.LBool(e))
		}
	}
	return t
}

// call runs one filter entry point against a stand-in handle.
func (v *vm) call(entry string, decision, headers map[string]any, body *string, pieces []string) (*lua.LTable, error) {
	var d, b lua.LValue = lua.LNil, lua.LNil
	if decision != nil {
		d = v.table(decision)
	}
	if body != nil {
		b = lua.LString(*body)
	}
	if decision["rsv"] != nil && entry == "envoy_on_response" { // a provider's answer
		headers[envoy.HeaderAnswer] = note(decision)
	}
	p := v.l.NewTable()
	for _, s := range pieces {
		p.Append(lua.LString(s))
	}
	err := v.l.CallByParam(lua.P{Fn: v.l.GetGlobal("stand_in"), NRet: 1, Protect: true}, d, v.table(headers), b, p)
	if err != nil {
		v.t.Fatalf("stand-in: %v", err)
	}
	h := v.l.Get(-1).(*lua.LTable)
	v.l.Pop(1)
	return h, v.l.CallByParam(lua.P{Fn: v.l.GetGlobal(entry), NRet: 0, Protect: true}, h)
}

// note is what a provider's cluster puts on its answers.
func note(decision map[string]any) string {
	out := ""
	for _, key := range []string{envoy.KeyStream, envoy.KeyAnthropic} {
		value := "-"
		switch is := decision[key].(type) {
		case bool:
			if is {
				value = "true"
			}
		case string:
			value = is
		}
		out += value + "\t"
	}
	return strings.TrimSuffix(out, "\t")
}

// answer is what the filter made of a response.
type answer struct {
	Pieces []string // what the client gets for each piece of the provider's
	Body   string
	Report map[string]any
	Header map[string]string
}

// respond runs the response path over the pieces of a body.
func (v *vm) respond(contentType string, strip bool, pieces ...string) answer {
	v.t.Helper()
	decision := map[string]any{"rsv": "token"}
	if strip {
		decision[envoy.KeyStream] = true
	}
	h, err := v.call("envoy_on_response", decision, map[string]any{":status": "200", "content-type": contentType}, nil, pieces)
	if err != nil {
		v.t.Fatalf("envoy_on_response: %v", err)
	}
	return v.answer(h)
}

func (v *vm) answer(h *lua.LTable) answer {
	a := answer{Report: map[string]any{}, Header: map[string]string{}}
	h.RawGetString("out").(*lua.LTable).ForEach(func(_, b lua.LValue) {
		a.Pieces = append(a.Pieces, b.(*lua.LTable).RawGetString("text").String())
		a.Body += a.Pieces[len(a.Pieces)-1]
	})
	for i := len(a.Pieces) + 1; i <= h.RawGetString("pieces").(*lua.LTable).Len(); i++ { // nobody looks at the rest
		a.Pieces = append(a.Pieces, h.RawGetString("pieces").(*lua.LTable).RawGetInt(i).String())
		a.Body += a.Pieces[i-1]
	}
	a.Report = asMap(v.reported(h))
	h.RawGetString("headers_map").(*lua.LTable).ForEach(func(k, e lua.LValue) { a.Header[k.String()] = e.String() })
	if b, ok := h.RawGetString("buffer").(*lua.LTable); ok {
		a.Body = b.RawGetString("text").String()
	}
	return a
}

// reported is what the filter wrote into the metadata.
func (v *vm) reported(h *lua.LTable) envoy.Report {
	var r envoy.Report
	if text := h.RawGetString("md").(*lua.LTable).RawGetString("aig").(*lua.LTable).RawGetString("report"); text != lua.LNil {
		if err := r.Read(text.String()); err != nil {
			v.t.Fatalf("report %q: %v", text, err)
		}
	}
	return r
}

// asMap is a report by its members' names, without the empty ones.
func asMap(r envoy.Report) map[string]any {
	m := normal(map[string]any{
		"usage": r.Usage, "first_usage": r.FirstUsage, "model": r.Model, "service_tier": r.ServiceTier, "tool_usage": r.ToolUsage,
		"id": r.AnswerID, "items": strings.Join(r.ItemIDs, " "), "others": strings.Join(r.OtherUsage, " "), "framing": r.Framing,
	})
	for name, is := range map[string]bool{"done": r.Done, "output": r.Output, "many": r.Many, "unread": r.Unread} {
		if is {
			m[name] = true
		}
	}
	if r.Finished != 0 {
		m["finished"] = r.Finished
	}
	if r.UpstreamStatus != 0 {
		m["upstream_status"] = r.UpstreamStatus
	}
	return m
}

// normal is a report as DecodeReport presents it: first_usage filled in, an
// empty usage absent.
func normal(r map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range r {
		if v != "" {
			out[k] = v
		}
	}
	if out["first_usage"] == nil && out["usage"] != nil {
		out["first_usage"] = out["usage"]
	}
	if out["first_usage"] == nil {
		delete(out, "output") // means nothing without a report
	}
	return out
}

// money is the part of a report that decides a charge: what a table of shapes
// says of each. The reference has an opinion on the rest.
func money(r map[string]any) map[string]any {
	r = normal(r)
	maps.DeleteFunc(r, func(k string, _ any) bool {
		return slices.Contains([]string{"id", "items", "output", "framing"}, k)
	})
	return r
}
