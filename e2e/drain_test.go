package e2e_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDrain stops a gateway while a call runs: it is not ready at once, takes new
// connections for a moment, so that balancers notice, and waits for the call.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.settings["Drain"] = "{accept: 10s}"
	g.writeConfig()
	g.startRun()
	end := g.running("fake", "drain", "a call that is running")
	g.program.signal(syscall.SIGTERM)
	g.waitStatus(g.rest+"/readyz", http.StatusServiceUnavailable)
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := fresh.Get(g.url + "/v1/models")
	if err != nil {
		t.Fatalf("a new connection while balancers learn that it stops: %v", err)
	}
	resp.Body.Close()
	eventually(t, time.Minute, "new connections are refused", func() bool {
		resp, err := fresh.Get(g.url + "/v1/models")
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	})
	if r := end(); r.status != http.StatusOK {
		t.Errorf("the running call got %d %s", r.status, r.body)
	}
	<-g.program.done
	if code := g.program.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(g.program.output(), "stopping") {
		t.Errorf("exit code %d", code)
	}
}
