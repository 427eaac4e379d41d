package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBytes compares what clients receive with what the provider sends: it is
// asked again, directly and with the very bytes it got, and answers the same
// bytes. Only the usage chunk that we asked for may be missing.
func TestBytes(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.setBudget("**", 1_000_000)
	shapes := []string{
		"", "hostile", "extra", "crlf", "comments", "crlf comments", "split=1 out=3", "split=2 crlf out=3", "split=17 hostile extra",
		"split=1 hostile extra crlf comments out=4", "no_usage", "no_done", "bad_usage", "running_usage", "error_after=2",
		"pad=200000", "pad=70000 split=9999", "out=40", "cached=3 thoughts=4",
	}
	streams := map[string]struct {
		more  string
		strip bool
	}{
		"plain":            {``, false},
		"stream":           {`,"stream":true`, true},
		"options null":     {`,"stream":true,"stream_options":null`, true},
		"options empty":    {`,"stream":true,"stream_options":{ }`, true},
		"usage refused":    {`,"stream":true,"stream_options":{"include_usage":false}`, true},
		"usage asked for":  {`, "stream_options" : {"include_usage" : true }, "stream" : true`, false},
		"other options":    {`,"stream":true,"stream_options":{"include_obfuscation":false}`, true},
		"stream, n":        {`,"stream":true,"n":3`, true},
		"members reversed": {`,"temperature":0.5,"stream":true,"metadata":{"stream":false,"model":"fake/m1","usage":null}`, true},
	}
	tag := 0
	for name, s := range streams {
		for _, shape := range shapes {
			if name != "stream" && name != "plain" && len(shape) > 12 {
				continue // the cross product adds nothing
			}
			tag++
			t.Run(name+"/"+shape, func(t *testing.T) {
				g.checkBytes(t, fmt.Sprintf("bytes/%03d", tag), shape, s.more, s.strip)
			})
		}
	}
	g.settle(time.Minute)
	if a := g.mustBudgets()["**"]; a.spent < sum(g.bills()) {
		t.Errorf("spent %d, bills %d", a.spent, sum(g.bills()))
	}
}

func (g *gateway) checkBytes(t *testing.T, tag, shape, more string, strip bool) {
	body := chatBody("fake/m1", tag, "Größe \u2028 fault:"+shape, `,"max_tokens":50`+more)
	got := g.insist(http.MethodPost, g.url+"/v1/chat/completions", body, tagged(tag))
	if got.err != nil || got.status != http.StatusOK {
		t.Fatalf("%d %.300s %v", got.status, got.body, got.err)
	}
	calls := g.provider["fake"].Calls()
	call := calls[len(calls)-1]
	if call.User != tag {
		t.Fatalf("the last call is of %q", call.User)
	}
	urls, ok := g.settings["URL"].(map[string]string)
	if !ok {
		t.Fatal("no provider addresses")
	}
	// Asked under the same key; its second bill is of the same user, which
	// only the inequality at the end of the test knows.
	direct := g.try(http.MethodPost, urls["fake"]+"/v1/chat/completions", string(call.Body), http.Header{"Authorization": {"Bearer " + providerKey}})
	if direct.err != nil {
		t.Fatal(direct.err)
	}
	want := direct.body
	if strip {
		want = withoutUsageChunk(want)
	}
	if !bytes.Equal(got.body, want) {
		t.Errorf("body sent to the provider: %s\nclient got   %.2000q\nprovider sent %.2000q", call.Body, got.body, want)
	}
}

// withoutUsageChunk removes the event that has usage and no choices.
func withoutUsageChunk(body []byte) []byte {
	eol := "\n\n"
	if bytes.Contains(body, []byte("\r\n\r\n")) {
		eol = "\r\n\r\n"
	}
	var out strings.Builder
	for event := range strings.SplitAfterSeq(string(body), eol) {
		if strings.Contains(event, `"choices":[],"usage":{`) {
			continue
		}
		out.WriteString(event)
	}
	return []byte(out.String())
}
