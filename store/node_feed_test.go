package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

// sessions are what a guard would tell a node to watch.
type sessions map[store.Key]time.Time

func (s sessions) all() iter.Seq2[store.Key, time.Time] {
	return func(yield func(store.Key, time.Time) bool) {
		for k, issued := range s {
			if !yield(k, issued) {
				return
			}
		}
	}
}

func (x *clusterNode) revokedKeys() map[store.Key]bool {
	keys := map[store.Key]bool{}
	for _, e := range x.seen(store.EventRevoke) {
		keys[e.Key] = true
	}
	return keys
}

// TestT11ACutNodeHearsOfEveryRevocation: within a second of the heal, in order, and when the feed has forgotten them, too.
func TestT11ACutNodeHearsOfEveryRevocation(t *testing.T) {
	for name, row := range map[string]struct {
		fault storetest.Fault
		ring  int
		other int // revocations of others, which push these out
	}{
		"refuses":            {storetest.Fault{Err: storetest.ErrFault}, 1 << 16, 0},
		"hangs":              {storetest.Fault{Hang: true}, 1 << 16, 0},
		"beyond its cursor":  {storetest.Fault{Err: storetest.ErrFault}, 500, 1000},
		"with a ring of one": {storetest.Fault{Err: storetest.ErrFault}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{T: t, shared: newSwap(store.NewShortMemory(row.ring))}
				x, y := c.add(), c.add()
				live := sessions{}
				now := time.Now()
				for i := range 100 {
					live[store.TokenID("i", fmt.Sprint(i))] = now
				}
				for i := range 1000 {
					live[store.TokenID("other", fmt.Sprint(i))] = now
				}
				live[user], live[store.Everyone()] = now, now
				stop := x.Watch(live.all())
				time.Sleep(5 * time.Second)
				x.link.Set(row.fault)
				time.Sleep(20 * time.Second)
				for i := range 100 {
					y.Do(ctx, &store.Mark{Key: store.TokenID("i", fmt.Sprint(i)), Kind: store.MarkRevoke})
				}
				for i := range row.other {
					y.Do(ctx, &store.Mark{Key: store.TokenID("else", fmt.Sprint(i)), Kind: store.MarkRevoke})
				}
				time.Sleep(10 * time.Second)
				if n := len(x.revokedKeys()); n > 0 {
					t.Errorf("%d revocations heard of through a cut", n)
				}
				x.link.Heal()
				time.Sleep(time.Second)
				heard := x.revokedKeys()
				for i := range 100 {
					if !heard[store.TokenID("i", fmt.Sprint(i))] {
						t.Errorf("revocation %d was not heard of", i)
					}
				}
				for k := range heard {
					if _, lives := live[k]; lives && k.ID[:3] != store.TokenID("i", "").ID {
						t.Errorf("%v was not revoked", k)
					}
				}
				// From here on all goes on as ever.
				y.Do(ctx, &store.Mark{Key: user, Kind: store.MarkRevoke})
				time.Sleep(time.Second)
				if !x.revokedKeys()[user] {
					t.Error("the feed stands still after the heal")
				}
				stop()
				x.stop()
				y.stop()
				time.Sleep(3 * time.Second)
			})
		})
	}
}

func TestTheFeedOfANodeHasNoGapAndIsInOrder(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		x, y := c.nodes[0], c.nodes[1]
		for i := range 300 {
			switch i % 50 {
			case 10:
				x.link.Set(storetest.Fault{Err: storetest.ErrFault})
			case 30:
				x.link.Heal()
			}
			y.Do(ctx, &store.Mark{Key: store.Session(fmt.Sprint(i)), Kind: store.MarkRevoke})
			time.Sleep(100 * time.Millisecond)
		}
		x.heal()
		next := 0 // the first that has not been heard of
		for _, e := range x.seen(store.EventRevoke) {
			var i int
			fmt.Sscan(e.Key.ID, &i)
			if i > next {
				c.Fatalf("%d before %d", i, next)
			}
			next = max(next, i+1)
		}
		if next != 300 {
			c.Errorf("%d of 300", next)
		}
	})
}

