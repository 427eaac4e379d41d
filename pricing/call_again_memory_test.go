package pricing

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestTagsAreOfPieces: each tag is of the one before and of one block, so all of them
// cost as much as the body is long. Another process has others, and so have another
// owner and another endpoint.
func TestTagsAreOfPieces(t *testing.T) {
	m, other := tight(t, 1<<20, 10), tight(t, 1<<20, 10)
	body := []byte(strings.Repeat("0123456789abcdef", 4))
	tags := m.tags("a", Chat, body)
	if len(tags) != 7 {
		t.Fatalf("%d tags of %d bytes", len(tags), len(body))
	}
	for i := 1; i < len(tags); i++ {
		var want tag
		if m.next(&want, &tags[i-1], body[(i-1)*10:i*10]); tags[i] != want {
			t.Errorf("tag %d is not of its block", i)
		}
	}
	if again := m.tags("a", Chat, body); !slices.Equal(again, tags) {
		t.Error("the same body has other tags")
	}
	for name, others := range map[string][]tag{
		"another process": other.tags("a", Chat, body), "another owner": m.tags("b", Chat, body), "another endpoint": m.tags("a", Messages, body),
		"another beginning": m.tags("a", Chat, append([]byte("x"), body[1:]...))[1:],
	} {
		for i, tag := range others {
			if slices.Contains(tags, tag) {
				t.Errorf("%s has tag %d", name, i)
			}
		}
	}
}

// taking is an entry that takes so many bytes in all.
func taking(t *testing.T, name string, size int64) *remembered {
	t.Helper()
	m := newMemory(t, 1<<40)
	e := &remembered{tag: tag{name[0]}, mark: &bookmark{}}
	m.keep(e)
	e.mark.call.unread = strings.Repeat("x", int(size-e.size))
	return e
}

// TestMemoryForgetsWhatIsNotUsed: what was not used for longest makes room, and an
// entry with no room in all of it none.
func TestMemoryForgetsWhatIsNotUsed(t *testing.T) {
	const size = 8 << 10
	m := newMemory(t, 2*size)
	holds := func(when, want string) {
		t.Helper()
		got := ""
		for e := m.recent.Front(); e != nil; e = e.Next() {
			got += string(rememberedAt(e).tag[:1])
		}
		if got != want || len(m.known) != len(want) || m.Size() != int64(len(want))*size {
			t.Errorf("%s: %s are held, with %d tags and %d bytes, want %s", when, got, len(m.known), m.Size(), want)
		}
	}
	m.keep(taking(t, "a", size))
	m.keep(taking(t, "b", size))
	holds("as many as there is room for", "ba")
	m.keep(taking(t, "a", size))
	holds("one again", "ab")
	if m.find(tag{'x'}, tag{'b'}, tag{'y'}) == nil {
		t.Error("b is not found")
	}
	m.keep(taking(t, "c", size))
	holds("one more", "cb")
	m.keep(taking(t, "d", 2*size+1))
	holds("one that is too large", "cb")
	m.keep(taking(t, "b", 2*size+1))
	if m.find(tag{'b'}) != nil || m.recent.Len() != 1 {
		t.Error("what was in the place of one that is too large is held")
	}
	m = newMemory(t, size)
	m.keep(taking(t, "a", size))
	holds("one that is all", "a")
}

// TestLargeMarksAreNotKept: a mark costs little; a list of tools may be longer.
func TestLargeMarksAreNotKept(t *testing.T) {
	for name, tt := range map[string]struct {
		e    *remembered
		kept int
	}{
		"a mark":             {taking(t, "a", maxMarkBytes), 1},
		"one that is larger": {taking(t, "a", maxMarkBytes+1), 0},
		"tools":              {&remembered{tools: []*tools{{named: make([]namedTool, maxMarkBytes)}}}, 1},
	} {
		m := newMemory(t, 1<<40)
		if m.keep(tt.e); m.recent.Len() != tt.kept {
			t.Errorf("%s of %d bytes: %d are kept", name, tt.e.size, m.recent.Len())
		}
	}
}

