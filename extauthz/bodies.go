package extauthz

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"aigateway/budget"
)

const (
	// largeBody is the size in bytes from which a body waits for its turn. Smaller
	// ones are decided in less time than asking for one would be worth.
	largeBody = 64 << 10
	// decidedAtOnce is how many bytes of large bodies are decided at once for each
	// CPU, up to maxDeciders of them. Half of all is the most for one key, so another's body never waits for
	// more than one that is already being read.
	decidedAtOnce = 2 << 20
	maxDeciders   = 16
	// defaultBodyMemory is used where nobody knows how much memory there is.
	defaultBodyMemory = 256 << 20
	// mostRemembered is how many bytes of conversations are remembered at most; a
	// quarter of what bodies may take, where that is less.
	mostRemembered = 64 << 20
)

// bodies gives large bodies their turns, key by key: a key with many waits, and
// others are decided meanwhile. What is held, waiting or not, is bounded; of what
// is left of that, a key may take half, so that there is always room for another.
type bodies struct {
	most   int64 // bytes held
	atOnce int64 // weight decided at once

	mu     sync.Mutex
	held   int64             // bytes
	weight int64             // being decided
	served uint64            // turns and keys so far
	keys   map[string]*share // those with something held
}

// share is what one key has of it.
type share struct {
	held   int64
	weight int64
	last   uint64 // its last turn, or when it came
	queue  []*turn
}

// turn is a body that waits. ready is closed when it may be decided.
type turn struct {
	weight int64
	ready  chan struct{}
}

func newBodies(most int64) *bodies {
	if most <= 0 {
		most = defaultBodyMemory
	}
	return &bodies{most: most, atOnce: decidedAtOnce * int64(min(runtime.GOMAXPROCS(0), maxDeciders)), keys: map[string]*share{}}
}

// enter waits until a body of the key may be decided, or ctx ends. leave must be
// called once, after it was. The error is a *budget.Error of kind rate limited
// when the key itself holds too much, unavailable when others do.
func (b *bodies) enter(ctx context.Context, key string, size int) (leave func(), err error) {
	b.mu.Lock()
	s := b.keys[key]
	if s == nil {
		b.served++ // whoever came first is before others who had no turn yet
		s = &share{last: b.served}
		b.keys[key] = s
	}
	if err := b.refuse(s, int64(size)); err != nil {
		b.forget(key, s)
		b.mu.Unlock()
		return nil, err
	}
	t := &turn{weight: min(int64(size), b.atOnce/2), ready: make(chan struct{})}
	s.held += int64(size)
	b.held += int64(size)
	s.queue = append(s.queue, t)
	b.next()
	b.mu.Unlock()
	end := func() { b.end(key, s, t, int64(size)) }
	select {
	case <-t.ready:
		return end, nil
	case <-ctx.Done():
		end()
		return nil, fmt.Errorf("waiting to decide a large body: %w", ctx.Err())
	}
}

// refuse reports why a body of that size is not taken. A body alone always is:
// its size was limited before.
func (b *bodies) refuse(s *share, size int64) error {
	switch left := b.most - b.held; {
	case b.held == 0 || s.held+size <= left:
		return nil
	case s.held > 0:
		return &budget.Error{
			Kind: budget.KindRateLimited, Reason: "too_many_at_once",
			Message: fmt.Sprintf("this key already has %d bytes of large requests being decided; wait for one to be answered", s.held),
		}
	default:
		return budget.Unavailable("too_many_at_once", "too many large requests are being decided; try again", nil)
	}
}

// end takes a turn back, whether its body was decided or only waited.
func (b *bodies) end(key string, s *share, t *turn, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-t.ready:
		s.weight -= t.weight
		b.weight -= t.weight
	default:
		for i := range s.queue {
			if s.queue[i] == t {
				s.queue = append(s.queue[:i], s.queue[i+1:]...)
				break
			}
		}
	}
	s.held -= size
	b.held -= size
	b.forget(key, s)
	b.next()
}

func (b *bodies) forget(key string, s *share) {
	if s.held == 0 {
		delete(b.keys, key)
	}
}

// next gives turns to those who wait, the key with the least being decided first,
// and of several the one whose last turn is longest ago. It ends at the first
// that does not fit: smaller ones behind it would keep it waiting for ever.
func (b *bodies) next() {
	for {
		var first *share
		for _, s := range b.keys {
			if len(s.queue) == 0 || s.weight+s.queue[0].weight > b.atOnce/2 {
				continue
			}
			if first == nil || s.weight < first.weight || s.weight == first.weight && s.last < first.last {
				first = s
			}
		}
		if first == nil || b.weight+first.queue[0].weight > b.atOnce {
			return
		}
		t := first.queue[0]
		first.queue = first.queue[1:]
		first.weight += t.weight
		b.weight += t.weight
		b.served++
		first.last = b.served
		close(t.ready)
	}
}
