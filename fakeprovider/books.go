package fakeprovider

import (
	"maps"
	"math/big"
	"net/http"
	"slices"
	"time"
)

// Bill is what a set of calls costs.
type Bill struct {
	Calls            int64 `json:"calls"` // billed calls: refused ones are not among them
	NanoUSD          int64 `json:"nano_usd"`
	PromptTokens     int64 `json:"prompt_tokens"`
	CachedTokens     int64 `json:"cached_tokens"` // of the prompt tokens
	CompletionTokens int64 `json:"completion_tokens"`
}

// Call is one request as it arrived, and what became of it.
type Call struct {
	At     time.Time   `json:"at"`
	Method string      `json:"method"`
	Path   string      `json:"path"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`

	Model  string `json:"model"`
	User   string `json:"user"` // the body's user member
	Stream bool   `json:"stream"`

	Status     int  `json:"status"` // 0 when the connection was reset before headers
	Billed     Bill `json:"billed"`
	ClientLeft bool `json:"client_left"` // before the answer was complete
}

// books is every bill, and the newest calls.
type books struct {
	total  Bill
	byUser map[string]Bill
	calls  []Call
}

func newBooks() books { return books{byUser: map[string]Bill{}} }

// cost prices tokens, rounded up once to a whole nano-USD.
func cost(p Price, prompt, cached, completion int64) int64 {
	sum := new(big.Int)
	for _, line := range [][2]int64{{prompt - cached, p.Input}, {cached, p.CacheRead}, {completion, p.Output}} {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(line[0]), big.NewInt(line[1])))
	}
	sum.Add(sum, big.NewInt(999))
	return sum.Quo(sum, big.NewInt(1000)).Int64()
}

// bill puts tokens and their price on the call.
func (c *call) bill(prompt, cached, completion int64) {
	c.record.Billed = Bill{
		Calls:            1,
		NanoUSD:          cost(c.server.cfg.Models[c.record.Model], prompt, cached, completion),
		PromptTokens:     prompt,
		CachedTokens:     cached,
		CompletionTokens: completion,
	}
}

func (b Bill) plus(o Bill) Bill {
	return Bill{
		Calls:            b.Calls + o.Calls,
		NanoUSD:          b.NanoUSD + o.NanoUSD,
		PromptTokens:     b.PromptTokens + o.PromptTokens,
		CachedTokens:     b.CachedTokens + o.CachedTokens,
		CompletionTokens: b.CompletionTokens + o.CompletionTokens,
	}
}

func (s *Server) enter(record Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.books.total = s.books.total.plus(record.Billed)
	s.books.byUser[record.User] = s.books.byUser[record.User].plus(record.Billed)
	if n := len(s.books.calls) - 2*s.cfg.KeepCalls; n >= 0 { // amortised: one move per KeepCalls calls
		s.books.calls = slices.Delete(s.books.calls, 0, n+s.cfg.KeepCalls)
	}
	s.books.calls = append(s.books.calls, record)
}

// Bill is the sum of all calls since the start or the last Reset.
func (s *Server) Bill() Bill {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.books.total
}

// BillByUser is Bill split by the user member of the request bodies.
func (s *Server) BillByUser() map[string]Bill {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.books.byUser)
}

// Calls are the newest finished calls, oldest first, at most Config.KeepCalls.
// They share their bytes with later answers of Calls and must not be changed.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.books.calls[max(0, len(s.books.calls)-s.cfg.KeepCalls):])
}

// Reset forgets bills, calls and server-wide faults. Calls being answered now
// will still be entered.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.books, s.faults = newBooks(), Faults{}
}
