package wssecure

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/wssecure/wssecure/store"
	"golang.org/x/time/rate"
)

// This file lets a session live on with a fresh token, before the one that it was
// opened with has expired.

// renewalsPerMinute bounds what one session may have verified.
const renewalsPerMinute = 10

var (
	errNoToken  = errors.New("wssecure: the session has no token to renew; Renew is for routes with RequireToken")
	errNotYet   = errors.New("wssecure: the session still waits for its first token; call Authenticate")
	errNoExpiry = errors.New("wssecure: the session's token has no expiry, so there is nothing to renew")
	errUnopened = errors.New("wssecure: the session was never opened")

	errNotLater = errors.New("Renew: the token does not expire later than the session's own")
	errOlder    = errors.New("Renew: the token was issued before the session's own")
	errWider    = errors.New("Renew: the token has a scope that the session's own lacks; more rights need a handshake")
	errTooOften = errors.New("Renew: more than 10 tokens a minute")
)

// Renew lets the session live as long as token does: a fresh one, which the client
// has got from its issuer and sent in a message, or to [Guard.RenewHandler]. It is
// verified as in a handshake of the session's route, and must be of the same
// issuer and subject, bound to the same client certificate or to none as before,
// not issued earlier, expire later, and carry no scope that the session's own
// lacks: more rights need a handshake. Identity, expiry, limits ([LimitSessionBy])
// and what [Guard.Revoke] finds the session by change at once; the next message's
// filters see the new Identity.
//
// An error leaves the session as it is, and the caller may try another token: it
// is a [*Rejection] with the reason that a handshake would have had, ReasonScope
// for more rights, ReasonRate beyond ten tokens a minute, which are not looked at.
// Only a token that tells against the session ends it, and Renew then returns
// that end: another person's or another certificate's (3000 token-invalid), a
// revoked one (3000 revoked), one that lacks a scope, claim or level which the
// route requires (3003 with that reason). How long ago the person logged in and
// [RequireCheck] are for handshakes alone; [SetRecheck] asks while sessions are
// open.
//
// A session that waits for its first token ([AllowLateToken]), that has none
// ([InsecureAllowAnonymous], a client certificate alone) or whose token never
// expires is an error too. A session that has ended stays ended.
func (s *Session) Renew(ctx context.Context, token string) error {
	err := s.renew(ctx, token)
	if against, ok := err.(*tellsAgainst); ok {
		return s.endWith(against.rejection, ByGuard, StatusForbidden)
	}
	if ended := s.err(); err != nil && ended != nil {
		return ended // which may be why it failed
	}
	return err
}

// tellsAgainst is a token that the session must not go on with, nor without. It
// hides its reason from asRejection.
type tellsAgainst struct{ rejection *Rejection }

func (t *tellsAgainst) Error() string { return t.rejection.Error() }

// renew is Renew for a caller who must not end the session.
func (s *Session) renew(ctx context.Context, text string) error {
	if err := s.renewable(); err != nil {
		return err
	}
	if wait := s.renewalWait(); wait > 0 {
		return &Rejection{Reason: ReasonRate, RetryAfter: wait, Err: errTooOften}
	}
	ctx, done := s.while(ctx)
	defer done()
	a, err := s.verify(ctx, text)
	if err != nil {
		return err
	}
	token := a.identity
	for {
		if err := s.renewable(); err != nil {
			return err
		}
		old, limits := s.Identity(), s.limits.Load()
		a.identity = token.boundTo(old.certificateEnds)
		if err := s.judgeRenewal(ctx, old, a.identity); err != nil {
			return err
		}
		if err := a.askLimits(); err != nil {
			return err
		}
		if err := s.holdLonger(ctx, a.limits.Lifetime, a.identity.IssuedAt); err != nil {
			return err
		}
		if s.become(old, a.identity, a.limits) {
			return s.confirm(ctx, a.identity, old, limits)
		}
		if s.policy.isOver(old) {
			return s.endWith(&Rejection{Reason: ReasonTokenExpired}, ByGuard, StatusUnauthorized) // as its timer is about to
		}
		// It has ended, or another renewal came first and this one is judged against it.
	}
}

