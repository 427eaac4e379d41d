// Package abacus is what the mutator is tried on.
package abacus

import "errors"

// Kind is a kind of sum.
type Kind string

// ErrNegative says that a number is negative.
var ErrNegative = errors.New("negative")

type sum struct {
	kind   Kind
	total  int64
	unread bool
}

// Add adds up what is at least least and of a kind known.
func Add(kind Kind, least int64, list []int64) (int64, error) {
	s := sum{kind: kind, unread: true}
	switch kind {
	case "plain", "untested":
	default:
		return 0, errors.New("no such kind")
	}
	for _, n := range list {
		if n < 0 {
			return 0, ErrNegative
		}
		if n > least || n == least {
			s.total += n
		}
	}
	return max(s.total, least), check(s.total)
}

func check(total int64) error {
	if total > 1000 {
		return errors.New("too much")
	}
	return nil
}

// Forever ends by itself.
func Forever(n int) (rounds int) {
	for i := 0; i < n; i++ {
		rounds++
	}
	return rounds
}

// Halvings is worked out before any test begins.
var Halvings = halve(7)

func halve(n int) (times int) {
	for n > 1 {
		n /= 2
		times++
	}
	return times
}
