package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // also of a body that was cut
}

// try makes one request with the admin key, unless header has another.
func (g *gateway) try(method, url, body string, header http.Header) reply {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: data, err: err}
}

// chatBody is a chat request whose user member is the tag, which is how the
// provider's bill knows it: our headers never reach the provider.
func chatBody(model, tag, text, more string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return fmt.Sprintf(`{"model":%q,"user":%q,"messages":[{"role":"user","content":%s}]%s}`, model, tag, quoted, more)
}

func tagged(tag string) http.Header { return http.Header{"X-Aig-Tag": {tag}} }

// insist is try for clients that do as they are told: a 503 that says a retry
// helps (the disk of a busy machine was slow) is tried again, as SDKs do.
func (g *gateway) insist(method, url, body string, header http.Header) reply {
	for range 20 {
		r := g.try(method, url, body, header)
		if r.status != http.StatusServiceUnavailable || r.header.Get("X-Should-Retry") != "true" {
			return r
		}
		pause(50 * time.Millisecond)
	}
	return g.try(method, url, body, header)
}

// chat makes one chat call under a tag.
func (g *gateway) chat(model, tag, text, more string) reply {
	return g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody(model, tag, text, more), tagged(tag))
}

// get reads a REST resource into v.
func (g *gateway) get(path string, v any) {
	g.t.Helper()
	g.ask(http.MethodGet, path, "", v)
}

// post sends body to a REST resource and reads the answer into v.
func (g *gateway) post(path, body string, v any) {
	g.t.Helper()
	g.ask(http.MethodPost, path, body, v)
}

// ask wants 200 and JSON.
func (g *gateway) ask(method, path, body string, v any) {
	g.t.Helper()
	r := g.try(method, g.rest+path, body, nil)
	if r.err != nil || r.status != http.StatusOK {
		g.t.Fatalf("%s %s %s: %d %s %v", method, path, body, r.status, r.body, r.err)
	}
	if err := json.Unmarshal(r.body, v); err != nil {
		g.t.Fatalf("%s %s: %v: %s", method, path, err, r.body)
	}
}

// account is a budget's counters in nano-USD.
type account struct{ cap, spent, reserved int64 }

type budgetJSON struct {
	ID, Tag, Cap, Spent, Reserved, Remaining, Etag string
	CapCents                                       int64 `json:"cap_cents"`
	SpentCents                                     int64 `json:"spent_cents"`
	ReservedCents                                  int64 `json:"reserved_cents"`
	RemainingCents                                 int64 `json:"remaining_cents"`
}

// setBudget caps a tag.
func (g *gateway) setBudget(tag string, cents int64) (b budgetJSON) {
	g.t.Helper()
	g.post("/v1/budgets", fmt.Sprintf(`{"tag":%q,"monthly_cap_cents":%d}`, tag, cents), &b)
	return b
}

// budgets are all accounts by tag. It reports an error instead of failing, as
// samplers run beside the test and while the server is killed.
func (g *gateway) budgets() (map[string]account, error) {
	r := g.try(http.MethodGet, g.rest+"/v1/budgets?page_size=1000", "", nil)
	if r.err != nil || r.status != http.StatusOK {
		return nil, fmt.Errorf("list budgets: %d %s %w", r.status, r.body, r.err)
	}
	var list struct{ Budgets []budgetJSON }
	if err := json.Unmarshal(r.body, &list); err != nil {
		return nil, fmt.Errorf("list budgets: %w: %s", err, r.body)
	}
	all := map[string]account{}
	for _, b := range list.Budgets {
		var a account
		for text, to := range map[*int64]string{&a.cap: b.Cap, &a.spent: b.Spent, &a.reserved: b.Reserved} {
			n, err := nano(to)
			if err != nil {
				return nil, err
			}
			*text = n
		}
		if got := b.SpentCents + b.ReservedCents + b.RemainingCents; a.spent+a.reserved <= a.cap && got != b.CapCents {
			return nil, fmt.Errorf("budget %s: spent %d + reserved %d + remaining %d cents is not the cap of %d", b.Tag, b.SpentCents, b.ReservedCents, b.RemainingCents, b.CapCents)
		}
		all[b.Tag] = a
	}
	return all, nil
}

