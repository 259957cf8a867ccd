package wire

import (
	"errors"
	"os"
	"sync"
	"time"
)

// maxRead bounds one Read, and with it what a pause can make us keep.
const maxRead = 64 << 10

// readAhead is how much is read at once inside a frame, for readers of less: the
// small buffer of an idle socket would cost a busy one a system call for each
// message. Only there, since what has begun has a time to be complete: no peer
// makes us hold a buffer for longer.
const readAhead = 4 << 10

var aheads = sync.Pool{New: func() any { return new([readAhead]byte) }}

// justBegun stands for the time at which a Read that is still under way began.
const justBegun time.Duration = 1

// inbound is where the peer's stream of frames stands.
type inbound struct {
	hold   [maxHeader]byte // a header not yet complete, or judged and not yet given
	held   uint8           // bytes of an incomplete one
	judged uint8           // bytes of a judged one; used for readers of a few bytes only
	given  uint8           // of these

	found       Violation // judged, and due when what came before it is read
	crumbs      uint8     // reads in a row that brought next to nothing
	inRaw       bool      // a Read waits for the peer
	wasRaw      bool      // the last step came from one
	first       byte      // of the frame's header
	inMessage   bool
	compressed  bool
	paid        bool // the header at hand is charged: a pause made it wait
	unwanted    bool
	interrupted bool
	closed      bool // the peer's close frame has passed
	closeKey    [4]byte

	rest  []byte // arrived and not judged: early bytes, what a pause keeps back, what was read ahead
	off   int
	ahead *[readAhead]byte // where rest lies, when it was read ahead
	owed  int32            // early bytes, not yet charged
	pongs int32            // answers to our pings that are to come: not charged

	pauseUntil time.Duration
	deadline   time.Duration // the library's; 0: none
	leftRaw    time.Duration // when the last one stopped to; kept while a deadline of the peer's runs
	now        time.Duration // one clock reading for all that a Read judges, made when something asks for it

	left      int64         // payload bytes of the frame that are to come
	since     time.Duration // first byte of the message, or frame, that is not complete
	size      int64         // of the message
	frames    uint32
	empty     uint32
	closeBody []byte

	messages, bytes, controls budget
}

// Read gives the library the peer's bytes, as far as they are judged.
//
// A header is judged when it is complete and held back until then; a close
// frame's includes its code. What came before a bad one is read first, then
// Read fails with what the owner made of the violation. Once the session has
// ended Read fails at once, and never gives bytes again.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	for c.reading && !c.finishing {
		c.await()
	}
	if c.finishing {
		c.mu.Unlock()
		return 0, c.readEnd(AppClosed)
	}
	c.reading = true
	n, v, err := c.read(p)
	c.reading = false
	c.wake()
	answered := c.closing == AppClosed && c.in.closed && c.in.given >= c.in.judged
	over := c.limits.CutOff
	c.mu.Unlock()
	if v != 0 {
		return 0, c.readEnd(v)
	}
	if n > 0 && over != nil && over.Over(c.owner) {
		return 0, c.readEnd(CutOff) // a process that was paused wakes here first, before any timer of it
	}
	if answered {
		c.end(AppClosed) // the library still gets the answer
	}
	return n, err
}

// readEnd is end for Read, which does not fail while a close frame waits for the
// end of a frame that is half out. A reverse proxy gives up both ways when one
// fails: it would leave that half, and behind it no close frame can follow.
func (c *Conn) readEnd(v Violation) error {
	err := c.end(v)
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.out.closeCode != 0 && !c.out.atBoundary() && !c.killed {
		c.await()
	}
	return err
}

