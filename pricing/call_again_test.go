package pricing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"aigateway/budget"
	"aigateway/internal/agentbody"
)

// A body whose beginning is remembered is understood as any other, however it goes
// on, and whatever it is wrong with it.

// turnsOf are messages of an endpoint, some of them odd or wrong.
var turnsOf = map[Endpoint][]string{
	Chat: {
		`{"role":"user","content":"hello"}`, `{"role":"user","content":"é \u00e9 \\ufdfa \"x\""}`, `{ "role" : "assistant" , "content" : null }`, `{}`,
		`{"role":"assistant","content":"a","tool_calls":[{"id":"1","type":"function","function":{"name":"a_rather_long_name_of_a_tool_that_was_called","arguments":"{\"a\":[1,2e9,\"é<\"]}"}}]}`,
		`{"role":"tool","tool_call_id":"1","content":"line\nline\n"}`, `{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]}`,
		`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ","detail":"high"}}]}`,
		`{"role":"user","content":[{"type":"image_url","image_url":"https://a"}]}`, `{"role":"cache","content":"x"}`, `{"role":"user","content":[{"type":"video"}]}`,
		`{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}`, `{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}`,
		`{"role":"system","content":"x","tools":[{"type":"function","function":{"name":"f"}},{"type":"web_search"}]}`, `{"Role":"user"}`, `{"role":"user","role":"user"}`, `[]`, `"x"`,
		`{"role":"user","content":"` + "\xff" + `"}`, `{"role":"user","content":7}`, `{"role":"user","x":{"prompt_cache_breakpoint":1}}`,
	},
	Messages: {
		`{"role":"user","content":"hello"}`, `{"role":"user","content":[{"type":"text","text":"é","cache_control":{"type":"ephemeral"}}]}`, `{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":[1,2e9]}}]}`,
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"tool_reference","tool_name":"f"}]}]}`,
		`{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}`, `{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}]}`,
		`{"role":"user","content":[{"type":"tool_addition","tool":{"definition":{"name":"g","input_schema":{}}}}]}`, `{"role":"user","tools":[{"type":"bash_20250124","name":"bash"}]}`, `{"role":"user","content":[{}]}`, `{"content":"\ud83d"}`,
	},
	Responses: {
		`{"role":"user","content":"hello"}`, `{"type":"message","role":"assistant","id":"msg_1","content":[{"type":"output_text","text":"é"}]}`, `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"` + strings.Repeat("x", 70) + `"}`,
		`{"type":"reasoning","id":"rs_2","summary":[]}`, `{"type":"item_reference","id":"x"}`, `{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1e9}"}`, `{"type":"function_call_output","call_id":"c","output":"text"}`,
		`{"type":"image_generation_call","id":"ig","result":"` + strings.Repeat("A", 80) + `"}`, `{"role":"user","content":[{"type":"input_image","image_url":"https://a","detail":"low"},{"type":"input_file","file_data":"data:application/pdf;base64,AAAA"}]}`,
		`{"type":"tool_search_output","tools":[{"type":"web_search"}]}`, `{"id":"x"}`, `{"type":"compaction","encrypted_content":"x"}`,
	},
}

var membersOf = []string{
	`"model":"a/b"`, `"max_tokens":100`, `"stream":true`, `"stop":["a","b"]`, `"m\u006fdel":"c/d"`, `"x":{"a":[{"b":"é"}]}`, `"stream_options":{"include_usage":false}`, `"temperature":0.5`, `"max_output_tokens":9`,
	`"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]`, `"tools":[{"name":"f","input_schema":{"a":1}}]`, `"tools":[{"type":"web_search"}]`, `"instructions":"be brief"`,
	`"instructions":[{"role":"user","content":"x"}]`, `"service_tier":"flex"`, `"n":2`, `"Max_Tokens":7`, `"previous_response_id":"resp_1"`, `"response_format":{"type":"json_schema","json_schema":{"schema":{"a":{}}}}`, `"messages":null`, `"thinking":{}`, `"cache_control":{}`,
}

