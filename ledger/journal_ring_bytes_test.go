package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
)

// testRing is a ring in plain memory with n reservations from 1 on.
func testRing(size, n int) (*ring, ringKey, []*hold) {
	k := ringKey{epoch: 7, salt: 0x0123456789abcdef, boot: "3c7f7a3e-6b0e-4d0e-9a5d-0d9a3c1f2b11"}
	r := newRing(make([]byte, ringHeader+size), k)
	var holds []*hold
	for i := range n {
		h := testHold(k.epoch, uint64(i+1))
		r.add(h)
		holds = append(holds, h)
	}
	return r, k, holds
}

func testHold(epoch, seq uint64) *hold {
	h := &hold{id: makeID(epoch, seq), requestID: fmt.Sprintf("req-%d", seq), bound: budget.Amount(100 + seq), reservedAt: int64(seq), unpriced: seq%2 == 0,
		attr: budget.Attribution{KeyID: "key_a", Tag: budget.Tag(strings.Repeat("t", int(seq)*13%70)), Model: "p/m", Provider: "p"}}
	h.setLegs([]*account{{id: int64(seq)}, {id: 1 << 40}})
	return h
}

// sameHolds reports whether got is what want's reservations are.
func sameHolds(got []savedHold, want []*hold) bool {
	return slices.EqualFunc(got, want, func(g savedHold, w *hold) bool {
		return g.id == w.id && g.requestID == w.requestID && g.bound == w.bound && g.reservedAt == w.reservedAt &&
			g.unpriced == w.unpriced && g.attr == w.attr && slices.Equal(g.accounts, w.ids)
	})
}

func TestRingReadsBack(t *testing.T) {
	r, k, holds := testRing(64<<10, 40)
	for mark := range uint64(41) {
		got, last, err := readRing(r.mem, k, mark)
		if err != nil || last != 40 || !sameHolds(got, holds[mark:]) {
			t.Fatalf("mark %d: %d reservations to %d: %v", mark, len(got), last, err)
		}
	}
	for _, mark := range []uint64{41, 1 << 38} {
		if _, _, err := readRing(r.mem, k, mark); err == nil {
			t.Errorf("a database ahead of its ring (mark %d) was believed", mark)
		}
	}
}

// TestRingBitFlips flips every bit and tears every byte: the ring either says
// what it said or is not believed.
func TestRingBitFlips(t *testing.T) {
	r, k, holds := testRing(2048, 6)
	const mark = 2
	believed := 0
	look := func(what string, at int) {
		got, last, err := readRing(r.mem, k, mark)
		if err != nil {
			return
		}
		believed++
		if last != 6 || !sameHolds(got, holds[mark:]) {
			t.Fatalf("%s at %d: believed with %d reservations to %d", what, at, len(got), last)
		}
	}
	for at := range r.mem {
		for bit := range 8 {
			r.mem[at] ^= 1 << bit
			look("flip", at)
			r.mem[at] ^= 1 << bit
		}
		for _, v := range []byte{0, 0xff, byte(at)} {
			kept := r.mem[at]
			r.mem[at] = v
			look("byte", at)
			r.mem[at] = kept
		}
	}
	for n := range r.mem {
		if _, _, err := readRing(r.mem[:n], k, mark); err == nil {
			t.Fatalf("a ring cut to %d bytes was believed", n)
		}
	}
	if believed == 0 {
		t.Error("even unused bytes spoil the ring: the test proves little")
	}
}

// TestRingStopsAnywhere kills the writer between any two stores: what was
// answered is there, and a half record of what was not does no harm. The other
// order, publishing before the record is complete, is never believed.
func TestRingStopsAnywhere(t *testing.T) {
	for _, drained := range []bool{false, true} { // into unused bytes, over old records
		r, k, holds := testRing(4096, 5)
		mark := uint64(3)
		if drained {
			mark, r.tail = 5, r.head
		}
		before := slices.Clone(r.mem)
		h := testHold(k.epoch, 6)
		r.add(h)
		after := slices.Clone(r.mem)
		rnd := rand.New(rand.NewPCG(1, 2))
		for stop := range 3000 {
			torn := slices.Clone(before)
			for i := ringHeader; i < len(torn); i++ { // any order of the stores
				if torn[i] != after[i] && (stop < 1500 && rnd.IntN(2) == 0 || stop >= 1500 && i < ringHeader+stop-1500) {
					torn[i] = after[i]
				}
			}
			got, last, err := readRing(torn, k, mark)
			if err != nil || last != 5 || !sameHolds(got, holds[mark:]) {
				t.Fatalf("stop %d: %d reservations to %d: %v", stop, len(got), last, err)
			}
			whole := slices.Equal(torn[ringHeader:], after[ringHeader:])
			for _, both := range []bool{true, false} {
				copy(torn[ringFirstAt:ringFirstAt+8], after[ringFirstAt:])
				copy(torn[ringSecondAt:ringSecondAt+8], before[ringSecondAt:])
				if both {
					copy(torn[ringSecondAt:ringSecondAt+8], after[ringSecondAt:])
				}
				got, last, err = readRing(torn, k, mark)
				if whole && (err != nil || last != 6 || !sameHolds(got, append(slices.Clone(holds[mark:]), h))) {
					t.Fatalf("stop %d: a published record is not read: %v", stop, err)
				}
				if !whole && err == nil {
					t.Fatalf("stop %d: a published seq without its record was believed", stop)
				}
			}
		}
	}
}

// TestRingGoesAround adds and releases at random and looks after every step.
func TestRingGoesAround(t *testing.T) {
	r, k, _ := testRing(4096, 0)
	rnd := rand.New(rand.NewPCG(3, 4))
	var holds []*hold
	mark, skipped, round := 0, -1, uint64(0)
	for range 20_000 {
		if rnd.IntN(5) > 0 || len(holds) == mark {
			h := testHold(k.epoch, uint64(len(holds)+1))
			before := r.head
			r.add(h)
			if holds = append(holds, h); r.head == before {
				skipped = len(holds)
			}
		} else {
			mark += 1 + rnd.IntN(min(len(holds)-mark, 9))
			r.release(&batch{events: []event{{kind: eventHold, h: holds[mark-1]}, {kind: eventSpool}}})
		}
		got, last, err := readRing(r.mem, k, uint64(mark))
		switch {
		case skipped > mark:
			if err == nil {
				t.Fatalf("reservation %d has no record, but the ring was believed", skipped)
			}
		case err != nil || last != uint64(len(holds)) || !sameHolds(got, holds[mark:]):
			t.Fatalf("after %d, mark %d: %d reservations: %v", len(holds), mark, len(got), err)
		}
		round = r.head / 4096
	}
	if round < 50 || skipped < 0 {
		t.Errorf("%d rounds, last without room %d: too few", round, skipped)
	}
}

func FuzzRing(f *testing.F) {
	r, k, _ := testRing(1024, 4)
	f.Add(r.mem[ringFirstAt:], uint64(2))
	f.Fuzz(func(t *testing.T, tail []byte, mark uint64) {
		image := slices.Clone(r.mem)
		copy(image[ringFirstAt:], tail)
		holds, last, err := readRing(image, k, mark)
		if err == nil && uint64(len(holds)) != last-mark {
			t.Errorf("%d reservations from %d to %d", len(holds), mark, last)
		}
	})
}

func BenchmarkRingAdd(b *testing.B) {
	r, _, _ := testRing(1<<20, 0)
	h := testHold(7, 5)
	b.ReportAllocs()
	for b.Loop() {
		r.add(h)
		r.tail = r.head
	}
}
