// Package wire is the meter: a net.Conn between a WebSocket library and its
// peer that reads frame headers as the bytes pass, both ways, and counts,
// bounds, pings and closes.
//
// It works under every library, because it needs nothing of them but that they
// read and write a net.Conn. Of payloads it looks at close frames only;
// everything else costs arithmetic per frame, and at most one look at the
// clock and at the budget of bytes per Read. A frame that breaks a rule never
// reaches the library: what came before it does, then Read fails.
package wire

import "time"

// Limits bound what a peer may send and how long it may take. A count, size
// or duration of zero is none at all for Idle, Ping and Pong; for every other
// field it is a limit like any other, so the caller fills in its defaults.
type Limits struct {
	MessageSize int64 // bytes of one message, all frames together
	Messages    Rate  // messages let in; delayed, unless CloseOnRate
	Bytes       Rate  // wire bytes let in; delayed, unless CloseOnRate
	Controls    Rate  // ping, pong and close frames let in; always closes
	Fragments   int   // frames of one message; empty ones that are not the last: an eighth

	MessageTime time.Duration // to complete a message, from the first byte of its first header
	Idle        time.Duration // without a data message either way; 0: none
	Ping        time.Duration // between the wire's own pings, ±10 %; 0: none
	Pong        time.Duration // from a ping without any inbound frame; 0: none
	Write       time.Duration // for 16 KiB, or the rest, of a write to be taken

	CutOff interface{ Over(Owner) bool } // asked by each Read that has bytes to give: end with CutOff instead; nil: never

	CloseOnRate bool // end with MessageRate instead of delaying
	Text        bool // text messages are let in
	Binary      bool // binary messages are let in
	Deflate     bool // permessage-deflate was negotiated: RSV1 may mark a message
}

// A Rate is N events in each Per, and Burst of them at once.
type Rate struct {
	N     int
	Per   time.Duration
	Burst int
}

// A Violation is why the wire ended, or was made to end, a session.
type Violation uint8

// What the wire finds. The comments name the close code the session deserves.
const (
	_            Violation = iota
	Protocol               // 1002: the frame breaks RFC 6455
	MessageType            // 1003: an opcode that is not let in
	MessageSize            // 1009: a declared length over the limit
	Fragments              // 1008: too many frames, or empty ones, in a message
	MessageTime            // 1008: a message not complete in time
	MessageRate            // 1008: over a budget, with CloseOnRate
	ControlRate            // 1008: too many control frames
	SlowReader             // 1008, by cut: the peer does not take what is written
	NoPong                 // 3008: no frame since a ping
	IdleTimeout            // 3008: no data message either way
	Lifetime               // 1001: the time of SetLifetime has come
	Expired                // 3000: the time of SetExpiry has come
	DataUnwanted           // 1008: a data frame after UnwantData
	CutOff                 // 1011: Limits.CutOff said so
	PeerClosed             // the peer began the closing handshake
	PeerGone               // end of stream or reset without a close frame: 1006
	AppClosed              // the library sent its close frame, or closed the connection
	BadHead                // 1011, by cut: the library's 101 is not what the guard let through
	NoHead                 // 1011, by cut: the library took the connection and wrote no head
	OtherStatus            // the library answered with another status than 101
	BadStream              // 1011, by cut: the library's bytes are no frames
)

// Owner is the session that a Conn belongs to. Its methods are called without
// any lock of the Conn held, and may call any method of the Conn.
type Owner interface {
	// Opened is called once, before the last byte of the library's 101 head is
	// written; never when New was given no Head, and never after an End.
	Opened()
	// End says that the wire found v. The owner sets its cause, the first one
	// wins, calls [Conn.Finish] or [Conn.Cut] in the end, and returns the error
	// that Read and Write shall fail with. Causes may race, and a library that
	// reads after the owner's own Finish learns its error here (as AppClosed):
	// so End may be called again, and answers with the first cause.
	End(v Violation) error
	// Finished is called once, when the raw connection is closed and nothing of
	// the Conn runs any more; by [Conn.Linger]'s caller, where that ended it.
	Finished()
}

// Head is what the guard lets pass as the library's own response head, for
// libraries that hijack first and write the 101 themselves.
type Head struct {
	Accept     string   // the Sec-WebSocket-Accept that the request's key demands
	Protocols  []string // subprotocols that may be named
	Marker     string   // inserted as subprotocol when the head names none; "": nothing
	HSTS       string   // inserted unless the head has its own; "": nothing
	Extensions bool     // permessage-deflate may be named; without it no extension may
}
