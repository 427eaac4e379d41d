package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

// charge is what a call should have cost.
type charge int

const (
	nothing   charge = iota // 0, not counted as a request
	free                    // 0, counted: the provider answered an error
	billed                  // exactly the provider's bill
	wholeHold               // the bound
	elapsed                 // at least the bill, less than the bound
)

// outcome is one way a call can end, and what users and the ledger see.
type outcome struct {
	model  string // default fake/m1
	fault  string
	stream bool
	status int // 0: the connection breaks, or the client leaves
	kind   string
	limit  int  // max_tokens; default 40
	leave  bool // the client leaves after the third event, or at once without a stream
	charge charge
}

var outcomes = map[string]outcome{
	"plain":                 {fault: "", status: 200, charge: billed},
	"plain, the maximum":    {fault: "max", status: 200, charge: billed},
	"plain, cached":         {fault: "cached=5", status: 200, charge: billed},
	"plain, hidden tokens":  {fault: "out=5 thoughts=7", status: 200, charge: billed},
	"plain, blank lines":    {fault: "blank_first", status: 200, charge: billed},
	"plain, other model":    {fault: "served=m1-2026-05-01", status: 200, charge: billed},
	"plain, hostile text":   {fault: "hostile extra split=3", status: 200, charge: billed},
	"plain, large":          {fault: "pad=900000", status: 200, charge: billed},
	"plain, no usage":       {fault: "no_usage", status: 200, charge: wholeHold},
	"plain, bad usage":      {fault: "bad_usage", status: 200, charge: wholeHold},
	"plain, no JSON":        {fault: "not_json", status: 200, charge: wholeHold},
	"plain, gzip":           {fault: "gzip", status: 200, charge: billed},
	"plain, gzip, cut":      {fault: "gzip cut_after=1", charge: wholeHold},
	"plain, cut":            {fault: "cut_after=1", charge: wholeHold},
	"plain, reset":          {fault: "reset_after=1", charge: wholeHold},
	"plain, client leaves":  {fault: "header_delay=8s", leave: true, charge: wholeHold},
	"reset before headers":  {fault: "reset_before_headers", status: 502, kind: "provider_error", charge: wholeHold},
	"status 400":            {fault: "status=400", status: 400, charge: free},
	"status 404":            {fault: "status=404", status: 404, charge: free},
	"status 429":            {fault: "status=429", status: 429, charge: free},
	"status 500":            {fault: "status=500", status: 500, charge: free},
	"status 503":            {fault: "status=503", status: 503, charge: free},
	"status 502":            {fault: "status=502", status: 502, charge: free},
	"status 408":            {fault: "status=408", status: 408, charge: wholeHold},
	"status 504":            {fault: "status=504", status: 504, charge: wholeHold},
	"status 524":            {fault: "status=524", status: 524, charge: wholeHold},
	"status 307":            {fault: "status=307", status: 502, kind: "provider_error", charge: free},
	"status 401":            {fault: "status=401", status: 502, kind: "provider_error", charge: free},
	"status 402":            {fault: "status=402", status: 502, kind: "provider_error", charge: free},
	"status 403":            {fault: "status=403", status: 502, kind: "provider_error", charge: free},
	"our key is wrong":      {model: "locked/m1", status: 502, kind: "provider_error", charge: free},
	"nobody there":          {model: "dead/m1", status: 502, kind: "provider_error", charge: nothing},
	"stream":                {stream: true, status: 200, charge: billed},
	"stream, the maximum":   {fault: "max", stream: true, status: 200, charge: billed},
	"stream, hostile":       {fault: "hostile extra crlf comments split=5", stream: true, status: 200, charge: billed},
	"stream, hidden tokens": {fault: "out=5 thoughts=7", stream: true, status: 200, charge: billed},
	"stream, no [DONE]":     {fault: "no_done", stream: true, status: 200, charge: billed},
	"stream, gzip":          {fault: "gzip", stream: true, status: 200, charge: billed},
	"stream, no usage":      {fault: "no_usage", stream: true, status: 200, charge: wholeHold},
	"stream, bad usage":     {fault: "bad_usage", stream: true, status: 200, charge: wholeHold},
	"stream, error event":   {fault: "out=20 error_after=3", stream: true, status: 200, charge: wholeHold},
	"stream, cut":           {fault: "out=20 cut_after=3", stream: true, charge: wholeHold},
	"stream, reset":         {fault: "out=20 reset_after=3 delay=20ms", stream: true, charge: wholeHold},
	"stream, reset early":   {fault: "reset_after_headers", stream: true, charge: wholeHold},
	"stream, client leaves": {fault: "out=20 delay=30ms", stream: true, leave: true, charge: wholeHold},
	"stream, hangs":         {fault: "out=20 hang_after=4", stream: true, leave: true, charge: wholeHold},
	"stopped stream":        {model: "quick/m1", fault: "out=20 delay=30ms", limit: 4000, stream: true, leave: true, charge: elapsed},
	"running usage":         {model: "gem/m1", stream: true, status: 200, charge: billed},
	"running usage, cut":    {model: "gem/m1", fault: "out=20 cut_after=5", stream: true, charge: wholeHold},
	"nothing injected":      {model: "mist/m1", fault: "running_usage", stream: true, status: 200, charge: billed},
	"nothing injected, 422": {model: "mist/m1", fault: "z", status: 422, charge: free},
}

