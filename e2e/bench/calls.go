package main

import (
	"fmt"
	"strconv"
	"strings"

	"aigateway/internal/agentbody"
)

// load is one kind of call that all chains are compared with.
type load struct {
	name    string
	request []byte
	rate    int // calls a second of the latency runs
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
		all = append(all, load{fmt.Sprintf("%d KiB", kib), request(kib<<10, false), rate})
	}
	if o.chunks > 0 {
		all = append(all, load{fmt.Sprintf("1 KiB, answered by a stream of %d chunks", o.chunks), request(1<<10, true), max(1, o.rate/8)})
	}
	return all, nil
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
