package ledger

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"aigateway/budget"
)

const (
	// ringFile holds the reservations that the database may not have yet.
	ringFile = "ledger.ring"
	// ringBytes has room for maxQueue reservations of usual size.
	ringBytes = 16 << 20
	// ringWarm is the part that is touched at the start. A ring that is drained
	// begins at its front again, so the rest is used only while the disk is stuck.
	ringWarm = 1 << 20

	ringMagic  = "aigring1"
	ringHeader = 4096
	ringUnit   = 64 // records begin at multiples of it
	ringFixed  = 48 // bytes of a record before its lists

	// Offsets in the header.
	ringSizeAt, ringEpochAt, ringSaltAt, ringBootAt, ringSumAt = 8, 16, 24, 32, 96
	ringFirstAt, ringSecondAt                                  = 128, 136
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ringSum is CRC-32C, which usual processors compute themselves.
func ringSum(salt uint64, b []byte) uint32 {
	return crc32.Update(uint32(salt), castagnoli, b)
}

// ringKey says which life of which machine a ring belongs to.
type ringKey struct {
	epoch uint64
	salt  uint64 // random; the database has it too
	boot  string // of the kernel
}

// ring is a memory-mapped file in the page cache, which outlives the process
// but not the kernel. Every reservation is in it before its Reserve returns, so
// that the end of the process alone leaves nothing undecided. Methods of a nil
// ring do nothing. Its owner serialises them.
type ring struct {
	mem           []byte
	unmap         func() error
	salt          uint64
	first, second *uint64 // the newest seq, and its complement stored after it

	// Logical offsets: they grow, and modulo the size they are places. Records
	// from tail on are not in the database yet.
	head, tail uint64
}

// newRing lays out an empty ring in mem, which is zero.
func newRing(mem []byte, k ringKey) *ring {
	copy(mem, ringMagic)
	binary.LittleEndian.PutUint64(mem[ringSizeAt:], uint64(len(mem)))
	binary.LittleEndian.PutUint64(mem[ringEpochAt:], k.epoch)
	binary.LittleEndian.PutUint64(mem[ringSaltAt:], k.salt)
	copy(mem[ringBootAt:ringSumAt], k.boot)
	binary.LittleEndian.PutUint32(mem[ringSumAt:], ringSum(k.salt, mem[:ringSumAt]))
	r := &ring{mem: mem, salt: k.salt}
	// Atomic stores need a pointer; both places are aligned to 8 bytes.
	r.first, r.second = (*uint64)(unsafe.Pointer(&mem[ringFirstAt])), (*uint64)(unsafe.Pointer(&mem[ringSecondAt]))
	r.publish(0)
	return r
}

// publish makes seq the newest one. It comes after the record is complete: an
// atomic store is never seen before the plain ones that precede it.
func (r *ring) publish(seq uint64) {
	atomic.StoreUint64(r.first, seq)
	atomic.StoreUint64(r.second, ^seq)
}

// add writes h's record and then publishes its seq. A record that has no room
// is left out: recovery then misses its seq and trusts none of the ring.
func (r *ring) add(h *hold) {
	if r == nil {
		return
	}
	if at, ok := r.place(recordSize(h)); ok {
		r.encode(at, h)
	}
	h.ringEnd = r.head
	r.publish(seqOf(h.id))
}

// place finds room for n bytes that overwrites only what the database has.
func (r *ring) place(n int) (at int, ok bool) {
	size, need := uint64(len(r.mem)-ringHeader), uint64(n+ringUnit-1)/ringUnit*ringUnit
	head := r.head
	if r.tail == head { // drained: back to the pages that are warm
		head = (head + size - 1) / size * size
		r.head, r.tail = head, head
	}
	if head%size+need > size { // a record does not wrap
		head += size - head%size
	}
	if head+need-r.tail > size || n > 1<<16 {
		return 0, false
	}
	r.head = head + need
	return ringHeader + int(head%size), true
}

func recordSize(h *hold) int {
	a := &h.attr
	return ringFixed + 8*len(h.ids) + len(h.requestID) + len(a.KeyID) + len(a.Tag) + len(a.Model) + len(a.Provider)
}

func (r *ring) encode(at int, h *hold) {
	n, a := recordSize(h), &h.attr
	b := r.mem[at : at+n : at+n]
	le := binary.LittleEndian
	le.PutUint32(b[4:], uint32(n))
	le.PutUint64(b[8:], uint64(h.id))
	le.PutUint64(b[16:], uint64(h.bound))
	le.PutUint64(b[24:], uint64(h.reservedAt))
	le.PutUint16(b[32:], uint16(boolInt(h.unpriced)))
	for i, l := range [...]int{len(h.ids), len(h.requestID), len(a.KeyID), len(a.Tag), len(a.Model), len(a.Provider)} {
		le.PutUint16(b[34+2*i:], uint16(l)) // n is limited, so it fits
	}
	le.PutUint16(b[46:], 0)
	p := ringFixed
	for _, id := range h.ids {
		le.PutUint64(b[p:], uint64(id))
		p += 8
	}
	for _, s := range [...]string{h.requestID, a.KeyID, string(a.Tag), a.Model, a.Provider} {
		p += copy(b[p:], s)
	}
	le.PutUint32(b, ringSum(r.salt, b[4:]))
}

// release notes that the database has b's reservations.
func (r *ring) release(b *batch) {
	if r == nil {
		return
	}
	for i := len(b.events) - 1; i >= 0; i-- {
		if e := &b.events[i]; e.kind == eventHold {
			r.tail = max(r.tail, e.h.ringEnd)
			return
		}
	}
}

func (r *ring) close() error {
	if r == nil || r.unmap == nil {
		return nil
	}
	return r.unmap()
}

// readRing returns the reservations after mark that the ring image of k proves,
// and the newest seq. Any doubt is an error: then none of it may be used.
func readRing(image []byte, k ringKey, mark uint64) ([]savedHold, uint64, error) {
	last, err := checkRing(image, k)
	if err != nil {
		return nil, 0, err
	}
	if last < mark || last-mark > uint64(len(image)/ringUnit) {
		return nil, 0, fmt.Errorf("it ends at reservation %d, the database at %d", last, mark)
	}
	holds := make([]savedHold, last-mark)
	for at := ringHeader; at+ringFixed <= len(image); {
		n, ok := recordAt(image[at:], k.salt)
		if !ok {
			at += ringUnit
			continue
		}
		h := decodeRecord(image[at : at+n])
		at += (n + ringUnit - 1) / ringUnit * ringUnit
		seq := seqOf(h.id)
		switch {
		case epochOf(h.id) != k.epoch || seq > last+1:
			return nil, 0, fmt.Errorf("reservation %d is in it, its end is %d", h.id, last)
		case seq <= mark || seq == last+1:
			continue // in the database, or complete but never answered
		case holds[seq-mark-1].id != 0:
			return nil, 0, fmt.Errorf("reservation %d is in it twice", seq)
		}
		holds[seq-mark-1] = h
	}
	for i := range holds {
		if holds[i].id == 0 {
			return nil, 0, fmt.Errorf("reservation %d is missing or damaged", mark+1+uint64(i))
		}
	}
	return holds, last, nil
}

// checkRing checks the header and returns the newest seq.
func checkRing(image []byte, k ringKey) (uint64, error) {
	le := binary.LittleEndian
	if len(image) < ringHeader || string(image[:8]) != ringMagic || le.Uint64(image[ringSizeAt:]) != uint64(len(image)) {
		return 0, errors.New("it is no complete ring")
	}
	var boot [ringSumAt - ringBootAt]byte
	copy(boot[:], k.boot)
	switch {
	case le.Uint32(image[ringSumAt:]) != ringSum(le.Uint64(image[ringSaltAt:]), image[:ringSumAt]):
		return 0, errors.New("its header is damaged")
	case string(image[ringBootAt:ringSumAt]) != string(boot[:]):
		return 0, errors.New("the machine was started since")
	case le.Uint64(image[ringEpochAt:]) != k.epoch || le.Uint64(image[ringSaltAt:]) != k.salt:
		return 0, errors.New("it belongs to another start than the database")
	}
	first, second := le.Uint64(image[ringFirstAt:]), ^le.Uint64(image[ringSecondAt:])
	if first != second && first != second+1 { // killed between the two stores
		return 0, errors.New("its end is damaged")
	}
	return first, nil
}

// recordAt returns the length of the record that b begins with, if it is whole.
func recordAt(b []byte, salt uint64) (int, bool) {
	le := binary.LittleEndian
	n := int(le.Uint32(b[4:]))
	if n < ringFixed || n > len(b) || le.Uint32(b) != ringSum(salt, b[4:n]) {
		return 0, false
	}
	sum := ringFixed + 7*int(le.Uint16(b[34:]))
	for i := range 6 {
		sum += int(le.Uint16(b[34+2*i:]))
	}
	return n, sum == n
}

func decodeRecord(b []byte) savedHold {
	le := binary.LittleEndian
	h := savedHold{hold: hold{
		id: budget.ReservationID(le.Uint64(b[8:])), bound: budget.Amount(le.Uint64(b[16:])),
		reservedAt: int64(le.Uint64(b[24:])), unpriced: le.Uint16(b[32:]) != 0,
	}}
	p := ringFixed
	for range le.Uint16(b[34:]) {
		h.accounts = append(h.accounts, int64(le.Uint64(b[p:])))
		p += 8
	}
	text := func(i int) string {
		s := string(b[p : p+int(le.Uint16(b[36+2*i:]))])
		p += len(s)
		return s
	}
	h.requestID = text(0)
	h.attr.KeyID, h.attr.Tag = text(1), budget.Tag(text(2))
	h.attr.Model, h.attr.Provider = text(3), text(4)
	return h
}

// useRing adds to v the open holds that the ring proves, and says whether
// nothing else can be open. It changes nothing if there is any doubt.
func (v *saved) useRing(dir, boot string) error {
	if boot == "" || v.ring == 0 {
		return errors.New("the last start had none")
	}
	k := ringKey{epoch: v.epoch - 1, salt: v.ring, boot: boot}
	image, err := readRingFile(filepath.Join(dir, ringFile))
	if err != nil {
		return err
	}
	mark, known := v.marks[k.epoch]
	if !known {
		return errors.New("the database does not know the last start")
	}
	tail, last, err := readRing(image, k, mark)
	if err != nil {
		return err
	}
	if err := v.explains(tail); err != nil {
		return err
	}
	v.tail, v.exact = tail, true
	v.open = append(v.open, tail...)
	v.marks[k.epoch] = last
	return nil
}

// explains checks that every account's mark covers tail as well, which it does
// unless something is damaged.
func (v *saved) explains(tail []savedHold) error {
	held := map[int64]budget.Amount{}
	for _, list := range [][]savedHold{v.open, tail} {
		for i := range list {
			h := &list[i]
			if h.bound < 0 || h.bound > budget.MaxAmount {
				return fmt.Errorf("the bound of reservation %d is out of range", h.id)
			}
			for _, id := range h.accounts {
				held[id] = min(held[id]+h.bound, budget.MaxAmount)
			}
		}
	}
	alive := make(map[int64]bool, len(v.rules))
	for _, r := range v.rules {
		alive[r.num] = true
	}
	for i := range v.accounts {
		if a := &v.accounts[i]; alive[a.budget] && a.spent+a.orphan+held[a.id] > a.hw {
			return fmt.Errorf("it holds more than the mark of account %d covers", a.id)
		}
	}
	return nil
}

// readRingFile reads the page cache's state of the file. The sync tells whether
// the kernel failed to write it and may have dropped what it said.
func readRingFile(path string) (image []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < ringHeader || info.Size() > 4*ringBytes {
		return nil, errors.New("it has another size than a ring")
	}
	image = make([]byte, info.Size())
	_, err = f.ReadAt(image, 0)
	return image, err
}

// openRing makes this epoch's ring. Without one the ledger is as safe, but
// charges more after a crash.
func (l *Ledger) openRing(k ringKey) {
	size := l.config.ringBytes
	if size == 0 {
		size = ringBytes
	}
	if k.boot == "" || size < 0 {
		return
	}
	mem, unmap, err := mapFile(filepath.Join(l.config.Dir, ringFile), size)
	if err != nil {
		l.config.Log.Warn("cannot create the ring of running calls: a crash of the gateway will charge more than they cost", "error", err)
		return
	}
	for at := 0; at < min(size, ringWarm); at += 4096 {
		mem[at] = 0
	}
	l.ring = newRing(mem, k)
	l.ring.unmap = unmap
}

// closeRing unmaps the file; nobody can add to it after l was closed.
func (l *Ledger) closeRing() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.ring
	l.ring = nil
	if err := r.close(); err != nil {
		return fmt.Errorf("close ring: %w", err)
	}
	return nil
}

// recoverRing adds to v what only the last start's ring has, if it proves that.
func (l *Ledger) recoverRing(ctx context.Context, v *saved) error {
	if err := v.useRing(l.config.Dir, l.config.boot()); err != nil {
		l.config.Log.Warn("the ring of running calls is of no use: what the last start may have admitted is held, later charged", "reason", err)
		return nil
	}
	return l.store.loadLeggedAccounts(ctx, v)
}

// randomSalt is not 0.
func randomSalt() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])>>1 | 1
}
