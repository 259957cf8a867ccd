package wssecure

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Limits bound one session. A zero field is the default; no value turns a limit
// off. Rates are inbound: what comes faster is read slower, until TCP tells the
// peer, unless CloseOnRate. Control, fragment and empty-frame floods always
// close. In a session of more than a thousand messages a second MessageTime,
// Idle and Write may end a quarter of a second late. A packet of less than 64
// bytes, after eight in a row that complete no message, counts 64 bytes more.
type Limits struct {
	Conns       int           // open sessions of this subject; LimitConns(BySubject()) by default
	MessageSize int64         // bytes of one message, after inflation: 65,536
	Messages    Rate          // messages: 60 a second, burst 120
	Bytes       Rate          // wire bytes: 1 MiB a second, burst 4 MiB
	Controls    Rate          // pings, pongs and close frames: 10 a second, burst 20
	Fragments   int           // frames of one message: 1,024; an eighth of them empty
	MessageTime time.Duration // to complete a message: 30 s
	Idle        time.Duration // without a message either way: Lifetime
	Lifetime    time.Duration // of the session, shortened by up to a tenth at random: 24 h
	Pong        time.Duration // from a ping without any frame of the peer: 45 s
	Write       time.Duration // of a write whose peer takes less than 16 KiB: 30 s
	CloseOnRate bool          // end with 1008 instead of delaying
}

// LimitSession bounds every session by the fields of l that are not zero, the
// rest by their defaults. What is negative, too little for any peer, or beyond a
// thousand million and so no limit is an error of New. See [LimitSessionBy] for
// limits of one identity.
func LimitSession(l Limits) Option {
	return func(d *draft) {
		if !d.once("LimitSession") {
			return
		}
		d.limits = l
		for _, text := range l.faults() {
			d.fault("LimitSession", "%s", text)
		}
	}
}

// SetPing is how often the peer is pinged (RFC 6455 section 5.5.2), give or take
// a tenth: 25 seconds unless given, from a second to an hour.
func SetPing(every time.Duration) Option {
	return func(d *draft) {
		if !d.once("SetPing") {
			return
		}
		if every < time.Second || every > time.Hour {
			d.fault("SetPing", "%s is out of range; use 1s to 1h0m0s", every)
		}
		d.ping = every
	}
}

// AllowMessageTypes names the types of messages that are let in, text and binary
// unless given. Another ends the session with 1003 at its first frame header.
func AllowMessageTypes(types ...MessageType) Option {
	return func(d *draft) {
		if !d.once("AllowMessageTypes") {
			return
		}
		if len(types) == 0 {
			d.fault("AllowMessageTypes", "the list is empty; name MessageText, MessageBinary or both")
		}
		for _, t := range types {
			if t != MessageText && t != MessageBinary {
				d.fault("AllowMessageTypes", "%d is no message type; name MessageText, MessageBinary or both", t)
			}
		}
		d.types = slices.Clone(types)
	}
}

// AllowCompression accepts permessage-deflate (RFC 7692) without context
// takeover. It is off by default: compression beside secrets and an attacker's
// text leaks the secrets (CRIME), and costs memory. Under Handler the library
// behind must limit what it inflates, and read a frame to its end where what it
// inflates ends before: coder/websocket v1.8.15 takes the rest for frames, which
// no limit of the guard has seen. ConnHandler ends such a session with 1002.
func AllowCompression() Option {
	return func(d *draft) {
		if d.once("AllowCompression") {
			d.compression = true
		}
	}
}

// faults says what New would not take, nil for nothing.
func (l Limits) faults() (all []string) {
	fault := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, s := range [...]struct {
		name string
		n    int64
		std  int64
	}{
		{"MessageSize", l.MessageSize, defaultMessageSize},
		{"Fragments", int64(l.Fragments), defaultFragments},
		{"Conns", int64(l.Conns), defaultConnsPerSubject},
	} {
		switch {
		case s.n < 0:
			fault("%s %d is negative; use 1 or more, or 0 for %d", s.name, s.n, s.std)
		case s.n > mostPerRate:
			fault("%s %d is no limit; use %d or less", s.name, s.n, mostPerRate)
		}
	}
	if l.Conns > sharedStoreCap {
		fault("Conns %d is beyond a shared store's %d; use less", l.Conns, sharedStoreCap)
	}
	if l.Fragments > 0 && l.Fragments < 8 {
		fault("Fragments %d refuses ordinary messages; use 8 or more, or 0 for %d", l.Fragments, defaultFragments)
	}
	all = append(all, l.timeFaults()...)
	return append(all, l.rateFaults()...)
}

func (l Limits) timeFaults() (all []string) {
	for _, x := range [...]struct {
		name string
		t    time.Duration
		std  time.Duration
	}{
		{"MessageTime", l.MessageTime, defaultMessageTime},
		{"Idle", l.Idle, 0},
		{"Lifetime", l.Lifetime, defaultLifetime},
		{"Pong", l.Pong, defaultPong},
		{"Write", l.Write, defaultWrite},
	} {
		wrong := "is negative"
		switch {
		case x.t == 0 || x.t >= time.Second:
			continue
		case x.t > 0:
			wrong = "is too short for any network"
		}
		std := x.std.String()
		if x.name == "Idle" {
			std = "none"
		}
		all = append(all, fmt.Sprintf("%s %s %s; use 1s or more, or 0 for %s", x.name, x.t, wrong, std))
	}
	return all
}

func (l Limits) rateFaults() (all []string) {
	for _, x := range [...]struct {
		name string
		r    Rate
	}{{"Messages", l.Messages}, {"Bytes", l.Bytes}, {"Controls", l.Controls}} {
		if x.r == (Rate{}) {
			continue
		}
		if text := x.r.fault("PerSecond(60)"); text != "" {
			all = append(all, x.name+" "+text)
		}
	}
	size := cmp.Or(l.MessageSize, defaultMessageSize)
	if burst := int64(l.Bytes.Burst); burst > 0 && burst < size {
		all = append(all, fmt.Sprintf("Bytes.Burst %d is below MessageSize %d; raise it to %d or more", burst, size, size))
	}
	return all
}

// bound is the field that ends a session for r, with its value, as the operator
// would write it: "" when none does.
func (l Limits) bound(r Reason) string {
	switch r {
	case ReasonMessageSize:
		return fmt.Sprintf("Limits.MessageSize %d", l.MessageSize)
	case ReasonMessageRate:
		return fmt.Sprintf("Limits.Messages %s; Limits.Bytes %s", l.Messages.words(), l.Bytes.words())
	case ReasonControlRate:
		return fmt.Sprintf("Limits.Controls %s", l.Controls.words())
	case ReasonFragments:
		return fmt.Sprintf("Limits.Fragments %d", l.Fragments)
	case ReasonMessageTime:
		return fmt.Sprintf("Limits.MessageTime %s", l.MessageTime)
	case ReasonIdle:
		return fmt.Sprintf("Limits.Idle %s", l.Idle)
	case ReasonLifetime:
		return fmt.Sprintf("Limits.Lifetime %s", l.Lifetime)
	case ReasonPong:
		return fmt.Sprintf("Limits.Pong %s", l.Pong)
	case ReasonSlowReader:
		return fmt.Sprintf("Limits.Write %s", l.Write)
	}
	return ""
}

// finishSession fills in the defaults and prepares what sessions ask for.
func (d *draft) finishSession() {
	d.limits = d.limits.over(defaultLimits)
	d.ping = cmp.Or(d.ping, defaultPing)
	if len(d.types) == 0 {
		d.types = []MessageType{MessageText, MessageBinary}
	}
	d.session = d.ready(d.limits)
}
