package fakeprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is a provider's catalog and habits. Only Models is required.
type Config struct {
	// Models maps the ids the provider knows to their prices. Any other id is
	// answered 404.
	Models map[string]Price
	// Key is the only accepted key, as a bearer or, for messages, in
	// x-api-key too; empty accepts every request.
	Key string
	// Dialect is whose habits it has; the zero value is OpenAI's.
	Dialect Dialect
	// Tiers multiply the price of tokens for requests that name a
	// service_tier ("fast" is served as "priority") or a speed. Requests for
	// any other tier are served as "default".
	Tiers map[string]Factor
	// Hosts multiply the price of tokens: each is a host that OpenRouter may
	// send a call to. The dearest one within the request's provider.max_price
	// serves it; none is answered 404. Empty: one host at the model's price.
	Hosts []Factor
	// CancelsOnDisconnect stops generating when the client of a stream leaves,
	// and bills what was generated until then. Otherwise the answer is
	// generated, and billed, to its end.
	CancelsOnDisconnect bool
	// StopLag is how long such a provider takes to stop. With it, it generates a
	// portion each ChunkDelay, whether or not its client reads.
	StopLag time.Duration
	// RunningUsage reports usage in every chunk of a stream, cumulative and
	// without being asked, as Gemini does.
	RunningUsage bool
	// Refuses lists body members that are answered 422, as Mistral does with
	// stream_options.
	Refuses []string
	// DefaultOutput is the most output tokens of a choice when the request
	// has no cap; 0 is 64.
	DefaultOutput int64
	// ChunkDelay passes before each chunk of a stream.
	ChunkDelay time.Duration
	// KeepCalls is how many of the newest calls Calls returns, with their
	// bytes; 0 is 1,000. Bills are complete whatever it is.
	KeepCalls int
	// KeepAnswers also keeps the bytes that were sent.
	KeepAnswers bool
	// Control serves the endpoints under /_fake/ that read the bill and set
	// faults, without any authentication.
	Control bool
	// Now is the clock of created fields and recorded calls; nil is time.Now.
	Now func() time.Time
}

// maxBody is the largest accepted request body in bytes.
const maxBody = 64 << 20

// Server is the provider. It is an http.Handler for any path prefix: only the
// end of the path decides. It is safe for concurrent use.
type Server struct {
	cfg      Config
	inFlight atomic.Int64

	mu     sync.Mutex // guards the following
	faults Faults
	books  books
	stored []stored // oldest first
}

// New returns a provider that has served nothing yet.
func New(cfg Config) *Server {
	if cfg.DefaultOutput == 0 {
		cfg.DefaultOutput = 64
	}
	if cfg.KeepCalls == 0 {
		cfg.KeepCalls = 1000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{cfg: cfg, books: newBooks()}
}

// Serve answers on l until ctx ends, then closes every connection. It returns
// nil after such an end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // the error repeats what Serve returns
	defer stop()
	err := srv.Serve(l)
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve fake provider: %w", err)
}

// InFlight is how many requests are being answered now. A call is on the bill
// once it no longer counts here.
func (s *Server) InFlight() int { return int(s.inFlight.Load()) }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Control && strings.HasPrefix(r.URL.Path, "/_fake/") {
		s.serveControl(w, r)
		return
	}
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)

	c := &call{server: s, w: w, r: r, record: Call{At: s.cfg.Now(), Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone()}}
	defer c.close()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		c.refuse(refusal{http.StatusRequestEntityTooLarge, "invalid_request_error", "", "request_too_large", "The request body could not be read."})
		return
	}
	c.record.Body = body
	c.native = strings.HasSuffix(r.URL.Path, "/messages") || strings.HasSuffix(r.URL.Path, countTokens)
	c.serve()
}

// call is one request on its way through.
type call struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	faults Faults
	tier   string // as served; empty for the standard one
	host   Factor // that serves it; zero for the only one
	native bool   // of the messages endpoint: Anthropic's envelope
	record Call
}

// close enters the call into the books, billed for what was generated.
func (c *call) close() {
	if w, ok := c.w.(*packedWriter); ok {
		_ = w.zip.Close() // a connection that was broken has no end
	}
	c.server.enter(c.record)
}