// renewable is why the session takes no fresh token, nil when it does.
func (s *Session) renewable() error {
	if err := s.err(); err != nil {
		return err
	}
	switch id := s.Identity(); {
	case s.isDiscarded():
		return errUnopened
	case s.late.Load() != nil:
		return errNotYet
	case s.policy.verifier == nil || id == nil:
		return errNoToken
	case id.Expiry.IsZero():
		return errNoExpiry
	}
	return nil
}

// renewalWait is how long until the next token is looked at, 0 for now.
func (s *Session) renewalWait() time.Duration {
	if s.renewals.Load() == nil {
		s.renewals.CompareAndSwap(nil, rate.NewLimiter(rate.Every(time.Minute/renewalsPerMinute), renewalsPerMinute))
	}
	place := s.renewals.Load().Reserve()
	wait := place.Delay()
	if wait > 0 {
		place.Cancel()
	}
	return wait
}

// verify is the handshake's own step for a token of an open session. Of what it
// refuses only a forged one is a failure.
func (s *Session) verify(ctx context.Context, text string) (*attempt, error) {
	a := &attempt{
		core: s.core, policy: s.policy, client: s.ClientIP(), originTrust: s.origin, session: s,
		started: time.Now(), check: "token", creds: credentials{text: text},
	}
	a.r = (&http.Request{Method: http.MethodGet, URL: &url.URL{}}).WithContext(ctx)
	err := a.checkToken()
	if err == nil {
		return a, nil
	}
	rejection := a.rejectionOf(err)
	if rejection.Reason == ReasonTokenForged && !a.forgedAgain {
		s.core.chargeFailure(s.policy, failureBy{client: s.ClientIP(), origin: s.origin, identity: s.Identity(), reason: rejection.Reason})
	}
	return nil, rejection
}

// judgeRenewal says whether a session of old may go on as next.
func (s *Session) judgeRenewal(ctx context.Context, old, next *Identity) error {
	if rejection := otherHolder(old, next); rejection != nil {
		return &tellsAgainst{rejection}
	}
	// Before the conditions: an old token says nothing of what the person may now.
	switch {
	case !next.Expiry.After(old.Expiry):
		return &Rejection{Reason: ReasonTokenInvalid, Err: errNotLater}
	case next.IssuedAt.Before(old.IssuedAt) && !next.IssuedAt.IsZero():
		return &Rejection{Reason: ReasonTokenInvalid, Err: errOlder}
	case slices.ContainsFunc(next.Scopes, func(scope string) bool { return !slices.Contains(old.Scopes, scope) }):
		return &Rejection{Reason: ReasonScope, Err: errWider}
	}
	if rejection := s.policy.unmet(next); rejection != nil {
		return &tellsAgainst{rejection}
	}
	return s.askRenewal(ctx, holding{s, old}, holding{s, next})
}

// askRenewal asks the marks of the credentials. A ban ends no session, but it does
// not let one live longer either.
func (s *Session) askRenewal(ctx context.Context, held ...holding) error {
	said, err := s.core.standing(ctx, held...)
	switch {
	case slices.Contains(said, store.Revoked):
		return &tellsAgainst{&Rejection{Reason: ReasonRevoked}}
	case err != nil:
		return unavailable(err)
	case slices.Contains(said, store.Banned):
		return &Rejection{Reason: ReasonBanned}
	}
	return nil
}

