package wssecure

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/store"
)

// A Target names sessions, or whose credentials: of a person, a token, a login,
// a network, or all. Make one with the functions below.
type Target struct {
	kind   targetKind
	a, b   string
	prefix netip.Prefix
	before time.Time
}

type targetKind uint8

const (
	targetSubject targetKind = iota + 1
	targetSession
	targetToken
	targetOIDC
	targetNetwork
	targetEveryone
)

// Subject is everything of one person at one issuer: open sessions, and tokens
// issued before.
func Subject(issuer, subject string) Target {
	return Target{kind: targetSubject, a: issuer, b: subject}
}

// SessionID is one session, by [Session.ID]. Its credential stays good for another.
func SessionID(id string) Target { return Target{kind: targetSession, b: id} }

// TokenID is one token by its jti, whenever it was issued.
func TokenID(issuer, jti string) Target { return Target{kind: targetToken, a: issuer, b: jti} }

// OIDCSession is one login at the issuer by its sid: what tokens with that sid
// have opened, and those tokens, whenever they were issued.
func OIDCSession(issuer, sid string) Target { return Target{kind: targetOIDC, a: issuer, b: sid} }

// Network is every client in a network: open sessions, and tokens issued before
// that are shown from there.
func Network(p netip.Prefix) Target { return Target{kind: targetNetwork, prefix: p} }

// Everyone is every session, and every token issued before.
func Everyone() Target { return Target{kind: targetEveryone} }

// IssuedBefore narrows t to credentials issued before then; for Revoke the
// default is now.
func (t Target) IssuedBefore(then time.Time) Target {
	t.before = then
	return t
}

func (t Target) valid() error {
	ok := false
	switch t.kind {
	case targetSubject, targetToken, targetOIDC, targetSession:
		ok = t.b != ""
	case targetNetwork:
		ok = t.prefix.IsValid()
	case targetEveryone:
		ok = true
	}
	if !ok {
		return errors.New("wssecure: the target is empty; use Subject, SessionID, TokenID, OIDCSession, Network or Everyone")
	}
	return nil
}

// name says in an event whom t is.
func (t Target) name(e *Event) {
	e.Issuer = quote.Cut(t.a, quote.Value)
	b := quote.Cut(t.b, quote.Value)
	switch t.kind {
	case targetSubject:
		e.Subject = b
	case targetSession:
		e.SessionID = b
	case targetToken:
		e.Seen = "jti " + b
	case targetOIDC:
		e.Seen = "sid " + b
	case targetNetwork:
		e.Seen = t.prefix.String()
	case targetEveryone:
		e.Seen = "everyone"
	}
}

func (t Target) key() store.Key {
	switch t.kind {
	case targetSubject:
		return store.Subject(t.a, t.b)
	case targetSession:
		return store.Session(t.b)
	case targetToken:
		return store.TokenID(t.a, t.b)
	case targetOIDC:
		return store.OIDCSession(t.a, t.b)
	case targetNetwork:
		return store.Network(t.prefix)
	}
	return store.Everyone()
}

func networkOf(a netip.Addr) store.Key {
	a = a.Unmap()
	return store.Network(netip.PrefixFrom(a, a.BitLen()))
}

// Revoke ends the live sessions of t with close code 3000 and refuses their
// credentials from then on: those issued up to now, or up to IssuedBefore, in
// whole seconds; a login of the next second works again. When it has returned no
// message of such a session is delivered; under [Guard.Handler] a library may still
// hand out what it has in its own buffer. closed counts the sessions that it ended
// on this node; the others end theirs when they hear of it. An error is the shared
// store's: the revocation holds here and is sent again, but other nodes may not
// know of it yet. Repeating it is harmless.
func (g *Guard) Revoke(ctx context.Context, t Target, why string) (closed int, err error) {
	if err := t.valid(); err != nil {
		return 0, err
	}
	c := g.core
	err = c.mark(ctx, store.Mark{Key: t.key(), Kind: store.MarkRevoke, Before: t.before, Why: why})
	for s := range c.under(t.key()) {
		if !s.issuedBefore(t) {
			continue
		}
		if s.cause.Load() == nil {
			closed++
		}
		s.endWith(&Rejection{Reason: ReasonRevoked, Err: errors.New(why)}, ByGuard, 3000)
	}
	e := Event{Kind: EventRevoked, Time: time.Now().UTC(), Reason: ReasonRevoked, Hint: why, Count: int64(closed)}
	t.name(&e)
	c.audit.emit(e, g.policy.hooks)
	return closed, err
}

// mark writes a revocation or a ban into the store.
func (c *core) mark(ctx context.Context, m store.Mark) error {
	if err := c.store.Do(ctx, &m); err != nil {
		return err
	}
	return m.Err
}

// issuedBefore reports whether a session's credential falls under t: one without
// iat always does, and iat has whole seconds.
func (s *Session) issuedBefore(t Target) bool {
	if t.before.IsZero() {
		return true
	}
	issued, known := s.granted()
	return !known || issued.Unix() <= t.before.Unix()
}

// under gives the live sessions that a revocation of key reaches.
func (c *core) under(key store.Key) iter.Seq[*Session] {
	switch key.Kind {
	case store.KeySubject:
		return slices.Values(c.live.BySubject(key.ID))
	case store.KeyToken:
		return slices.Values(c.live.ByToken(key.ID))
	case store.KeyOIDCSession:
		return slices.Values(c.live.ByOIDCSession(key.ID))
	case store.KeyNetwork:
		return slices.Values(c.live.ByPrefix(key.Prefix))
	case store.KeySession:
		return func(yield func(*Session) bool) {
			if s, ok := c.sessionByID(key.ID); ok {
				yield(s)
			}
		}
	case store.KeyEveryone:
		return c.live.All()
	}
	return func(func(*Session) bool) {}
}
