package wire

import (
	"net"
	"sync"
	"time"
)

// Sender says whose close frame went out.
type Sender uint8

const (
	Nobody Sender = iota // no close frame went out
	Guard                // the wire's, by Finish
	App                  // the library's
)

// Counters is what was on the wire.
type Counters struct {
	InMessages, OutMessages int64 // complete ones
	InFrames, OutFrames     int64 // begun: judged, or scanned, control frames included
	InBytes, OutBytes       int64 // behind the response head, headers and control frames included

	PeerCode uint16 // of the peer's close frame; 1005 when it named none, 0 without a close frame
	SentCode uint16 // likewise of the close frame that went out
	Status   uint16 // of the response head, where the library wrote it
	SentBy   Sender
}

// A Conn is the metered connection: a net.Conn for the library, and the
// session's hand on the wire for the guard. Each method may be called at any
// time, from any goroutine.
//
// It has one lock, never held over I/O or over a call of its owner. Who reads
// or writes the raw connection holds a turn (reading, writing) instead, so
// that the timer and Finish see a blocked peer rather than wait for it.
type Conn struct {
	raw   net.Conn
	owner Owner
	start time.Time // all times below are counted from here

	mu     sync.Mutex
	turn   *sync.Cond // a turn ends, a pause is over, the session ends; nil until somebody waits
	limits *Limits    // of many connections: only read

	in   inbound
	out  outbound
	head *head // nil once frames flow

	timer              *time.Timer
	armed              time.Duration // when it fires
	expiry             int64         // in microseconds of Unix time; 0: never
	lifetime           time.Duration // when it is over; 0: never
	pingNext, pingFrom time.Duration // when to ping; since when a ping waits for any frame
	lastData           time.Duration

	closeBy time.Duration // when the closing handshake is over, or the connection cut
	endErr  error

	// These stand together: one byte among words takes eight, of each session.
	closing          Violation // who began the closing handshake
	reading, writing bool
	deflate          deflation // SetLimits does not change it
	passing          bool      // the library answered with another status: nothing is parsed
	started          bool
	finishing        bool
	killed           bool // nothing is waited for any more
	abrupt           bool // nor a courtesy paid
	busy             bool // messages have no time of their own: see stamp
	stamps           uint16
	window           uint32

	counters Counters
}

// New returns a metered connection over raw. Early holds bytes that the peer
// sent with its handshake; they are copied, metered and read first. With a
// head the Conn expects the library's response head before any frame, without
// one frames from the start. Nothing runs before [Conn.Start] or the head but
// the time that a library has for it.
//
// Connections share their Limits, which are not changed while one uses them.
// Limits.Deflate counts here alone, and only without a head: with one, the head
// tells what was negotiated.
func New(raw net.Conn, early []byte, l *Limits, h *Head, o Owner) *Conn {
	c := &Conn{raw: raw, owner: o, start: time.Now(), limits: l}
	c.in.rest = append(c.in.rest, early...)
	c.in.owed = int32(len(early))
	c.in.messages = newBudget(l.Messages)
	c.in.bytes = newBudget(l.Bytes)
	c.in.controls = newBudget(l.Controls)
	if h == nil {
		c.deflate = deflationOf(l.Deflate)
	} else {
		c.head = &head{want: h, by: sum(c.clock(), statusTime)}
		c.arm(statusTime)
	}
	return c
}

// SetLimits replaces the limits, from the next frame on.
func (c *Conn) SetLimits(l *Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = l
	now := c.clock()
	at := c.start.Add(now)
	c.in.messages.change(l.Messages, at)
	c.in.bytes.change(l.Bytes, at)
	c.in.controls.change(l.Controls, at)
	if c.in.pauseUntil != 0 { // what the old rates held back waits by the new ones
		c.in.pauseUntil = sum(now, max(c.in.messages.owed(l.Messages, at), c.in.bytes.owed(l.Bytes, at)))
		c.wake()
	}
	c.lastData = now // it was not kept without Limits.Idle
	if c.started && !c.finishing {
		c.pingNext = sum(now, jitter(l.Ping))
		c.rearm()
	}
}

// UnwantData makes the header of any further data frame a DataUnwanted.
func (c *Conn) UnwantData() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.unwanted = true
}

// Counters returns what was on the wire so far.
func (c *Conn) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counters
}

// PeerReason is the text of the peer's close frame: at most 123 bytes of an
// attacker's, unchecked.
func (c *Conn) PeerReason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if body := c.in.closeBody; c.in.closed && len(body) > 2 {
		return string(body[2:])
	}
	return ""
}

// LocalAddr returns the raw connection's local address.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the raw connection's peer.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline sets the library's deadlines. The guard's own are the timer's
// and are not touched by it: the earlier one holds.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is as [Conn.SetDeadline].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finishing { // from here on the raw connection's deadlines are the guard's
		return nil
	}
	c.in.deadline = c.onClock(t)
	c.wake() // a paused Read looks again
	return c.raw.SetReadDeadline(t)
}

// SetWriteDeadline is as [Conn.SetDeadline].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finishing {
		return nil
	}
	c.out.deadline = c.onClock(t)
	if c.out.own { // it waits for the end of that frame
		return nil
	}
	return c.raw.SetWriteDeadline(t)
}

// await gives up the lock until wake. Few connections ever wait for a turn.
func (c *Conn) await() {
	if c.turn == nil {
		c.turn = sync.NewCond(&c.mu)
	}
	c.turn.Wait()
}

// wake lets all who wait look again.
func (c *Conn) wake() {
	if c.turn != nil {
		c.turn.Broadcast()
	}
}

// clock is the time since New, never zero, which means "not set", nor what stands
// for a time: justBegun, undated. It reads the monotonic clock alone, at half the
// cost of time.Now.
func (c *Conn) clock() time.Duration {
	return time.Since(c.start) + clockStart
}

const clockStart = undated + 1

// onClock is t by the clock, 0 for no time.
func (c *Conn) onClock(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return sum(max(t.Sub(c.start), 0), clockStart)
}

// offClock is the reverse of onClock.
func (c *Conn) offClock(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return c.start.Add(d - clockStart)
}
