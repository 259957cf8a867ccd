package store

import (
	"context"
	"errors"
	"time"
)

// This file is what passes the breaker.

// mark goes past the breaker: whoever revokes wants to know whether it is done.
func (n *Node) mark(ctx context.Context, o *Mark) {
	sent := *o
	if err := n.ask(ctx, markBudget, []Op{&sent}); err != nil {
		o.Err = err
	} else {
		o.Err = sent.Err
	}
	if errors.Is(o.Err, ErrInvalid) || errors.Is(o.Err, ErrUnsupported) {
		return
	}
	if o.Err == nil {
		n.learnMark(*o)
		return
	}
	again := *o
	if again.Kind == MarkRevoke && again.Before.IsZero() {
		again.Before = n.storeNow() // the same cut when it is sent again
	}
	own := again
	if n.local.mark(&own, time.Now()); own.Err != nil {
		return
	}
	n.heart.owe(again)
	n.tell(Event{Kind: eventOf(o.Kind), Key: o.Key, Before: again.Before, Until: again.Until, Why: o.Why})
}

// learnMark is for what the shared store has just marked for this node: until the feed tells of it, what is known here is
// never stricter.
func (n *Node) learnMark(m Mark) {
	now := time.Now()
	if !m.Until.IsZero() {
		m.Until = m.Until.Add(-n.feed.clockOffset())
	}
	switch {
	case m.Kind == MarkRevoke && m.Before.IsZero():
		m.Before = n.storeNow().Add(-time.Second) // the store's clock has set the cut
	case m.Kind == MarkBan && m.Until.IsZero():
		return // whether it was raised, and to what, the store knows
	case m.Kind == MarkUnban:
		n.refusals.forgetAll()
	}
	n.local.mark(&m, now)
}

func eventOf(k MarkKind) EventKind {
	switch k {
	case MarkBan:
		return EventBan
	case MarkUnban:
		return EventUnban
	}
	return EventRevoke
}

// passBeat sends a caller's own Beat. One of ID with TTL 0 leaves, unless another caller of this node stays.
func (n *Node) passBeat(o *Beat) {
	o.Live, o.Lost, o.Now, o.Tail, o.Err = o.Live[:0], false, time.Time{}, Cursor{}, nil
	if o.Node == n.id && o.TTL == 0 && n.heart.beating() {
		return
	}
	sent := Beat{Node: o.Node, TTL: o.TTL}
	if o.Node == n.id {
		n.flushBacklog()
		sent.Node = NodeID(n.epoch.Load())
	}
	if err := n.ask(context.Background(), otherBudget, []Op{&sent}); err != nil {
		o.Err = err
		return
	}
	o.Live, o.Lost, o.Now, o.Tail, o.Err = append(o.Live, sent.Live...), sent.Lost, sent.Now, sent.Tail, sent.Err
}
