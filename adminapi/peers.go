package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"aigateway/budget"
)

// Peers are all gateways that share a store, this one too.
type Peers interface {
	// Self is this gateway's id.
	Self() string
	// Ask asks each gateway, and returns what its Server.Answer said, by its id. Those
	// that did not answer in time are unreachable, and with past those that have
	// stopped, too: they have a past. Where the store that they are asked through is
	// away, only this gateway has answered, and budget.StoreName is unreachable.
	Ask(ctx context.Context, kind string, question []byte, past bool) (answers map[string][]byte, unreachable []string, err error)
	// Replicas are the gateways as the store knows them.
	Replicas(ctx context.Context) ([]budget.ReplicaStatus, error)
}

// kind is a question that each gateway answers from what only it has. Questions and
// answers travel as JSON between programs of two versions: a question with a member
// that is not known here is not answered. What the caller may see is part of the
// question, and never left out.
type kind[Q, A any] struct {
	name string
	past bool // it is about what gateways had before they stopped, too
	// here answers for this gateway, in about most bytes.
	here func(ctx context.Context, q Q, most int) (A, error)
}

// ask returns the answers of all gateways by their ids; of one that is alone, its own
// under "".
func (k *kind[Q, A]) ask(ctx context.Context, p Peers, q Q) (answers map[string]A, unreachable []string, err error) {
	if p == nil {
		a, err := k.here(ctx, q, math.MaxInt)
		return map[string]A{"": a}, nil, err
	}
	question, err := json.Marshal(q)
	if err != nil {
		return nil, nil, fmt.Errorf("write a question: %w", err)
	}
	texts, unreachable, err := p.Ask(ctx, k.name, question, k.past)
	if err != nil {
		return nil, nil, err
	}
	answers = map[string]A{}
	for id, text := range texts {
		var a A
		if json.Unmarshal(text, &a) != nil {
			unreachable = append(unreachable, id) // of another version
			continue
		}
		answers[id] = a
	}
	slices.Sort(unreachable)
	return answers, unreachable, nil
}

// answer is here for a question of another gateway.
func (k *kind[Q, A]) answer(ctx context.Context, question []byte, most int) ([]byte, error) {
	var q Q
	d := json.NewDecoder(bytes.NewReader(question))
	d.DisallowUnknownFields() // it could be what narrows the question
	if err := d.Decode(&q); err != nil {
		return nil, fmt.Errorf("read a question: %w", err)
	}
	a, err := k.here(ctx, q, most)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// rights are the tags that a key sees, in a question.
func rights(k *budget.Key) []budget.TagPattern {
	if len(k.AllowedTags) == 0 {
		return []budget.TagPattern{budget.AllTags}
	}
	return k.AllowedTags
}

// errNoRights is of a question that does not say what its caller may see.
var errNoRights = errors.New("the question does not say which tags its caller sees")

// answerer answers questions of one kind.
type answerer func(ctx context.Context, question []byte, most int) ([]byte, error)

// kinds are all questions there are.
func kinds(c *Config) map[string]answerer {
	reservations, running, calls, ended, state := reservationsKind(c), runningKind(c), callsKind(c), endedKind(c), stateKind(c)
	return map[string]answerer{
		reservations.name: reservations.answer, running.name: running.answer, calls.name: calls.answer, ended.name: ended.answer, state.name: state.answer,
	}
}

// Answer answers what another gateway asked through Peers, in about most bytes. It may
// be called concurrently. A panic is an error: each gateway would end by the same
// question.
func (s *Server) Answer(ctx context.Context, kind string, question []byte, most int) (text []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			text, err = nil, fmt.Errorf("panic in the answer to %q: %v\n%s", kind, p, debug.Stack())
		}
	}()
	answer := s.kinds[kind]
	if answer == nil {
		return nil, fmt.Errorf("nobody knows what %q is", kind)
	}
	return answer(ctx, question, most)
}

// fitting is how many of rows take most bytes of JSON together: all, or the first
// ones.
func fitting[T any](rows []T, most int) int {
	for i := range rows {
		text, err := json.Marshal(rows[i])
		if most -= len(text) + 1; err != nil || most < 0 {
			return i
		}
	}
	return len(rows)
}