var toolsOf = []string{
	membersOf[9], membersOf[10],
	`"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"é":{"description":"a <b>","enum":[1e9]}}}},{"type":"custom","name":"g"}]`,
	`"tools": [ {"name":"f","description":"\ufdfa","input_schema":{"properties":{}}} , {"name":"g","tools":[{"name":"h"}]} ]`,
	`"tools":[{"type":"function","function":{"name":"f"},"cache_control":{"type":"ephemeral","ttl":"1h"}}]`, `"tools":[{"type":"web_search"},{"type":"function","function":{"name":"f"}}]`, `"tools":[]`, `"tools":[7]`, `"tools":null`,
}

// talk is a body in the making.
type talk struct {
	e             Endpoint
	before, after []string
	turns         []string
}

func (c *talk) body(r *rand.Rand) []byte {
	name := map[Endpoint]string{Chat: "messages", Messages: "messages", Responses: "input"}[c.e]
	blank := []string{"", "", "", " ", "\n\t"}[r.IntN(5)]
	list := `"` + name + `":` + blank + `[` + strings.Join(c.turns, ","+blank) + blank + `]`
	return []byte(`{` + strings.Join(slices.Concat(c.before, []string{list}, c.after), ",") + `}`)
}

// odd is one of the first few of a list mostly.
func odd(r *rand.Rand, list []string) string {
	if r.IntN(16) > 0 {
		return list[r.IntN(min(len(list), 6))]
	}
	return list[r.IntN(len(list))]
}

// change is what an agent does between two calls, or somebody who is none.
func (c *talk) change(r *rand.Rand) {
	for range 1 + r.IntN(3) {
		switch r.IntN(8) {
		case 0, 1, 2, 3:
			c.turns = append(c.turns, odd(r, turnsOf[c.e]))
		case 4:
			if len(c.turns) > 0 {
				c.turns = slices.Clone(c.turns)
				c.turns[len(c.turns)-1-r.IntN(min(3, len(c.turns)))] = odd(r, turnsOf[c.e])
			}
		case 5:
			c.turns = c.turns[:r.IntN(len(c.turns)+1)]
		case 6:
			c.after = append(slices.Clone(c.after), odd(r, membersOf))
		case 7:
			c.after = c.after[:r.IntN(len(c.after)+1)]
		}
	}
}

func newTalk(r *rand.Rand) *talk {
	c := &talk{e: []Endpoint{Chat, Messages, Responses}[r.IntN(3)], before: []string{`"model":"a/b"`, `"max_tokens":9`}[:r.IntN(3)]}
	if r.IntN(2) == 0 {
		c.after = []string{odd(r, toolsOf)}
	} else if r.IntN(2) == 0 {
		c.before = append(slices.Clone(c.before), odd(r, toolsOf))
	}
	for range r.IntN(12) {
		c.turns = append(c.turns, odd(r, turnsOf[c.e]))
	}
	if r.IntN(20) == 0 { // more names than are compared one by one
		for i := range 40 {
			c.before = append(c.before, fmt.Sprintf(`"x%d":%d`, i, i))
		}
	}
	return c
}

// agreesWithout parses body with what m remembers, and without, and reports whether
// how it begins was known, and its tools.
func agreesWithout(t *testing.T, m *Memory, owner string, e Endpoint, body []byte) (known, tools bool) {
	t.Helper()
	known = len(body) >= m.least && m.find(m.tags(owner, e, body)[1:]...) != nil
	lent := slices.Clone(body)
	got, err := parseCall(t.Context(), e, lent, m, owner)
	want, wantErr := ParseCall(e, slices.Clone(body))
	if !reflect.DeepEqual(err, wantErr) && fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("error %v, want %v, of %s %s", err, wantErr, e, body)
	}
	tools = forgetTools(t, got)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v\nwant\n%+v\nof %s %s", got, want, e, body)
	}
	for i := range lent { // is somebody else's from here on
		lent[i] = '"'
	}
	return known, tools
}

// forgetTools forgets what c knows of its tools, which must be what would be found,
// and reports whether that was something.
func forgetTools(t *testing.T, c *Call) (known bool) {
	if c == nil {
		return false
	}
	reprinted := c.reprinted()
	for i := range c.toolTexts {
		known = known || c.toolTexts[i].known
		c.toolTexts[i] = toolText{span: c.toolTexts[i].span}
	}
	if n := c.reprinted(); reprinted != n {
		t.Fatalf("tools are reprinted in %d bytes, want %d", reprinted, n)
	}
	return known
}

