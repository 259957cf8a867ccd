package wire

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

const (
	// progress is what a peer must take within Limits.Write: longer writes go
	// out in pieces of it, so that each can be seen to move.
	progress = 16 << 10
	// smallPiece of an unfinished frame waits for the next one: libraries that
	// write header and payload apart, or fill a small buffer first, then cost
	// one packet instead of two.
	smallPiece = 512
)

var errNoFrame = errors.New("wire: the library wrote bytes that are no frames of a server")

// outbound is where the library's stream of frames stands.
type outbound struct {
	hold      [maxHeader]byte // of a header not yet complete
	held      uint8
	code      uint8 // bytes of a close frame's code still to be seen
	first     byte
	inMessage bool
	data      bool   // a data frame has begun that no write has carried yet
	ping      bool   // due at the next boundary
	own       bool   // a frame of the wire's own is on its way: the deadline is not for it
	failed    bool   // and did not get through: the peer is gone
	closeCode uint16 // of a close frame that is due at the next boundary, before a pong and a ping; 0: none is
	left      int64  // payload bytes of the frame that are to come

	wait  []byte        // the first piece of an unfinished frame, not yet written
	since time.Duration // when the write under way began; 0: none is
	torn  error         // a frame was cut off, or is none: nothing can follow

	closeText string        // of the close frame that is due
	pong      *pongFrame    // the answer to the peer's latest ping, likewise
	deadline  time.Duration // the library's; 0: none
}

// atBoundary tells whether the bytes on the wire end with a whole frame.
func (o *outbound) atBoundary() bool {
	return o.torn == nil && (len(o.wait) > 0 || o.left == 0 && o.held == 0)
}

// complete tells whether all that the library wrote is whole and on the wire.
func (o *outbound) complete() bool { return o.atBoundary() && len(o.wait) == 0 }

func (o *outbound) due() bool { return o.ping || o.pong != nil || o.closeCode != 0 }

// Pong answers a ping of the peer's, for a library that leaves that to us: at the
// next boundary of frames, so that a long message which is taken slowly costs nobody
// the session. Of pings that come meanwhile the last is answered, which is enough
// (RFC 6455, section 5.5.3), and all that a flood of them makes us keep.
func (c *Conn) Pong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finishing {
		return
	}
	c.out.pong = newPong(payload)
	if !c.writing { // else the one who writes sends it
		c.writing = true
		c.passTurn()
	}
}

// Write sends the library's bytes: its response head, where one is expected,
// and frames. Between them go the wire's own ping and close frame. A frame that
// the end of the session meets half-way may be completed, nothing else.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	for c.writing {
		c.await()
	}
	c.writing = true
	n, v, err := c.write(p)
	c.passTurn()
	if v == 0 && c.closing == PeerClosed && c.counters.SentBy == App && c.out.complete() {
		v = PeerClosed // the library has answered the peer
	}
	c.mu.Unlock()
	if v != 0 {
		if ended := c.end(v); n < len(p) {
			err = ended
		}
	}
	return n, err
}

// write is Write with its turn and the lock, which it gives up to wait.
func (c *Conn) write(p []byte) (int, Violation, error) {
	n := 0
	if c.head != nil && !c.finishing {
		var v Violation
		if n, v = c.writeHead(p); v != 0 {
			return n, v, nil
		}
	}
	for n < len(p) {
		o := &c.out
		switch {
		case c.killed, c.finishing && o.atBoundary():
			return n, AppClosed, nil
		case o.torn != nil:
			return n, 0, o.torn
		}
		if c.passing {
			k, err := c.send(nil, p[n:])
			if err != nil {
				return n + k, c.goneBy(), nil
			}
			return len(p), 0, nil
		}
		if o.due() && o.atBoundary() {
			c.sendDue()
			continue
		}
		k, keep, ok := c.scan(p[n:], o.due() || c.finishing)
		piece := p[n : n+k-keep]
		if len(piece) > 0 {
			waited := o.wait
			o.wait = o.wait[:0]
			if sent, err := c.send(waited, piece); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) && !c.finishing {
					return n + sent, 0, err // the library's own
				}
				return n + sent, c.goneBy(), nil
			}
		}
		if keep > 0 {
			o.wait = append(o.wait[:0], p[n+k-keep:n+k]...)
		}
		n += k
		if !ok {
			o.torn = errNoFrame
			return n, BadStream, nil
		}
		if c.counters.SentBy == App && o.complete() {
			c.beginClosing(AppClosed, closeTime)
		}
	}
	return n, 0, nil
}

