package wssecure

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
)

// This file asks, while sessions are open, whether they may stay. Sessions about
// which one answer holds are one group, with one timer and one question an
// interval, however many connections they are.

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
	id       *Identity // of the last that joined: an answer may speak of somebody else
	timer    *time.Timer
	cut      context.CancelFunc // of the question under way
	decided  time.Time          // when the last answer came, or the first member
	failures int                // since then
}

// followRechecks puts the session into the groups of its identity, and out of
// those that it was in.
func (s *Session) followRechecks() {
	id := s.Identity()
	if id == nil {
		return // a late token, if one comes, brings its own
	}
	groups := s.joinRechecks(id)
	s.mu.Lock()
	if !s.released && s.Identity() == id { // else renewed meanwhile, and in the groups of that
		groups, s.rechecked = s.rechecked, groups
	}
	s.mu.Unlock()
	s.leaveRechecks(groups)
}

func (s *Session) joinRechecks(id *Identity) (groups [2]*recheckGroup) {
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
	g.settle(pause, err == nil || decided(err) != nil)
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
func (g *recheckGroup) settle(pause time.Duration, answered bool) {
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
	g.timer.Reset(pause)
}

// sessions are the group's members, each as long as it is one when its turn comes.
func (g *recheckGroup) sessions() iter.Seq[*Session] {
	r := &g.core.rechecks
	r.mu.Lock()
	subject := g.id.prepared().subject.ID
	r.mu.Unlock()
	return func(yield func(*Session) bool) {
		for _, s := range g.core.live.BySubject(subject) {
			if s.identityIn(g) != nil && !yield(s) {
				return
			}
		}
	}
}

func (g *recheckGroup) end(rejection *Rejection) {
	for s := range g.sessions() {
		s.endWith(rejection, ByGuard, StatusForbidden)
	}
}

func (g *recheckGroup) adopt(next *Identity) {
	if next == nil {
		return
	}
	for s := range g.sessions() {
		s.adopt(g, next)
	}
}