// TestOutcomes makes one call for each way a call can end and reads its charge
// from the ledger, against the provider's bill.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	g.setBudget("**", 10_000_000)
	t.Run("calls", func(t *testing.T) {
		n := 0
		for name, o := range outcomes {
			n++
			tag := fmt.Sprintf("outcome/%02d", n)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g.checkOutcome(t, tag, o)
			})
		}
	})
	g.settle(time.Minute)
	if got := g.mustBudgets()["**"]; got.reserved != 0 || got.spent < sum(g.bills()) {
		t.Errorf("at the end the budget is %+v, the bills are %d", got, sum(g.bills()))
	}
}

func (g *gateway) checkOutcome(t *testing.T, tag string, o outcome) {
	o.model = cmp.Or(o.model, "fake/m1")
	more := fmt.Sprintf(`,"max_tokens":%d`, cmp.Or(o.limit, 40))
	if o.stream {
		more += `,"stream":true`
	}
	text := "fault:" + o.fault
	if o.fault == "z" { // a member that this provider refuses
		text, more = "plain", more+`,"z":1`
	}
	body := chatBody(o.model, tag, text, more)
	header := g.send(t, body, tag, o)

	eventually(t, time.Minute, "the call is settled and billed", func() bool {
		if !g.settled(tag) || o.charge != nothing && g.usage()[tag].requests == 0 {
			return false
		}
		return o.charge == nothing || strings.HasPrefix(o.fault, "status=") || o.charge == free || g.bills()[tag].Calls > 0
	})
	got, bill := g.usage()[tag], g.bills()[tag].NanoUSD
	bound := g.boundOf(t, body, o, header)
	t.Logf("bill %d, charged %d, bound %d nano-USD, requests %d", bill, got.nano, bound, got.requests)
	switch o.charge {
	case nothing:
		if got.nano != 0 || got.requests != 0 || bill != 0 {
			t.Errorf("charged %+v, want nothing: nothing was sent", got)
		}
	case free:
		if got.nano != 0 || got.requests != 1 || bill != 0 {
			t.Errorf("charged %+v, want one request for nothing", got)
		}
	case billed:
		if got.nano != bill || got.requests != 1 || bill == 0 || bill > bound {
			t.Errorf("charged %+v, want the bill of %d (bound %d)", got, bill, bound)
		}
	case wholeHold:
		if got.nano != bound || got.requests != 1 || bill > bound {
			t.Errorf("charged %+v, want the bound of %d (bill %d)", got, bound, bill)
		}
	case elapsed:
		if got.nano < bill || got.nano >= bound || got.requests != 1 {
			t.Errorf("charged %+v, want from the bill of %d to below the bound of %d", got, bill, bound)
		}
	}
}