// holdLonger asks for the session's leases again when it may now live for longer
// than they are held: a place that lapses under an open session is given twice.
func (s *Session) holdLonger(ctx context.Context, life time.Duration, issued time.Time) error {
	if life <= s.limits.Load().Lifetime {
		return nil
	}
	s.mu.Lock()
	held := slices.Clone(s.leases)
	s.mu.Unlock()
	asked, ops := make([]store.Admit, len(held)), make([]store.Op, len(held))
	for i, l := range held {
		// The cap is not asked: the place is the session's already.
		asked[i] = store.Admit{Key: l.Key, Cap: math.MaxInt32, Node: l.Node, Conn: l.Conn, Hold: life, IssuedAt: issued}
		ops[i] = &asked[i]
	}
	err := s.core.store.Do(ctx, ops...)
	if s.isDiscarded() { // its end may have come first, and has given back what is now taken again
		for i := range held {
			s.core.quietly(&held[i])
		}
	}
	if err != nil {
		return unavailable(err) // it may still write its answers
	}
	for i := range asked {
		switch refused := asked[i].Verdict.Refused; {
		case asked[i].Err != nil:
			return unavailable(asked[i].Err)
		case refused == store.Revoked:
			return &tellsAgainst{&Rejection{Reason: ReasonRevoked}}
		case refused != store.None:
			return &Rejection{Reason: ReasonBanned}
		}
	}
	return nil
}

// confirm asks the marks once more, now that the session is found by its new
// keys: a revocation that came after the first time and before has not found it.
// What the store does not answer is undone, with the identity and limits of before.
func (s *Session) confirm(ctx context.Context, next, old *Identity, limits *sessionLimits) error {
	err := s.askRenewal(ctx, holding{s, next})
	if _, revoked := err.(*tellsAgainst); revoked {
		return s.endWith(&Rejection{Reason: ReasonRevoked}, ByGuard, StatusUnauthorized)
	}
	if err != nil {
		s.become(next, old, limits)
		return err
	}
	if err := s.err(); err != nil {
		return err // it ended right after
	}
	s.reportRenewed()
	return nil
}

// RenewHandler is [Session.Renew] for pages that get their tokens beside the
// socket: a POST with the session's id in the form, as session=0f3a…, and a
// credential as [Guard.TicketHandler] takes it answers
//
//	{"expires_in":3600}
//
// in seconds, after the checks that a handshake would pass, from the transport to
// [RequireCheck]; a renewal takes no place, so that it is answered when the server
// is full. The page learns the id from user code, by [Session.ID]; it is no
// secret, since only the same person's token renews. Whatever speaks against the
// renewal itself is answered with one 403: an id that nobody or somebody else
// has, a session that has ended or is another node's, a token that Renew would
// have refused. It never ends the session. Pages of a listed Origin may ask
// across origins (CORS). What is not a POST gets 405, a guard without
// [RequireToken] answers 404.
func (g *Guard) RenewHandler() http.Handler {
	if g.policy.verifier == nil {
		return g.postHandler(notFound("a guard that asks for no tokens", "RequireToken", "add RequireToken, or use the RenewHandler of a route that has it"), nil)
	}
	return g.postHandler(func(a *attempt) error {
		a.renews = true
		return a.checkPost()
	}, (*attempt).answerRenewal)
}

// answerRenewal is what a POST that has passed every check gets.
func (a *attempt) answerRenewal() error {
	form, err := a.readFields("session")
	if err != nil {
		return err
	}
	s, ok := a.sessionByID(form.Get("session"))
	if !ok {
		return a.refuseRenewal("no such session")
	}
	// Before anything of the session's is touched, its rate too.
	if id := s.Identity(); id == nil || a.identity == nil || !id.isPerson(a.identity) {
		return a.refuseRenewal("a session of somebody else")
	}
	if err := s.renew(a.r.Context(), a.creds.text); err != nil {
		if s.err() == nil && (errors.Is(err, ReasonUnavailable) || errors.Is(err, ReasonInternal)) {
			return err // nothing was decided
		}
		a.finding.err = err
		return a.refuseRenewal("a token or a session that is not fit")
	}
	left := time.Until(s.Identity().Expiry)
	a.answerJSON([]byte(`{"expires_in":` + strconv.Itoa(max(0, int(left/time.Second))) + `}`))
	return nil
}

func (a *attempt) refuseRenewal(seen string) error {
	return a.refuse(ReasonForbidden, seen, "a live session of whom the credential names")
}
