package wssecure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/internal/registry"
	"github.com/wssecure/wssecure/internal/wire"
	"github.com/wssecure/wssecure/store"
)

// AllowLateToken admits handshakes without a credential, for protocols that send
// it in their first message, as graphql-ws and Phoenix do. User code finds it
// there and calls [Session.Authenticate] within the time given, 1 second to 1
// minute, or the session ends with 3000. Until then there is no Identity, at most
// 64 such sessions of one address are open (IPv6 by /64, and 1,024 of a /48), and
// the peer may send ten messages of 8 KiB. What a token is judged for (its scopes,
// claims and level, [RequireCheck], limits by subject or by function) is judged
// then. A handshake with a credential is judged as ever, and one without an Origin
// needs one.
//
// Prefer a token in the handshake where the protocol leaves the choice: whoever
// has none then never reaches user code.
func AllowLateToken(within time.Duration) Option {
	return func(d *draft) {
		if !d.once("AllowLateToken") {
			return
		}
		if within < time.Second || within > time.Minute {
			d.fault("AllowLateToken", "%s is out of range; use 1s to 1m0s", within)
		}
		d.lateToken = within
	}
}

func (d *draft) finishLateToken() {
	if d.lateToken == 0 {
		return
	}
	if d.verifier == nil && !d.given["RequireToken"] {
		d.fault("AllowLateToken", "no verifier to ask; add RequireToken")
	}
	d.lateWire = lateLimits(d.session.wire)
}

// lateLimits are those of a session whose token is still to come. Ten messages
// are all there is: their rate refills nothing, and whoever sends more is no
// client that waits for an answer.
func lateLimits(l wire.Limits) wire.Limits {
	l.MessageSize = min(l.MessageSize, lateMessageSize)
	l.Messages = wire.Rate{Burst: lateMessages}
	l.Bytes.Burst = max(l.Bytes.Burst, lateBytes) // what ten messages, framed at their worst, are within
	l.CloseOnRate = true
	return l
}

// lateness is what a session keeps of its handshake until its token has come.
type lateness struct {
	attempt  attempt // without its writer
	asked    atomic.Bool
	settled  atomic.Bool              // by whoever comes first: the token or the deadline
	identity atomic.Pointer[Identity] // verified, while marks and leases are asked for
	timer    *time.Timer
}

// comesLate reports whether the token may come later. A POST for a ticket has no
// session that could wait for it.
func (a *attempt) comesLate() bool {
	a.late = a.policy.lateToken > 0 && a.session == nil && a.creds.text == "" && !a.creds.ticket && a.r.Method == http.MethodGet
	return a.late
}

// awaitToken keeps what Authenticate will judge the token with. Routers use their
// requests again, so it is a copy.
func (a *attempt) awaitToken(s *Session) {
	l := &lateness{attempt: attempt{
		core: a.core, policy: a.policy, id: a.id, peer: a.peer, client: a.client, host: a.host,
		secure: a.secure, local: a.local, offered: a.offered, chosen: a.chosen, address: a.address,
		charged: a.charged, session: s, originTrust: a.originTrust, hint: a.hint,
	}}
	l.attempt.r = a.r.Clone(s.Context())
	l.attempt.r.Body = http.NoBody
	s.late.Store(l)
}

// lateKeys count the sessions of an address that have no token yet: a set of its
// own, so that they and anonymous sessions take no place from each other. No
// ByFunc has an empty name.
func (a *attempt) lateKeys() (keys addressKeys) {
	of := a.addresses()
	keys.narrow = store.Custom("", of.narrow.Prefix.String())
	if of.wide != (store.Key{}) {
		keys.wide = store.Custom("", of.wide.Prefix.String())
	}
	return keys
}

// startLateness begins the time that the token has. s.mu is held.
func (s *Session) startLateness() {
	if l := s.late.Load(); l != nil && l.timer == nil && !s.released {
		l.timer = time.AfterFunc(s.policy.lateToken, func() {
			if l.settled.CompareAndSwap(false, true) {
				s.endWith(&Rejection{Reason: ReasonTokenMissing, Err: errTooLate}, ByGuard, StatusUnauthorized)
			}
		})
	}
}

// stopLateness leaves no timer behind. s.mu is held.
func (s *Session) stopLateness() {
	if l := s.late.Load(); l != nil && l.timer != nil {
		l.timer.Stop()
	}
}

// messageSize is how large a message may be now, after inflation.
func (s *Session) messageSize() int64 {
	most := s.limits.Load().MessageSize
	if s.late.Load() != nil {
		most = min(most, lateMessageSize)
	}
	return most
}

var (
	errTooLate = errors.New("AllowLateToken: no token within its time")
	errNotLate = errors.New("wssecure: the session waits for no token; Authenticate is for AllowLateToken, once")
)

