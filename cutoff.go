package wssecure

import (
	"context"
	"errors"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
	"github.com/wssecure/wssecure/store"
)

// This file is the policy Close: what may be counted or revoked elsewhere ends here when this node can no longer know.

var errCutOff = errors.New("the shared store is away, and the policy of its rule is to close")

const cutOffPause = 250 * time.Millisecond

// closing are the rules that may end sessions.
var closing = [...]store.Rule{store.RuleCap, store.RuleRevocation}

// closes reports whether any rule ends sessions.
func closes(node *store.Node) bool {
	for _, o := range node.Overrides() {
		if o.Policy == store.Close {
			return true
		}
	}
	return false
}

// closeWhenCutOff ends the sessions that a rule names when its deadline has passed.
func (c *core) closeWhenCutOff(ctx context.Context, node *store.Node) {
	for {
		pause := time.Second
		for _, rule := range closing {
			deadline := node.Deadline(rule)
			if deadline.IsZero() {
				continue
			}
			left := time.Until(deadline)
			if left <= 0 {
				c.endCutOff(node, rule)
			}
			pause = min(pause, max(left, cutOffPause))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// cutOff is what the wire asks before it hands on what it has read: a process that was paused wakes there first, before
// any timer, and must hand on nothing that came meanwhile.
type cutOff struct{ node *store.Node }

// Over implements wire.Limits.CutOff.
func (c cutOff) Over(o wire.Owner) bool {
	for _, rule := range closing {
		d := c.node.Deadline(rule)
		if !d.IsZero() && !time.Now().Before(d) && (*Session)(o.(*owner)).closesWith(c.node, rule) {
			return true
		}
	}
	return false
}

func (c *core) endCutOff(node *store.Node, rule store.Rule) {
	for s := range c.live.All() {
		if s.closesWith(node, rule) {
			s.endWith(&Rejection{Reason: ReasonUnavailable, Err: errCutOff}, ByGuard, 1011)
		}
	}
}

// closesWith reports whether the rule holds for the session: a cap for one with such a lease, revocation for one with a
// credential.
func (s *Session) closesWith(node *store.Node, rule store.Rule) bool {
	if rule == store.RuleRevocation {
		return s.presented() != nil && node.Policy(rule, store.Everyone()) == store.Close
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.leases {
		if node.Policy(rule, s.leases[i].Key) == store.Close {
			return true
		}
	}
	return false
}
