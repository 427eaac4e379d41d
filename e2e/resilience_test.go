package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRunKilled kills the whole program, twice, under load. Its Envoy dies with
// it; what no log tells is charged at its bound.
func TestRunKilled(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.mixedBudgets()
	clients := startLoad(8, g.mixed)
	for range 2 {
		pause(700 * time.Millisecond)
		envoy := g.childEnvoy()
		g.program.kill()
		g.startRun()
		eventually(t, time.Minute, "the old Envoy is gone", func() bool { return syscall.Kill(envoy, 0) != nil })
	}
	pause(500 * time.Millisecond)
	wantOnly(t, clients.end(t), "200", "402", "503", "cut", "truncated")
	g.settle(afterDeadline)
	g.wantNothingHeld(t)
	g.wantBooksCover(t)
}

// TestControlPlaneFrozen stops the control plane in its tracks: no call waits
// long, none leaves without a decision, and decisions made too late are undone.
func TestControlPlaneFrozen(t *testing.T) {
	t.Parallel()
	g := serveGateway(t)
	g.setBudget("frozen", 1000)
	if r := g.chat("fake/m1", "frozen", "before", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	before := g.bills()["frozen"]
	g.program.freeze()
	replies := make(chan reply, 20)
	for range cap(replies) {
		go func() {
			begin := time.Now()
			r := g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "frozen", "during", `,"max_tokens":9`), tagged("frozen"))
			if took := time.Since(begin); took > 30*time.Second {
				r.err = fmt.Errorf("answered after %v", took)
			}
			replies <- r
		}()
	}
	for range cap(replies) {
		r := <-replies
		wantError(t, r, http.StatusServiceUnavailable, "service_unavailable")
		if got := r.header.Get("X-Should-Retry"); got != "true" {
			t.Errorf("x-should-retry is %q, want true: nothing was sent", got)
		}
	}
	if err := g.program.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "calls are answered again", func() bool {
		return g.chat("fake/m1", "other", "after", `,"max_tokens":9`).status == http.StatusOK
	})
	g.settle(time.Minute)
	if after := g.bills()["frozen"]; after != before {
		t.Errorf("calls without a decision reached the provider: %+v, before %+v", after, before)
	}
	g.wantBooksEqual(t)
	if a := g.mustBudgets()["frozen"]; a.reserved != 0 || a.spent != before.NanoUSD {
		t.Errorf("budget %+v, want only the first call's %d", a, before.NanoUSD)
	}
}

// TestStreamOutlivesTimeout keeps a stream open for longer than the timeout of
// its reservation: signs of life extend it, and its own usage is charged.
func TestStreamOutlivesTimeout(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.setBudget("long", 1000)
	r := g.chat("fake/m1", "long", "fault:out=72 delay=1s", `,"max_tokens":100,"stream":true`)
	if r.err != nil || r.status != http.StatusOK || !strings.HasSuffix(string(r.body), "data: [DONE]\n\n") {
		t.Fatalf("%d %.300s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestSecondProcessRefused starts the program on a data directory in use.
func TestSecondProcessRefused(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	ports := freePorts(t, 3)
	g.settings["Clients"], g.settings["REST"], g.settings["GRPC"] = ports[0], ports[1], ports[2]
	second := g.config + ".second"
	g.config, second = second, g.config
	g.writeConfig()
	g.config, second = second, g.config
	out, err := exec.Command(binary, "run", "--config", second).CombinedOutput()
	if err == nil {
		t.Fatalf("a second process ran on the same data: %s", out)
	}
	if !strings.Contains(string(out), "another") && !strings.Contains(string(out), "lock") && !strings.Contains(string(out), "in use") {
		t.Errorf("the reason is not in: %s", out)
	}
	if r := g.chat("fake/m1", "first", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Errorf("the first process was disturbed: %d %s", r.status, r.body)
	}
}

// TestDemo runs the demo to its end.
func TestDemo(t *testing.T) {
	t.Parallel()
	demo := exec.Command(binary, "demo", "--exit", "--listen", fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0]))
	demo.Dir = workDir
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"402", "budget_exceeded", "max_tokens"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out)
		}
	}
}
