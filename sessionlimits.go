package wssecure

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
	"github.com/wssecure/wssecure/store"
)

// LimitSessionBy lets fn bound the sessions of one identity, as by the plan that
// its claims name: it is asked when a handshake has passed its checks, and again
// by [Session.Authenticate] and [Session.Renew], whose limits hold from the next
// frame on. A zero field is what [LimitSession] says or leaves at its default;
// Conns caps the open sessions of this subject. Sessions without an identity have
// those of LimitSession. A negative or senseless value, or a panic, refuses with 500, no
// answer within [LimitHandshakeTime] with 503.
func LimitSessionBy(fn func(*Identity) Limits) Option {
	return func(d *draft) {
		if !d.once("LimitSessionBy") {
			return
		}
		if fn == nil {
			d.fault("LimitSessionBy", "the function is nil; pass one, or use LimitSession")
			return
		}
		d.limitsBy = &limitsRule{fn: fn, calls: new(calls)}
	}
}

type limitsRule struct {
	fn    func(*Identity) Limits
	calls *calls
}

// sessionLimits are Limits without a zero field, as the session and its wire ask
// for them.
type sessionLimits struct {
	Limits
	wire wire.Limits
}

var defaultLimits = Limits{
	MessageSize: defaultMessageSize,
	Messages:    Rate{defaultMessagesPerSecond, time.Second, defaultMessageBurst},
	Bytes:       Rate{defaultBytesPerSecond, time.Second, defaultByteBurst},
	Controls:    Rate{defaultControlsPerSecond, time.Second, defaultControlBurst},
	Fragments:   defaultFragments,
	MessageTime: defaultMessageTime,
	Lifetime:    defaultLifetime,
	Pong:        defaultPong,
	Write:       defaultWrite,
}

// over takes what is zero in l from base.
func (l Limits) over(base Limits) Limits {
	l.Conns = cmp.Or(l.Conns, base.Conns)
	l.MessageSize = cmp.Or(l.MessageSize, base.MessageSize)
	l.Messages = cmp.Or(l.Messages, base.Messages).filled()
	l.Bytes = cmp.Or(l.Bytes, base.Bytes).filled()
	l.Controls = cmp.Or(l.Controls, base.Controls).filled()
	l.Fragments = cmp.Or(l.Fragments, base.Fragments)
	l.MessageTime = cmp.Or(l.MessageTime, base.MessageTime)
	l.Idle = cmp.Or(l.Idle, base.Idle)
	l.Lifetime = cmp.Or(l.Lifetime, base.Lifetime)
	l.Pong = cmp.Or(l.Pong, base.Pong)
	l.Write = cmp.Or(l.Write, base.Write)
	l.CloseOnRate = l.CloseOnRate || base.CloseOnRate
	// A message that is let in must fit into the budget, or it would never be read.
	l.Bytes.Burst = max(l.Bytes.Burst, int(l.MessageSize))
	return l
}

// ready is l, which has no zero field, for sessions of this policy.
func (p *policy) ready(l Limits) *sessionLimits {
	l.Conns = cmp.Or(l.Conns, p.subjectCap)
	ready := &sessionLimits{l, wire.Limits{
		MessageSize: l.MessageSize,
		Messages:    wire.Rate(l.Messages), Bytes: wire.Rate(l.Bytes), Controls: wire.Rate(l.Controls),
		Fragments:   l.Fragments,
		MessageTime: l.MessageTime, Idle: l.Idle, Ping: p.ping, Pong: l.Pong, Write: l.Write,
		CloseOnRate: l.CloseOnRate,
		Text:        slices.Contains(p.types, MessageText),
		Binary:      slices.Contains(p.types, MessageBinary),
	}}
	if node, ok := p.store.(*store.Node); ok && closes(node) {
		ready.wire.CutOff = cutOff{node}
	}
	return ready
}

// askLimits finds what will hold the session of this handshake.
func (a *attempt) askLimits() error {
	rule := a.policy.limitsBy
	a.limits = a.policy.session
	if rule == nil || a.identity == nil {
		return nil
	}
	var l Limits
	err := a.bounded(a.r.Context(), a.policy.handshakeTime, rule.calls, func(context.Context) error {
		l = rule.fn(a.identity)
		return nil
	})
	if err != nil {
		return err
	}
	if faults := l.faults(); len(faults) > 0 {
		return &Rejection{Reason: ReasonInternal, Err: errors.New("LimitSessionBy: " + faults[0])}
	}
	a.limits = a.policy.ready(l.over(a.policy.limits))
	return nil
}

// setLimits bounds an open session anew, from its next frame on. A lifetime
// counts from its beginning. s.mu is held.
func (s *Session) setLimits(l *sessionLimits) {
	before := s.limits.Swap(l)
	if s.wire == nil {
		return // it begins with them
	}
	s.wire.SetLimits(&l.wire)
	if before.Lifetime != l.Lifetime && s.running.Load() {
		s.armLifetime(s.wire, s.opened())
	}
}
