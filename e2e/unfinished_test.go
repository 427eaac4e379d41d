package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that hangs up after a report of zeros, or after a running total, has
// not ended the answer: thirty such calls do not pass a cap.
func TestReportsOfUnfinishedAnswersPassNoCap(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	const limit = 50 // cents
	for tag, fault := range map[string]string{"zeros": "zero_first", "running": "running_usage"} {
		g.setBudget(tag, limit)
		fault = "fault:out=400 delay=5ms " + fault
		body := chatBody("fake/m1", tag, fault, `,"max_tokens":8000,"stream":true`)
		calls, refused := 0, 0
		for range 30 {
			if r := g.hangUp(t, body, tag); r == http.StatusOK {
				calls++
			} else if r == http.StatusPaymentRequired {
				refused++
			} else {
				t.Fatalf("%s: status %d", tag, r)
			}
			g.settle(time.Minute)
		}
		got, bill := g.usage()[tag], g.bills()[tag]
		if refused == 0 || calls == 0 || got.nano < bill.NanoUSD || got.nano > limit*10_000_000 || bill.NanoUSD > limit*10_000_000 {
			t.Errorf("%s: %d calls, %d refused, charged %+v, billed %+v", tag, calls, refused, got, bill)
		}
	}
}

// hangUp starts a stream, reads its first event and leaves.
func (g *gateway) hangUp(t *testing.T, body, tag string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = tagged(tag)
	req.Header.Set("Authorization", "Bearer "+adminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if _, err := io.ReadFull(resp.Body, make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode
}