// Authenticate gives a session of [AllowLateToken] its token. It passes what a
// handshake with that token would have to: the verifier, revocation, scopes,
// claims, level, the application's checks, the limits of its subject. Then the
// session is its person's, at once: Identity, limits, expiry and what Revoke
// finds it by. Otherwise the session ends, with the reason's close code or 3003,
// and Authenticate returns that [*Rejection].
//
// A second call, or one on a session that does not wait for a token, is an error
// that changes nothing. The guard does not see in which message the token came:
// user code must take it from the first one and must not log it.
func (s *Session) Authenticate(ctx context.Context, token string) error {
	if err := s.err(); err != nil {
		return err
	}
	l := s.late.Load()
	if l == nil || l.asked.Swap(true) {
		return errNotLate
	}
	ctx, done := s.while(ctx)
	defer done()

	a := &l.attempt
	a.started = time.Now()
	a.r = a.r.WithContext(ctx)
	a.creds = credentials{text: token}
	if err := a.judgeLate(); err != nil {
		return s.refuseLate(a, err)
	}
	if err := a.admitLate(l); err != nil {
		return s.refuseLate(a, err)
	}
	if err := s.err(); err != nil {
		return err // it ended right after
	}
	s.reportRenewed()
	return nil
}

// while is ctx for as long as the session lives.
func (s *Session) while(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	own := s.Context()
	stop := context.AfterFunc(own, func() { cancel(context.Cause(own)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// judgeLate runs the checks of the order that ask who connects.
func (a *attempt) judgeLate() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = a.panicked(p)
		}
	}()
	checks := a.policy.checks
	from := max(0, slices.IndexFunc(checks, func(c namedCheck) bool { return c.name == "token" }))
	for i := range checks[from:] {
		c := &checks[from+i]
		if c.name == "conn-limit" {
			break
		}
		a.check = c.name
		if err := c.run(a); err != nil {
			return err
		}
	}
	if a.identity == nil {
		return ReasonInternal // no order of checks may leave the token out
	}
	return nil
}

// admitLate is the last step of a handshake for a session that is open already:
// found by its new keys first, so that a revocation in between cannot miss it.
func (a *attempt) admitLate(l *lateness) error {
	a.check = "conn-limit"
	if err := a.askLimits(); err != nil {
		return err
	}
	if err := a.askKeys(); err != nil {
		return err
	}
	s, names := a.session, a.identity.prepared().names()
	l.identity.Store(a.identity)
	s.core.live.Move(&s.entry, registry.Names{}, names)

	b := newAdmission()
	defer b.free()
	a.fillKeys(b)
	err := a.win(l, b)
	if err != nil {
		a.undoAdmission(b)
		s.core.live.Move(&s.entry, names, registry.Names{})
		l.identity.Store(nil)
	}
	return err
}

// win asks the store, and takes what it gives unless the session is over.
func (a *attempt) win(l *lateness, b *admission) error {
	if err := b.do(a); err != nil {
		return err
	}
	if err := a.judgeAdmission(b); err != nil {
		return err
	}
	if !a.session.assume(l, b) {
		return &Rejection{Reason: ReasonTokenMissing, Err: errTooLate} // unless it ended before that
	}
	return nil
}

// assume makes the session its person's, unless it has ended or its time is over.
func (s *Session) assume(l *lateness, b *admission) bool {
	s.mu.Lock()
	if s.released || s.cause.Load() != nil || !l.settled.CompareAndSwap(false, true) {
		s.mu.Unlock()
		return false
	}
	s.stopLateness()
	given := slices.Clone(s.leases)
	s.leases = s.leasesOf(b)
	s.custom = l.attempt.custom
	s.identity.Store(l.attempt.identity)
	s.late.Store(nil)
	s.setLimits(l.attempt.limits)
	if s.wire != nil {
		s.armExpiry(s.wire)
	}
	s.mu.Unlock()
	s.followRechecks()
	for i := range given {
		s.core.quietly(&given[i])
	}
	return true
}

// refuseLate ends the session for a token that does not admit.
func (s *Session) refuseLate(a *attempt, err error) error {
	rejection := a.rejectionOf(err)
	code := rejection.Reason.CloseCode()
	if code == 0 {
		code = StatusForbidden
	}
	return s.end(cause{rejection: rejection, by: ByGuard, code: code, text: rejection.Reason.publicClose(), again: a.forgedAgain})
}

// rejectionOf is the refusal of a token that came after the handshake, with what
// a refused handshake would have told the operator.
func (a *attempt) rejectionOf(err error) *Rejection {
	rejection := *asRejection(err, ReasonUnavailable)
	switch f := &a.finding; {
	case f.err != nil:
		rejection.Err = f.err
	case rejection.Err == nil && f.say != nil:
		f.seen, f.wanted = f.say(a)
		fallthrough
	case rejection.Err == nil && f.seen != "":
		rejection.Err = fmt.Errorf("check %s: %s; wanted %s", a.check, quote.Cut(f.seen, quote.Value), f.wanted)
	case rejection.Err == nil:
		rejection.Err = errors.New("check " + a.check)
	}
	rejection.Err = a.discreet(rejection.Err)
	return &rejection
}

// reportRenewed tells that the session has an identity now, or another one.
func (s *Session) reportRenewed() {
	if !s.core.audit.wanted(info, s.policy.hooks) {
		return
	}
	e := s.event(EventRenewed)
	e.Time = time.Now().UTC()
	s.core.audit.emit(e, s.policy.hooks)
}
