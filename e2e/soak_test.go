package e2e_test

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestSoak kills either part at random, against tight caps, for five seconds,
// or for as long as E2E_SOAK says ("10m").
func TestSoak(t *testing.T) {
	t.Parallel()
	length := 5 * time.Second
	if text := os.Getenv("E2E_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("E2E_SOAK: %v", err)
		}
	}
	g := serveGateway(t)
	g.setBudget("load/0", 2)
	g.setBudget("load/1", 10)
	g.setBudget("load/2", 40)
	g.setBudget("load/3", 100)
	g.setBudget("load/**", 140)
	watch := g.sample(t, 30*time.Millisecond)
	clients := startLoad(16, g.mixed)
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for end := time.Now().Add(length); time.Now().Before(end); {
		pause(time.Duration(rnd.IntN(600)) * time.Millisecond)
		switch rnd.IntN(6) {
		case 0:
			g.envoy.kill()
			g.startEnvoy()
		case 1:
			g.envoy.signal(syscall.SIGTERM)
			<-g.envoy.done
			g.startEnvoy()
		default:
			g.program.kill()
			g.startServe()
		}
	}
	g.waitReady()
	wantOnly(t, clients.end(t), "200", "402", "503", "cut", "truncated")
	g.settle(afterDeadline)
	g.wantNothingHeld(t)
	watch.end(t)
	g.wantBooksCover(t)
}
