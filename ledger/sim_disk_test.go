package ledger

import (
	"errors"
	"maps"
	"slices"
	"time"

	"aigateway/budget"
)

// simRow is a row of settle.
type simRow struct {
	at     int64
	status int
	actual budget.Amount
	hold   savedHold
}

// simEpoch is a row of epoch.
type simEpoch struct {
	seq  uint64
	born int64
}

// simDisk is the database as maps: what a commit leaves, and nothing else.
// TestSimulation compares it with SQLite for some of its seeds.
type simDisk struct {
	rules    map[int64]budget.Budget
	accounts map[int64]accountRow
	holds    map[budget.ReservationID]savedHold
	settled  map[budget.ReservationID]simRow
	strays   map[string]simRow
	epochs   map[uint64]simEpoch
	usage    map[usageKey]tally
	spool    budget.SpoolPosition
	closed   uint64
	wall     int64
	lastRule int64
	lastID   int64
}

func newSimDisk() *simDisk {
	return &simDisk{
		rules: map[int64]budget.Budget{}, accounts: map[int64]accountRow{}, holds: map[budget.ReservationID]savedHold{},
		settled: map[budget.ReservationID]simRow{}, strays: map[string]simRow{}, epochs: map[uint64]simEpoch{}, usage: map[usageKey]tally{},
	}
}

// rowOf is h as a row.
func rowOf(h *hold) savedHold {
	return savedHold{hold: hold{id: h.id, requestID: h.requestID, attr: h.attr, bound: h.bound, reservedAt: h.reservedAt, unpriced: h.unpriced},
		accounts: slices.Clone(h.ids)}
}

// commit is store.commit; edits are what the queries of a change do.
func (d *simDisk) commit(b *batch, edits map[*change]func(*simDisk)) error {
	for _, a := range b.accounts {
		if a.changed {
			if old, ok := d.accounts[a.id]; ok {
				a.budget, a.start = old.budget, old.start
			}
			d.accounts[a.id] = a
		}
	}
	var errs []error
	for i := range b.events {
		errs = append(errs, d.event(&b.events[i], b.no, edits))
	}
	if b.mark > 0 {
		e := d.epochs[b.epoch]
		e.seq = b.mark
		d.epochs[b.epoch] = e
	}
	if b.saveWall {
		d.wall = b.wall
	}
	return errors.Join(errs...)
}

func (d *simDisk) event(e *event, no uint64, edits map[*change]func(*simDisk)) error {
	var err error
	insert := func(status int, actual budget.Amount) {
		if _, dup := d.settled[e.h.id]; dup {
			err = errors.New("UNIQUE constraint failed: settle.rid")
		}
		d.settled[e.h.id] = simRow{at: e.at, status: status, actual: actual, hold: rowOf(e.h)}
	}
	switch e.kind {
	case eventHold:
		if e.h.closedIn != no {
			d.holds[e.h.id] = rowOf(e.h)
		}
	case eventSettle:
		delete(d.holds, e.h.id)
		insert(statusSettled, e.cost)
	case eventExpire:
		delete(d.holds, e.h.id)
		insert(statusExpired, e.h.bound)
	case eventRefund:
		if r, ok := d.settled[e.h.id]; ok && r.status == statusExpired {
			r.at, r.status, r.actual = e.at, statusLate, e.cost
			d.settled[e.h.id] = r
		}
	case eventOrphan:
		insert(statusOrphan, e.cost)
	case eventStray:
		if _, dup := d.strays[e.h.requestID]; dup {
			err = errors.New("UNIQUE constraint failed: stray.request_id")
		}
		d.strays[e.h.requestID] = simRow{at: e.at, actual: e.cost, hold: rowOf(e.h)}
	case eventJoin:
		if row, ok := d.holds[e.h.id]; ok {
			row.accounts = slices.Clone(e.h.ids)
			d.holds[e.h.id] = row
		}
	case eventAdmin, eventPast:
		edits[e.change](d)
	case eventSpool:
		d.spool = e.spool
	}
	e.usage(func(h *hold, u tally) {
		k := usageKey{h.reservedAt / bucketNanos, h.attr}
		sum := d.usage[k]
		sum.add(u)
		d.usage[k] = sum
	})
	return err
}

// load is store.load.
func (d *simDisk) load(wall int64) (*snapshot, error) {
	v := &snapshot{marks: map[uint64]uint64{}, closed: d.closed, wall: d.wall}
	v.lastAccount = d.lastID
	for id := range d.accounts {
		v.lastAccount = max(v.lastAccount, id)
	}
	for e, row := range d.epochs {
		v.marks[e] = row.seq
		v.epoch = max(v.epoch, e+1)
	}
	v.epoch = max(v.epoch, v.closed+1)
	for num, b := range d.rules {
		loc, err := budget.ParseZone("time_zone", b.Zone)
		if err != nil {
			return nil, err
		}
		v.rules = append(v.rules, &rule{Budget: b, num: num, loc: loc})
	}
	wall = max(wall, d.wall)
	need := map[int64]bool{}
	v.open = append(v.open, sortedHolds(d.holds)...)
	for _, id := range slices.Sorted(maps.Keys(d.settled)) {
		switch r := d.settled[id]; r.status {
		case statusExpired:
			v.expired = append(v.expired, r.hold)
		case statusOrphan:
			v.orphaned = append(v.orphaned, id)
		}
	}
	for _, list := range [][]savedHold{v.open, v.expired} {
		for _, h := range list {
			for _, id := range h.accounts {
				need[id] = true
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.accounts)) {
		if a := d.accounts[id]; a.end > wall || a.hw > a.spent || a.residue > 0 || need[id] {
			v.accounts = append(v.accounts, a)
		}
	}
	v.strays = slices.Sorted(maps.Keys(d.strays))
	return v, nil
}

func sortedHolds(m map[budget.ReservationID]savedHold) []savedHold {
	var out []savedHold
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}

// begin is store.begin.
func (d *simDisk) begin(v *snapshot, held []accountRow, wall int64) {
	for _, a := range held {
		d.accounts[a.id] = a
	}
	last := int64(0)
	for num := range d.rules {
		last = max(last, num)
	}
	d.deleteAccounts(func(num int64) bool { return num > last })
	d.epochs[v.epoch] = simEpoch{born: wall}
	d.wall = wall
}

// cost is store.usage for a target.
func (d *simDisk) cost(t budget.Target, start, end int64) (sum budget.Amount) {
	for k, u := range d.usage {
		if t.Watches(k.attr.Tag, k.attr.KeyID) && k.bucket >= start/bucketNanos && (end == forever || k.bucket < (end+bucketNanos-1)/bucketNanos) {
			sum += u.cost
		}
	}
	return sum
}

// prune is store.prune without a limit.
func (d *simDisk) prune(cutoff int64, current uint64) (p pruned) {
	next := uint64(0)
	for e, row := range d.epochs {
		if row.born < cutoff && e <= current {
			next = max(next, e)
		}
	}
	for e := range d.epochs {
		if e < next {
			delete(d.epochs, e)
			d.closed = max(d.closed, next-1)
			p.closed = d.closed
		}
	}
	for id, r := range d.settled {
		if r.at < cutoff && (r.status != statusOrphan || epochOf(id) <= d.closed) {
			delete(d.settled, id)
			p.ids = append(p.ids, id)
		}
	}
	for k, r := range d.strays {
		if r.at < cutoff {
			delete(d.strays, k)
			p.strays = append(p.strays, k)
		}
	}
	return p
}

// utc formats ns for a trace.
func utc(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000") }
