package fakeprovider

import (
	"maps"
	"math/big"
	"net/http"
	"slices"
	"time"
)

// Price is what one token costs, in pico-USD (1e-12 dollars). One dollar per
// million tokens is 1,000,000 pico-USD per token.
type Price struct {
	Input          int64
	CacheRead      int64 // of prompt tokens read from a cache
	CacheWrite     int64 // of prompt tokens written to a cache; 0: as Input
	CacheWriteLong int64 // of those that stay there for an hour or longer; 0: as CacheWrite
	Output         int64
	InputMedia     int64 // of images and audio in the prompt; 0: as Input
	OutputMedia    int64 // of generated images and speech; 0: as Output

	WebSearch  int64 // of one search
	SearchUnit int64 // of one unit of a rerank
	Image      int64 // of one generated image; 0: images are billed by token
	Character  int64 // of one character to be spoken; 0: speech is billed by token
	Second     int64 // of one second of a recording; 0: recordings are billed by token

	// Grid is how many cells the long edge of a generated image has, by quality,
	// where its tokens are counted as OpenAI's calculator for gpt-image-2 does. nil:
	// as it publishes them for gpt-image-1.
	Grid map[string]int64
}

// Factor multiplies the price of tokens.
type Factor struct{ Num, Den int64 }

// Bill is what a set of calls costs.
type Bill struct {
	Calls            int64 `json:"calls"` // billed calls: refused ones are not among them
	NanoUSD          int64 `json:"nano_usd"`
	PromptTokens     int64 `json:"prompt_tokens"` // cached and written ones, too
	CachedTokens     int64 `json:"cached_tokens"`
	WrittenTokens    int64 `json:"written_tokens"`
	WrittenLong      int64 `json:"written_long_tokens"` // of an hour or longer, not in WrittenTokens
	CompletionTokens int64 `json:"completion_tokens"`   // reasoning, too
	WebSearches      int64 `json:"web_searches"`
	SearchUnits      int64 `json:"search_units"`
	Images           int64 `json:"images"`
	Characters       int64 `json:"characters"`
	Seconds          int64 `json:"seconds"`
}

// Call is one request as it arrived, and what became of it.
type Call struct {
	At     time.Time   `json:"at"`
	Method string      `json:"method"`
	Path   string      `json:"path"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`

	Model  string `json:"model"`
	User   string `json:"user"` // the body's user member, or metadata.user_id
	Stream bool   `json:"stream"`

	Status     int    `json:"status"` // 0 when the connection was reset before headers
	Answer     []byte `json:"answer"` // its body, as far as it was sent
	Billed     Bill   `json:"billed"`
	ClientLeft bool   `json:"client_left"` // before the answer was complete
}

// books is every bill, and the newest calls.
type books struct {
	total  Bill
	byUser map[string]Bill
	calls  []Call
}

func newBooks() books { return books{byUser: map[string]Bill{}} }

// tokens is what a call used.
type tokens struct {
	prompt                       int64 // the next three are among them
	cached, written, writtenLong int64
	completion                   int64
	searches, units              int64

	mediaIn, mediaOut           int64 // of prompt and of completion
	images, characters, seconds int64 // where they are what is billed
}

// cost prices a call, rounded up once to a whole nano-USD.
func (p Price) cost(t tokens, tier Factor) int64 {
	write := p.CacheWrite
	if write == 0 {
		write = p.Input
	}
	long := p.CacheWriteLong
	if long == 0 {
		long = write
	}
	sum := new(big.Int)
	add := func(count, price int64) { sum.Add(sum, new(big.Int).Mul(big.NewInt(count), big.NewInt(price))) }
	mediaIn, mediaOut := p.InputMedia, p.OutputMedia
	if mediaIn == 0 {
		mediaIn = p.Input
	}
	if mediaOut == 0 {
		mediaOut = p.Output
	}
	add(t.prompt-t.mediaIn-t.cached-t.written-t.writtenLong, p.Input)
	add(t.mediaIn, mediaIn)
	add(t.mediaOut, mediaOut)
	add(t.cached, p.CacheRead)
	add(t.written, write)
	add(t.writtenLong, long)
	add(t.completion-t.mediaOut, p.Output)
	den := big.NewInt(1000)
	if tier.Den > 0 {
		sum.Mul(sum, big.NewInt(tier.Num))
		den.Mul(den, big.NewInt(tier.Den))
	}
	fees := new(big.Int).Mul(big.NewInt(t.searches), big.NewInt(p.WebSearch))
	for _, f := range [][2]int64{{t.units, p.SearchUnit}, {t.images, p.Image}, {t.characters, p.Character}, {t.seconds, p.Second}} {
		fees.Add(fees, new(big.Int).Mul(big.NewInt(f[0]), big.NewInt(f[1])))
	}
	if tier.Den > 0 {
		fees.Mul(fees, big.NewInt(tier.Den))
	}
	sum.Add(sum, fees)
	sum.Add(sum, den)
	sum.Sub(sum, big.NewInt(1))
	return sum.Quo(sum, den).Int64()
}

// cost is what t costs at the call's model, tier and host.
func (c *call) cost(t tokens) int64 {
	return c.server.cfg.Models[c.record.Model].cost(t, c.factor())
}

// bill puts tokens and their price on the call.
func (c *call) bill(t tokens) {
	c.record.Billed = Bill{
		Calls:            1,
		NanoUSD:          c.cost(t),
		PromptTokens:     t.prompt,
		CachedTokens:     t.cached,
		WrittenTokens:    t.written,
		WrittenLong:      t.writtenLong,
		CompletionTokens: t.completion,
		WebSearches:      t.searches,
		SearchUnits:      t.units,
		Images:           t.images,
		Characters:       t.characters,
		Seconds:          t.seconds,
	}
}

func (b Bill) plus(o Bill) Bill {
	return Bill{
		Calls:            b.Calls + o.Calls,
		NanoUSD:          b.NanoUSD + o.NanoUSD,
		PromptTokens:     b.PromptTokens + o.PromptTokens,
		CachedTokens:     b.CachedTokens + o.CachedTokens,
		WrittenTokens:    b.WrittenTokens + o.WrittenTokens,
		WrittenLong:      b.WrittenLong + o.WrittenLong,
		CompletionTokens: b.CompletionTokens + o.CompletionTokens,
		WebSearches:      b.WebSearches + o.WebSearches,
		SearchUnits:      b.SearchUnits + o.SearchUnits,
		Images:           b.Images + o.Images,
		Characters:       b.Characters + o.Characters,
		Seconds:          b.Seconds + o.Seconds,
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
