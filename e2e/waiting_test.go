package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCallsWaitForRoom sends many affordable calls at once at a cap that holds a
// few bounds: they wait for each other instead of being refused, a client that
// leaves meanwhile costs nothing, and the cap holds at every instant.
func TestCallsWaitForRoom(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.settings["MaxWait"] = time.Minute
	g.writeConfig()
	g.startRun()
	g.setBudget("wait", 10)
	watch := g.sample(t, 20*time.Millisecond)
	open := make(chan struct{})
	g.doors["fake"].hold(open)

	var mu sync.Mutex
	var waited, answered int
	var all sync.WaitGroup
	const calls = 40
	for i := range calls {
		all.Go(func() {
			r := g.chat("fake/m1", "wait", fmt.Sprintf("call %03d", i), `,"max_tokens":50`)
			mu.Lock()
			defer mu.Unlock()
			if answered++; r.status != http.StatusOK {
				t.Errorf("%d %s %v", r.status, r.body, r.err)
			}
			if r.header.Get("X-Aig-Waited-Ms") != "" {
				waited++
			}
		})
	}
	eventually(t, time.Minute, "those without room wait", func() bool {
		running := g.doors["fake"].came("wait")
		return running > 0 && running+g.metric("aig_reservations_waiting") == calls
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		g.leaves(ctx)
	}()
	eventually(t, time.Minute, "one more waits", func() bool {
		return g.doors["fake"].came("wait")+g.metric("aig_reservations_waiting") == calls+1
	})
	leave()
	<-left
	close(open)
	all.Wait()
	if waited == 0 || waited == calls {
		t.Errorf("%d of %d say that they waited", waited, calls)
	}
	g.settle(time.Minute)
	watch.end(t)
	g.wantBooksEqual(t)
	if n := int(g.provider["fake"].Bill().Calls); n != calls {
		t.Errorf("the provider served %d calls, want %d", n, calls)
	}
}

// leaves makes a call that ends with the context, before its answer.
func (g *gateway) leaves(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(`{"model":"fake/m1","max_tokens":50,"messages":[{"role":"user","content":"bye"}]}`))
	if err != nil {
		g.t.Error(err)
		return
	}
	r.Header = tagged("wait")
	r.Header.Set("Authorization", "Bearer "+adminKey)
	r.Header.Set("Content-Type", "application/json")
	if answer, err := http.DefaultClient.Do(r); err == nil {
		answer.Body.Close()
		g.t.Errorf("a client that leaves got %s", answer.Status)
	}
}
