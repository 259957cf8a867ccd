package wire

import (
	"net"
	"time"
)

// courtesy is how long a close_notify may take to be accepted: tls.Conn.Close
// alone would wait for five seconds on a peer that does not read.
const courtesy = 250 * time.Millisecond

// long ago: a deadline that wakes whatever is blocked.
var longAgo = time.Unix(1, 0)

// Close is the library's. It ends the session as AppClosed, or as PeerClosed
// when the peer had begun the closing handshake, and returns at once.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.finishing {
		c.mu.Unlock()
		return nil
	}
	v := AppClosed
	switch {
	case c.passing:
		v = OtherStatus
	case c.closing != 0:
		v = c.closing
	}
	c.mu.Unlock()
	c.end(v)
	return nil
}

// Finish ends the connection, once: a close frame at the next boundary of
// outbound frames, then inbound bytes are discarded until the peer's own close
// frame, for a second at most, and the connection is half-closed and closed.
// Code 0 sends no close frame and waits for nothing, unless the library has
// sent its own; then none is sent with any code. It returns at once, and a
// blocked Read does too, unless a frame is half out. A Write may complete it
// in that second, since no close frame can follow half a frame.
func (c *Conn) Finish(code int, reason string) {
	c.mu.Lock()
	begun := c.finish(code, reason)
	c.mu.Unlock()
	if begun {
		go c.seeOff()
	}
}

// Linger is Finish for a goroutine that has nothing else to do: it returns when
// the connection is closed, and spares the goroutine that Finish starts. True says
// that the end was this one's: the owner's Finished is then the caller's to call.
func (c *Conn) Linger(code int, reason string) bool {
	c.mu.Lock()
	begun := c.finish(code, reason)
	c.mu.Unlock()
	if begun {
		c.shut()
	}
	return begun
}

// Cut closes the connection at once, without a close frame; also one that
// Finish is about to close.
func (c *Conn) Cut() {
	c.mu.Lock()
	c.abrupt = true
	begun := c.finish(0, "")
	c.kill()
	c.mu.Unlock()
	if begun {
		go c.seeOff()
	}
}

// finish reports whether the end began with it: shut is then to follow, and Finished.
func (c *Conn) finish(code int, reason string) bool {
	if c.finishing {
		return false
	}
	c.finishing = true
	if c.out.torn != nil {
		c.abrupt = true
	}
	waits := c.counters.SentBy == App
	if code != 0 && !waits && (c.head == nil || c.head.out) && !c.passing {
		c.out.closeCode, c.out.closeText = uint16(code), reason
		waits = true
	}
	if waits && !c.abrupt {
		c.closeBy = sum(c.clock(), grace)
		c.arm(grace)
		c.raw.SetReadDeadline(longAgo) // wakes a blocked Read; the discarding sets its own
		c.wake()
	} else {
		c.kill()
	}
	return true
}

// kill ends all waiting: for the peer, for a boundary, for a blocked call.
func (c *Conn) kill() {
	if c.killed {
		return
	}
	c.killed = true
	c.raw.SetDeadline(longAgo)
	c.wake()
}

// seeOff is the only goroutine that a Conn starts.
func (c *Conn) seeOff() {
	c.shut()
	c.owner.Finished()
}

// shut is what is left to do after an end, and takes as long as Finish says.
func (c *Conn) shut() {
	c.mu.Lock()
	if !c.writing {
		c.writing = true
		c.passTurn() // the close frame; otherwise the one who writes sends it
	}
	for c.reading && !c.killed {
		c.await()
	}
	if !c.killed {
		c.reading = true
		c.discard()
		c.reading = false
	}
	c.kill()
	abrupt := c.abrupt
	c.mu.Unlock()

	c.hangUp(abrupt)

	c.mu.Lock()
	for c.reading || c.writing {
		c.await()
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
}

// hangUp closes the raw connection, whatever TLS would wait for. The kernel does
// not wait, so bare TCP needs no timer.
func (c *Conn) hangUp(abrupt bool) {
	inner, wrapped := c.raw, false
	if t, ok := c.raw.(interface{ NetConn() net.Conn }); ok && t.NetConn() != nil {
		inner, wrapped = t.NetConn(), true
	}
	if abrupt {
		inner.Close()
		c.raw.Close()
		return
	}
	half, ok := c.raw.(interface{ CloseWrite() error })
	if _, tcp := c.raw.(*net.TCPConn); !tcp && (wrapped || ok) {
		limit := time.AfterFunc(courtesy, func() { inner.Close() })
		defer limit.Stop()
	}
	if ok {
		half.CloseWrite()
	}
	c.raw.Close()
}

// beginClosing notes the first close frame, either way, or the head of another
// status, and how long there is to bring it to its end.
func (c *Conn) beginClosing(v Violation, d time.Duration) {
	if c.closing != 0 {
		return
	}
	c.closing = v
	if c.finishing {
		return
	}
	c.closeBy = sum(c.clock(), d)
	c.sooner(d)
}

// end reports v to the owner and returns what Read and Write shall fail with:
// the owner's word, also where the session had ended for another cause.
func (c *Conn) end(v Violation) error {
	c.mu.Lock()
	err := c.endErr
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err = c.owner.End(v); err == nil {
		err = net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endErr == nil {
		c.endErr = err
	}
	return c.endErr
}
