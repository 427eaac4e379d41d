package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/internal/fsynctest"
)

// failing is a gateway's program on a disk whose fsyncs the test decides on.
type failing struct {
	*fsynctest.Disk
	g      *gateway
	served chan error
}

// startFailing starts run or serve on such a disk. The fsync that fails is
// counted from 1; 0: none yet.
func (g *gateway) startFailing(command string, failAt int, once bool) *failing {
	g.t.Helper()
	durable, err := os.MkdirTemp(g.dir, "durable")
	if err != nil {
		g.t.Fatal(err)
	}
	disk, err := fsynctest.NewDisk(g.dataDir(), durable)
	if err != nil {
		g.t.Fatal(err)
	}
	if failAt > 0 {
		disk.FailAt(failAt, once)
	}
	cmd := exec.Command(binary, command, "--config", g.config)
	if err := disk.Attach(cmd); err != nil {
		g.t.Fatal(err)
	}
	f := &failing{Disk: disk, g: g, served: make(chan error, 1)}
	g.program = startCommand(g.t, g.dir, command, cmd)
	g.program.wanted.Store(true)
	go func() { f.served <- disk.Serve() }()
	return f
}

// wantStopped waits for the end of the program, which must be its own doing,
// and say why and what to do. Then what no fsync has reported as durable is lost, or is not.
func (f *failing) wantStopped(what string, lost bool) {
	t := f.g.t
	t.Helper()
	p := f.g.program
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		seen, failed := f.Counts()
		t.Fatalf("%s: the program goes on a minute after %d failed fsyncs of %d", what, failed, seen)
	}
	if err := <-f.served; err != nil {
		t.Fatalf("%s: %v\n%s", what, err, p.tail(20))
	}
	seen, failed := f.Counts()
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || failed == 0 || !strings.Contains(p.tail(3), "disk I/O error") {
		t.Fatalf("%s: ended with %d after %d failed fsyncs of %d; want 1 and the disk named last:\n%s", what, code, failed, seen, p.tail(20))
	}
	t.Logf("%s: %d fsyncs, %d failed: %s", what, seen, failed, p.tail(1))
	last := p.tail(1) // the whole message: it tells the cause once
	if !strings.HasPrefix(last, "aigateway: ") || strings.Count(last, "disk I/O error") != 1 || !strings.Contains(last, "make room on the disk, or check it, and start again") {
		t.Errorf("%s: want the cause and the remedy in the last line:\n%s", what, p.tail(20))
	}
	if lost {
		if err := f.Lose(f.g.dataDir()); err != nil {
			t.Fatal(err)
		}
	}
}

func (g *gateway) dataDir() string {
	g.t.Helper()
	dir, ok := g.settings["DataDir"].(string)
	if !ok {
		g.t.Fatal("no data directory in the settings")
	}
	return dir
}

// wantRefused makes calls while the control plane is gone: none may be sent.
func (g *gateway) wantRefused(what string) {
	g.t.Helper()
	for i := range 3 {
		r := g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "refused", what, `,"max_tokens":9`), tagged("refused"))
		wantError(g.t, r, http.StatusServiceUnavailable, "service_unavailable")
		if n := g.doors["fake"].came("refused"); n > 0 {
			g.t.Fatalf("%s: refused call %d was sent", what, i)
		}
	}
}

// TestFsyncFails fails fsyncs of the control plane under load, beside an Envoy
// that lives on: in its service and at its start; one, or all from then on; with
// what was written lost, or there. Each time it stops and says why, and calls
// are refused. In the end the books are exact: Envoy's file has every call.
func TestFsyncFails(t *testing.T) {
	t.Parallel()
	g := serveGateway(t)
	g.mixedBudgets()
	watch := g.sample(t, 50*time.Millisecond)
	g.program.kill()
	for i, failAt := range []int{40, 1, 12, 1, 60, 1, 25, 1} { // 1 is the start's own
		once, lost := i/2%2 == 0, i/4%2 == 0
		what := fmt.Sprintf("fsync %d, once %v, lost %v", failAt, once, lost)
		f := g.startFailing("serve", failAt, once)
		clients := startLoad(8, g.mixed)
		f.wantStopped(what, lost)
		wantOnly(t, clients.end(t), "200", "402", "503")
		g.wantRefused(what)
	}
	g.startServe()
	g.waitReady()
	g.wantExact(t, watch)
}

