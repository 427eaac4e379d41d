package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/internal/pgtest"
	"aigateway/internal/tcpproxy"
)

// TestStoreIsSlow puts a store behind a network that takes 0.3 and 1 s for each answer:
// calls that have to ask it wait as long, and none is refused for that.
func TestStoreIsSlow(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t)
	dir := shortDir(t)
	network := tcpproxy.New(t, "unix", filepath.Join(dir, ".s.PGSQL.5432"), db.Socket())
	var all gateways
	for range 2 {
		g := newGateway(t)
		g.shareStore("postgres://admin@/postgres?host="+url.QueryEscape(dir), "single_node", 30*time.Second)
		g.startRun()
		all = append(all, g)
	}
	tags := func(answers time.Duration) (tags [4]string) {
		for i := range tags {
			tags[i] = fmt.Sprintf("slow/%s/%d", answers, i)
		}
		return tags
	}
	delays := []time.Duration{300 * time.Millisecond, time.Second}
	for _, answers := range delays {
		for i, tag := range tags(answers) {
			all[i%2].setBudget(tag, 100)
		}
	}
	for _, answers := range delays {
		network.Delay(answers / 2)
		var longest atomic.Int64
		var done sync.WaitGroup
		for i, tag := range tags(answers) {
			done.Go(func() {
				for n := range 4 { // of $0.03: each gateway has to ask for the first, and for others
					g, begun := all[(i+n)%2], time.Now()
					r := g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", tag, "fault:out=2950", `,"max_tokens":2950`), tagged(tag))
					took := int64(time.Since(begun))
					for now := longest.Load(); took > now && !longest.CompareAndSwap(now, took); now = longest.Load() {
					}
					if r.err != nil || r.status != http.StatusOK {
						t.Errorf("call %d under %s, after %v: %d %.300s %v", n, tag, time.Duration(took), r.status, r.body, r.err)
					}
				}
			})
		}
		done.Wait()
		t.Logf("the store answers after %v: the longest call took %v", answers, time.Duration(longest.Load()).Round(time.Millisecond))
	}
	network.Delay(0)
	all.settle(time.Minute)
	all.wantAlike(t)
}