// send makes the call and checks what the client sees of its end.
func (g *gateway) send(t *testing.T, body, tag string, o outcome) http.Header {
	t.Helper()
	if o.leave {
		return g.leave(t, body, tag, o.stream)
	}
	r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", body, tagged(tag))
	switch {
	case o.status == 0:
		if r.err == nil {
			t.Errorf("the answer ended as if it were whole: %d %.300s", r.status, r.body)
		}
	case r.err != nil || r.status != o.status:
		t.Errorf("got %d %.300s %v, want %d", r.status, r.body, r.err, o.status)
	case o.kind != "":
		e := wantError(t, r, o.status, o.kind)
		if strings.HasPrefix(o.fault, "status=") && fmt.Sprint(e.Error.Metadata["upstream_status"]) != strings.TrimPrefix(o.fault, "status=") {
			t.Errorf("metadata %v, want the upstream_status of %s", e.Error.Metadata, o.fault)
		}
	case o.status == 200 && o.stream:
		checkNoUsageLeak(t, r.body, o)
	}
	return r.header
}

// checkNoUsageLeak looks for the chunk we asked for in the client's name.
func checkNoUsageLeak(t *testing.T, body []byte, o outcome) {
	t.Helper()
	for line := range strings.Lines(string(body)) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []any
			Error   any
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			t.Errorf("%v: %.200s", err, data)
		}
		if len(chunk.Choices) == 0 && chunk.Error == nil {
			t.Errorf("the client got a usage chunk it did not ask for: %s", data)
		}
	}
}

// leave closes the connection after three events of a stream, or as soon as
// the provider has the call.
func (g *gateway) leave(t *testing.T, body, tag string, stream bool) http.Header {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = tagged(tag)
	req.Header.Set("Authorization", "Bearer "+adminKey)
	req.Header.Set("Content-Type", "application/json")
	if !stream {
		done := make(chan error, 1)
		go func() {
			_, err := g.client.Do(req) // a body there is nobody reads
			done <- err
		}()
		eventually(t, time.Minute, "the provider has the call", func() bool { return g.doors["fake"].came(tag) == 1 })
		cancel()
		if err := <-done; err == nil {
			t.Error("the answer came before the client left")
		}
		return nil
	}
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for range 6 {
		if !lines.Scan() {
			t.Fatalf("the stream ended early: %v", lines.Err())
		}
	}
	return resp.Header
}

// settled reports whether a tag's only call has left the reservations. A call
// that never got that far has, too: its status was checked before.
func (g *gateway) settled(tag string) bool {
	var list struct {
		Reservations []struct{ Tag string }
	}
	g.get("/v1/reservations?page_size=1000", &list)
	for _, r := range list.Reservations {
		if r.Tag == tag {
			return false
		}
	}
	return true
}

// boundOf is the bound of a call: from its answer, or, where there was none,
// of a twin of the same length.
func (g *gateway) boundOf(t *testing.T, body string, o outcome, header http.Header) int64 {
	t.Helper()
	if text := header.Get("X-Aig-Bound-Usd"); text != "" {
		return mustNano(t, text)
	}
	twin := strings.Replace(body, "fault:"+o.fault, strings.Repeat("x", len("fault:"+o.fault)), 1)
	r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", strings.Replace(twin, "outcome/", "theotwin", 1), tagged("twin"))
	if r.header == nil {
		t.Fatal(r.err)
	}
	return mustNano(t, r.header.Get("X-Aig-Bound-Usd"))
}

func sum(bills map[string]fakeprovider.Bill) int64 {
	var n int64
	for _, b := range bills {
		n += b.NanoUSD
	}
	return n
}