// read is Read with its turn and the lock, which it gives up to wait.
func (c *Conn) read(p []byte) (int, Violation, error) {
	for {
		switch in := &c.in; {
		case c.finishing:
			return 0, AppClosed, nil
		case in.given < in.judged:
			n := copy(p, in.hold[in.given:in.judged])
			in.given += uint8(n)
			return n, 0, nil
		case in.found != 0:
			return 0, in.found, nil
		case in.pauseUntil != 0:
			if err := c.pause(); err != nil {
				return 0, 0, err
			}
			continue
		}
		n, err := c.step(p)
		if in := &c.in; in.wasRaw && (in.since > justBegun || c.pingFrom != 0) {
			c.noteLeft()
		}
		if c.in.crumbs != 0 {
			c.weighCrumbs()
		}
		switch {
		case c.finishing:
			return 0, AppClosed, nil
		case err == nil && n > 0:
			return n, 0, nil
		case errors.Is(err, os.ErrDeadlineExceeded): // the library's own
			return 0, 0, err
		case err != nil:
			return 0, c.goneBy(), nil
		}
	}
}

// step takes bytes in once and judges them. It returns how many of p may be
// given to the library, which may be none.
func (c *Conn) step(p []byte) (int, error) {
	in := &c.in
	if c.passing || in.closed {
		n, err := c.receive(p)
		if in.closed {
			n = 0 // nothing counts behind a close frame (RFC 6455, section 5.5.1)
		}
		return n, err
	}
	if len(p) >= maxHeader {
		p = p[:min(len(p), c.maxRead())]
		front := copy(p, in.hold[:in.held])
		n, err := c.receive(p[front:])
		if n == 0 {
			return 0, err
		}
		in.held = 0
		return c.judge(p[:front+n]), nil
	}
	// A reader of a few bytes, such as one that takes a header in parts: the
	// header is collected apart, payload never read beyond its frame.
	if in.left > 0 {
		n, err := c.receive(p[:min(int64(len(p)), in.left)])
		if n == 0 {
			return 0, err
		}
		return c.judge(p[:n]), nil
	}
	front := int(in.held)
	n, err := c.receive(in.hold[front:judgeable(in.hold[:front])])
	if n == 0 {
		return 0, err
	}
	in.held, in.given = 0, 0
	in.judged = uint8(c.judge(in.hold[:front+n]))
	return 0, nil
}

func (c *Conn) maxRead() int {
	return max(512, min(maxRead, c.limits.Bytes.chunk()))
}

// receive reads what is at hand, else waits for the peer, and charges it.
func (c *Conn) receive(p []byte) (int, error) {
	in := &c.in
	n := 0
	in.now, in.wasRaw = 0, false
	if in.off < len(in.rest) {
		if in.deadline != 0 && !c.finishing && c.clock() >= in.deadline {
			return 0, os.ErrDeadlineExceeded
		}
		n = copy(p, in.rest[in.off:])
		in.off += n
		in.settle()
	} else {
		in.rest, in.off = nil, 0
		if in.interrupted && in.betweenMessages() {
			return 0, ErrInterrupted
		}
		if in.since != 0 || c.pingFrom != 0 {
			c.resume()
		}
		into := p
		if c.mayReadAhead(p) {
			in.ahead = aheads.Get().(*[readAhead]byte)
			into = in.ahead[:min(readAhead, c.maxRead())]
		}
		in.inRaw = true
		c.mu.Unlock()
		var err error
		n, err = c.raw.Read(into)
		c.mu.Lock()
		in.inRaw, in.wasRaw = false, true
		in.owed += int32(n)
		if n < crumb && n < len(into) && n > 0 {
			in.crumbs++
		}
		if in.ahead != nil {
			in.rest = in.ahead[:n]
			n = copy(p, in.rest)
			in.off = n
			in.settle()
		}
		if n == 0 {
			return 0, c.nothingRead(err)
		}
	}
	if owed := in.owed; owed > 0 {
		in.owed = 0
		c.counters.InBytes += int64(owed)
		if !c.finishing && !c.passing && !in.bytes.spend(int(owed)) {
			c.charge(&in.bytes, c.limits.Bytes, int(owed))
		}
	}
	return n, nil
}

