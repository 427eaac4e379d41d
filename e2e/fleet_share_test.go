package e2e_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/internal/pgtest"
)

// TestThreeGatewaysShare spends a cap with as many calls as it affords, fifty at a time,
// each sent once, of which each may cost twice what it does: three gateways, of which
// one has most of the calls, spend as large a share of it as a single one.
func TestThreeGatewaysShare(t *testing.T) {
	t.Parallel()
	alone := newGateway(t)
	three := newGateways(t, pgtest.Start(t), 3, 30*time.Second)
	var watch []*sampler
	for _, g := range append(gateways{alone}, three...) {
		g.settings["MaxWait"] = 20 * time.Second // a busy machine is no reason to refuse
		g.writeConfig()
		g.startRun()
		watch = append(watch, g.sample(t, 100*time.Millisecond))
	}
	single, together := gateways{alone}.spend(t, "share"), three.spend(t, "share")
	t.Logf("of 100 calls, one gateway admitted %d, three %d", single, together)
	if together < single {
		t.Errorf("of 100 calls that the cap affords, three gateways admitted %d and one %d", together, single)
	}
	for _, w := range watch {
		w.end(t)
	}
	three.settle(time.Minute)
	three.wantAlike(t)
}

// spend makes 100 calls of some $0.03 under a cap of $3, two thirds of them at the
// first gateway and few at the last, and returns how many were answered.
func (all gateways) spend(t *testing.T, tag string) int64 {
	t.Helper()
	all[0].setBudget(tag, 300)
	var next, answered atomic.Int64
	var done sync.WaitGroup
	for range 50 {
		done.Go(func() {
			for i := next.Add(1); i <= 100; i = next.Add(1) {
				g := all[[]int{0, 0, 0, 1, 0, 0, 0, 1, 1, 2}[i%10]%len(all)]
				r := g.chat("fake/m1", tag, fmt.Sprintf("call %d fault:out=2950 header_delay=100ms", i), `,"max_tokens":5900`)
				switch {
				case r.status == http.StatusOK:
					answered.Add(1)
				case r.status != http.StatusPaymentRequired && r.status != http.StatusTooManyRequests:
					t.Errorf("call %d: %d %.300s %v", i, r.status, r.body, r.err)
				}
			}
		})
	}
	done.Wait()
	if calls, nano := all.bill(tag); int64(calls) != answered.Load() || nano > 3_000_000_000 {
		t.Errorf("%d calls billed %d nano-USD, %d answered", calls, nano, answered.Load())
	}
	return answered.Load()
}
