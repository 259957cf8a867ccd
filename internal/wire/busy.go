package wire

import "time"

// A look at the clock costs more than all else that the meter does for a small
// message. So a session with many of them is itself looked at, by its timer and
// often: what is found under way, and has no time yet, has begun then. Whoever
// is watched has up to a look more than its limit says, never less.
const (
	lookEvery = 250 * time.Millisecond
	// busyFrom stamps within that time are dearer than a look.
	busyFrom = 256
)

// undated stands for the time of what has begun since the last look.
const undated time.Duration = 2

// stamp is when something begins that the timer watches.
func (c *Conn) stamp() time.Duration {
	if c.busy {
		c.stamps = min(c.stamps+1, busyFrom)
		return undated
	}
	now := c.clock()
	if w := uint32(now / lookEvery); w != c.window {
		c.window, c.stamps = w, 0
	}
	if c.stamps++; c.stamps >= busyFrom && c.started {
		c.busy = true
		c.sooner(lookEvery)
	}
	return now
}

// look is the timer's: a session is busy while every look finds it so.
func (c *Conn) look() {
	c.busy = c.busy && c.stamps >= busyFrom
	c.stamps = 0
}

// date gives a time to what has begun since the last look.
func (c *Conn) date(now time.Duration) {
	for _, t := range [...]*time.Duration{&c.out.since, &c.in.since, &c.lastData} {
		if *t == undated {
			*t = now
		}
	}
}
