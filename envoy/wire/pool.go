package wire

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// messages lends the memory in which a message of several frames is put together.
// gRPC's own pool clears what it lends, and of its sizes the next above a body of
// 128 KiB is a MiB.
var messages pool

// pool has buffers of each power of two. It is a mem.BufferPool, safe for
// concurrent use, and lends them as they are.
type pool struct{ sizes [bits.UintSize]sync.Pool }

var _ mem.BufferPool = (*pool)(nil)

// Get implements mem.BufferPool.
func (p *pool) Get(length int) *[]byte {
	n := bits.Len(uint(max(length, 1) - 1))
	b, ok := p.sizes[n].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 1<<n)
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put implements mem.BufferPool.
func (p *pool) Put(b *[]byte) {
	if c := cap(*b); c&(c-1) == 0 && c > 0 {
		p.sizes[bits.TrailingZeros(uint(c))].Put(b)
	}
}
