package wssecure

import (
	"errors"
	"slices"
	"time"
)

// This file changes who an open session is: the same person, with what a renewed
// token or a later answer says. All that follows from an identity changes with it.

var errOtherPerson = errors.New("the token now names another issuer, subject or certificate")

// otherHolder is why next cannot stand for who old is, nil when it can.
func otherHolder(old, next *Identity) *Rejection {
	if !next.isPerson(old) || next.thumbprint != old.thumbprint {
		return &Rejection{Reason: ReasonTokenInvalid, Err: errOtherPerson}
	}
	return nil
}

// unmet is why a session may not go on as id, nil when it may.
func (p *policy) unmet(id *Identity) *Rejection {
	if reason := p.lacking(id); reason != "" {
		return &Rejection{Reason: reason}
	}
	return nil
}

func (id *Identity) isPerson(other *Identity) bool {
	return id.Issuer == other.Issuer && id.Subject == other.Subject
}

// boundTo is id for a connection whose client certificate ends at ends, the zero
// time for one without: what a token or an answer says knows nothing of it.
func (id *Identity) boundTo(ends time.Time) *Identity {
	if ends.IsZero() {
		return id
	}
	bound := *id
	bound.certificateEnds = ends
	if bound.Expiry.IsZero() || ends.Before(bound.Expiry) {
		bound.Expiry = ends
	}
	return &bound
}

// become makes the session next's, who was old: identity, deadline, limits, what
// Revoke finds it by and whom it is asked about, all at once; nil leaves the limits
// as they are. It fails when the session has ended, when old's time has come, or
// when it is no longer old's.
func (s *Session) become(old, next *Identity, limits *sessionLimits) bool {
	groups := s.joinRechecks(next)
	s.mu.Lock()
	if !s.mayBecome(old, next) {
		s.mu.Unlock()
		s.leaveRechecks(groups)
		return false
	}
	s.identity.Store(next)
	if limits != nil && *limits != *s.limits.Load() {
		s.setLimits(limits)
	}
	groups, s.rechecked = s.rechecked, groups
	s.core.live.Move(&s.entry, old.prepared().names(), next.prepared().names())
	s.mu.Unlock()
	s.leaveRechecks(groups)
	return true
}

// mayBecome sets the deadline of next unless it is too late. s.mu is held, under
// which alone an identity changes.
func (s *Session) mayBecome(old, next *Identity) bool {
	if s.released || s.cause.Load() != nil || s.Identity() != old {
		return false
	}
	if s.wire == nil {
		return !s.policy.isOver(old)
	}
	return s.wire.SetExpiry(s.policy.deadline(next))
}

// adopt gives the session the identity as its group was told, or ends it when it
// would no longer be admitted with it.
func (s *Session) adopt(g *recheckGroup, next *Identity) {
	old := s.identityIn(g)
	if old == nil || old == next {
		return // nil: renewed meanwhile, so the answer is about another token
	}
	rejection := otherHolder(old, next)
	if rejection == nil {
		rejection = s.policy.unmet(next)
	}
	if rejection != nil {
		s.endWith(rejection, ByGuard, StatusForbidden)
		return
	}
	s.become(old, next.boundTo(old.certificateEnds), nil)
}

// identityIn is the session's identity as a member of g, nil when it is none.
func (s *Session) identityIn(g *recheckGroup) *Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.rechecked[:], g) {
		return nil
	}
	return s.Identity()
}
