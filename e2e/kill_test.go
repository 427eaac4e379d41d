package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// mixed is the load of the tests that kill: plain calls and streams, long and
// short, under tags of which the first has hardly any budget.
func (g *gateway) mixed(worker, i int) reply {
	tag := fmt.Sprintf("load/%d", (worker+i)%4)
	rnd := rand.New(rand.NewPCG(uint64(worker), uint64(i)))
	text := fmt.Sprintf("call %d of %d fault:out=%d delay=%dms", i, worker, 1+rnd.IntN(30), 1+rnd.IntN(10))
	more := fmt.Sprintf(`,"max_tokens":%d`, 30+rnd.IntN(200))
	if rnd.IntN(2) == 0 {
		more += `,"stream":true`
	}
	return g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", tag, text, more), tagged(tag))
}

func (g *gateway) mixedBudgets() {
	g.t.Helper()
	g.setBudget("load/0", 2)
	for _, tag := range []string{"load/1", "load/2", "load/3", "load/**"} {
		g.setBudget(tag, 100_000)
	}
}

// afterDeadline is when every reservation has to be gone: the configured
// timeout of one minute, counted anew from a restart, and some slack.
const afterDeadline = 90 * time.Second

// wantExact: nothing was lost, doubled or left behind, and no cap was passed.
func (g *gateway) wantExact(t *testing.T, watch *sampler) {
	t.Helper()
	g.settle(30 * time.Second)
	g.wantBooksEqual(t)
	g.wantNothingHeld(t)
	watch.end(t)
	g.wantBooksCover(t)
	g.wantBudgetsEqual(t)
}

// TestControlPlaneKilled kills the control plane ten times under load. Envoy
// lives on and its file has every call, so nothing may be lost or doubled, and
// no kill may leave anything behind in a budget.
func TestControlPlaneKilled(t *testing.T) {
	t.Parallel()
	g := serveGateway(t)
	g.mixedBudgets()
	watch := g.sample(t, 50*time.Millisecond)
	clients := startLoad(8, g.mixed)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		pause(time.Duration(200+rnd.IntN(300)) * time.Millisecond)
		before := clients.answered()
		eventually(t, time.Minute, "calls are answered", func() bool { return clients.answered() >= before+10 })
		g.program.kill()
		g.startServe()
	}
	g.waitReady()
	pause(500 * time.Millisecond)
	counts := clients.end(t)
	wantOnly(t, counts, "200", "402", "503")
	if counts["402"] == 0 {
		t.Errorf("%v: want answers, and refusals under the tag with hardly any budget", counts)
	}
	g.wantExact(t, watch)
}

// TestControlPlaneDiesInCommits lets the control plane die under load at each
// numbered step of the ledger's sync, thirty times each, or as often as E2E_KILLS
// says in all.
func TestControlPlaneDiesInCommits(t *testing.T) {
	t.Parallel()
	const steps = 5 // taken, begun, written, committed, applied
	kills := 150
	if text := os.Getenv("E2E_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("E2E_KILLS: %v", err)
		}
	}
	g := serveGateway(t)
	g.mixedBudgets()
	watch := g.sample(t, 50*time.Millisecond)
	clients := startLoad(8, g.mixed)
	rnd := rand.New(rand.NewPCG(3, 4))
	g.program.kill()
	for i := range kills {
		g.program = startProcess(t, g.dir, "serve", []string{fmt.Sprintf("AIG_DIE_AT=%d:%d", 1+i%steps, 1+rnd.IntN(20))}, binary, "serve", "--config", g.config)
		g.program.wanted.Store(true)
		select {
		case <-g.program.done:
		case <-time.After(time.Minute):
			t.Fatal("the control plane did not die in a minute of commits")
		}
		if status, ok := g.program.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("the control plane ended by itself: %v\n%s", g.program.cmd.ProcessState, g.program.tail(20))
		}
	}
	g.startServe()
	g.waitReady()
	counts := clients.end(t)
	wantOnly(t, counts, "200", "402", "503")
	if counts["200"] == 0 {
		t.Errorf("%v: want answers between the deaths", counts)
	}
	g.wantExact(t, watch)
}

// TestEnvoyKilled kills Envoy three times under load: the calls in flight
// leave no trace but their reservations.
func TestEnvoyKilled(t *testing.T) {
	t.Parallel()
	g := serveGateway(t)
	g.mixedBudgets()
	watch := g.sample(t, 50*time.Millisecond)
	clients := startLoad(8, g.mixed)
	for range 3 {
		pause(700 * time.Millisecond)
		g.envoy.kill()
		g.startEnvoy()
		g.waitReady()
	}
	pause(500 * time.Millisecond)
	wantOnly(t, clients.end(t), "200", "402", "503", "cut", "truncated")
	g.settle(afterDeadline)
	g.wantNothingHeld(t)
	watch.end(t)
	if n := watch.missed.Load(); n > 0 {
		t.Errorf("%d reads of the budgets failed while only Envoy was killed", n)
	}
	g.wantBooksCover(t)
}

// TestEnvoyTerminated sends Envoy SIGTERM under load: it writes what it knows
// to its file before it goes, also of the calls it cuts.
func TestEnvoyTerminated(t *testing.T) {
	t.Parallel()
	g := serveGateway(t)
	g.mixedBudgets()
	watch := g.sample(t, 50*time.Millisecond)
	clients := startLoad(8, g.mixed)
	for range 3 {
		pause(700 * time.Millisecond)
		g.envoy.signal(syscall.SIGTERM)
		<-g.envoy.done
		g.startEnvoy()
		g.waitReady()
	}
	pause(500 * time.Millisecond)
	wantOnly(t, clients.end(t), "200", "402", "503", "cut", "truncated")
	g.settle(30 * time.Second) // long before any deadline: the file tells
	watch.end(t)
	g.wantBooksCover(t)
}

// TestRunRestartsEnvoy kills the Envoy that run started: run starts another.
func TestRunRestartsEnvoy(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	pid := g.childEnvoy()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "another Envoy serves", func() bool {
		pids := children(t, g.program.pid())
		return len(pids) == 1 && pids[0] != pid && g.chat("fake/m1", "again", "hello", `,"max_tokens":9`).status == http.StatusOK
	})
	g.settle(30 * time.Second)
	g.wantBooksEqual(t)
}

// TestGracefulStop stops the whole program under load: running calls end well,
// new ones are not taken, and the next start knows the cost of every one.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.mixedBudgets()
	clients := startLoad(8, g.mixed)
	pause(1500 * time.Millisecond)
	envoy := g.childEnvoy()
	if code := g.program.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, g.program.tail(20))
	}
	wantOnly(t, clients.end(t), "200", "402", "503", "cut")
	eventually(t, time.Minute, "Envoy is gone", func() bool { return syscall.Kill(envoy, 0) != nil })
	g.startRun()
	if n := g.reservations(); n != 0 {
		t.Errorf("%d reservations are open after a graceful stop", n)
	}
	g.settle(30 * time.Second)
	g.wantBooksEqual(t)
	g.wantBooksCover(t)
}