// TestSizeIsTrue: what is counted is what is taken, of small entries and large ones.
func TestSizeIsTrue(t *testing.T) {
	heap := func() int64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	const n = 14_000 // a map's table is nearly full
	for name, fill := range map[string]func(e *remembered){
		"tags": func(*remembered) {},
		"marks": func(e *remembered) {
			e.mark = &bookmark{names: [][]byte{[]byte("messages"), make([]byte, 100)}}
			e.mark.call.Model, e.mark.call.references = string(make([]byte, 200)), []string{string(make([]byte, 64)), string(make([]byte, 64))}
		},
		"tools": func(e *remembered) {
			e.tools = []*tools{{named: []namedTool{{name: string(make([]byte, 64))}}}, {named: make([]namedTool, 8)}}
		},
	} {
		m := newMemory(t, 1<<40)
		before := heap()
		for i := range n {
			e := &remembered{tag: tag{byte(i), byte(i >> 8)}}
			fill(e)
			m.keep(e)
		}
		if took := heap() - before; m.Size() < took*3/4 || m.Size() > took*5/4 {
			t.Errorf("%s: %d bytes are counted, %d are taken", name, m.Size(), took)
		}
		runtime.KeepAlive(m)
	}
}

// TestShortTextsAreNotRemembered: shorter bodies, and lists of tools, are read in less
// time than it would save.
func TestShortTextsAreNotRemembered(t *testing.T) {
	for name, tt := range map[string]struct {
		body, list, kept int
	}{
		"a body below the least":  {leastAgain - 1, 0, 0},
		"the least":               {leastAgain, 0, leastAgain / blockAgain},
		"a list below the least":  {leastAgain, toolsHead - 1, leastAgain / blockAgain},
		"a list of the least":     {leastAgain, toolsHead, leastAgain/blockAgain + 1},
		"a list in a short body":  {leastAgain - 1, toolsHead, 0},
		"both with room to spare": {2 * leastAgain, 2 * toolsHead, 2*leastAgain/blockAgain + 1},
	} {
		m := newMemory(t, 1<<20)
		end := `],"model":"a/b","max_tokens":9}`
		if tt.list > 0 {
			end = `],"model":"a/b","max_tokens":9,"tools":[{"name":"` + strings.Repeat("n", tt.list-len(`[{"name":""}]`)) + `"}]}`
		}
		turn := `{"role":"user","content":"` + strings.Repeat("x", 996) + `"},`
		room := tt.body - len(`{"messages":[`) - len(end) - len(`{"role":"user","content":""}`)
		body := `{"messages":[` + strings.Repeat(turn, room/len(turn)) + `{"role":"user","content":"` + strings.Repeat("x", room%len(turn)) + `"}` + end
		if len(body) != tt.body {
			t.Fatalf("%s: a body of %d bytes", name, len(body))
		}
		if agreesWithout(t, m, "a", Messages, []byte(body)); m.recent.Len() != tt.kept {
			t.Errorf("%s: %d marks and lists are kept, want %d", name, m.recent.Len(), tt.kept)
		}
	}
}

// TestMarksAreWhereTheyCan: a message that ends with a block needs none of the next,
// and nobody waits for one that is not read.
func TestMarksAreWhereTheyCan(t *testing.T) {
	const block, turn = 64, `{"role":"user","content":"0123456789012345"}`
	body := func(name, next string) []byte {
		return []byte(`{"` + name + `":1,"messages":[` + turn + next + `],"model":"a/b"}`)
	}
	begins := len(body("", "")) - len(`],"model":"a/b"}`)
	for over := range 3 {
		m := tight(t, 1<<20, block)
		name := strings.Repeat("n", block-1+over-begins%block) // the message ends so many bytes behind the last one of a block
		agreesWithout(t, m, "a", Chat, body(name, ","+turn))
		if known, _ := agreesWithout(t, m, "a", Chat, body(name, " ,"+turn)); known != (over == 1) {
			t.Errorf("it ends %d bytes behind the last one of a block: known %t", over, known)
		}
	}

	for message, marks := range map[string]bool{turn: true, `{"role":"cache","content":"01234567890123456789"}`: false} { // that is unbounded
		m := tight(t, 1<<20, block)
		if agreesWithout(t, m, "a", Chat, body("n", strings.Repeat(","+message, 5))); (m.recent.Len() > 1) != marks {
			t.Errorf("%d marks behind %s", m.recent.Len(), message)
		}
	}

	left, leave := context.WithCancel(t.Context())
	leave()
	for _, m := range []*Memory{nil, newMemory(t, 1<<20)} {
		long := []byte(`{"messages":[{}` + strings.Repeat(",{}", 3*lookUpEvery) + `],"model":"a/b"}`)
		if _, err := parseCall(left, Chat, long, m, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that left: %v", err)
		}
	}
}