func (c *call) serve() {
	if bad := c.authorize(); bad != nil {
		c.refuse(*bad)
		return
	}
	path := c.r.URL.Path
	at := func(method, end string) bool { return c.r.Method == method && strings.HasSuffix(path, end) }
	switch {
	case at(http.MethodPost, "/chat/completions"):
		c.serveChat()
	case at(http.MethodPost, "/completions"):
		c.serveCompletions()
	case at(http.MethodPost, "/responses"):
		c.serveResponses()
	case at(http.MethodPost, "/responses/compact"):
		c.serveCompact()
	case at(http.MethodPost, "/responses/input_tokens"):
		c.serveInputTokens()
	case storedPath.MatchString(path):
		c.serveStored(storedPath.FindStringSubmatch(path))
	case at(http.MethodPost, "/messages"):
		c.serveMessages()
	case at(http.MethodPost, countTokens):
		c.serveCount()
	case at(http.MethodPost, "/embeddings"):
		c.serveEmbeddings()
	case at(http.MethodPost, "/rerank"):
		c.serveRerank()
	case at(http.MethodPost, "/moderations"):
		c.serveModerations()
	case at(http.MethodPost, "/images/generations"), at(http.MethodPost, "/images/edits"):
		c.serveImages()
	case at(http.MethodPost, "/audio/speech"):
		c.serveSpeech()
	case at(http.MethodPost, "/audio/transcriptions"), at(http.MethodPost, "/audio/translations"):
		c.serveTranscription()
	case at(http.MethodGet, "/models"):
		c.serveModels()
	default:
		c.refuse(refusal{http.StatusNotFound, "invalid_request_error", "", "unknown_url", fmt.Sprintf("Unknown request URL: %s %s.", c.r.Method, path)})
	}
}

func (c *call) authorize() *refusal {
	key := c.server.cfg.Key
	if key == "" {
		return nil
	}
	got, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	if own := c.r.Header.Get("X-Api-Key"); c.native && own != "" {
		got, ok = own, true
	}
	if ok && got == key {
		return nil
	}
	return &refusal{http.StatusUnauthorized, "invalid_request_error", "", "invalid_api_key", "Incorrect API key provided."}
}

func (c *call) serveModels() {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	list := struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{Object: "list", Data: []model{}}
	for id := range c.server.cfg.Models {
		list.Data = append(list.Data, model{ID: id, Object: "model", Created: 1_700_000_000, OwnedBy: "fake"})
	}
	slices.SortFunc(list.Data, func(a, b model) int { return strings.Compare(a.ID, b.ID) })
	c.answer(http.StatusOK, list)
}

// refusal is an error answer in OpenAI's envelope, or Anthropic's. Refused calls
// cost nothing.
type refusal struct {
	status  int
	kind    string // error.type
	param   string // error.param; empty is null
	code    string // error.code
	message string
}

func (c *call) refuse(bad refusal) {
	if c.native {
		c.answer(bad.status, anthropicError(bad.status, bad.message))
		return
	}
	type envelope struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	e := envelope{Message: bad.message, Type: bad.kind}
	if bad.param != "" {
		e.Param = &bad.param
	}
	if bad.code != "" {
		e.Code = &bad.code
	}
	c.answer(bad.status, map[string]envelope{"error": e})
}

// answer sends v as the whole JSON body.
func (c *call) answer(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // only maps, strings and numbers reach here
		status, body = http.StatusInternalServerError, []byte(`{"error":{"message":"encode answer","type":"server_error"}}`)
	}
	c.send(status, body)
}

func (c *call) send(status int, body []byte) {
	c.record.Status = status
	h := c.w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	c.nameRequest()
	c.w.WriteHeader(status)
	out := c.pieces()
	if err := out.write(body); err != nil {
		c.record.ClientLeft = true
	}
}

// nameRequest puts the request's id into the answer's headers.
func (c *call) nameRequest() {
	name := "X-Request-Id"
	if c.native {
		name = "Request-Id"
	}
	c.w.Header().Set(name, fmt.Sprintf("req_fake_%d", c.record.At.UnixNano()))
}
