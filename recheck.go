package wssecure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/registry"
	"github.com/wssecure/wssecure/store"
)

// This file asks, while sessions are open, whether they may stay. Sessions about
// which one answer holds are one group, with one timer and one question an
// interval, however many connections they are.

// SetRecheck asks fn again and again about the identity of every open session:
// once for each person and interval, at a random point of the interval's last
// tenth, with the identity of one of that person's sessions. nil lets them stay.
// A [*Rejection] or a [Reason] in the error's chain ends them with its close code,
// else with 3003. Any other error, a panic, or no answer within 10 seconds is
// asked again after 1 second, doubling to a minute; after three intervals without
// an answer they end with 1011. The marks of [Guard.Revoke] are asked again too.
func SetRecheck(every time.Duration, fn func(ctx context.Context, id *Identity) error) Option {
	return func(d *draft) {
		if !d.once("SetRecheck") {
			return
		}
		if every < time.Second {
			d.fault("SetRecheck", "%s is too often; use 1s or more", every)
		}
		if fn == nil {
			d.fault("SetRecheck", "the function is nil; pass one, or leave the option out")
		}
		asked := new(calls)
		d.recheck = &recheckRule{
			every: every,
			who:   func(id *Identity) string { return id.prepared().subject.ID },
			ask: func(ctx context.Context, c *core, id *Identity) (*Identity, error) {
				return nil, c.askFunction(ctx, asked, func(ctx context.Context) error { return fn(ctx, id) })
			},
		}
	}
}

// recheckRule says how often to ask, about whom in one question, and whom. ask
// returns the identity as it is now, nil when it cannot have changed.
type recheckRule struct {
	every time.Duration
	who   func(*Identity) string
	ask   func(ctx context.Context, c *core, id *Identity) (*Identity, error)
}

const (
	recheckTime       = 10 * time.Second
	recheckRetryFirst = time.Second
	recheckRetryMost  = time.Minute
	recheckPatience   = 3 // intervals
)

// pause spreads the questions: a fleet that came at once must not ask at once.
func (r *recheckRule) pause() time.Duration {
	return r.every - rand.N(r.every/10+1)
}

// undecided is an answer that is none. It hides its reason from asRejection.
type undecided struct{ rejection *Rejection }

func (u *undecided) Error() string { return u.rejection.Error() }

// decided is the rejection that err stands for, nil when it decides nothing.
func decided(err error) *Rejection {
	if rejection := asRejection(err, ""); rejection.Reason != "" {
		return rejection
	}
	return nil
}

// lastly is how sessions end about which nothing was decided for too long.
func lastly(err error) *Rejection {
	var u *undecided
	if errors.As(err, &u) {
		return u.rejection
	}
	return &Rejection{Reason: ReasonUnavailable, Err: err}
}

// askFunction asks a function of the application: what it has decided is told
// apart from what has kept it from deciding.
func (c *core) askFunction(ctx context.Context, n *calls, fn func(context.Context) error) error {
	var said atomic.Pointer[Rejection]
	err := c.bounded(ctx, recheckTime, n, func(ctx context.Context) error {
		err := fn(ctx)
		if rejection := decided(err); rejection != nil {
			said.Store(rejection)
			return nil
		}
		return err
	})
	if err != nil {
		return &undecided{asRejection(err, ReasonUnavailable)}
	}
	if rejection := said.Load(); rejection != nil {
		return rejection
	}
	return nil
}

// rechecks are the groups of a server's open sessions.
type rechecks struct {
	mu     sync.Mutex
	groups map[recheckKey]*recheckGroup
}

type recheckKey struct {
	rule *recheckRule
	who  string
}

type recheckGroup struct {
	core *core
	key  recheckKey

	// Under rechecks.mu.
	members  int
	id       *Identity // as it was last seen
	timer    *time.Timer
	cut      context.CancelFunc // of the question under way
	decided  time.Time          // when the last answer came, or the first member
	failures int                // since then
}

// followRechecks puts the session into the groups of its identity, and out of
// those of an identity that it had before.
func (s *Session) followRechecks() {
	if s.Identity() == nil {
		return // a late token, if one comes, brings its own
	}
	now := s.joinRechecks()
	s.mu.Lock()
	old := now
	if !s.released {
		s.rechecked, old = now, s.rechecked
	}
	s.mu.Unlock()
	s.leaveRechecks(old)
}

func (s *Session) joinRechecks() (groups [2]*recheckGroup) {
	id := s.Identity()
	if rule := s.policy.recheck; rule != nil {
		groups[0] = s.core.joinRecheck(rule, id)
	}
	if id.introspected != nil {
		groups[1] = s.core.joinRecheck(id.introspected.rule, id)
	}
	return groups
}

func (s *Session) leaveRechecks(groups [2]*recheckGroup) {
	for _, g := range groups {
		if g != nil {
			g.leave()
		}
	}
}

func (c *core) joinRecheck(rule *recheckRule, id *Identity) *recheckGroup {
	r := &c.rechecks
	key := recheckKey{rule, rule.who(id)}
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[key]
	if g == nil {
		g = &recheckGroup{core: c, key: key, decided: time.Now()}
		g.timer = time.AfterFunc(rule.pause(), g.fire)
		if r.groups == nil {
			r.groups = map[recheckKey]*recheckGroup{}
		}
		r.groups[key] = g
	}
	g.members++
	g.id = id
	return g
}