// TestFsyncFailsUnderRun fails an fsync of the whole program while a call is
// running. It tells of no change as made, is not ready and says why, sends no
// other call, lets this one end, and stops; the next start knows its cost.
func TestFsyncFailsUnderRun(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.setBudget("running", 100)
	if code := g.program.stop(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, g.program.tail(20))
	}
	for i := range 4 {
		once, lost := i%2 == 0, i/2 == 0
		what := fmt.Sprintf("once %v, lost %v", once, lost)
		f := g.startFailing("run", 0, false)
		g.waitReady()
		end := g.running("fake", "running", what)
		f.FailAt(1, once)
		late := fmt.Sprintf("late/%d", i)
		g.wantFailing(what, late)
		if r := end(); r.err != nil || r.status != http.StatusOK {
			t.Errorf("%s: the running call ended with %d %s %v", what, r.status, r.body, r.err)
		}
		f.wantStopped(what, lost)
		g.startRun()
		if _, there := g.mustBudgets()[late]; there && lost {
			t.Errorf("%s: the change is there, though its data was lost", what)
		}
		g.settle(30 * time.Second)
		g.wantBudgetsEqual(t)
		g.program.stop()
	}
	if n := g.doors["quick"].came("refused"); n > 0 {
		t.Errorf("%d calls were sent after the disk had failed", n)
	}
	g.startRun()
	g.wantBooksEqual(t)
	g.wantNothingHeld(t)
	g.wantBooksCover(t)
}

// wantFailing checks what is told while the program's disk fails and a call
// keeps it from ending: late, a budget to be made, is not made.
func (g *gateway) wantFailing(what, late string) {
	t := g.t
	t.Helper()
	r := g.try(http.MethodPost, g.rest+"/v1/budgets", fmt.Sprintf(`{"tag":%q,"monthly_cap_cents":5}`, late), nil)
	if e := wantError(t, r, http.StatusServiceUnavailable, "service_unavailable"); !strings.Contains(e.Error.Message, "recorded") {
		t.Errorf("%s: a change was answered with %s", what, r.body)
	}
	if r := g.try(http.MethodGet, g.rest+"/readyz", "", nil); r.status != http.StatusServiceUnavailable || !strings.Contains(string(r.body), "disk I/O error") {
		t.Errorf("%s: want not ready for the disk, got %d %s %v", what, r.status, r.body, r.err)
	}
	// At another provider, which would answer.
	r = g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("quick/m1", "refused", what, `,"max_tokens":9`), tagged("refused"))
	if r.err == nil && r.status != http.StatusServiceUnavailable { // Envoy may be gone from its port
		t.Errorf("%s: another call got %d %s", what, r.status, r.body)
	}
}

// running makes a call that the provider has and does not answer until end is
// called, which returns the answer.
func (g *gateway) running(provider, tag, text string) (end func() reply) {
	g.t.Helper()
	open, answer := make(chan struct{}), make(chan reply, 1)
	d := g.doors[provider]
	d.hold(open)
	before := d.came(tag)
	go func() {
		answer <- g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody(provider+"/m1", tag, text, `,"max_tokens":99`), tagged(tag))
	}()
	eventually(g.t, time.Minute, "a call is running", func() bool { return d.came(tag) > before })
	return func() reply {
		close(open)
		return <-answer
	}
}

// TestFsyncFailsAndPowerGoes fails fsyncs under load, loses what was written,
// and with it the kernel's memory. What the logs do not tell is charged at its
// bound at the deadline; then nothing is held.
func TestFsyncFailsAndPowerGoes(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.settings["HoldTimeout"] = 5 * time.Second
	g.writeConfig()
	g.startRun()
	g.mixedBudgets()
	watch := g.sample(t, 50*time.Millisecond)
	g.program.kill()
	for i, failAt := range []int{50, 35} {
		what := fmt.Sprintf("fsync %d", failAt)
		f := g.startFailing("run", failAt, i == 0)
		clients := startLoad(8, g.mixed)
		f.wantStopped(what, true)
		wantOnly(t, clients.end(t), "200", "402", "503", "cut")
		if err := os.Remove(filepath.Join(g.dataDir(), "ledger.ring")); err != nil {
			t.Fatal(err)
		}
	}
	g.startRun()
	g.settle(afterDeadline)
	g.wantNothingHeld(t)
	watch.end(t)
	g.wantBooksCover(t)
	g.wantBooksEqual(t) // what no log tells is in no report
}
