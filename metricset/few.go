package metricset

import "iter"

const (
	maxFew    = 200
	idleAfter = 10_000
)

// Few has a value for each of a few names that others choose, such as tags: 200
// names have one of their own, and the rest share the one of the empty name. A
// name that was not used in the last 10,000 uses gives its place to one that
// comes. It is not safe for concurrent use.
type Few[V any] struct {
	leave  func(name string, idle, rest *V)
	rest   V
	byName map[string]*used[V]
	uses   int64
}

// used is a value and which use was its last.
type used[V any] struct {
	value V
	last  int64
}

// NewFew returns an empty one. leave counts the value of a name that gives its
// place with the rest.
func NewFew[V any](leave func(name string, idle, rest *V)) *Few[V] {
	return &Few[V]{leave: leave, byName: make(map[string]*used[V])}
}

// Use returns the value to count a use of name with, and the name that it has. The
// value is the caller's until the next use.
func (f *Few[V]) Use(name string) (as string, value *V) {
	f.uses++
	found := f.byName[name]
	if found == nil {
		if name == "" || len(f.byName) == maxFew && !f.evict() {
			return "", &f.rest
		}
		found = &used[V]{}
		f.byName[name] = found
	}
	found.last = f.uses
	return name, &found.value
}

// Get is the value that name has for its own; nil where it has none.
func (f *Few[V]) Get(name string) *V {
	if found := f.byName[name]; found != nil {
		return &found.value
	}
	return nil
}

// All are the names with their values, and the empty one with the rest's.
func (f *Few[V]) All() iter.Seq2[string, *V] {
	return func(yield func(string, *V) bool) {
		for name, u := range f.byName {
			if !yield(name, &u.value) {
				return
			}
		}
		yield("", &f.rest)
	}
}

// evict takes the place of the name that was idle longest, if that is long.
func (f *Few[V]) evict() bool {
	oldest, last := "", f.uses-idleAfter
	for name, u := range f.byName {
		if u.last <= last {
			oldest, last = name, u.last
		}
	}
	idle := f.byName[oldest]
	if idle == nil {
		return false
	}
	f.leave(oldest, &idle.value, &f.rest)
	delete(f.byName, oldest)
	return true
}