// leave ends the group with its last member, and the question under way.
func (g *recheckGroup) leave() {
	r := &g.core.rechecks
	r.mu.Lock()
	defer r.mu.Unlock()
	g.members--
	if g.members > 0 {
		return
	}
	delete(r.groups, g.key)
	g.timer.Stop()
	if g.cut != nil {
		g.cut()
	}
}

// fire asks once and acts on the answer.
func (g *recheckGroup) fire() {
	ctx, id, ok := g.begin()
	if !ok {
		return
	}
	next, err := g.ask(ctx, id)
	pause := g.key.rule.pause()
	switch rejection := decided(err); {
	case err == nil:
		g.adopt(next)
	case rejection != nil:
		g.end(rejection)
	default:
		var over bool
		if pause, over = g.failed(); over {
			g.end(lastly(err))
		}
		g.core.storeFailed(err)
	}
	g.settle(next, pause, err == nil || decided(err) != nil)
}

func (g *recheckGroup) begin() (ctx context.Context, id *Identity, ok bool) {
	r := &g.core.rechecks
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.members == 0 {
		return nil, nil, false
	}
	ctx, g.cut = context.WithTimeout(context.Background(), recheckTime)
	return ctx, g.id, true
}

// ask asks the store for revocations, then whom the rule names.
func (g *recheckGroup) ask(ctx context.Context, id *Identity) (next *Identity, err error) {
	defer func() {
		if p := recover(); p != nil {
			next, err = nil, &undecided{&Rejection{Reason: ReasonInternal, Err: fmt.Errorf("recheck panicked: %v", p)}}
		}
	}()
	if err := g.endRevoked(ctx); err != nil {
		return nil, &undecided{&Rejection{Reason: ReasonUnavailable, Err: err}}
	}
	return g.key.rule.ask(ctx, g.core, id)
}

// failed counts a failure, and says when to try again or that it is over.
func (g *recheckGroup) failed() (pause time.Duration, over bool) {
	r := &g.core.rechecks
	r.mu.Lock()
	defer r.mu.Unlock()
	pause = min(recheckRetryFirst<<min(g.failures, 6), recheckRetryMost)
	g.failures++
	left := time.Until(g.decided.Add(recheckPatience * g.key.rule.every))
	if left <= 0 {
		return g.key.rule.pause(), true
	}
	return min(pause, left), false
}

// settle sets the timer for the next question. Members that are about to end are
// still there, and others may have joined.
func (g *recheckGroup) settle(next *Identity, pause time.Duration, answered bool) {
	r := &g.core.rechecks
	r.mu.Lock()
	defer r.mu.Unlock()
	g.cut()
	g.cut = nil
	if answered {
		g.decided, g.failures = time.Now(), 0
	}
	if g.members == 0 {
		return
	}
	if next != nil {
		g.id = next
	}
	g.timer.Reset(pause)
}

// sessions are the group's members now.
func (g *recheckGroup) sessions() []*Session {
	r := &g.core.rechecks
	r.mu.Lock()
	subject := g.id.prepared().subject.ID
	r.mu.Unlock()
	return slices.DeleteFunc(g.core.live.BySubject(subject), func(s *Session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !slices.Contains(s.rechecked[:], g)
	})
}

func (g *recheckGroup) end(rejection *Rejection) {
	for _, s := range g.sessions() {
		s.endWith(rejection, ByGuard, StatusForbidden)
	}
}

func (g *recheckGroup) adopt(next *Identity) {
	if next == nil {
		return
	}
	for _, s := range g.sessions() {
		s.adopt(next)
	}
}

// endRevoked ends the members whose credential the store's marks have revoked:
// the feed that tells of a revocation may have been cut.
func (g *recheckGroup) endRevoked(ctx context.Context) error {
	revoked := map[*Identity]bool{}
	for _, s := range g.sessions() {
		id := s.Identity()
		is, asked := revoked[id]
		if !asked {
			var err error
			if is, err = g.core.isRevoked(ctx, id); err != nil {
				return err
			}
			revoked[id] = is
		}
		if is {
			s.endWith(&Rejection{Reason: ReasonRevoked}, ByGuard, StatusUnauthorized)
		}
	}
	return nil
}

// isRevoked asks the store's marks about a credential.
func (c *core) isRevoked(ctx context.Context, id *Identity) (bool, error) {
	keys := id.prepared()
	admits := []*store.Admit{}
	ops := []store.Op{}
	for _, key := range []store.Key{keys.subject, keys.token, keys.oidc, store.Everyone()} {
		if key == (store.Key{}) {
			continue
		}
		admit := &store.Admit{Key: key, IssuedAt: id.IssuedAt}
		admits, ops = append(admits, admit), append(ops, admit)
	}
	if err := c.store.Do(ctx, ops...); err != nil {
		return false, err
	}
	for _, admit := range admits {
		if admit.Err != nil {
			return false, admit.Err
		}
		if admit.Verdict.Refused == store.Revoked {
			return true, nil
		}
	}
	return false, nil
}

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