// TestT15AfterAGap: every kind of key that a session has, and only what is revoked.
func TestT15AfterAGap(t *testing.T) {
	issued := time.Date(2000, 1, 1, 0, 0, 3, 0, time.UTC)
	for name, key := range map[string]store.Key{
		"subject": user, "token": store.TokenID("i", "j"), "login": store.OIDCSession("i", "s"), "session": store.Session("x"),
		"everyone": store.Everyone(),
	} {
		for when, row := range map[string]struct {
			iat   time.Time
			ended bool
		}{"older": {issued, true}, "unknown": {time.Time{}, true}, "newer": {issued.Add(time.Hour), key.Kind != store.KeySubject && key.Kind != store.KeyEveryone}} {
			for _, how := range []string{"gap", "empty restart"} {
				t.Run(name+" "+when+" "+how, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := &cluster{T: t, shared: newSwap(store.NewShortMemory(3))}
						x, y := c.add(), c.add()
						mine := sessions{key: row.iat, store.TokenID("i", "lives"): issued}
						x.Watch(mine.all())
						time.Sleep(5 * time.Second)
						x.link.Set(storetest.Fault{Err: storetest.ErrFault})
						y.Do(ctx, &store.Mark{Key: key, Kind: store.MarkRevoke})
						if how == "gap" {
							for i := range 10 {
								y.Do(ctx, &store.Mark{Key: store.Session(fmt.Sprint(i)), Kind: store.MarkRevoke})
							}
						} else {
							time.Sleep(time.Second)
							c.shared.replace(store.NewShortMemory(1000))
							time.Sleep(3 * time.Second) // y has told it again
						}
						x.link.Heal()
						time.Sleep(time.Second)
						ended := false
						for _, e := range x.seen(store.EventRevoke) {
							single := key.Kind == store.KeyToken || key.Kind == store.KeyOIDCSession || key.Kind == store.KeySession
							if e.Key == key && (single || row.iat.IsZero() || row.iat.Unix() <= e.Before.Unix()) {
								ended = true
							}
							if e.Key == store.TokenID("i", "lives") {
								t.Error("another session was ended")
							}
						}
						if ended != row.ended {
							t.Errorf("ended %v, want %v", ended, row.ended)
						}
						x.stop()
						y.stop()
						time.Sleep(3 * time.Second)
					})
				})
			}
		}
	}
}

// TestT13RevokeRacesAdmission: who registers first and asks then is either refused or told.
func TestT13RevokeRacesAdmission(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		for i := range 1000 {
			k := store.TokenID("i", fmt.Sprint(i))
			x, y := c.nodes[i%3], c.nodes[(i+1)%3]
			var v store.Verdict
			var group sync.WaitGroup
			group.Go(func() { y.Do(ctx, &store.Mark{Key: k, Kind: store.MarkRevoke}) })
			group.Go(func() { v, _ = x.admit(store.Admit{Key: k, IssuedAt: time.Now()}) })
			group.Wait()
			synctest.Wait()
			if v.Refused == store.None && !x.revokedKeys()[k] {
				c.Fatalf("pair %d: admitted and not told", i)
			}
			if i%100 == 99 {
				x.mu.Lock()
				x.events = nil
				x.mu.Unlock()
			}
			c.want(x, store.Admit{Key: k, IssuedAt: later()}, store.Revoked, false)
		}
	})
}

func TestAFeedThatStandsStillIsOpenedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mute{Memory: store.NewMemory()}
		n := newNode(t, m)
		x := &clusterNode{Node: n}
		x.follow()
		time.Sleep(5 * time.Second)
		m.Memory.Do(ctx, &store.Mark{Key: user, Kind: store.MarkRevoke})
		time.Sleep(6 * time.Second)
		if !x.revokedKeys()[user] {
			t.Error("the node waits for a feed that says nothing")
		}
		x.stop()
	})
}

// mute is a store whose first Follow delivers nothing, as over a connection that is dead and does not know it.
type mute struct {
	*store.Memory
	mu    sync.Mutex
	asked bool
}

func (m *mute) Follow(ctx context.Context, after store.Cursor, apply func(store.Event)) error {
	m.mu.Lock()
	first := !m.asked
	m.asked = true
	m.mu.Unlock()
	if first {
		<-ctx.Done()
		return ctx.Err()
	}
	return m.Memory.Follow(ctx, after, apply)
}