// crumb is what a read counts beside its bytes that brought fewer and completed
// no message, and of which there were some in a row: as much as the headers of its
// packet weigh. Else a peer could have a system call, and a TLS record opened, for
// each of the bytes that it may send.
const (
	crumb      = 64
	freeCrumbs = 8 // headers and payloads may come apart, and over bad networks what they will
)

func (c *Conn) weighCrumbs() {
	switch in := &c.in; {
	case in.betweenMessages():
		in.crumbs = 0
	case in.crumbs > freeCrumbs && in.found == 0:
		in.crumbs = freeCrumbs
		if !c.finishing && !c.passing && !in.bytes.spend(crumb) {
			c.charge(&in.bytes, c.limits.Bytes, crumb)
		}
	}
}

func (c *Conn) mayReadAhead(p []byte) bool {
	in := &c.in
	return len(p) < readAhead && (in.left > 0 || in.held > 0) && !c.finishing && !c.passing && !in.closed
}

// settle gives the buffer back that was read ahead into, once it is used up.
func (in *inbound) settle() {
	if in.ahead == nil || in.off < len(in.rest) {
		return
	}
	aheads.Put(in.ahead)
	in.ahead, in.rest, in.off = nil, nil, 0
}

// readTime is when the bytes that are being judged were received.
func (c *Conn) readTime() time.Duration {
	if c.in.now == 0 {
		c.in.now = c.clock()
	}
	return c.in.now
}

// readStamp is readTime for what the timer watches.
func (c *Conn) readStamp() time.Duration {
	if c.in.now != 0 {
		return c.in.now
	}
	t := c.stamp()
	if t != undated {
		c.in.now = t
	}
	return t
}

// charge spends n of a rate that delays, where spend could not, and tells whether
// it was there. Behind the peer's close frame nothing is a violation any more, but
// a flood is still slowed.
func (c *Conn) charge(b *budget, r Rate, n int) bool {
	switch wait := b.draw(r, c.start.Add(c.readTime()), n, c.limits.CloseOnRate && !c.in.closed); {
	case wait == over:
		c.in.found = MessageRate
		return false
	case wait > 0:
		c.in.pauseUntil = max(c.in.pauseUntil, sum(c.readTime(), wait))
		return false
	}
	return true
}

// pause keeps the library, and so the peer, waiting for the budget.
func (c *Conn) pause() error {
	in := &c.in
	wait := in.pauseUntil - c.clock()
	if in.interrupted && in.betweenMessages() {
		return ErrInterrupted
	}
	if wait <= 0 {
		in.pauseUntil = 0
		if c.lastData != 0 {
			c.lastData = c.clock() // time held back is nobody's idleness
		}
		return nil
	}
	if in.deadline != 0 {
		left := in.deadline - c.clock()
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		wait = min(wait, left)
	}
	c.sooner(wait)
	c.await()
	return nil
}

// noteLeft notes when the peer was last listened to, which only what it has not
// brought to an end asks for: most messages arrive whole and cost no clock.
func (c *Conn) noteLeft() {
	in := &c.in
	in.leftRaw = c.readTime()
	if in.since == undated {
		in.since = in.leftRaw // no look has met this Read
	}
}

// resume moves the deadlines of the peer on by the time for which nobody
// listened to it: neither a slow library nor a pause is its fault.
func (c *Conn) resume() {
	if c.in.since == justBegun && c.pingFrom == 0 {
		c.in.since = c.stamp()
		return
	}
	now := c.clock()
	if c.in.since != 0 {
		c.in.since += now - max(c.in.since, c.in.leftRaw)
	}
	if c.pingFrom != 0 {
		c.pingFrom += now - max(c.pingFrom, c.in.leftRaw)
	}
}

// goneBy is what an end of the stream means.
func (c *Conn) goneBy() Violation {
	switch {
	case c.finishing: // our own doing; the owner knows better
		return AppClosed
	case c.closing != 0:
		return c.closing
	}
	return PeerGone
}
