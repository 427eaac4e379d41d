package fakeprovider

import (
	"encoding/json"
	"fmt"
	"math"
)

// rerankRequest is a request to rerank documents for a query.
type rerankRequest struct {
	query     string
	documents []string
	topN      int64
	perDoc    int64 // tokens of a document that are read, Cohere's default if not said
	show      bool  // return the documents
}

func (c *call) readRerank() (rerankRequest, *refusal) {
	m, bad := c.members()
	if bad != nil {
		return rerankRequest{}, bad
	}
	if bad := c.model(m); bad != nil {
		return rerankRequest{}, bad
	}
	req := rerankRequest{perDoc: 4096}
	var documents []json.RawMessage
	for name, to := range map[string]any{
		"query": &req.query, "documents": &documents, "top_n": &req.topN, "top_k": &req.topN,
		"max_tokens_per_doc": &req.perDoc, "return_documents": &req.show,
	} {
		if bad := m.read(name, to); bad != nil {
			return rerankRequest{}, bad
		}
	}
	if req.query == "" || len(documents) == 0 || req.perDoc < 1 {
		return rerankRequest{}, invalid("documents", "'query' and 'documents' must not be empty.")
	}
	for i, raw := range documents {
		var object struct {
			Text string `json:"text"`
		}
		if json.Unmarshal(raw, &object.Text) != nil && json.Unmarshal(raw, &object) != nil {
			return rerankRequest{}, invalid(fmt.Sprintf("documents[%d]", i), "Each document must be a text.")
		}
		req.documents = append(req.documents, object.Text)
	}
	if req.topN == 0 {
		req.topN = int64(len(req.documents))
	}
	return req, nil
}

// use is what the call costs: search units at Cohere, tokens elsewhere, where
// the query counts once per document.
func (c *call) rerankUse(req rerankRequest) tokens {
	count := textTokens
	if c.faults.Max {
		count = func(text string) int64 { return int64(len(text)) }
	}
	query, chunks, all := count(req.query), int64(0), int64(0)
	room := 500 - min(query, 250) // each chunk of a long document repeats the query
	for _, d := range req.documents {
		n := min(count(d), req.perDoc)
		chunks += max(1, (n+room-1)/room)
		all += query + n
	}
	if c.server.cfg.Dialect == Cohere {
		return tokens{units: (chunks + 99) / 100}
	}
	return tokens{prompt: all}
}

func (c *call) serveRerank() {
	req, bad := c.readRerank()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	if !c.misbehave("query", req.query) {
		return
	}
	use := c.rerankUse(req)
	if !c.beginOrBill(use) {
		return
	}
	c.bill(use)
	c.deliverJSON(c.ranking(req, use))
}

type rankedText struct {
	Index    int             `json:"index"`
	Score    json.RawMessage `json:"relevance_score"`
	Document json.RawMessage `json:"document,omitempty"`
}

type ranking struct {
	ID      string          `json:"id,omitempty"`
	Object  string          `json:"object,omitempty"`
	Model   string          `json:"model,omitempty"`
	Results []rankedText    `json:"results,omitempty"`
	Data    []rankedText    `json:"data,omitempty"` // Voyage
	Meta    json.RawMessage `json:"meta,omitempty"` // Cohere
	Usage   json.RawMessage `json:"usage,omitempty"`
	Extra   json.RawMessage `json:"x_fake,omitempty"`
}

// ranking keeps the documents' order, which is as good as any.
func (c *call) ranking(req rerankRequest, use tokens) ranking {
	out := ranking{Extra: c.extra()}
	var list []rankedText
	for i, text := range req.documents[:min(int64(len(req.documents)), req.topN)] {
		r := rankedText{Index: i, Score: fmt.Appendf(nil, "%.7f", math.Pow(0.9, float64(i+1)))}
		if req.show {
			r.Document = marshal(map[string]string{"text": text})
		}
		list = append(list, r)
	}
	if c.server.cfg.Dialect == Cohere {
		out.ID, out.Results, out.Meta = "00000000-0000-4000-8000-000000000000", list, c.rerankMeta(use)
		return out
	}
	out.Object, out.Model, out.Results = "list", c.served(), list
	if c.server.cfg.Dialect == Voyage {
		out.Results, out.Data = nil, list
	}
	switch {
	case c.faults.NoUsage:
	case c.faults.BadUsage:
		out.Usage = json.RawMessage(`{"total_tokens":"all"}`)
	default:
		out.Usage = fmt.Appendf(nil, `{"total_tokens":%d}`, use.prompt)
	}
	return out
}

// rerankMeta bills units; the tokens beside them are not what is billed.
func (c *call) rerankMeta(use tokens) json.RawMessage {
	switch {
	case c.faults.NoUsage:
		return json.RawMessage(`{"api_version":{"version":"2"}}`)
	case c.faults.BadUsage:
		return json.RawMessage(`{"billed_units":{"search_units":"many"}}`)
	}
	return fmt.Appendf(nil, `{"api_version":{"version":"2"},"billed_units":{"search_units":%d.0},"tokens":{"input_tokens":1234567}}`, use.units)
}
