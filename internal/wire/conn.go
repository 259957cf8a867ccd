package wire

import (
	"net"
	"time"
)

// Sender says who sent the closing frame that a session's peer got first.
type Sender uint8

const (
	Nobody Sender = iota // no close frame went out
	Guard                // the wire, by Finish
	App                  // the library
)

// Counters is what was on the wire.
type Counters struct {
	InMessages, OutMessages int64 // begun: counted at the first frame's header
	InFrames, OutFrames     int64
	InBytes, OutBytes       int64 // after the response head, frame headers and control frames included

	PeerCode   int    // of the peer's close frame; 1005 when it gave none, 0 when there was no close frame
	PeerReason string // attacker's text, at most 123 bytes, unchecked
	SentCode   int    // likewise of the close frame that went out
	SentBy     Sender
	Status     int // of the response head, when the library wrote one
}

// A Conn is the metered connection. It implements net.Conn.
type Conn struct {
	raw    net.Conn
	early  []byte
	limits Limits
	head   *Head
	owner  Owner
}

// New returns a metered connection over raw. Early holds bytes that the peer
// sent with its handshake; they are copied, metered and read first. With a
// head the Conn expects the library's response head before any frame, without
// one frames from the start. Nothing runs before [Conn.Start] or the head.
func New(raw net.Conn, early []byte, l Limits, h *Head, o Owner) *Conn {
	return &Conn{raw: raw, early: append([]byte(nil), early...), limits: l, head: h, owner: o}
}

func (c *Conn) Read(p []byte) (int, error)         { return c.raw.Read(p) }
func (c *Conn) Write(p []byte) (int, error)        { return c.raw.Write(p) }
func (c *Conn) Close() error                       { return c.raw.Close() }
func (c *Conn) LocalAddr() net.Addr                { return c.raw.LocalAddr() }
func (c *Conn) RemoteAddr() net.Addr               { return c.raw.RemoteAddr() }
func (c *Conn) SetDeadline(t time.Time) error      { return c.raw.SetDeadline(t) }
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.raw.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }

// Start arms the session's timer. The owner calls it when the session is open;
// with a Head the Conn does, before Opened.
func (c *Conn) Start() {}

// SetExpiry sets when the session ends with Expired; the zero time: never.
func (c *Conn) SetExpiry(t time.Time) {}

// SetLifetime sets when the session ends with Lifetime; the zero time: never.
func (c *Conn) SetLifetime(t time.Time) {}

// SetLimits replaces the limits from the next frame on.
func (c *Conn) SetLimits(l Limits) { c.limits = l }

// UnwantData makes the header of any further data frame DataUnwanted.
func (c *Conn) UnwantData() {}

// Finish ends the connection, once: a close frame at the next boundary of
// outbound frames (none with code 0), inbound bytes discarded, half-closed and
// closed at the peer's close frame, after a second at the latest. It returns
// at once, and so does a blocked Read or Write.
func (c *Conn) Finish(code int, reason string) {}

// Cut closes the connection at once, without a close frame.
func (c *Conn) Cut() {}

// Counters returns what was on the wire so far; it may be called at any time.
func (c *Conn) Counters() Counters { return Counters{} }