// mustBudgets is budgets in the test's own goroutine.
func (g *gateway) mustBudgets() map[string]account {
	g.t.Helper()
	all, err := g.budgets()
	if err != nil {
		g.t.Fatal(err)
	}
	return all
}

// used is one tag's row of the usage report.
type used struct{ requests, nano, unpriced int64 }

// usage is this month's report by tag, exact.
func (g *gateway) usage() map[string]used {
	g.t.Helper()
	var report struct {
		Rows []struct {
			Tag      string
			Requests int64
			Unpriced int64  `json:"unpriced_requests"`
			Cost     string `json:"cost_usd"`
		}
	}
	g.get("/v1/usage?group_by=tag", &report)
	all := map[string]used{}
	for _, row := range report.Rows {
		n, err := nano(row.Cost)
		if err != nil {
			g.t.Fatal(err)
		}
		all[row.Tag] = used{requests: row.Requests, nano: n, unpriced: row.Unpriced}
	}
	return all
}

// reservations is how many calls have money set aside.
func (g *gateway) reservations() int {
	g.t.Helper()
	var list struct{ Reservations []json.RawMessage }
	g.get("/v1/reservations?page_size=1000", &list)
	return len(list.Reservations)
}

// settle waits until no call is running and no reservation is open.
func (g *gateway) settle(within time.Duration) {
	g.t.Helper()
	eventually(g.t, within, "every call is settled", func() bool {
		return g.inFlight() == 0 && g.reservations() == 0
	})
}

// nano reads an exact decimal of dollars as nano-USD.
func nano(dollars string) (int64, error) {
	whole, frac, _ := strings.Cut(dollars, ".")
	if len(frac) > 9 {
		return 0, fmt.Errorf("%q has more than nine decimals", dollars)
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", 9-len(frac)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not an amount: %w", dollars, err)
	}
	return n, nil
}

func mustNano(t *testing.T, dollars string) int64 {
	t.Helper()
	n, err := nano(dollars)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// envelope is the one error answer.
type envelope struct {
	Type  string // "error" in the envelope of /v1/messages
	Error struct {
		Message  string
		Type     string
		Code     any
		Param    string
		Metadata map[string]any
	}
}

// ours reads an answer as our error envelope, Anthropic's on its own path, and
// says what is wrong with it.
func ours(r reply) (envelope, string) {
	var e envelope
	dec := json.NewDecoder(bytes.NewReader(r.body))
	if err := dec.Decode(&e); err != nil {
		return e, fmt.Sprintf("not JSON: %v", err)
	}
	code, isNumber := e.Error.Code.(float64)
	if e.Type == "error" { // Anthropic's envelope has no code
		code, isNumber = float64(r.status), true
	}
	switch {
	case e.Error.Message == "":
		return e, "no message"
	case e.Error.Type == "":
		return e, "no type"
	case !isNumber || code != math.Trunc(code) || int(code) != r.status:
		return e, fmt.Sprintf("code is %v, want the integer %d", e.Error.Code, r.status)
	case !strings.HasPrefix(r.header.Get("Content-Type"), "application/json"):
		return e, "content-type is " + r.header.Get("Content-Type")
	}
	return e, ""
}

// wantError checks a refusal of ours and returns its envelope.
func wantError(t testing.TB, r reply, status int, kind string) envelope {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	e, problem := ours(r)
	if problem != "" || r.status != status || e.Error.Type != kind {
		t.Errorf("got %d %s (%s), want %d %s: %s", r.status, e.Error.Type, problem, status, kind, r.body)
	}
	return e
}
