package wire

import (
	"math/rand/v2"
	"testing"
)

// What was lent is of its length, and nobody else's until it was given back.
func TestPool(t *testing.T) {
	var p pool
	type loan struct {
		b    *[]byte
		mark byte
	}
	var loans []loan
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		if len(loans) > 20 {
			l := loans[0]
			loans = loans[1:]
			for _, c := range *l.b {
				if c != l.mark {
					t.Fatalf("a buffer that was lent has %d in it, not %d", c, l.mark)
				}
			}
			p.Put(l.b)
		}
		n := r.IntN(5000)
		if i%3 == 0 {
			n = 1 << r.IntN(13)
		}
		l := loan{p.Get(n), byte(i)}
		if len(*l.b) != n {
			t.Fatalf("got %d bytes, want %d", len(*l.b), n)
		}
		for j := range *l.b {
			(*l.b)[j] = l.mark
		}
		loans = append(loans, l)
	}
	odd := make([]byte, 5)
	p.Put(&odd) // is left to the collector
	if b := p.Get(5); cap(*b) != 8 {
		t.Errorf("the pool kept a buffer of %d bytes", cap(*b))
	}
}
