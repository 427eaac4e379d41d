package pricing

import (
	"bytes"
	"fmt"

	"aigateway/budget"
)

// A body of 8 MiB can have a million names, each of which is noted to find those
// that are there twice: some hundred megabytes and a second for one call. The
// limits are ten times what agents send in sessions of a million tokens, whose
// longest had some 25,000 members in objects of at most 5,000 and, as token ids,
// 200,000 elements.
const (
	maxMembers      = 250_000   // of all objects together
	maxMembersOfOne = 50_000    // of one object
	maxValues       = 2_000_000 // members and elements of arrays together
	leastMember     = 4         // bytes: "":0
)

// checkShape refuses a body with more parts than any call has. It reads only
// bodies that are long enough, and those with as many separators.
func checkShape(body []byte) error {
	count := func(c byte) int { return bytes.Count(body, []byte{c}) }
	switch {
	case len(body) <= maxMembersOfOne*leastMember:
		return nil
	case count(':') <= maxMembersOfOne && (len(body) <= maxValues || count(',')+count('[')+count('{') <= maxValues):
		return nil
	}
	var s shape
	for at := 0; at < len(body); at++ {
		if body[at] == '"' {
			at += stringEnd(body[at:])
			continue
		}
		if err := s.next(body[at]); err != nil {
			return err
		}
	}
	return nil
}

// stringEnd is the offset of the quote that ends a string, or of the end of the
// body where none does.
func stringEnd(s []byte) int {
	for at := 1; at < len(s); at++ {
		switch s[at] {
		case '"':
			return at
		case '\\':
			at++
		}
	}
	return len(s)
}

// shape is what was counted so far of a body outside its strings.
type shape struct {
	members, values int
	open            []int32 // members of each object or array around
}

// maxDepth is what the decoder takes; deeper bodies are its to refuse.
const maxDepth = 10_000

func (s *shape) next(c byte) error {
	switch c {
	case '{', '[':
		if len(s.open) < maxDepth {
			s.open = append(s.open, 0)
		}
		s.values++
	case '}', ']':
		s.open = s.open[:max(0, len(s.open)-1)]
	case ',':
		s.values++
	case ':':
		s.members++
		if n := len(s.open); n > 0 {
			if s.open[n-1]++; s.open[n-1] > maxMembersOfOne {
				return tooMany("members in one object", maxMembersOfOne)
			}
		}
	default:
		return nil
	}
	switch {
	case s.members > maxMembers:
		return tooMany("members in all its objects", maxMembers)
	case s.values > maxValues:
		return tooMany("members and elements", maxValues)
	}
	return nil
}

func tooMany(what string, limit int) error {
	return &budget.Error{
		Kind: budget.KindTooLarge, Reason: "body_too_many_values",
		Message: fmt.Sprintf("the body has more than %d %s, which is the limit; send fewer in a call", limit, what),
	}
}

// lookUpEvery is how many values are read between two looks at the context.
const lookUpEvery = 4096

// waiting is an error once nobody waits for the call any more.
func (p *parser) waiting() error {
	if p.read++; p.read%lookUpEvery != 0 {
		return nil
	}
	return p.ctx.Err()
}
