package main

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"aigateway/internal/agentbody"
)

// load is one kind of call that all chains are compared with.
type load struct {
	name  string
	turns []turn
	rate  int // calls a second of the latency runs
}

// turn is a request of a conversation, in two parts: its number goes between them.
type turn struct{ head, rest []byte }

const (
	// turns is how many a conversation has before the next one begins: fewer than
	// an agent's at its size, so a gateway that remembers earlier ones is not flattered.
	turns = 16
	// opening is how an agent's body begins to tell the model what it is.
	opening = "You are a coding agent."
	named   = "You are agent %08d."
)

// begun is how many conversations have.
var begun atomic.Int64

// agents send to one chain what a load is, each the turns of one conversation
// after the other. They are safe for concurrent use.
type agents struct {
	load *load
	mu   sync.Mutex
	idle []*agent
}

type agent struct {
	next   int
	number []byte
}

// send writes the next request of an agent that waits for no answer.
func (a *agents) send(conn net.Conn) (*agent, error) {
	a.mu.Lock()
	one := &agent{}
	if n := len(a.idle); n > 0 {
		one, a.idle = a.idle[n-1], a.idle[:n-1]
	}
	a.mu.Unlock()
	t := a.load.turns[one.next]
	if one.next == 0 {
		one.number = fmt.Appendf(one.number[:0], named, begun.Add(1)%1e8)
	}
	one.next = (one.next + 1) % len(a.load.turns)
	parts := net.Buffers{t.head}
	if t.rest != nil {
		parts = append(parts, one.number, t.rest)
	}
	_, err := parts.WriteTo(conn)
	return one, err
}

// answered says that an agent has its answer.
func (a *agents) answered(one *agent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle = append(a.idle, one)
}

// loads are calls of each size, and one that is answered by a stream.
func loads(o options) ([]load, error) {
	var all []load
	for _, text := range strings.Split(o.sizes, ",") {
		kib, err := strconv.Atoi(text)
		if err != nil || kib < 1 || kib > 8<<10 {
			return nil, fmt.Errorf("-sizes %q: want KiB from 1 to 8192, with commas between", o.sizes)
		}
		// Large calls are rarer, so that no chain is full.
		rate := max(1, o.rate/(1+kib/32))
		all = append(all, load{fmt.Sprintf("%d KiB", kib), conversation(kib << 10), rate})
	}
	if o.chunks > 0 {
		all = append(all, load{fmt.Sprintf("1 KiB, answered by a stream of %d chunks", o.chunks), []turn{{head: request(1<<10, true)}}, max(1, o.rate/8)})
	}
	return all, nil
}

// conversation is what an agent sends until its body has a size: from turn to turn
// it gets longer by a 256th. A small body is the same each time.
func conversation(size int) []turn {
	if size < 32<<10 {
		return []turn{{head: request(size, false)}}
	}
	var all []turn
	for i := range turns {
		head, rest, _ := bytes.Cut(request(size-(turns-1-i)*size/256, false), []byte(opening))
		all = append(all, turn{head, rest})
	}
	return all
}

// request is a chat call of an agent under a tag with a budget.
func request(size int, stream bool) []byte {
	agent := "OpenAI/Python 3.54.0"
	if stream {
		agent = streamAgent
	}
	body := agentbody.Chat("bench/m1", size, stream)
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nX-Aig-Tag: b/7\r\nUser-Agent: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", adminKey, agent, len(body), body)
}
