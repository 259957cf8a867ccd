package wssecure

import (
	"errors"

	"github.com/wssecure/wssecure/internal/registry"
)

// This file changes who an open session is.

// adopt gives the session the identity as it is now, or ends it when it would no
// longer be admitted with it.
func (s *Session) adopt(next *Identity) {
	old := s.Identity()
	switch {
	case old == nil || old == next:
		return
	case old.Issuer != next.Issuer || old.Subject != next.Subject || old.thumbprint != next.thumbprint:
		s.endWith(&Rejection{Reason: ReasonTokenInvalid, Err: errOtherPerson}, ByGuard, StatusUnauthorized)
		return
	}
	if reason := s.policy.lacking(next); reason != "" {
		s.endWith(&Rejection{Reason: reason}, ByGuard, StatusForbidden)
		return
	}
	if s.policy.clientCAs != nil && !old.Expiry.IsZero() && (next.Expiry.IsZero() || next.Expiry.After(old.Expiry)) {
		// The old one may be the client certificate's, which the answer knows nothing of.
		bound := *next
		bound.Expiry = old.Expiry
		next = &bound
	}
	if !s.identity.CompareAndSwap(old, next) {
		return // renewed meanwhile
	}
	was, is := old.prepared(), next.prepared()
	s.core.live.Move(s,
		registry.Keys{Token: was.token.ID, OIDCSession: was.oidc.ID},
		registry.Keys{Token: is.token.ID, OIDCSession: is.oidc.ID})
	s.mu.Lock()
	w := s.wire
	s.mu.Unlock()
	if w != nil {
		s.armExpiry(w)
	}
}

var errOtherPerson = errors.New("the token now names another issuer, subject or certificate")