func TestStaleness(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		for range 50 { // a busy feed is fresh
			c.shared.Do(ctx, &store.Mark{Key: user, Kind: store.MarkRevoke})
			time.Sleep(2 * time.Second)
			if x.Stale() {
				c.Fatal("stale while it is read")
			}
		}
		time.Sleep(time.Hour) // so is an idle one
		if x.Stale() {
			c.Fatal("stale while there is nothing to read")
		}
		x.cut()
		time.Sleep(58 * time.Second)
		if x.Stale() {
			c.Error("stale before its time")
		}
		time.Sleep(3 * time.Second)
		if !x.Stale() {
			c.Error("not stale after its time")
		}
		x.heal()
		if x.Stale() {
			c.Error("stale after the heal")
		}
	})
}

func TestAfterAGapANodeVouchesForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{T: t, shared: newSwap(store.NewShortMemory(2))}
		x := c.add()
		time.Sleep(5 * time.Second)
		x.link.Set(storetest.Fault{Err: storetest.ErrFault})
		for i := range 10 {
			c.shared.Do(ctx, &store.Mark{Key: store.TokenID("i", fmt.Sprint(i)), Kind: store.MarkRevoke})
		}
		x.heal()
		c.want(x, store.Admit{Key: store.TokenID("i", "0")}, store.Revoked, false) // it asks
		x.cut()
		a := store.Admit{Key: store.TokenID("i", "0")}
		if _, err := x.admit(a); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v: a token revoked in the gap is decided here", err)
		}
		x.stop()
		time.Sleep(3 * time.Second)
	})
}

func TestFollowersOfOneNode(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		twin := &clusterNode{Node: x.Node}
		twin.follow()
		time.Sleep(time.Second)
		x.Do(ctx, &store.Mark{Key: user, Kind: store.MarkRevoke})
		time.Sleep(time.Second)
		if !x.revokedKeys()[user] || !twin.revokedKeys()[user] {
			c.Error("one of two has not heard of it")
		}
		twin.stop()
		x.Do(ctx, &store.Mark{Key: store.Session("s"), Kind: store.MarkRevoke})
		time.Sleep(time.Second)
		if twin.revokedKeys()[store.Session("s")] {
			c.Error("told after its context has ended")
		}
		beats, _ := x.link.Calls()
		time.Sleep(10 * time.Second)
		if after, _ := x.link.Calls(); after-beats < 9 || after-beats > 11 {
			c.Errorf("%d calls in ten idle seconds, want a Beat each", after-beats)
		}
	})
}

// TestClocksThatDiffer: bans end on the store's clock, and no node is stricter than it.
func TestClocksThatDiffer(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(fmt.Sprint(skew), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := store.NewMemory()
				x := &clusterNode{Node: newNode(t, skewed{m, skew})}
				x.follow()
				time.Sleep(2 * time.Second)
				m.Do(ctx, &store.Mark{Key: client, Kind: store.MarkBan, Base: 10 * time.Minute})
				time.Sleep(time.Second)
				a := store.Admit{Key: client}
				x.Peek(&a)
				if a.Verdict.Refused != store.Banned || (a.Verdict.RetryAfter-10*time.Minute).Abs() > 2*time.Second {
					t.Errorf("%+v", a.Verdict)
				}
				time.Sleep(10*time.Minute + time.Second)
				if x.Peek(&a); a.Verdict.Refused != store.None {
					t.Errorf("%+v after the ban", a.Verdict)
				}
				x.stop()
			})
		})
	}
}

// skewed is a store on a machine whose clock is wrong.
type skewed struct {
	*store.Memory
	by time.Duration
}

func (s skewed) Do(ctx context.Context, ops ...store.Op) error {
	err := s.Memory.Do(ctx, ops...)
	for _, op := range ops {
		if b, ok := op.(*store.Beat); ok {
			b.Now = b.Now.Add(s.by)
		}
	}
	return err
}

func (s skewed) Follow(ctx context.Context, after store.Cursor, apply func(store.Event)) error {
	return s.Memory.Follow(ctx, after, func(e store.Event) {
		e.Until = e.Until.Add(s.by)
		apply(e)
	})
}
