package pricing

import "bytes"

// ranking is the input of a rerank call.
type ranking struct {
	query     int64   // bytes
	documents []int64 // bytes of each
	queryAt   span
	docsAt    span
	perDoc    int64 // max_tokens_per_doc; 0: not set
	hasQuery  bool
}

// maxTokensPerDoc is where Cohere cuts a document when the body does not say.
const maxTokensPerDoc = 4096

// ranking is the call's, which a member begins.
func (p *parser) ranking() *ranking {
	if p.call.rank == nil {
		p.call.rank = &ranking{}
	}
	return p.call.rank
}

func (p *parser) perDocMember() error {
	n, set, err := p.integer(1, maxCap)
	if r := p.ranking(); set {
		r.perDoc = max(r.perDoc, n)
	}
	return err
}

func (p *parser) countMember() error {
	_, _, err := p.integer(0, maxCap)
	return err
}

func (p *parser) flagMember() error {
	_, err := p.boolean()
	return err
}

func (p *parser) rerankQuery() error {
	r := p.ranking()
	if p.dec.PeekKind() != '"' {
		if p.dec.PeekKind() == '{' {
			return p.refused("", "unbounded_media", "is an object, which has no bound; send a text")
		}
		return p.wrongType("a string")
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	end := int(p.dec.InputOffset())
	r.hasQuery, r.query, r.queryAt = true, int64(len(raw)), span{end - len(raw), end}
	return nil
}

func (p *parser) rerankDocuments() error {
	c := &p.call
	r := p.ranking()
	if p.dec.PeekKind() != '[' {
		return p.wrongType("an array of texts")
	}
	if r.documents != nil {
		return p.invalid("repeats the documents under another name; send documents once")
	}
	r.docsAt.at = int(p.dec.InputOffset())
	err := p.array(func(int) error {
		before := p.dec.InputOffset()
		switch p.dec.PeekKind() {
		case '"':
			raw, err := p.dec.ReadValue()
			r.documents = append(r.documents, int64(len(raw)))
			return err
		case '{':
			if err := p.object(p.documentMember); err != nil {
				return err
			}
		default:
			return p.wrongType("a text, or an object of texts")
		}
		raw := bytes.TrimLeft(c.body[before:p.dec.InputOffset()], " \t\r\n,")
		r.documents = append(r.documents, int64(len(raw)))
		return nil
	})
	r.docsAt.end = int(p.dec.InputOffset())
	c.items = int64(len(r.documents))
	return err
}

// documentMember reads a field of a document; only text has a bound.
func (p *parser) documentMember(name []byte) error {
	if documentObject.named[string(name)] == nil && documentObject.respelt(name) == nil {
		if k := p.dec.PeekKind(); k == '{' || k == '[' {
			return p.refused("", "unbounded_media", "is no text and has no bound; send documents as text")
		}
	}
	_, err := p.find(documentObject, name)
	return err
}

// searchUnits is the most Cohere bills: a unit is a query with up to 100
// documents, and a long document counts once per chunk, each of which repeats
// the query.
func (r *ranking) searchUnits() int64 {
	const (
		window    = 500 // tokens of a chunk, the query's included
		queryMost = 250 // of which the query takes at most so many: unverified
		perUnit   = 100
	)
	perDoc := int64(maxTokensPerDoc)
	if r.perDoc > 0 {
		perDoc = r.perDoc
	}
	room := window - min(r.query, queryMost)
	chunks := int64(0)
	for _, d := range r.documents {
		chunks += max(1, (min(d, perDoc)+room-1)/room)
	}
	return (chunks + perUnit - 1) / perUnit
}

// tokens is the most input tokens of a reranker that bills by token: the query
// counts once per document.
func (r *ranking) tokens(body []byte, perByte ratio, nfkc bool) int64 {
	n := int64(len(r.documents))
	query, docs := r.query, int64(0)
	for _, d := range r.documents {
		docs += d
	}
	if nfkc {
		query += growth(body[r.queryAt.at:r.queryAt.end])
		docs += growth(body[r.docsAt.at:r.docsAt.end])
	}
	return perByte.ceil(n*query + docs)
}
