package ledger

import "aigateway/budget"

// counters is the arithmetic of one account: rules R1 and R2 of DESIGN.md. It
// is a plain value, so a model checker can copy, compare and hash it.
type counters struct {
	// limit is what admission obeys. The cap that people set is the rule's: the
	// two differ while a lower cap is on its way to the disk, and while a new
	// budget only counts.
	limit budget.Amount

	// As of the last commit.
	spent   budget.Amount // charged for good
	orphan  budget.Amount // a crash left it undecided: held, later charged
	residue budget.Amount // the part of spent that came from orphan and a late log may still refund
	hw      budget.Amount // high-water mark: no crash can have hidden more use than this

	// Volatile.
	held    budget.Amount // open holds, journaled or not
	rise    budget.Amount // charges beyond a hold, counted before they are durable
	falling budget.Amount // what the queued events will free once durable
	usable  budget.Amount // the part of hw that admission may use
	need    budget.Amount // bounds of the callers that wait for usable

	// spent, orphan and residue once every queued event is durable.
	soon struct{ spent, orphan, residue budget.Amount }
}

// delta is what one event does to one account when it is durable. Its net is
// never positive: whatever rises is added to rise when the event is queued.
type delta struct{ spent, orphan, residue, held, rise budget.Amount }

func (d delta) net() budget.Amount { return d.spent + d.orphan + d.held + d.rise }

func (d *delta) add(e delta) {
	d.spent += e.spent
	d.orphan += e.orphan
	d.residue += e.residue
	d.held += e.held
	d.rise += e.rise
}

// used is an upper bound of the account's true exposure at any instant.
func (c *counters) used() budget.Amount { return c.spent + c.held + c.orphan + c.rise }

// fits reports whether b more stays within the limit.
func (c *counters) fits(b budget.Amount) bool { return b <= c.limit-c.used() }

// fitsSoon is fits once the queued events are durable.
func (c *counters) fitsSoon(b budget.Amount) bool { return b <= c.limit-(c.used()-c.falling) }

// covered reports whether b more stays below the usable high-water mark, so
// that a crash right after its admission could not hide it.
func (c *counters) covered(b budget.Amount) bool { return b == 0 || b <= c.usable-c.used() }

// queue notes an event that will apply d. Rises count now, falls later (R1).
func (c *counters) queue(d delta) {
	c.falling -= d.net()
	c.soon.spent += d.spent
	c.soon.orphan += d.orphan
	c.soon.residue += d.residue
}

// plan picks the high-water mark to commit together with batch and clamps
// usable before a commit that lowers it (R2). size is how far ahead of use the
// mark should run; lower gives back everything unused.
//
// It must run as one step with reading used: what is admitted afterwards stays
// below usable, and therefore below the mark that is being committed.
func (c *counters) plan(batch delta, size budget.Amount, lower bool) budget.Amount {
	known := c.used() + batch.net()
	slack := c.hw - known
	keep := !lower && slack >= size/2 && slack/4 <= size && c.hw <= c.limit && c.need <= slack
	if lower && c.need == 0 {
		size = 0
	}
	hw := c.hw
	if !keep {
		hw = max(known, min(c.limit, known+max(size, c.need)))
	}
	c.need = 0
	c.usable = min(c.usable, hw)
	return hw
}

// apply makes batch and the mark hw count after their commit succeeded.
func (c *counters) apply(batch delta, hw budget.Amount) {
	c.spent += batch.spent
	c.orphan += batch.orphan
	c.residue += batch.residue
	c.held += batch.held
	c.rise += batch.rise
	c.falling += batch.net()
	c.hw, c.usable = hw, hw
}

// recover is R4: what the mark allowed but no record explains may have been
// spent, so it is held as orphaned. journaled is the sum of the open holds.
func (c *counters) recover(journaled budget.Amount) {
	c.held = journaled
	c.orphan = max(c.orphan, c.hw-c.spent-journaled)
	c.hw = c.used()
	c.usable = c.hw
	c.soon.spent, c.soon.orphan, c.soon.residue = c.spent, c.orphan, c.residue
}

// pace estimates how far ahead of use an account's mark should run.
type pace struct {
	largest, previous budget.Amount // largest bound of this minute and the last one
	minute            int64
	sum               budget.Amount // reserved since
	since             int64
	perSecond         budget.Amount
}

const (
	second     = int64(1e9)
	paceWindow = second / 20
)

// note counts a reservation at the monotonic time now.
func (p *pace) note(b budget.Amount, now int64) {
	if m := now / (60 * second); m != p.minute {
		p.previous = p.largest
		if m != p.minute+1 {
			p.previous = 0
		}
		p.largest, p.minute = 0, m
	}
	p.largest = max(p.largest, b)
	p.sum = min(p.sum+b, budget.MaxAmount)
}

// size is U: twice the largest bound, or four times what is reserved during
// one commit, whichever is more. It moves up at once and down slowly.
func (p *pace) size(now, latency int64) budget.Amount {
	if dt := now - p.since; dt >= paceWindow {
		rate := p.sum.MulDiv(second, dt)
		p.perSecond = max(rate, p.perSecond/4*3+rate/4)
		p.sum, p.since = 0, now
	}
	burst := p.perSecond.MulDiv(latency, second)
	return max(2*min(max(p.largest, p.previous), budget.MaxAmount/2), 4*min(burst, budget.MaxAmount/4))
}
