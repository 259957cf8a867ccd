package wssecure

import (
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// This file says when a session ends with its credential: by the wall clock, and
// at most 30 seconds late when that is set forward or the machine has slept.

// InsecureOutliveToken lets sessions live on for max, at least a second, after
// their token has expired: for clients that cannot get another one while they are
// connected. Whoever has stolen a token then has its session for as much longer.
// The handshake refuses expired tokens as ever, the client certificate of
// [RequireClientCert] ends as ever, and lifetime, revocation and recheck hold.
// [Session.Renew] is the way for everybody else.
func InsecureOutliveToken(max time.Duration, why string) Option {
	return func(d *draft) {
		d.fill("InsecureOutliveToken")
		if !d.insecure("InsecureOutliveToken", why) {
			return
		}
		if max < time.Second {
			d.fault("InsecureOutliveToken", "%s outlives nothing; use 1s or more, or leave it out", max)
		}
		d.outlive = max
	}
}

func (d *draft) finishExpiry() {
	if d.verifier != nil || d.given["RequireToken"] {
		return
	}
	if d.given["InsecureOutliveToken"] {
		d.fault("InsecureOutliveToken", "no token to outlive; add RequireToken")
	}
	d.outlive = 0 // inherited from a route with tokens
	d.fill("InsecureOutliveToken")
}

// armExpiry ends the session with its credential.
func (s *Session) armExpiry(c *wire.Conn) {
	if id := s.Identity(); id != nil {
		c.SetExpiry(s.policy.deadline(id))
	}
}

// isOver reports whether the time of a session of id has come.
func (p *policy) isOver(id *Identity) bool {
	ends := p.deadline(id)
	return !ends.IsZero() && !time.Now().Before(ends)
}

// deadline is when a session of id ends, the zero time for never: by the
// handshake's own rule, so that a verifier's skew counts here too.
func (p *policy) deadline(id *Identity) time.Time {
	if id.Expiry.IsZero() {
		return time.Time{}
	}
	ends := id.Expiry.Add(id.skew).Add(p.outlive)
	if last := id.certificateEnds.Add(id.skew); !id.certificateEnds.IsZero() && last.Before(ends) {
		return last
	}
	return ends
}
