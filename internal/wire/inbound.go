package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"
)

// maxRead bounds one Read, and with it what a pause can make us keep.
const maxRead = 64 << 10

// inbound is where the peer's stream of frames stands.
type inbound struct {
	hold   [maxHeader]byte // a header not yet complete, or judged and not yet given
	held   int             // bytes of an incomplete one
	judged int             // bytes of a judged one; used for readers of a few bytes only
	given  int             // of these

	rest []byte // arrived and not judged: early bytes, and what a pause keeps back
	off  int
	owed int // early bytes, not yet charged

	found      Violation // judged, and due when what came before it is read
	pauseUntil time.Duration
	deadline   time.Time     // the library's
	inRaw      bool          // a Read waits for the peer
	leftRaw    time.Duration // when the last one stopped to; kept while a deadline of the peer's runs
	now        time.Duration // one clock reading for all that a Read judges, made when something asks for it

	left        int64 // payload bytes of the frame that are to come
	first       byte  // its first header byte
	inMessage   bool
	compressed  bool
	paid        bool // the header at hand is charged: a pause made it wait
	unwanted    bool
	interrupted bool
	closed      bool          // the peer's close frame has passed
	since       time.Duration // first byte of the message, or frame, that is not complete
	size        int64         // of the message
	frames      int
	empty       int
	pongs       int // answers to our pings that are to come: not charged
	closeBody   []byte
	closeKey    [4]byte

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
		c.turn.Wait()
	}
	if c.finishing {
		c.mu.Unlock()
		return 0, c.end(AppClosed)
	}
	c.reading = true
	n, v, err := c.read(p)
	c.reading = false
	c.turn.Broadcast()
	answered := c.closing == AppClosed && c.in.closed && c.in.given >= c.in.judged
	c.mu.Unlock()
	if v != 0 {
		return 0, c.end(v)
	}
	if answered {
		c.end(AppClosed) // the library still gets the answer
	}
	return n, err
}

