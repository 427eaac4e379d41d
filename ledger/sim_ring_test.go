package ledger

import "slices"

// keepRing makes a crash one of the process alone: recovery then gives the disk
// the reservations that only the ring has, and nothing is undecided.
func (w *simWorld) keepRing() {
	e := w.disk.epochs[w.c.epoch]
	for _, c := range w.calls {
		id := c.r.ID
		if h := w.c.open[id]; h != nil && epochOf(id) == w.c.epoch && seqOf(id) > e.seq {
			row := rowOf(h)
			row.accounts = slices.Clone(c.r.Accounts) // it was written before the call was on any other
			w.disk.holds[id] = row
			w.reached("ring read back")
		}
	}
	e.seq = w.c.seq
	w.disk.epochs[w.c.epoch] = e
	w.exact = true
	w.note("only the process ended")
}