// send writes to the raw connection, what waited first, and returns how many
// bytes of p went out. It holds the turn and gives up the lock.
func (c *Conn) send(waited, p []byte) (int, error) {
	o := &c.out
	k := progress
	if len(waited) > 0 {
		// What the other pieces leave of the whole: joining copies, so that it had
		// better be little, and there is no piece more.
		k = max((len(waited)+len(p)-1)%progress+1-len(waited), 0)
	}
	for n := 0; ; k = progress {
		k = min(k, len(p)-n)
		o.since = c.stamp()
		if o.data {
			c.lastData, o.data = o.since, false
		}
		c.mu.Unlock()
		var sent int
		var err error
		switch {
		case len(waited) == 0:
			sent, err = c.raw.Write(p[n : n+k])
		case k == 0:
			sent, err = c.raw.Write(waited)
		default:
			sent, err = c.sendJoined(waited, p[n:n+k])
		}
		c.mu.Lock()
		o.since = 0
		if c.head == nil && !c.passing {
			c.counters.OutBytes += int64(sent)
		}
		n += max(sent-len(waited), 0)
		if err != nil {
			o.torn = err
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		waited = nil
	}
}

var joints = sync.Pool{New: func() any { return new([progress]byte) }}

func (c *Conn) sendJoined(waited, p []byte) (int, error) {
	b := joints.Get().(*[progress]byte)
	defer joints.Put(b)
	n := copy(b[:], waited)
	n += copy(b[n:], p)
	return c.raw.Write(b[:n])
}

// scan follows the frames of b, counts them, and returns how many bytes it has
// followed: all, or up to the first boundary where something waits for one.
// The last keep of them are the small first piece of an unfinished frame. It
// fails when the bytes are no frames of a server.
func (c *Conn) scan(b []byte, stop bool) (n, keep int, ok bool) {
	o := &c.out
	begun := -1 // where in b the unfinished frame begins, if it does in b
	for n < len(b) {
		if o.left > 0 {
			k := int(min(o.left, int64(len(b)-n)))
			for i := 0; i < k && o.code > 0; i++ {
				o.code--
				c.counters.SentCode |= uint16(b[n+i]) << (8 * o.code)
			}
			o.left -= int64(k)
			n += k
		} else {
			if o.held == 0 {
				begun = n
			}
			k, h := o.header(b[n:])
			n += k
			if h == nil {
				break
			}
			if !c.begin(h) {
				return len(b), 0, false
			}
		}
		if o.left == 0 {
			begun = -1
			if o.first&0xF < opClose && o.first&finBit != 0 {
				o.inMessage = false
				c.counters.OutMessages++
			}
			if stop {
				break
			}
		}
	}
	isClose := o.held == 0 && o.first&0xF == opClose // is on its way once it is counted
	if begun >= 0 && n-begun <= smallPiece && !isClose {
		keep = n - begun
	}
	return n, keep, true
}

// header takes of b what the header at hand lacks, and returns it once it is whole.
func (o *outbound) header(b []byte) (n int, h []byte) {
	need := headerSize(b)
	if o.held == 0 && need <= len(b) {
		return need, b[:need]
	}
	for need = headerSize(o.hold[:o.held]); int(o.held) < need && n < len(b); need = headerSize(o.hold[:o.held]) {
		o.hold[o.held] = b[n]
		o.held++
		n++
	}
	if int(o.held) < need {
		return n, nil
	}
	o.held = 0
	return n, o.hold[:need]
}

// begin notes the header of an outbound frame.
func (c *Conn) begin(h []byte) bool {
	o := &c.out
	size := payloadSize(h)
	if h[1]&maskBit != 0 || !wellFormed(h[0], size, o.inMessage, c.deflate != noDeflate) {
		return false
	}
	o.first, o.left = h[0], size
	c.counters.OutFrames++
	switch op := h[0] & 0xF; {
	case op == opClose && c.counters.SentBy == Nobody:
		c.counters.SentBy, c.counters.SentCode = App, 1005
		if size >= 2 {
			c.counters.SentCode, o.code = 0, 2
		}
	case op < opClose:
		o.inMessage = true
		o.data = true
	}
	return true
}

// passTurn ends a turn at writing, after what waits for a boundary has gone
// out. Whoever makes something due either finds the turn free and takes it, or
// leaves it to the one who has it.
func (c *Conn) passTurn() {
	if c.out.due() {
		c.sendAllDue()
	}
	c.writing = false
	c.wake()
}

func (c *Conn) sendAllDue() {
	for c.out.due() && c.out.atBoundary() && !c.killed && c.head == nil {
		c.sendDue()
	}
}

// sendDue writes the close frame, else the pong, else the ping. Behind a close
// frame, ours or the library's, nothing goes out.
func (c *Conn) sendDue() {
	o := &c.out
	var frame []byte
	code := o.closeCode
	o.closeCode = 0
	switch {
	case c.counters.SentBy != Nobody:
		o.ping, o.pong = false, nil
		return
	case code != 0:
		frame = closeFrame(int(code), o.closeText)
		c.counters.SentBy = Guard
		c.counters.SentCode = code
	case o.pong != nil:
		frame, o.pong = o.pong.bytes(), nil
	default:
		o.ping = false
		frame = pingFrame(rand.Uint64())
		c.in.pongs++ // before the write: the answer may be read before it returns
		if c.pingFrom == 0 {
			c.pingFrom = c.clock()
		}
	}
	c.counters.OutFrames++
	c.sendOwn(frame) // an error is kept in torn
}

// sendOwn writes a frame of the wire's own. The library's deadline is not for
// it: many set one for each message, and it has passed when the next ping is due.
func (c *Conn) sendOwn(frame []byte) {
	o := &c.out
	o.own = true
	if o.deadline != 0 {
		c.raw.SetWriteDeadline(time.Time{})
	}
	_, err := c.send(nil, frame)
	o.own, o.failed = false, err != nil
	if o.deadline != 0 && !c.finishing {
		c.raw.SetWriteDeadline(c.offClock(o.deadline))
	}
}
