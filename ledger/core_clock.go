package ledger

const (
	// clockStep is how far the wall clock may step ahead of the monotonic one and
	// be believed at once: no more than windows are opened ahead anyway.
	clockStep = rolloverLead
	// clockTrust is how long a clock that leapt further has to stay there. What
	// set it by mistake, a person or a resumed machine, has corrected it by then.
	clockTrust = 300 * second
)

// clock turns the wall clock into window time: it never goes back, and a leap
// ahead counts only once the clock stayed there for a while by the monotonic
// clock. Meanwhile window time goes on as if there had been no leap, so nothing
// is refused that its window has room for.
type clock struct {
	wall    int64 // window time; not even a restart takes it back
	stopped bool  // it stands still until the Lessor has told its own clock
	started bool
	offset  int64 // of the wall clock to the monotonic one, as believed
	leaping bool
	leap    int64 // the offset it leapt to
	since   int64 // monotonic
}

// advance moves window time to at, and sets at to it.
func (c *clock) advance(at *instant) {
	if c.stopped {
		at.wall = c.wall
		return
	}
	offset := at.wall - at.mono
	if !c.started {
		c.started, c.offset = true, max(offset, c.wall-at.mono)
	}
	if offset > c.offset+clockStep {
		offset = c.doubt(offset, at.mono)
	} else {
		c.leaping = false
	}
	c.wall = max(c.wall, at.mono+offset)
	at.wall = c.wall
}

// doubt is the offset to go by when the clock is far ahead.
func (c *clock) doubt(offset, mono int64) int64 {
	if !c.leaping || offset > c.leap+clockStep || offset < c.leap-clockStep {
		c.leaping, c.leap, c.since = true, offset, mono
	}
	if mono-c.since >= clockTrust {
		c.leaping, c.offset = false, offset
	}
	return c.offset
}
