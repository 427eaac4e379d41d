package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"aigateway/budget"
)

const (
	// questionsEvery is how soon a gateway hears of a question.
	questionsEvery = 250 * time.Millisecond
	// answerWithin is how long answers are waited for.
	answerWithin = 2 * time.Second
	// asking is how many rounds of questions this gateway has at a time, and turnFor how soon
	// after one, at the latest, the next one begins: a gateway that does not answer is not
	// waited for by the questions of all.
	asking  = 8
	turnFor = 400 * time.Millisecond
	// together is how many questions a round has, togetherBytes how long they are.
	together      = 32
	togetherBytes = 256 << 10
	// answering is how many it answers at a time: one that takes long is not the only one.
	answering = 2
	// answersBytes is what all answers to a question have in all, about.
	answersBytes = 8 << 20
	// answerBytes is the most of one, which is less than the store takes.
	answerBytes = 1<<20 - 64<<10
)

// asked is a question as it is in the store.
type asked struct {
	Most int             `json:"most"` // bytes of an answer
	Body json.RawMessage `json:"body"`
}

// answered is an answer as it is in the store; Error is for the asker's log.
type answered struct {
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// Self is this gateway's id.
func (f *Fleet) Self() string { return f.c.ID }

// Ask implements adminapi.Peers: this gateway answers at once, the others within a
// quarter of a second, usually. What comes while a question is asked is asked together
// behind it, so the store has a few questions a second of this gateway, however many
// pages watch it.
func (f *Fleet) Ask(ctx context.Context, kind string, question []byte, past bool) (answers map[string][]byte, unreachable []string, err error) {
	most := min(answerBytes, answersBytes/int(max(1, f.peers.Load())))
	own, err := f.c.Answer(ctx, kind, question, most)
	if err != nil {
		return nil, nil, err
	}
	r, n, err := f.askOthers(ctx, part{kind, most, question}, past)
	if err != nil {
		return nil, nil, err
	}
	answers = map[string][]byte{f.c.ID: own}
	if r.err != nil {
		f.c.Log.Warn("the other gateways cannot be asked: the answer is of this one alone", "question", kind, "error", r.err)
		return answers, []string{budget.StoreName}, nil
	}
	unreachable = slices.Clone(r.missing)
	for id, all := range r.answers {
		if a := all[n]; a.Error != "" {
			f.c.Log.Warn("a gateway could not answer", "gateway", id, "question", kind, "error", a.Error)
			unreachable = append(unreachable, id)
		} else {
			answers[id] = a.Body
		}
	}
	return answers, unreachable, nil
}

// askOthers returns the round that p was in, and its place there, once it is over.
func (f *Fleet) askOthers(ctx context.Context, p part, past bool) (r *round, n int, err error) {
	for {
		r, n = f.join(p, past)
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
		switch {
		case errors.Is(r.err, errOverloaded):
			return nil, 0, r.err
		case errors.Is(r.err, errApart):
			continue
		}
		return r, n, nil
	}
}

// answer answers what is asked of this gateway.
func (f *Fleet) answer(ctx context.Context) error {
	m, err := f.member()
	if err != nil {
		return err
	}
	questions, err := m.Questions(ctx)
	if err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(answering)
	for _, q := range questions {
		work.Go(func() error {
			text, err := json.Marshal(f.answerTo(ctx, q))
			if err != nil {
				return err
			}
			return m.Answer(ctx, q.ID, text)
		})
	}
	return work.Wait()
}

func (f *Fleet) answerTo(ctx context.Context, q budget.Question) answered {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var a asked
	err := json.Unmarshal(q.Body, &a)
	if err != nil {
		return answered{Error: "the question cannot be read"}
	}
	if q.Kind == several {
		return f.answerAll(ctx, a)
	}
	return f.answerOne(ctx, part{q.Kind, a.Most, a.Body})
}

// Replicas are all gateways of the store that were not forgotten.
func (f *Fleet) Replicas(ctx context.Context) ([]budget.ReplicaStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	list, err := f.c.Store.Replicas(ctx)
	return list, unreachable(err)
}
