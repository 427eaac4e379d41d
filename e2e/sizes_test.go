package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSizes measures what docs/operations.md says of sizing: memory when idle and with
// many tags, file descriptors of a connection, and processor time at 100 calls a second.
// E2E_SIZES is the number of tags (300; the document's are of 100000).
func TestSizes(t *testing.T) {
	tags, seconds := 300, 2
	if text := os.Getenv("E2E_SIZES"); text != "" {
		var err error
		if tags, err = strconv.Atoi(text); err != nil {
			t.Fatalf("E2E_SIZES: %v", err)
		}
		seconds = 20
	} else {
		t.Parallel()
	}
	g := serveGateway(t)
	g.setBudget("**", 100_000_000)
	g.wantMemory("idle", 256)
	g.wantDescriptors(200)

	before, began := g.processorTime(), time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range 100 * seconds {
		<-tick.C
		go g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "size", "fault:out=5", `,"max_tokens":20`), tagged(fmt.Sprint("paced/", i%10)))
	}
	g.settle(time.Minute)
	calls, spent := float64(100*seconds), g.processorTime()-before
	t.Logf("%.0f calls in %v: %v of processor time, %.1f %% of a core for 100 calls/s", calls, time.Since(began), spent, spent.Seconds()/calls*100*100)

	var next atomic.Int64
	marks := []int{1000, 10_000, 100_000}
	load := startLoad(16, func(_, _ int) reply {
		n := next.Add(1)
		if n > int64(tags) {
			pause(10 * time.Millisecond)
			return reply{status: http.StatusOK}
		}
		return g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "size", "fault:out=5", `,"max_tokens":20`), tagged(fmt.Sprint("size/", n)))
	})
	for next.Load() <= int64(tags) {
		pause(100 * time.Millisecond)
		if len(marks) > 0 && next.Load() >= int64(marks[0]) {
			g.wantMemory(fmt.Sprint("with ", marks[0], " tags"), 1024)
			marks = marks[1:]
		}
	}
	load.end(t)
	g.settle(time.Minute)
	g.wantMemory(fmt.Sprint("with ", tags, " tags, each called once"), 1024)
}

// wantMemory is that both processes have less.
func (g *gateway) wantMemory(when string, limit int64) {
	g.t.Helper()
	program, proxy := residentMiB(g.t, g.program.pid()), residentMiB(g.t, g.envoy.pid())
	g.t.Logf("%s: the gateway has %d MiB, of which %d are live in its heap, Envoy %d MiB", when, program, g.heapMiB(), proxy)
	if program > limit || proxy > limit {
		g.t.Errorf("%s: %d and %d MiB, want at most %d", when, program, proxy, limit)
	}
}

// wantDescriptors opens n idle connections: each is one descriptor of Envoy, and none
// of the gateway.
func (g *gateway) wantDescriptors(n int) {
	g.t.Helper()
	count := func(p *process) int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid()))
		if err != nil {
			g.t.Fatal(err)
		}
		return len(all)
	}
	program, proxy := count(g.program), count(g.envoy)
	g.t.Logf("descriptors when idle: the gateway has %d, Envoy %d", program, proxy)
	for range n {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			g.t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(g.t, 10*time.Second, "Envoy has accepted them", func() bool { return count(g.envoy) >= proxy+n })
	if more := count(g.envoy) - proxy; more > n+n/10 {
		g.t.Errorf("%d connections are %d descriptors of Envoy", n, more)
	}
	if more := count(g.program) - program; more > n/10 {
		g.t.Errorf("%d connections are %d descriptors of the gateway", n, more)
	}
}

// processorTime is what both processes have used.
func (g *gateway) processorTime() (total time.Duration) {
	g.t.Helper()
	for _, p := range []*process{g.program, g.envoy} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
		if err != nil {
			g.t.Fatal(err)
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
		for _, f := range fields[12:14] { // utime, stime
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				g.t.Fatal(err)
			}
			total += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return total
}
