package accounting

import (
	"strings"
	"sync"

	"aigateway/envoy"
	"aigateway/pricing"
)

// maxAnswers is how many ids of answers and of their items are kept: a few
// thousand turns of agents. What is forgotten is bounded by the context instead.
const maxAnswers = 1 << 16

// Answers remembers what answers can amount to when a later call names them. It
// is safe for concurrent use; the nil one remembers nothing.
type Answers struct {
	mu     sync.Mutex
	byName map[answerName]*answer
	order  []answerName // of their arrival; next is the oldest once it is full
	next   int
}

// answerName is an id at the provider that gave it: another may give the same.
type answerName struct{ provider, id string }

// answer is one response.
type answer struct {
	keyID, model string
	pricing.Answered
}

// NewAnswers returns an empty memory.
func NewAnswers() *Answers { return &Answers{byName: make(map[answerName]*answer)} }

// observe remembers the answer of a settled call. The same entry may come by
// both channels, and then says the same.
func (a *Answers) observe(l *envoy.LogLine, token *envoy.Token, out *pricing.Outcome) {
	if a == nil || l.AnswerID == "" {
		return
	}
	of, ok := pricing.Answer(token.Pin, *out)
	if !ok {
		return
	}
	known := &answer{keyID: token.KeyID, model: token.Model, Answered: of}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keep(answerName{token.Provider, l.AnswerID}, known)
	for _, id := range l.ItemIDs {
		a.keep(answerName{token.Provider, id}, known)
	}
}

// keep must be called with mu held. Of two answers with one id neither is
// known: a provider that numbers them anew at each start has many.
func (a *Answers) keep(name answerName, of *answer) {
	if have, ok := a.byName[name]; ok {
		if have != nil && *have != *of {
			a.byName[name] = nil
		}
		return
	}
	name.id = strings.Clone(name.id) // a part of the whole report, which would stay for it
	a.byName[name] = of
	if len(a.order) < maxAnswers {
		a.order = append(a.order, name)
		return
	}
	delete(a.byName, a.order[a.next])
	a.order[a.next] = name
	a.next = (a.next + 1) % maxAnswers
}

// Tokens is the most input tokens that names together can amount to in a call
// of the model with the key; false when some of them may be anything. whole says
// that the reasoning of all turns counts, whatever a turn left out.
func (a *Answers) Tokens(keyID, model string, names []pricing.StoredName, whole bool) (int64, bool) {
	if a == nil {
		return 0, false
	}
	provider, _, _ := strings.Cut(model, "/")
	a.mu.Lock()
	defer a.mu.Unlock()
	uses := make(map[*answer]*use, len(names))
	seen := make(map[string]bool, len(names))
	sum := int64(0)
	for _, n := range names {
		of := a.byName[answerName{provider, n.ID}]
		if of != nil && of.model != model {
			of = nil
		}
		carried := n.Kind == pricing.CarriedItem
		switch {
		case carried && of == nil:
			continue // its bytes are its bound
		case of == nil, !carried && (of.keyID != keyID || seen[n.ID]):
			return 0, false
		case whole && !of.Whole && (n.Kind == pricing.StoredResponse || n.Kind == pricing.StoredToolUse):
			return 0, false
		}
		seen[n.ID] = true
		u := uses[of]
		if u == nil {
			u = &use{}
			uses[of] = u
		}
		switch n.Kind {
		case pricing.StoredResponse:
			sum += of.Response // beside what of it is named by itself
		case pricing.StoredToolUse:
			u.all = true
		case pricing.StoredItem:
			u.output = true
		case pricing.CarriedItem:
			u.carried += n.Bytes
		}
	}
	for of, u := range uses {
		sum += u.tokens(of)
	}
	return sum, true
}

// Foreign reports whether the provider gave the id to an answer of another key.
func (a *Answers) Foreign(keyID, provider, id string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.byName[answerName{provider, id}]
	return of != nil && of.keyID != keyID
}

// use is what of one answer is named.
type use struct {
	all, output bool
	carried     int64 // bytes that stand in the body and count there
}

func (u *use) tokens(of *answer) int64 {
	switch {
	case u.all:
		return of.Response
	case u.output:
		return of.Output
	case u.carried > 0:
		return max(0, of.Output-u.carried)
	}
	return 0
}
