package wssecure

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wssecure/wssecure/store"
)

// This file hears what other nodes, or guards of this process, revoke, and finds the
// sessions that it reaches.

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
		keys := []store.Key{store.Session(s.ID()), networkOf(s.ClientIP()), store.Everyone()}
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
