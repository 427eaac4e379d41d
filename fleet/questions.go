package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"aigateway/budget"
)

const (
	// questionsEvery is how soon a gateway hears of a question.
	questionsEvery = 250 * time.Millisecond
	// answerWithin is how long answers are waited for.
	answerWithin = 2 * time.Second
	// asking is how many questions this gateway asks at a time; the others wait.
	asking = 8
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

// errOverloaded is no fault of the store.
var errOverloaded = &budget.Error{Kind: budget.KindRateLimited, Reason: "too_many_at_once",
	Message: fmt.Sprintf("this gateway already asks the others %d questions, which is the most at once; retry in a moment, or ask another gateway", asking)}

// answered is an answer as it is in the store; Error is for the asker's log.
type answered struct {
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// Self is this gateway's id.
func (f *Fleet) Self() string { return f.c.ID }

// Ask implements adminapi.Peers: this gateway answers at once, the others within a
// quarter of a second, usually.
func (f *Fleet) Ask(ctx context.Context, kind string, question []byte, past bool) (answers map[string][]byte, unreachable []string, err error) {
	most := min(answerBytes, answersBytes/int(max(1, f.peers.Load())))
	own, err := f.c.Answer(ctx, kind, question, most)
	if err != nil {
		return nil, nil, err
	}
	answers = map[string][]byte{f.c.ID: own}
	texts, missing, err := f.askOthers(ctx, kind, asked{most, question}, own, past)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if errors.Is(err, errOverloaded) {
			return nil, nil, err
		}
		f.c.Log.Warn("the other gateways cannot be asked: the answer is of this one alone", "question", kind, "error", err)
		return answers, []string{budget.StoreName}, nil
	}
	for id, text := range texts {
		if id == f.c.ID {
			continue
		}
		var a answered
		err = json.Unmarshal(text, &a)
		if err == nil && a.Error != "" {
			err = errors.New(a.Error)
		}
		if err != nil {
			f.c.Log.Warn("a gateway could not answer", "gateway", id, "question", kind, "error", err)
			missing = append(missing, id)
			continue
		}
		answers[id] = a.Body
	}
	f.peers.Store(int64(len(texts) + len(missing)))
	return answers, missing, nil
}

func (f *Fleet) askOthers(ctx context.Context, kind string, q asked, own []byte, past bool) (texts map[string][]byte, missing []string, err error) {
	m, err := f.member()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	select {
	case f.asking <- struct{}{}:
		defer func() { <-f.asking }()
	case <-ctx.Done():
		return nil, nil, errOverloaded
	}
	text, err := json.Marshal(q)
	if err != nil {
		return nil, nil, err
	}
	mine, err := json.Marshal(answered{Body: own})
	if err != nil {
		return nil, nil, err
	}
	span := time.Duration(0)
	if past {
		span = f.c.Retention
	}
	return m.Ask(ctx, kind, text, mine, answerWithin, span)
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
	body, err := f.c.Answer(ctx, q.Kind, a.Body, min(a.Most, answerBytes))
	switch {
	case err != nil:
		return answered{Error: err.Error()}
	case len(body) > answerBytes:
		return answered{Error: fmt.Sprintf("the answer has %d bytes, which is too much", len(body))}
	}
	return answered{Body: body}
}

// Replicas are all gateways of the store that were not forgotten.
func (f *Fleet) Replicas(ctx context.Context) ([]budget.ReplicaStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	list, err := f.c.Store.Replicas(ctx)
	return list, unreachable(err)
}
