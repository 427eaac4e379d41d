package webui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"aigateway/budget"
)

const (
	// eventsEvery is how often a stream looks for news: it has one message in that
	// time at most.
	eventsEvery = time.Second
	// eventsAlive is how long a stream says nothing, at most.
	eventsAlive = 15 * time.Second
	// maxStreams is how many there are at once. Further pages ask now and then.
	maxStreams = 100
)

// events streams the calls that end or are refused from now on, or from the cursor in
// Last-Event-ID on: each message is an answer of GET /v1/calls, with the query of the
// request, and its id is the answer's cursor. Without Last-Event-ID it goes on from
// after in that query, or from now.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	secret, err := h.signedIn(r)
	if err == nil { // a stream that opens and ends would be opened for ever
		_, err = h.Auth.Authenticate(secret)
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	if h.streams.Add(1) > maxStreams {
		h.streams.Add(-1)
		refuse(w, r, &budget.Error{Kind: budget.KindRateLimited, Reason: "too_many_at_once", Message: fmt.Sprintf("%d pages already watch, which is the most at once; this one asks now and then", maxStreams)})
		return
	}
	defer h.streams.Add(-1)
	s := stream{h: h, w: w, r: r, flush: http.NewResponseController(w).Flush, cursor: r.Header.Get("Last-Event-ID")}
	if s.cursor == "" {
		s.cursor = r.URL.Query().Get("after")
	}
	if s.cursor == "" {
		_, first := s.ask(url.Values{"page_size": {"1"}})
		s.cursor = first.Cursor
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if !s.write(": calls that end or are refused\n\n") {
		return
	}
	tick := time.NewTicker(eventsEvery)
	defer tick.Stop()
	for quiet := time.Duration(0); ; quiet += eventsEvery {
		select {
		case <-r.Context().Done():
			return
		case <-h.closed:
			return
		case <-tick.C:
		}
		if said, ok := s.news(); !ok {
			return
		} else if said {
			quiet = 0
		}
		if quiet >= eventsAlive {
			quiet = 0
			if !s.write(": still here\n\n") {
				return
			}
		}
	}
}

// stream is one event stream.
type stream struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	flush  func() error
	cursor string
}

func (s *stream) write(text string) bool {
	_, err := s.w.Write([]byte(text))
	return err == nil && s.flush() == nil
}

// calls is what a stream needs to know of an answer.
type calls struct {
	Calls  []json.RawMessage `json:"calls"`
	Cursor string            `json:"cursor"`
}

// ask asks REST as the page would, with the rights that its session has now.
func (s *stream) ask(more url.Values) (*answer, calls) {
	r := s.r.Clone(s.r.Context())
	q := s.r.URL.Query()
	for name, v := range more {
		q[name] = v
	}
	r.Method, r.Body = http.MethodGet, http.NoBody
	r.URL.Path, r.URL.RawQuery = "/ui/api/v1/calls", q.Encode()
	a := &answer{status: http.StatusOK, header: http.Header{}}
	s.h.api(a, r)
	var c calls
	if a.status == http.StatusOK && json.Unmarshal(a.body.Bytes(), &c) != nil {
		a.status = http.StatusInternalServerError
	}
	return a, c
}

// news sends what happened since the cursor. It is not ok when the stream is over: the
// page then asks itself, and learns why.
func (s *stream) news() (said, ok bool) {
	a, c := s.ask(url.Values{"after": {s.cursor}})
	if a.status != http.StatusOK {
		return false, false
	}
	s.cursor = c.Cursor
	if len(c.Calls) == 0 {
		return false, true
	}
	return true, s.write("id: " + c.Cursor + "\ndata: " + string(bytes.ReplaceAll(a.body.Bytes(), []byte("\n"), nil)) + "\n\n")
}

// answer keeps an answer of REST.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// Close ends the streams, so that a server can shut down.
func (h *Handler) Close() { h.once.Do(func() { close(h.closed) }) }