// read is Read with its turn and the lock, which it gives up to wait.
func (c *Conn) read(p []byte) (int, Violation, error) {
	for {
		switch in := &c.in; {
		case c.finishing:
			return 0, AppClosed, nil
		case in.given < in.judged:
			n := copy(p, in.hold[in.given:in.judged])
			in.given += n
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
		switch {
		case c.finishing:
			return 0, AppClosed, nil
		case errors.Is(err, os.ErrDeadlineExceeded): // the library's own
			return 0, 0, err
		case err != nil:
			return 0, c.goneBy(), nil
		case n > 0:
			return n, 0, nil
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
	front := in.held
	n, err := c.receive(in.hold[front:judgeable(in.hold[:front])])
	if n == 0 {
		return 0, err
	}
	in.held, in.given = 0, 0
	in.judged = c.judge(in.hold[:front+n])
	return 0, nil
}

func (c *Conn) maxRead() int {
	return max(512, min(maxRead, c.limits.Bytes.chunk()))
}

// receive reads what is at hand, else waits for the peer, and charges it.
func (c *Conn) receive(p []byte) (int, error) {
	in := &c.in
	n := 0
	in.now = 0
	if in.off < len(in.rest) {
		if !in.deadline.IsZero() && !c.finishing && !time.Now().Before(in.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		n = copy(p, in.rest[in.off:])
		in.off += n
	} else {
		in.rest, in.off = nil, 0
		if in.interrupted && in.betweenMessages() {
			return 0, ErrInterrupted
		}
		c.resume()
		in.inRaw = true
		c.mu.Unlock()
		var err error
		n, err = c.raw.Read(p)
		c.mu.Lock()
		in.inRaw = false
		if in.since != 0 || c.pingFrom != 0 {
			in.leftRaw = c.readTime()
		}
		if again, err2 := c.wasInterrupted(n, err); again {
			return 0, nil
		} else if err = err2; n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
		in.owed += n
	}
	if owed := in.owed; owed > 0 {
		in.owed = 0
		c.counters.InBytes += int64(owed)
		if !c.finishing && !in.closed && !c.passing {
			c.charge(&in.bytes, c.limits.Bytes, owed)
		}
	}
	return n, nil
}

// readTime is when the bytes that are being judged were received.
func (c *Conn) readTime() time.Duration {
	if c.in.now == 0 {
		c.in.now = c.clock()
	}
	return c.in.now
}

// charge spends n of a rate that delays, and tells whether it was there.
func (c *Conn) charge(b *budget, r Rate, n int) bool {
	if b.spend(n) {
		return true
	}
	switch wait := b.draw(r, c.start.Add(c.readTime()), n, c.limits.CloseOnRate); {
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
	if !in.deadline.IsZero() {
		left := time.Until(in.deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		wait = min(wait, left)
	}
	c.sooner(wait)
	c.turn.Wait()
	return nil
}

// resume moves the deadlines of the peer on by the time for which nobody
// listened to it: neither a slow library nor a pause is its fault.
func (c *Conn) resume() {
	if c.in.since == 0 && c.pingFrom == 0 {
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

// judge walks over the frames of b and returns how many bytes may pass. What
// is behind them is kept: part of a header, or all from where reading pauses;
// behind a violation or a close frame nothing is.
func (c *Conn) judge(b []byte) int {
	in := &c.in
	i := 0
	for i < len(b) {
		if in.left > 0 {
			k := int(min(in.left, int64(len(b)-i)))
			if in.first&0xF == opClose {
				in.keepReason(b[i : i+k])
			}
			in.left -= int64(k)
			i += k
		} else {
			size := judgeable(b[i:])
			if size > len(b)-i {
				in.held = copy(in.hold[:], b[i:])
				c.awaitRest()
				return i
			}
			found := in.found // of the bytes: due behind what arrived with them
			if !c.admit(b[i : i+size]) {
				if in.found == found {
					in.putBack(b[i:])
				}
				return i
			}
			i += size
		}
		if in.left == 0 && c.frameDone() {
			return i
		}
	}
	if in.left > 0 || in.inMessage {
		c.awaitRest()
	}
	return i
}

// awaitRest notes that a message, or a frame, has begun and is not complete.
func (c *Conn) awaitRest() {
	if c.in.since == 0 {
		c.in.since = c.readTime()
		c.in.leftRaw = c.in.since
	}
}

// judgeable is how many bytes of a header are needed to judge it: a close
// frame's code is one of the things a library must not see unjudged.
func judgeable(b []byte) int {
	n := headerSize(b)
	if len(b) >= 2 && b[0]&0xF == opClose && b[1]&^maskBit >= 2 && b[1]&^maskBit <= maxControl {
		n += 2
	}
	return n
}

// putBack makes what was received and not judged the next to be received.
func (in *inbound) putBack(b []byte) {
	if in.off >= len(b) {
		in.off -= len(b)
		return
	}
	rest := make([]byte, 0, len(b)+len(in.rest)-in.off)
	rest = append(rest, b...)
	in.rest, in.off = append(rest, in.rest[in.off:]...), 0
}

// admit judges one header and makes it the frame at hand. Where it does not,
// either a violation is found or reading pauses.
func (c *Conn) admit(b []byte) bool {
	in := &c.in
	size := payloadSize(b)
	if b[1]&maskBit == 0 || !wellFormed(b[0], size, in.inMessage, c.deflate) {
		in.found = Protocol
		return false
	}
	if op := b[0] & 0xF; op >= opClose {
		if !c.admitControl(op, b, size) {
			return false
		}
	} else if !c.admitData(op, b[0], size) {
		return false
	}
	in.first, in.left = b[0], size
	c.counters.InFrames++
	if b[0]&0xF == opClose && size >= 2 {
		in.left -= 2
	}
	return true
}

func (c *Conn) admitControl(op byte, b []byte, size int64) bool {
	in := &c.in
	if op == opClose {
		in.closeBody = nil
		if size >= 2 {
			key, code := b[len(b)-6:len(b)-2], b[len(b)-2:]
			in.closeBody = append(make([]byte, 0, size), code[0]^key[0], code[1]^key[1])
			in.closeKey = [4]byte(key)
			if !sendable(int(binary.BigEndian.Uint16(in.closeBody))) {
				in.found = Protocol
				return false
			}
		}
	}
	if c.finishing {
		return true
	}
	if op == opPong && in.pongs > 0 {
		in.pongs--
		return true
	}
	if !in.controls.spend(1) && in.controls.draw(c.limits.Controls, c.start.Add(c.readTime()), 1, true) == over {
		in.found = ControlRate
		return false
	}
	return true
}

func (c *Conn) admitData(op, first byte, size int64) bool {
	in, l := &c.in, &c.limits
	begins := op != opContinuation
	total, frames, empty, compressed := in.size, in.frames, in.empty, in.compressed
	if begins {
		total, frames, empty, compressed = 0, 0, 0, first&rsv1Bit != 0
	}
	frames++
	if size == 0 && first&finBit == 0 {
		empty++
	}
	if !c.finishing {
		bound := max(l.MessageSize, 0)
		if compressed { // what deflate adds to bytes that do not shrink
			bound = sum(bound, bound/64+64)
		}
		switch {
		case op == opText && !l.Text, op == opBinary && !l.Binary:
			in.found = MessageType
			return false
		case in.unwanted:
			in.found = DataUnwanted
			return false
		case size > bound-total: // neither is negative: nothing wraps
			in.found = MessageSize
			return false
		case frames > l.Fragments, empty > l.Fragments/8:
			in.found = Fragments
			return false
		}
		if begins && !in.paid && !c.charge(&in.messages, l.Messages, 1) {
			in.paid = true
			return false
		}
	}
	in.paid, in.inMessage = false, true
	in.size, in.frames, in.empty, in.compressed = total+size, frames, empty, compressed
	if l.Idle > 0 {
		c.lastData = c.readTime()
	}
	return true
}

// frameDone notes that a frame is complete: the peer is alive. It tells
// whether nothing may follow it.
func (c *Conn) frameDone() bool {
	in := &c.in
	c.pingFrom = 0
	switch op := in.first & 0xF; {
	case op == opClose:
		c.peerClosed()
		return true
	case op < opClose && in.first&finBit != 0:
		in.inMessage = false
		c.counters.InMessages++
	}
	if !in.inMessage {
		in.since = 0
	}
	return false
}

// keepReason unmasks what passes of a close frame's reason.
func (in *inbound) keepReason(b []byte) {
	for _, x := range b {
		in.closeBody = append(in.closeBody, x^in.closeKey[len(in.closeBody)%4])
	}
}

// peerClosed notes the peer's close frame. The library reads it like any
// other and shall answer.
func (c *Conn) peerClosed() {
	in := &c.in
	in.closed, in.since = true, 0
	c.counters.PeerCode = 1005
	if body := in.closeBody; len(body) >= 2 {
		c.counters.PeerCode = int(binary.BigEndian.Uint16(body))
		c.counters.PeerReason = string(body[2:])
	}
	in.closeBody = nil
	c.beginClosing(PeerClosed, closeTime)
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
