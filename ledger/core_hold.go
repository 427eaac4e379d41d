package ledger

import (
	"time"

	"aigateway/budget"
)

// A reservation id is epoch<<epochShift | seq: epochs count starts of the
// process, seq counts reservations within one. Bits 39-42 are left for
// journal shards.
const (
	epochShift = 43
	maxSeq     = 1<<39 - 1
)

func epochOf(id budget.ReservationID) uint64 { return uint64(id) >> epochShift }
func seqOf(id budget.ReservationID) uint64   { return uint64(id) & maxSeq }
func makeID(epoch, seq uint64) budget.ReservationID {
	return budget.ReservationID(epoch<<epochShift | seq)
}

// holdState is where a hold is in its life. It only moves forward.
type holdState uint8

const (
	holdOpen      holdState = iota
	holdClosing             // its settlement is queued
	holdExpiring            // its expiry is queued
	holdExpired             // charged its bound; a late log may still refund
	holdRefunding           // the one refund is queued
)

// hold is the ledger's record of a reservation. Fields above the line never
// change after admission and may be read without the lock.
type hold struct {
	id         budget.ReservationID
	requestID  string
	attr       budget.Attribution
	bound      budget.Amount
	reservedAt int64 // wall, ns
	unpriced   bool
	arithmetic []byte     // see budget.Request; nil after a crash that only the ring survived
	legs       []*account // whose counters carry bound
	ids        []int64    // of legs, and of accounts no longer in memory

	state      holdState
	deadline   int64  // monotonic, ns
	prev, next *hold  // of the expiry list, ordered by deadline
	openedIn   uint64 // batches that journal its start and its end
	closedIn   uint64
	ringEnd    uint64 // where its record ends in the ring

	legBuf [4]*account
	idBuf  [4]int64
}

// journaledBefore reports whether h has a row when batch no starts.
func (h *hold) journaledBefore(no uint64) bool { return h.openedIn != no }

// reservation is what the caller gets to see of h.
func (h *hold) reservation() budget.Reservation {
	return budget.Reservation{
		ID: h.id, ReservedAt: time.Unix(0, h.reservedAt).UTC(), Attribution: h.attr, Bound: h.bound, Accounts: h.ids,
	}
}

// budgets are the ids of the budgets that hold h, in the order of their accounts.
func (h *hold) budgets() []string {
	ids := make([]string, 0, len(h.legs))
	for _, a := range h.legs {
		ids = append(ids, a.rule.ID)
	}
	return ids
}

// setLegs puts h on accounts without an allocation for up to four of them.
func (h *hold) setLegs(accounts []*account) {
	h.legs = append(h.legBuf[:0], accounts...)
	h.ids = h.idBuf[:0]
	for _, a := range accounts {
		h.ids = append(h.ids, a.id)
	}
}

// expiryList orders open holds by deadline. All have the same timeout, so a
// new or extended one always goes to the back.
type expiryList struct{ front, back *hold }

func (l *expiryList) push(h *hold) {
	h.prev, h.next = l.back, nil
	if l.back != nil {
		l.back.next = h
	} else {
		l.front = h
	}
	l.back = h
}

func (l *expiryList) remove(h *hold) {
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.front = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	} else {
		l.back = h.prev
	}
	h.prev, h.next = nil, nil
}