func newMemory(t *testing.T, most int64) *Memory {
	t.Helper()
	m, err := NewMemory(most)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tight is a Memory that looks at every few bytes.
func tight(t *testing.T, most int64, block int) *Memory {
	m := newMemory(t, most)
	m.least, m.block, m.head = 0, block, 2+block%10
	return m
}

func talkAbout(t *testing.T, r *rand.Rand) (known, tools int) {
	t.Helper()
	m := tight(t, []int64{1 << 40, 30_000}[r.IntN(2)], 1+r.IntN(60))
	talks := []*talk{newTalk(r), newTalk(r)}
	for range 12 {
		c := talks[r.IntN(len(talks))]
		if r.IntN(6) == 0 {
			fork := *c
			talks = append(talks, &fork)
		}
		c.change(r)
		body := c.body(r)
		switch r.IntN(20) {
		case 0:
			body = body[:r.IntN(len(body)+1)]
		case 1:
			body[r.IntN(len(body))] ^= byte(1 << r.IntN(8))
		case 2:
			body = append(body, " x"[r.IntN(2)])
		}
		owner := []string{"a", "a", "a", "b"}[r.IntN(4)]
		begins, brings := agreesWithout(t, m, owner, c.e, body)
		if begins {
			known++
		}
		if brings {
			tools++
		}
		held := int64(0)
		for e := m.recent.Front(); e != nil; e = e.Next() {
			held += rememberedAt(e).size
		}
		if held != m.size || m.size > m.most {
			t.Fatalf("%d bytes are held and %d are counted, of %d", held, m.size, m.most)
		}
	}
	return known, tools
}

func TestReadAgainIsTheSame(t *testing.T) {
	known, tools, seed := 0, 0, uint64(1)
	if s := os.Getenv("SIM_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	for range 1500 {
		k, l := talkAbout(t, r)
		known, tools = known+k, tools+l
	}
	if known < 2500 || tools < 600 {
		t.Errorf("only %d of 18000 bodies began like an earlier one, and %d had its tools", known, tools)
	}
}

func FuzzReadAgain(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":"hi"},{"content":"é"}],"model":"a/b"}`), []byte(`,{"role":"tool"}],"tools":[]}`), uint(60), uint8(4))
	f.Add([]byte(`{"input":[{"role":"user"},{"type":"reasoning","id":"x"}],"model":"a/b"}`), []byte(`,{}]}`), uint(45), uint8(1))
	f.Add([]byte(`{"x":1,"messages":[{"content":[{"type":"text","text":"x"}]}],"max_tokens":1,"model":"a/b"}`), []byte(`]}`), uint(59), uint8(9))
	f.Fuzz(func(t *testing.T, first, rest []byte, cut uint, block uint8) {
		for _, e := range []Endpoint{Chat, Messages, Responses} {
			m := tight(t, 1<<40, 1+int(block))
			second := append(slices.Clone(first[:min(cut, uint(len(first)))]), rest...)
			for _, body := range [][]byte{first, second, first, second} {
				agreesWithout(t, m, "a", e, body)
			}
		}
	})
}

// agentTurns are bodies of an agent whose conversation gets longer.
func agentTurns(n, size int) [][]byte {
	var bodies [][]byte
	for i := range n {
		bodies = append(bodies, agentbody.Chat("a/b", size+i*2000, false))
	}
	return bodies
}

// TestAgentsAreKnown: of a turn only what is new is read, whichever of many
// conversations it is of, and each is kept once.
func TestAgentsAreKnown(t *testing.T) {
	m := newMemory(t, 64<<20)
	for _, owner := range []string{"a", "b"} {
		for i, body := range agentTurns(30, 128<<10) {
			if known, tools := agreesWithout(t, m, owner, Chat, body); known != (i > 0) || tools != (i > 0) {
				t.Errorf("%s, turn %d: known %t, its tools %t", owner, i, known, tools)
			}
		}
	}
	const most = 2 * (192/8 + 30 + 1)
	if n := m.recent.Len(); n > most {
		t.Errorf("%d marks and lists of tools are kept, want one for each block and turn of two conversations", n)
	}
	if m.size > most*4<<10 {
		t.Errorf("they take %d bytes", m.size)
	}
	// What is not kept is not found.
	for m.recent.Len() > 0 {
		m.forget(m.recent.Back())
	}
	if m.size != 0 || len(m.known) != 0 {
		t.Errorf("%d bytes and %d tags are left of nothing", m.size, len(m.known))
	}
}

// TestMemoryKeepsNoText: of what was said nothing is left, and what else a body has
// may be long.
func TestMemoryKeepsNoText(t *testing.T) {
	const secret = "a secret that nobody may find"
	m := tight(t, 1<<20, 64)
	body := `{"service_tier":"` + strings.Repeat("x", maxMarkBytes) + `","messages":[` + strings.Repeat(`{"role":"user","content":"`+secret+`"},`, 100) + `{}]}`
	for i, b := range []string{body, strings.Replace(body, "xx", "", 3*maxMarkBytes/8)} {
		_, _ = parseCall(t.Context(), Chat, []byte(b), m, "a")
		if n := m.recent.Len(); (n > 0) != (i > 0) {
			t.Errorf("body %d: %d marks", i, n)
		}
	}
	for e := m.recent.Front(); e != nil; e = e.Next() {
		if text := fmt.Sprintf("%+v", *rememberedAt(e).mark); strings.Contains(text, secret) {
			t.Fatalf("%.300s", text)
		}
	}
	for i, names := range []int{longestNames, longestNames - 8} {
		m = tight(t, 1<<20, 64)
		agreesWithout(t, m, "a", Chat, []byte(`{"`+strings.Repeat("n", names)+`":1,"messages":[{"role":"user","content":"`+secret+`"},{"role":"user","content":"`+secret+`"}],"model":"a/b"}`))
		if n := m.recent.Len(); (n > 0) != (i > 0) {
			t.Errorf("names of %d bytes: %d marks", names, n)
		}
	}
}

// TestLongToolsAreNotLearnt: learning a list costs more than reading it, and one that
// is longer than an agent's shall not cost more than it did.
func TestLongToolsAreNotLearnt(t *testing.T) {
	m := newMemory(t, 1<<20)
	for _, size := range []int{longestTools + 1, longestTools} {
		list := `[{"name":"f","description":"` + strings.Repeat("d", size-len(`[{"name":"f","description":""}]`)) + `"}]`
		body := []byte(`{"messages":[],"model":"a/b","max_tokens":1,"tools":` + list + "}")
		for i := range 2 {
			if _, known := agreesWithout(t, m, "a", Messages, body); known != (i > 0 && size == longestTools) {
				t.Errorf("%d bytes, time %d: known %t", size, i, known)
			}
		}
	}
}

// TestToolsThatBeginAlike: a few of them are known side by side.
func TestToolsThatBeginAlike(t *testing.T) {
	m := newMemory(t, 1<<20)
	for i := range 3 * maxToolLists {
		list := fmt.Sprintf(`[{"name":"f","description":"%s%d"}]`, strings.Repeat("d", leastAgain), i%maxToolLists)
		if _, known := agreesWithout(t, m, "a", Messages, []byte(`{"messages":[],"model":"a/b","max_tokens":1,"tools":`+list+"}")); known != (i >= maxToolLists) {
			t.Errorf("time %d: known %t", i, known)
		}
	}
}

// TestCallsAreCopied: a bookmark shares no memory that a parser writes with the calls
// that are read from it. What a new field refers to must be copied, or keep a call
// from being remembered.
func TestCallsAreCopied(t *testing.T) {
	copied := []string{"toolTexts", "images", "audios", "hosted", "named", "references", "stored.names", "stored.ids"}
	refused := []string{"unbounded", "stored.why", "stored.template", "pdf.why", "rank", "pictures", "form"}
	var walk func(at reflect.Type, path string)
	found := make(map[string]bool)
	walk = func(at reflect.Type, path string) {
		for i := range at.NumField() {
			f := at.Field(i)
			switch name := path + f.Name; f.Type.Kind() {
			case reflect.Array:
				walk(f.Type.Elem(), name+".")
			case reflect.Struct:
				walk(f.Type, name+".")
			case reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface, reflect.Func, reflect.Chan:
				found[name] = true
				if name != "body" && !slices.Contains(copied, name) && !slices.Contains(refused, name) {
					t.Errorf("Call.%s is neither copied nor refused", name)
				}
			}
		}
	}
	walk(reflect.TypeFor[Call](), "")
	for _, name := range slices.Concat(copied, refused) {
		if !found[name] {
			t.Errorf("Call has no %s", name)
		}
	}
	full := &Call{toolTexts: make([]toolText, 1), images: make([]image, 1), audios: make([]audio, 1), hosted: make([]hostedTool, 1), named: make([]namedTool, 1), references: make([]string, 1)}
	full.stored.names, full.stored.ids = make([]StoredName, 1), make([]string, 1)
	d := full.copied(nil)
	if !full.copies() || !reflect.DeepEqual(&d, full) {
		t.Error("a call with one of each is not copied")
	}
	if &d.toolTexts[0] == &full.toolTexts[0] || &d.images[0] == &full.images[0] || &d.audios[0] == &full.audios[0] || &d.hosted[0] == &full.hosted[0] ||
		&d.named[0] == &full.named[0] || &d.references[0] == &full.references[0] || &d.stored.names[0] == &full.stored.names[0] || &d.stored.ids[0] == &full.stored.ids[0] {
		t.Error("a copy shares memory")
	}
	for name, c := range map[string]*Call{
		"unbounded": {unbounded: &budget.Error{}}, "stored": {stored: storedInput{why: &budget.Error{}}}, "template": {stored: storedInput{template: &budget.Error{}}}, "pdf": {pdf: pdfs{why: &budget.Error{}}},
		"rank": {rank: &ranking{}}, "pictures": {pictures: &pictures{}}, "form": {form: &formText{}},
		"many lists of tools": {toolTexts: make([]toolText, maxMarked+1)}, "many images": {images: make([]image, maxMarked+1)}, "many recordings": {audios: make([]audio, maxMarked+1)},
		"many hosted tools": {hosted: make([]hostedTool, maxMarked+1)}, "many tools": {named: make([]namedTool, maxMarked+1)}, "many references": {references: make([]string, maxMarked+1)},
		"many names": {stored: storedInput{names: make([]StoredName, maxMarked+1)}}, "many ids": {stored: storedInput{ids: make([]string, maxMarked+1)}},
		"many of two kinds": {images: make([]image, maxMarked), audios: make([]audio, 1)},
	} {
		if c.copies() {
			t.Errorf("a call with %s is copied", name)
		}
	}
}

// TestOnlyConversationsAreTagged: nothing is looked up of a body that is none.
func TestOnlyConversationsAreTagged(t *testing.T) {
	body := []byte(`{"model":"a/b","input":"` + strings.Repeat("x", 1<<20) + `"}`)
	allocations := func(m *Memory) float64 {
		return testing.AllocsPerRun(20, func() {
			if _, err := parseCall(t.Context(), Embeddings, body, m, "a"); err != nil {
				t.Fatal(err)
			}
		})
	}
	if with, without := allocations(newMemory(t, 1<<20)), allocations(nil); with != without {
		t.Errorf("%v allocations with a memory and %v without", with, without)
	}
}

// TestReadAgainConcurrently: callers share what is remembered.
func TestReadAgainConcurrently(t *testing.T) {
	m := newMemory(t, 1<<20)
	bodies := agentTurns(8, 60<<10)
	want := make([]*Call, len(bodies))
	for i, body := range bodies {
		want[i], _ = ParseCall(Chat, body)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for k := range 40 {
				i := (g + k) % len(bodies)
				got, err := parseCall(context.Background(), Chat, slices.Clone(bodies[i]), m, "a")
				forgetTools(t, got)
				if err != nil || !reflect.DeepEqual(got, want[i]) {
					t.Errorf("body %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}
