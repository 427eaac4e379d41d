package fakeprovider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
)

// storedPath is a stored response, or what may be asked about it.
var storedPath = regexp.MustCompile(`/responses/([A-Za-z0-9_-]+)(/cancel|/input_items)?$`)

// stored is a response that can be had by its id.
type stored struct {
	id              string
	response, input json.RawMessage
}

// keep stores a response unless its request said no. The newest hundred are kept.
func (s *Server) keep(r *response, req *responsesRequest) {
	if !r.Store {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored = append(s.stored, stored{r.ID, marshal(r), req.input})
	if len(s.stored) > 100 {
		s.stored = slices.Delete(s.stored, 0, 1)
	}
}

// serveStored answers what m, a match of storedPath, asks. Nothing of it is
// billed.
func (c *call) serveStored(m []string) {
	c.server.mu.Lock()
	i := slices.IndexFunc(c.server.stored, func(r stored) bool { return r.id == m[1] })
	var found stored
	if i >= 0 {
		found = c.server.stored[i]
		if c.r.Method == http.MethodDelete {
			c.server.stored = slices.Delete(c.server.stored, i, i+1)
		}
	}
	c.server.mu.Unlock()
	switch method := c.r.Method; {
	case i < 0:
		c.refuse(refusal{http.StatusNotFound, "invalid_request_error", "", "", fmt.Sprintf("Response with id '%s' not found.", m[1])})
	case method == http.MethodGet && m[2] == "":
		c.answer(http.StatusOK, found.response)
	case method == http.MethodDelete && m[2] == "":
		c.answer(http.StatusOK, map[string]any{"id": m[1], "object": "response", "deleted": true})
	case method == http.MethodGet && m[2] == "/input_items":
		item := map[string]any{"id": "msg_input", "type": "message", "role": "user", "status": "completed", "content": []any{map[string]any{"type": "input_text", "text": string(found.input)}}}
		c.answer(http.StatusOK, map[string]any{"object": "list", "data": []any{item}, "first_id": "msg_input", "last_id": "msg_input", "has_more": false})
	case method == http.MethodPost && m[2] == "/cancel":
		c.refuse(refusal{http.StatusBadRequest, "invalid_request_error", "", "", "Cannot cancel a synchronous response."})
	default:
		c.refuse(refusal{http.StatusMethodNotAllowed, "invalid_request_error", "", "", "Not allowed."})
	}
}

// serveCompact makes a long input short: one opaque item, billed like an answer.
func (c *call) serveCompact() {
	req, bad := c.readResponses()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	p := c.prepare(req.ask, "input")
	if p == nil {
		return
	}
	c.bill(p.spent(p.total()))
	item := map[string]any{"id": fmt.Sprintf("cmp_%016x", p.seed), "type": "compaction", "encrypted_content": "gAAAAAB" + c.words(*p, 0)}
	c.deliverJSON(map[string]any{
		"id": fmt.Sprintf("resp_%016x", p.seed), "object": "response.compaction", "created_at": c.record.At.Unix(),
		"output": []any{item}, "usage": c.responseUsage(*p, p.total()),
	})
}

// serveInputTokens counts, for nothing.
func (c *call) serveInputTokens() {
	req, bad := c.readResponses()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	c.answer(http.StatusOK, map[string]any{"object": "response.input_tokens", "input_tokens": req.prompt})
}
