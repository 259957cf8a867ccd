package store

import (
	"math"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

// This file decides while the shared store is away.

// fallBack decides what is left of a batch; why is what became of the shared store.
func (b *batch) fallBack(why error) {
	for i := range b.asks {
		b.fallBackOne(&b.asks[i], why)
	}
}

func (b *batch) fallBackOne(x *ask, why error) {
	n := b.n
	switch o := x.op.(type) {
	case *Admit:
		n.decide(o, x.q, b.now, why)
		if o.Cap > 0 && x.to != nil && (o.Err != nil || o.Verdict.Refused != None) && !n.held.has(leaseName{o.Key, o.Conn}) {
			// It may have been taken there, and nobody here has it.
			n.backlog.add(backlogKey{key: o.Key}, &Release{Key: o.Key, Node: n.wire(o.Node), Conn: o.Conn})
		}
	case *Release:
		n.giveBack(o)
	case *Claim:
		n.decideClaim(o, b.now, why)
	case *Put:
		o.Err = denied(RuleTicket, why)
	case *Redeem:
		o.Data, o.OK, o.Err = nil, false, denied(RuleTicket, why)
	}
}

func (n *Node) wire(id NodeID) NodeID {
	if id == n.id {
		return NodeID(n.epoch.Load())
	}
	return id
}

// denied is the error of a rule that is not decided here: what the shared store said, or, when it was not asked, one
// that was made at the start.
func denied(r Rule, why error) error {
	if why == ErrUnavailable {
		return denials[r]
	}
	return &failure{r, why}
}

// failure is ErrUnavailable with what the shared store said.
type failure struct {
	rule Rule
	why  error
}

func (f *failure) Error() string   { return denials[f.rule].Error() + ": " + f.why.Error() }
func (f *failure) Unwrap() []error { return []error{ErrUnavailable, f.why} }

// decide is Admit by what this node knows: its copy of bans and marks, its share of rate and cap.
func (n *Node) decide(a *Admit, q question, now time.Time, why error) {
	a.Verdict, a.Err = Verdict{}, n.deniedRule(a, now, why)
	if a.Err != nil {
		return
	}
	if a.N < 0 {
		n.giveTokens(a, q, now)
		return
	}
	local := n.local.judge(a, q, n.local.at(now))
	a.Verdict.Local = true
	if !local {
		return
	}
	rated := a.Rate != (Rate{}) && n.policies.of(RuleRate, a.Key) != Allow
	share := n.shareOf(a.Rate, q)
	isNew := false
	if a.Cap > 0 {
		var ok bool
		ok, isNew, a.Verdict.Held = n.held.take(leaseName{a.Key, a.Conn}, n.wire(a.Node), n.capShare(a), a.Hold, false, now)
		if !ok {
			a.Verdict.Refused = OverCap
		}
	}
	if !rated {
		return
	}
	if a.Verdict.Refused == OverCap {
		if ok, wait := n.local.rates.PeekN(q.bucket, share, a.N, now); !ok {
			a.Verdict.Refused, a.Verdict.RetryAfter = OverRate, wait
		}
		return
	}
	if ok, wait := n.local.rates.Take(q.bucket, share, a.N, now); !ok {
		a.Verdict.Refused, a.Verdict.RetryAfter = OverRate, wait
		if isNew {
			n.held.drop(leaseName{a.Key, a.Conn})
			a.Verdict.Held--
		}
	}
}

// deniedRule is the first rule of an Admit that this node must not decide.
func (n *Node) deniedRule(a *Admit, now time.Time, why error) error {
	closed := func(r Rule) bool {
		p := n.policies.of(r, a.Key)
		return p == Deny || p == Close
	}
	rated := a.Rate != (Rate{})
	switch {
	case a.N < 0:
		return nil
	case a.Key.bannable() && closed(RuleBan):
		return denied(RuleBan, why)
	case a.Key.revocable() && closed(RuleRevocation):
		return denied(RuleRevocation, why)
	case a.Key.revocable() && !now.Before(n.freshUntil(now)):
		return errStale
	case rated && closed(RuleRate):
		return denied(RuleRate, why)
	case a.Cap > 0 && (closed(RuleCap) || a.Node != n.id):
		return denied(RuleCap, why)
	}
	return nil
}

// shareOf is this node's part of a rate: a live node's part of all, and at least one token.
func (n *Node) shareOf(r Rate, q question) limit.Limit {
	nodes := n.heart.nodes()
	if r == (Rate{}) || nodes == 1 {
		return q.limit
	}
	burst := r.Burst
	if burst == 0 {
		burst = r.N
	}
	r.Burst = max(1, burst/nodes)
	if r.Per > math.MaxInt64/time.Duration(nodes) {
		r.Per = math.MaxInt64
	} else {
		r.Per *= time.Duration(nodes)
	}
	return limit.NewLimit(limit.Rate(r))
}

// capShare is how many leases of a key this node may hold while it is cut off, those from before included.
func (n *Node) capShare(a *Admit) int {
	if n.policies.of(RuleCap, a.Key) == Allow {
		return mostHeld
	}
	nodes := n.heart.nodes()
	return max(1, (a.Cap+nodes-1)/nodes)
}

// giveTokens gives back to the tables of this node.
func (n *Node) giveTokens(a *Admit, q question, now time.Time) {
	n.full.Take(q.bucket, q.limit, a.N, now)
	n.refusals.forget(q.bucket)
	if n.breaker.isOpen() {
		n.local.rates.Take(q.bucket, n.shareOf(a.Rate, q), a.N, now)
	}
}

func (n *Node) decideClaim(o *Claim, now time.Time, why error) {
	if o.Space != SpaceHandshakeKey {
		o.First, o.Local, o.Err = false, false, denied(RuleLogout, why)
		return
	}
	if n.policies.of(RuleReplay, Key{}) == Deny {
		o.First, o.Local, o.Err = false, false, denied(RuleReplay, why)
		return
	}
	n.local.claim(o, now)
	o.Local = true
}
