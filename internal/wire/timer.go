package wire

import (
	"math"
	"math/rand/v2"
	"os"
	"time"
)

const (
	// closeTime is what the other side has to answer a close frame (W-26).
	closeTime = 5 * time.Second
	// statusTime is what a library has to begin its answer, and to complete one
	// that opens nothing. A handler that has taken the connection and forgotten
	// it would hold it, and its lease, for ever.
	statusTime = 30 * time.Second
	// grace is what an ended session's peer has to do so (W-32).
	grace = time.Second
	// wallEvery is how late the end of a session is at most when the wall clock is
	// set forward or the machine has slept: no timer knows of either.
	wallEvery = 30 * time.Second
	// leastWait keeps a limit of nothing from firing the timer in a loop.
	leastWait = 10 * time.Millisecond
)

// Start arms the session's timer. The owner calls it when the session is open;
// with a [Head] the Conn does, before Opened.
func (c *Conn) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.finishing {
		return
	}
	c.started = true
	now := c.clock()
	c.lastData = now
	c.pingNext = sum(now, jitter(c.limits.Ping))
	c.rearm()
}

// SetExpiry sets when the session ends with Expired, by the wall clock, which
// is what tokens are dated by; the zero time: never. When the time that was set
// before has come it is too late: nothing changes, and it reports false. The end
// is on time as long as the clock runs evenly, and up to 30 seconds late when it
// is set forward or the machine has slept.
func (c *Conn) SetExpiry(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiry != 0 && c.valid() <= 0 {
		return false
	}
	c.expiry = 0
	if !t.IsZero() {
		c.expiry = max(microseconds(t), 1)
	}
	c.rearm()
	return true
}

// microseconds is t in microseconds of Unix time, or the most that there are: what
// wraps around would be past.
func microseconds(t time.Time) int64 {
	if t.Unix() >= math.MaxInt64/1_000_000 {
		return math.MaxInt64
	}
	return t.UnixMicro()
}

// valid is how long it is to the expiry.
func (c *Conn) valid() time.Duration { return time.Until(time.UnixMicro(c.expiry)) }

// SetLifetime sets when the session ends with Lifetime; the zero time: never.
func (c *Conn) SetLifetime(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lifetime = c.onClock(t)
	c.rearm()
}

// jitter spreads pings by ±10 %, so that a fleet does not ping in step.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(max(d/5, 0))+1))
}

// tick is the timer. It looks at every deadline, ends what is over, and arms
// itself for the next. No message moves it: what has no deadline now cannot
// get one earlier than its own duration from now.
func (c *Conn) tick() {
	c.mu.Lock()
	now := c.clock()
	if c.finishing {
		if now >= c.closeBy {
			c.kill()
		}
		c.mu.Unlock()
		return
	}
	c.wake() // a paused Read looks for itself
	if c.started && c.closing == 0 && c.limits.Ping > 0 && now >= c.pingNext {
		c.pingNext = sum(now, jitter(c.limits.Ping))
		c.out.ping = true
	}
	c.look()
	w := c.survey(now)
	c.arm(w.next)
	if w.over == SlowReader {
		c.out.torn = os.ErrDeadlineExceeded // no close frame gets through: a cut
	}
	if w.over == 0 && c.out.ping && !c.writing { // else the one who writes sends it
		c.writing = true
		c.passTurn()
	}
	if w.over == 0 && c.out.failed && !c.finishing { // a library that does not read would never learn it
		w.over = c.goneBy()
	}
	c.mu.Unlock()
	if w.over != 0 {
		c.end(w.over)
	}
}

// A watch goes over the deadlines: which has passed, and how long it is to the
// next.
type watch struct {
	over Violation
	next time.Duration
}

// at sees a deadline.
func (w *watch) at(left time.Duration, v Violation) {
	switch {
	case left > 0:
		w.next = min(w.next, left)
	case w.over == 0:
		w.over = v
	}
}

// within sees that a deadline may come up, d from now at the earliest.
func (w *watch) within(d time.Duration) {
	w.next = min(w.next, max(d, leastWait))
}

func (c *Conn) survey(now time.Duration) watch {
	l, in := c.limits, &c.in
	w := watch{next: math.MaxInt64}
	c.date(now)
	if c.busy {
		w.within(lookEvery)
	}
	if in.pauseUntil != 0 {
		w.within(in.pauseUntil - now)
	}
	if h := c.head; h != nil && h.by != 0 {
		w.at(h.by-now, NoHead)
	}
	if c.closing != 0 {
		w.at(c.closeBy-now, c.closing)
	}
	if !c.started {
		return w
	}
	if c.expiry != 0 {
		w.at(c.valid(), Expired)
		w.within(wallEvery)
	}
	if c.lifetime != 0 {
		w.at(c.lifetime-now, Lifetime)
	}
	if c.out.since != 0 {
		w.at(sum(c.out.since, l.Write)-now, SlowReader)
	} else {
		w.within(l.Write)
	}
	if c.closing != 0 {
		return w // beyond its answer the peer owes nothing
	}
	if l.Idle > 0 && in.pauseUntil == 0 {
		w.at(sum(c.lastData, l.Idle)-now, IdleTimeout)
	}
	if in.since != 0 {
		c.seePeer(&w, now, in.since, l.MessageTime, MessageTime)
	} else {
		w.within(l.MessageTime)
	}
	if l.Ping > 0 {
		w.next = min(w.next, max(c.pingNext-now, 0))
	}
	if l.Pong > 0 {
		// Inside a frame the peer is not silent, and its MessageTime runs.
		if c.pingFrom != 0 && in.left == 0 && in.held == 0 {
			c.seePeer(&w, now, c.pingFrom, l.Pong, NoPong)
		} else {
			w.within(l.Pong)
		}
	}
	return w
}

// seePeer sees a deadline of the peer's. It stands still while nobody listens:
// resume moves it on when a Read does again, and until then what is left of it
// has not begun to run.
func (c *Conn) seePeer(w *watch, now, from, d time.Duration, v Violation) {
	if c.in.inRaw {
		w.at(sum(from, d)-now, v)
		return
	}
	w.within(d - (max(from, c.in.leftRaw) - from))
}

// arm sets the timer.
func (c *Conn) arm(wait time.Duration) {
	c.armed = sum(c.clock(), wait)
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.tick)
		return
	}
	c.timer.Reset(wait)
}

// sooner sets the timer forward.
func (c *Conn) sooner(wait time.Duration) {
	wait = max(wait, 0)
	if c.timer == nil || sum(c.clock(), wait) < c.armed {
		c.arm(wait)
	}
}

// rearm sets the timer forward after a change of deadlines.
func (c *Conn) rearm() {
	if !c.started || c.finishing {
		return
	}
	w := c.survey(c.clock())
	if w.over != 0 {
		w.next = 0
	}
	c.sooner(w.next)
}
