package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"aigateway/budget"
)

// several is the kind of a question that is some at once.
const several = "several"

// part is one of several questions.
type part struct {
	Kind string          `json:"kind"`
	Most int             `json:"most"` // bytes of an answer
	Body json.RawMessage `json:"body"`
}

// round is what is asked at once. Fleet.rounding guards its parts until it is asked; what
// follows done is there once that is closed.
type round struct {
	parts []part
	bytes int
	past  bool
	alone bool // it has one part, and waits for no turn

	done    chan struct{}
	answers map[string][]answered // of the other gateways, each in the order of parts
	missing []string
	err     error
}

var (
	// errOverloaded is no fault of the store.
	errOverloaded = &budget.Error{Kind: budget.KindRateLimited, Reason: "too_many_at_once",
		Message: "this gateway already asks the others as many questions as it may at once; retry in a moment, or ask another gateway"}
	// errApart is that a gateway of an older program does not know of several questions.
	errApart = errors.New("each question has to be asked by itself")
)

// apartFor is for how long errApart is believed.
const apartFor = time.Minute

// join puts a question into the round that is asked next, and returns that and its place
// there.
func (f *Fleet) join(p part, past bool) (r *round, n int) {
	f.rounding.Lock()
	defer f.rounding.Unlock()
	most := together
	if time.Since(f.apart) < apartFor {
		most = 1
	}
	r = f.next[past]
	if r == nil || len(r.parts) >= most || r.bytes+len(p.Body) > togetherBytes {
		r = &round{past: past, alone: most == 1, done: make(chan struct{})}
		f.next[past] = r
		go f.ask(r)
	}
	r.parts, r.bytes = append(r.parts, p), r.bytes+len(p.Body)
	return r, len(r.parts) - 1
}

// begin ends the time in which questions may join r.
func (f *Fleet) begin(r *round) {
	f.rounding.Lock()
	defer f.rounding.Unlock()
	if f.next[r.past] == r {
		delete(f.next, r.past)
	}
}

// ask asks r in its turn. Who has asked may be gone meanwhile; others wait.
func (f *Fleet) ask(r *round) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	r.err = errOverloaded
	defer f.begin(r) // it may not have come to that
	select {
	case f.asking <- struct{}{}:
		defer func() { <-f.asking }()
	case <-ctx.Done():
		return
	}
	if !r.alone {
		select {
		case f.turn <- struct{}{}:
		case <-ctx.Done():
			return
		}
		over := sync.OnceFunc(func() { <-f.turn })
		defer over()
		defer time.AfterFunc(turnFor, over).Stop()
	}
	f.begin(r)
	r.err = f.askRound(ctx, r)
}

func (f *Fleet) askRound(ctx context.Context, r *round) error {
	kind, q := r.parts[0].Kind, asked{r.parts[0].Most, r.parts[0].Body}
	if len(r.parts) > 1 {
		for i := range r.parts {
			r.parts[i].Most = min(r.parts[i].Most, answerBytes/len(r.parts))
		}
		body, err := json.Marshal(r.parts)
		if err != nil {
			return err
		}
		kind, q = several, asked{answerBytes, body}
	}
	text, err := json.Marshal(q)
	if err != nil {
		return err
	}
	m, err := f.member()
	if err != nil {
		return err
	}
	span := time.Duration(0)
	if r.past {
		span = f.c.Retention
	}
	texts, missing, err := m.Ask(ctx, kind, text, []byte("{}"), answerWithin, span) // nobody reads our own answer there
	if err != nil {
		return err
	}
	f.peers.Store(int64(len(texts) + len(missing)))
	delete(texts, f.c.ID)
	r.answers, r.missing = map[string][]answered{}, missing
	for id, text := range texts {
		all, ok := answersOf(text, len(r.parts))
		if !ok {
			f.rounding.Lock()
			f.apart = time.Now()
			f.rounding.Unlock()
			return errApart
		}
		r.answers[id] = all
	}
	return nil
}

// answersOf reads the answers of one gateway to n questions. It is not ok where that knew
// of no more than one at once.
func answersOf(text []byte, n int) (all []answered, ok bool) {
	var a answered
	err := json.Unmarshal(text, &a)
	if n == 1 {
		if err != nil {
			a = answered{Error: fmt.Sprintf("its answer cannot be read: %v", err)}
		}
		return []answered{a}, true
	}
	if err != nil || a.Error != "" || json.Unmarshal(a.Body, &all) != nil {
		return nil, false
	}
	return all, len(all) == n
}

// answerAll answers several questions, as far as there is room.
func (f *Fleet) answerAll(ctx context.Context, q asked) answered {
	var parts []part
	err := json.Unmarshal(q.Body, &parts)
	if err != nil {
		return answered{Error: "the questions cannot be read"}
	}
	all := make([]answered, len(parts))
	work := errgroup.Group{}
	work.SetLimit(answering)
	ctx, cancel := context.WithTimeout(ctx, answerWithin*3/4) // one that takes too long is missing alone
	defer cancel()
	for i, p := range parts {
		work.Go(func() error { all[i] = f.answerOne(ctx, p); return nil })
	}
	_ = work.Wait() // none fails
	room := answerBytes
	for i := range all {
		if len(all[i].Body) > room {
			all[i] = answered{Error: "the answers have too many bytes together"}
		}
		room -= len(all[i].Body)
	}
	body, err := json.Marshal(all)
	if err != nil {
		return answered{Error: err.Error()}
	}
	return answered{Body: body}
}

// answerOne answers one question.
func (f *Fleet) answerOne(ctx context.Context, p part) answered {
	body, err := f.c.Answer(ctx, p.Kind, p.Body, min(p.Most, answerBytes))
	switch {
	case err != nil:
		return answered{Error: err.Error()}
	case len(body) > answerBytes:
		return answered{Error: fmt.Sprintf("the answer has %d bytes, which is too much", len(body))}
	}
	return answered{Body: body}
}
