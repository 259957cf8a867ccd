package wssecure

import (
	"time"

	"github.com/wssecure/wssecure/store"
)

// LimitReplay is for how long a Sec-WebSocket-Key is remembered after its 101,
// with the credential or without one the address, and refused when it comes
// again: 5 minutes unless given, at least a second.
func LimitReplay(window time.Duration) Option {
	return func(d *draft) {
		if !d.processWide("LimitReplay") {
			return
		}
		switch {
		case window == 0:
			d.fault("LimitReplay", "0s remembers nothing; use 1s or more")
		case window < time.Second:
			d.fault("LimitReplay", "%s is too short; use 1s or more", window)
		}
		d.replayWindow = window
	}
}

// nonceName is what a Sec-WebSocket-Key is remembered as: with the credential,
// so that nobody can spend another's nonce, else with the address.
func (a *attempt) nonceName() string {
	if a.identity == nil {
		return string(a.nonce[:]) + a.client.String()
	}
	if a.identity.content != "" {
		return string(a.nonce[:]) + a.identity.content
	}
	return string(a.nonce[:]) + a.identity.prepared().subject.ID
}

func (c *core) withdrawNonce(value string) {
	c.quietly(&store.Claim{Space: store.SpaceHandshakeKey, Value: value})
}

// takeBack forgets the key of a handshake that never had its 101 and makes its
// ticket good again, before its place is free: whoever tries again must not find
// them used.
func (s *Session) takeBack() {
	if s.nonce != "" {
		s.core.withdrawNonce(s.nonce)
		s.nonce = ""
	}
	if s.ticket != nil {
		s.core.putBack(s.ticket)
		s.ticket = nil
	}
}
