package wssecure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wssecure/wssecure/store"
)

// SetStore shares what several nodes must agree on: budgets, open sessions by key, bans, revocations, tickets and other
// single-use secrets. Without it they live in this process's memory. A revocation or ban of any node then holds on all.
//
// A store other than *store.Memory and *store.Node is wrapped in a [store.Node], which answers within 25 ms whatever
// happens to s; opts, as [store.OnError], say what is decided while s is away. New does not touch the network: the guard
// follows s in the background from then on, until [Guard.Shutdown]. What is left open on one node is what its
// documentation lists, docs/operations.md.
func SetStore(s store.Store, opts ...store.NodeOption) Option {
	return func(d *draft) {
		if !d.processWide("SetStore") {
			return
		}
		switch own := s.(type) {
		case nil:
			d.fault("SetStore", "the store is nil; pass one, or leave the option out for this process's memory")
		case *store.Memory:
			if own == nil {
				d.fault("SetStore", "the *store.Memory is nil; pass store.NewMemory()")
			} else if len(opts) > 0 {
				d.fault("SetStore", "a *store.Memory is never away; remove its options")
			} else {
				d.store = own
			}
		case *store.Node:
			if own == nil {
				d.fault("SetStore", "the *store.Node is nil; pass one, or the store itself")
			} else if len(opts) > 0 {
				d.fault("SetStore", "the *store.Node has its options; pass them to NewNode")
			} else {
				d.store = own
			}
		default:
			node, err := store.NewNode(s, opts...)
			if err != nil {
				d.faultErrs("SetStore", split(err))
				return
			}
			d.store = node
		}
	}
}

// split takes joined errors apart.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// finishStore looks at what only a shared store minds.
func (d *draft) finishStore() {
	node, ok := d.store.(*store.Node)
	if !ok || d.child {
		return
	}
	for _, o := range node.Overrides() {
		if o.Policy == store.Allow {
			d.holes = append(d.holes, hole{"SetStore", fmt.Sprintf("OnError: while the shared store is away, nothing holds %s to its %s", everybody(o.Keys), o.Rule)})
		}
	}
}

func everybody(keys []string) string {
	if len(keys) == 0 {
		return "anybody"
	}
	return fmt.Sprintf("%q", keys)
}

// warnOfCaps says which caps a shared store is slow to count: it looks through them all each time that one is reached.
func (c *core) warnOfCaps(p *policy) {
	if c.nodeStore() == nil {
		return
	}
	for _, rule := range p.caps {
		if rule.key.kind != keyTotal && rule.n > slowStoreCap {
			c.warn(fmt.Sprintf("LimitConns: %d by %s: beyond %d a shared store is slow to count them", rule.n, keyLabel(rule.key), slowStoreCap))
		}
	}
	if p.limits.Conns > slowStoreCap {
		c.warn(fmt.Sprintf("LimitSession: Conns %d: beyond %d a shared store is slow to count them", p.limits.Conns, slowStoreCap))
	}
}

var errStaleFeed = errors.New("wssecure: the shared store's feed of revocations is too old, or was never read")

// nodeStore is the node in front of a shared store, nil when there is none.
func (c *core) nodeStore() *store.Node {
	node, _ := c.store.(*store.Node)
	return node
}

// following is what runs for a store that others may write to.
type following struct {
	once   sync.Once
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// follow begins to hear what other nodes, or guards, revoke.
func (c *core) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{cancel: cancel}
	c.following = f
	if node := c.nodeStore(); node != nil {
		forget := node.Watch(c.credentials)
		f.done.Go(func() {
			defer forget()
			_ = node.Follow(ctx, store.Cursor{}, c.apply) // ends with ctx
		})
		if closes(node) {
			f.done.Go(func() { c.closeWhenCutOff(ctx, node) })
		}
		return
	}
	f.done.Go(func() { c.followMemory(ctx) })
}

