package ledger

// keepRing makes a crash one of the process alone: recovery then gives the disk
// the reservations that only the ring has, and nothing is undecided.
func (w *simWorld) keepRing() {
	e := w.disk.epochs[w.c.epoch]
	for id, h := range w.c.open {
		if epochOf(id) == w.c.epoch && seqOf(id) > e.seq {
			w.disk.holds[id] = rowOf(h)
			w.reached("ring read back")
		}
	}
	e.seq = w.c.seq
	w.disk.epochs[w.c.epoch] = e
	w.exact = true
	w.note("only the process ended")
}
