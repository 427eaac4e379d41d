package e2e_test

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReload changes the configuration under an open stream: the stream goes
// on, the next calls see the change, and a broken file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	pid := g.childEnvoy()
	body := chatBody("fake/m1", "open", "fault:out=100 delay=50ms", `,"max_tokens":200,"stream":true`)
	req, err := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + adminKey}, "Content-Type": {"application/json"}, "X-Aig-Tag": {"open"}}
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stream := make(chan string, 1)
	go func() { stream <- lastEvent(resp) }()

	wantError(t, g.chat("late/m1", "reload", "hello", `,"max_tokens":9`), 404, "model_not_found")
	urls, ok := g.settings["URL"].(map[string]string)
	if !ok {
		t.Fatal("no provider addresses")
	}
	g.settings["Extra"] = `  late: {preset: openai_compatible, base_url: "` + urls["fake"] + `/v1", api_key: ` + providerKey + `}`
	g.settings["Models"] = append(slices.Clone(pricedModels), "late/m1")
	g.writeConfig()
	eventually(t, time.Minute, "the new provider answers", func() bool {
		return g.chat("late/m1", "reload", "hello", `,"max_tokens":9`).status == http.StatusOK
	})

	good := g.settings["Extra"]
	g.badFiles(t)
	g.settings["Extra"], g.settings["ProviderKey"] = good, "sk-revoked"
	g.writeConfig()
	eventually(t, time.Minute, "the new provider key is used", func() bool {
		return g.chat("fake/m1", "reload", "hello", `,"max_tokens":9`).status == http.StatusBadGateway
	})

	if last := <-stream; last != "data: [DONE]" {
		t.Errorf("the stream that was open ended with %q", last)
	}
	if now := g.childEnvoy(); now != pid {
		t.Errorf("Envoy was restarted: pid %d, before %d", now, pid)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// badFiles writes files that are refused: the last good one serves on, and each is
// reported, on SIGHUP again.
func (g *gateway) badFiles(t *testing.T) {
	t.Helper()
	for _, bad := range []string{"  late: {preset: nonsense}", "  late: [", "nonsense: true", "  late: {preset: openai_compatible, base_url: ':'}"} {
		g.settings["Extra"] = bad
		before := len(g.program.output())
		g.writeConfig()
		eventually(t, time.Minute, "the bad file is reported: "+bad, func() bool {
			return strings.Contains(g.program.output()[before:], "aigateway.yaml")
		})
		if r := g.chat("late/m1", "reload", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
			t.Errorf("after a bad file (%s): %d %s", bad, r.status, r.body)
		}
		if r := g.try(http.MethodGet, g.rest+"/readyz", "", nil); r.status != http.StatusOK || !strings.Contains(string(r.body), `{"name":"config_file","ready":true,"warning":"`) {
			t.Errorf("with a bad file, while the last good one serves (%s): readyz is %d %s", bad, r.status, r.body)
		}
	}
	before := len(g.program.output())
	g.program.signal(syscall.SIGHUP) // reads the file again though it is the same
	eventually(t, time.Minute, "the bad file is reported on SIGHUP", func() bool {
		return strings.Contains(g.program.output()[before:], "aigateway.yaml")
	})
}

// lastEvent reads a stream to its end and returns its last line with text.
func lastEvent(resp *http.Response) string {
	lines, last := bufio.NewScanner(resp.Body), ""
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if err := lines.Err(); err != nil {
		return err.Error()
	}
	return last
}