// followMemory follows a memory that several guards of this process share.
func (c *core) followMemory(ctx context.Context) {
	var from store.Cursor
	for ctx.Err() == nil {
		if err := c.store.Follow(ctx, from, c.apply); !errors.Is(err, store.ErrGap) {
			return
		}
		tail := store.Beat{Node: store.NewNodeID()} // one that leaves at once: only Tail is wanted
		_ = c.store.Do(ctx, &tail)
		from = tail.Tail
		for key, issued := range c.credentials {
			ask := store.Admit{Key: key, IssuedAt: issued}
			if err := c.store.Do(ctx, &ask); err == nil && ask.Verdict.Refused == store.Revoked {
				c.apply(store.Event{Kind: store.EventRevoke, Key: key, Before: issued})
			}
		}
	}
}

// unfollow ends it and leaves the cluster, which frees what this node still holds there.
func (c *core) unfollow() {
	f := c.following
	if f == nil {
		return
	}
	f.once.Do(func() {
		f.cancel()
		over := make(chan struct{})
		go func() {
			f.done.Wait()
			close(over)
		}()
		select {
		case <-over:
		case <-time.After(lastWords): // a store that ignores its context
			return
		}
		if c.nodeStore() != nil {
			c.quietly(&store.Beat{Node: c.node})
		}
	})
}

// apply is called for each event of the feed; some come twice.
func (c *core) apply(e store.Event) {
	switch e.Kind {
	case store.EventRevoke:
		for s := range c.under(e.Key) {
			if s.fallsUnder(&e) {
				s.endWith(&Rejection{Reason: ReasonRevoked, Err: revokedFor(e.Why)}, ByGuard, StatusUnauthorized)
			}
		}
	case store.EventDown:
		c.audit.emit(Event{Kind: EventStoreDown, Time: time.Now().UTC()}, c.hooks)
	case store.EventUp:
		c.audit.emit(Event{Kind: EventStoreUp, Time: time.Now().UTC()}, c.hooks)
	}
}

func revokedFor(why string) error {
	if why == "" {
		return nil
	}
	return errors.New(why)
}

// feedSlack is how far clocks of nodes may differ for sessions whose credential does not say when it was issued.
const feedSlack = time.Minute

// fallsUnder reports whether a revocation reaches a session that it names. One whose credential has no iat counts from
// its handshake: such a session must not be ended, each time that the feed is read again, for what was revoked before it
// was there.
func (s *Session) fallsUnder(e *store.Event) bool {
	switch e.Key.Kind {
	case store.KeyToken, store.KeyOIDCSession, store.KeySession:
		return true
	}
	issued, known := s.granted()
	switch {
	case known || e.Cursor == (store.Cursor{}): // asked for this very session, or marked by this node
		return issued.Unix() <= e.Before.Unix()
	default:
		return issued.Before(time.UnixMilli(int64(e.Cursor.Milli)).Add(feedSlack))
	}
}

// granted is when the session's right to be open was issued, and whether its credential says so.
func (s *Session) granted() (at time.Time, known bool) {
	if id := s.presented(); id != nil && !id.IssuedAt.IsZero() {
		return id.IssuedAt, true
	}
	return s.from.started, false
}

// presented is whose credential the session shows, or is about to have shown.
func (s *Session) presented() *Identity {
	id := s.Identity()
	if l := s.late.Load(); id == nil && l != nil {
		id = l.identity.Load()
	}
	return id
}

// credentials gives the keys under which the live sessions may be revoked.
func (c *core) credentials(yield func(store.Key, time.Time) bool) {
	for s := range c.live.All() {
		issued, _ := s.granted()
		keys := []store.Key{store.Session(s.id), networkOf(s.client), store.Everyone()}
		if id := s.presented(); id != nil {
			own := id.prepared()
			keys = append(keys, own.subject, own.token, own.oidc)
		}
		for _, key := range keys {
			if key != (store.Key{}) && !yield(key, issued) {
				return
			}
		}
	}
}
