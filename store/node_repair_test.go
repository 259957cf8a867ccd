package store_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

var later = func() time.Time { return time.Now().Add(time.Hour) }

func (c *cluster) wantHeld(k store.Key, want int) {
	c.Helper()
	if v := c.truth(store.Admit{Key: k, IssuedAt: later()}); v.Held != want {
		c.Errorf("the shared store counts %d leases of %v, want %d", v.Held, k, want)
	}
}

// TestG5: a shared store that comes back empty has leases and marks again within two seconds.
func TestG5AnEmptyStoreIsToldAgain(t *testing.T) {
	for name, dead := range map[string]time.Duration{"at once": 0, "after 3 s": 3 * time.Second, "after a minute": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 3, func(c *cluster) {
				for i, x := range c.nodes {
					for conn := range uint64(3 + i) {
						c.want(x, x.lease(user, 100, conn), store.None, false)
					}
				}
				net := mustNetwork("203.0.113.0/24")
				until := time.Now().Add(12 * time.Hour)
				c.nodes[0].Do(ctx,
					&store.Mark{Key: store.TokenID("i", "gone"), Kind: store.MarkRevoke, Until: until},
					&store.Mark{Key: user, Kind: store.MarkRevoke, Before: time.Now()},
					&store.Mark{Key: client, Kind: store.MarkBan, Until: until},
					&store.Mark{Key: net, Kind: store.MarkRevoke})
				issued := time.Now()
				time.Sleep(10 * time.Second)
				for _, x := range c.nodes {
					if dead > 0 {
						x.link.Set(storetest.Fault{Err: storetest.ErrFault})
					}
				}
				time.Sleep(dead)
				c.shared.replace(store.NewMemory())
				for _, x := range c.nodes {
					x.link.Heal()
				}
				time.Sleep(2 * time.Second)
				c.wantHeld(user, 3+4+5)
				for _, a := range []store.Admit{
					{Key: store.TokenID("i", "gone"), IssuedAt: later()}, {Key: user, IssuedAt: issued},
					{Key: mustNetwork("203.0.113.9/32"), IssuedAt: issued},
				} {
					if v := c.truth(a); v.Refused != store.Revoked {
						c.Errorf("%v: %v", a.Key, v.Refused)
					}
				}
				if v := c.truth(store.Admit{Key: client}); v.Refused != store.Banned || v.RetryAfter < 11*time.Hour || v.RetryAfter > 12*time.Hour {
					c.Errorf("banned: %+v", v)
				}
				if v := c.truth(store.Admit{Key: user, IssuedAt: issued.Add(2 * time.Second)}); v.Refused != store.None {
					c.Errorf("a later login: %v", v.Refused)
				}
				// And what is released now is released there.
				for i, x := range c.nodes {
					for conn := range uint64(3 + i) {
						x.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: conn})
					}
				}
				time.Sleep(100 * time.Millisecond)
				c.wantHeld(user, 0)
			})
		})
	}
}

func TestATimedOutAdmitLeavesNoGhost(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{
		"the answer is lost": {Lose: true},
		"the store hangs":    {Hang: true},
		"it never came":      {Err: storetest.ErrFault},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 1, func(c *cluster) {
				x := c.nodes[0]
				denied := store.Custom("denied", "x")
				fault.Only = func(op store.Op) bool { a, ok := op.(*store.Admit); return ok && a.Cap == 5 }
				x.link.Set(fault)
				c.want(x, x.lease(user, 5, 1), store.None, true)
				if _, err := x.admit(x.lease(denied, 5, 2)); err == nil {
					c.Error("not denied")
				}
				x.link.Heal()
				time.Sleep(2 * time.Second)
				c.wantHeld(user, 1)   // it is held here
				c.wantHeld(denied, 0) // nobody has it
			}, store.OnError(store.RuleCap, store.Deny, "denied"))
		})
	}
}

func TestReleasesWaitForTheStore(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		for conn := range uint64(10) {
			c.want(x, x.lease(user, 10, conn), store.None, false)
		}
		x.cut()
		start := time.Now()
		for conn := range uint64(7) {
			r := store.Release{Key: user, Node: x.ID(), Conn: conn}
			if x.Do(ctx, &r); r.Err != nil {
				c.Error(r.Err)
			}
		}
		if time.Since(start) > 0 {
			c.Error("a close waits for the store")
		}
		c.wantHeld(user, 10)
		x.heal()
		c.wantHeld(user, 3)
	})
}

func TestReleasesAreJoinedAndGoAheadOfTheirKey(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		for conn := range uint64(100) {
			c.want(x, x.lease(user, 100, conn), store.None, false)
		}
		before, _ := x.link.Calls()
		for conn := range uint64(50) {
			x.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: conn})
		}
		if after, _ := x.link.Calls(); after != before {
			c.Error("sent one by one")
		}
		time.Sleep(11 * time.Millisecond)
		if after, _ := x.link.Calls(); after != before+1 {
			c.Errorf("%d batches", after-before)
		}
		c.wantHeld(user, 50)
		// A place given back here can be had here at once.
		for conn := uint64(100); conn < 150; conn++ {
			c.want(x, x.lease(user, 100, conn), store.None, false)
		}
		for conn := uint64(100); conn < 150; conn++ {
			x.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: conn})
			c.want(x, x.lease(user, 100, conn+100), store.None, false)
		}
		// What is not held is not released, and nobody else's is.
		before, _ = x.link.Calls()
		x.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: 1})
		time.Sleep(100 * time.Millisecond)
		if after, _ := x.link.Calls(); after != before {
			c.Error("a lease that is not held was released")
		}
	})
}

func TestANodePausedBeyondItsLifeTakesANewEpoch(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		x, y := c.nodes[0], c.nodes[1]
		for conn := range uint64(4) {
			c.want(x, x.lease(user, 5, conn), store.None, false)
		}
		x.link.Set(storetest.Fault{Hang: true})
		time.Sleep(7 * time.Second) // G2: its leases have stopped to count
		c.want(y, y.lease(user, 5, 1), store.None, false)
		c.want(y, y.lease(user, 5, 2), store.None, false)
		x.heal()
		c.wantHeld(user, 6) // both tell the truth, which is over the cap
		c.want(y, y.lease(user, 5, 3), store.OverCap, false)
		for conn := range uint64(4) {
			x.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: conn})
		}
		time.Sleep(100 * time.Millisecond)
		c.wantHeld(user, 2)
	})
}

func TestLeavingFreesAllLeasesAtOnce(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		x := c.nodes[0]
		c.want(x, x.lease(user, 5, 1), store.None, false)
		leave := store.Beat{Node: x.ID()}
		x.Do(ctx, &leave) // another follows still
		c.wantHeld(user, 1)
		x.stop()
		x.Do(ctx, &leave)
		c.wantHeld(user, 0)
		x.follow() // and it may come back
		time.Sleep(2 * time.Second)
		c.wantHeld(user, 1)
	})
}

func TestLeasesAreAssertedInTurn(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		for i := range 1200 {
			k := store.Subject("i", fmt.Sprint(i))
			c.want(x, x.lease(k, 5, 1), store.None, false)
		}
		// The shared store forgets, and nobody notices.
		m, _ := c.shared.current()
		m.Do(ctx, &store.Beat{Node: x.ID()}, &store.Beat{Node: x.ID(), TTL: time.Hour})
		c.wantHeld(store.Subject("i", "7"), 0)
		_, before := x.link.Calls()
		time.Sleep(time.Minute)
		if _, after := x.link.Calls(); after-before > 60*(1200/600+2) {
			c.Errorf("%d operations in a minute", after-before)
		}
		time.Sleep(10 * time.Minute)
		for i := range 1200 {
			c.wantHeld(store.Subject("i", fmt.Sprint(i)), 1)
		}
	})
}

func TestLeasesLapseHereToo(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		for conn := range uint64(1000) {
			a := x.lease(user, 1000, conn)
			a.Hold = time.Minute
			c.want(x, a, store.None, false)
		}
		time.Sleep(15 * time.Minute)
		if held, counts, _, _ := x.Sizes(); held+counts != 0 {
			c.Errorf("%d leases of sessions that nobody has are left", held)
		}
	})
}

func TestAFullBacklogTakesANewEpoch(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		const most = 1 << 16
		for i := range uint64(most + 5000) {
			c.want(x, x.lease(store.Subject("i", fmt.Sprint(i)), 1, i), store.None, false)
		}
		c.want(x, x.lease(user, 3, most+9000), store.None, false)
		x.cut()
		for i := range uint64(most + 5000) {
			x.Do(ctx, &store.Release{Key: store.Subject("i", fmt.Sprint(i)), Node: x.ID(), Conn: i})
		}
		if _, _, backlog, _ := x.Sizes(); backlog > most {
			c.Errorf("%d releases wait", backlog)
		}
		x.heal()
		m, _ := c.shared.current()
		if got := m.Kept(); got != 1 {
			c.Errorf("%d leases are left, want the one that is held", got)
		}
	})
}

func TestMarksThatFailedAreHereAndSentLater(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		x, y := c.nodes[0], c.nodes[1]
		x.cut()
		cut := time.Now()
		for _, m := range []store.Mark{
			{Key: user, Kind: store.MarkRevoke, Why: "left"}, {Key: client, Kind: store.MarkBan, Base: time.Hour, Why: "abuse"},
			{Key: address(3), Kind: store.MarkBan, Until: time.Now().Add(time.Hour)},
		} {
			if x.Do(ctx, &m); m.Err == nil {
				c.Error("no error of a mark that the shared store has not taken")
			}
		}
		c.want(x, store.Admit{Key: user, IssuedAt: cut}, store.Revoked, false)
		c.want(x, store.Admit{Key: client}, store.Banned, false)
		c.want(y, store.Admit{Key: user, IssuedAt: cut}, store.None, false)
		synctest.Wait()
		if e := x.seen(store.EventRevoke); len(e) != 1 || e[0].Key != user || e[0].Before.Before(cut) || e[0].Why != "left" {
			c.Errorf("told here: %+v", e)
		}
		time.Sleep(30 * time.Second)
		x.heal()
		c.want(y, store.Admit{Key: user, IssuedAt: cut}, store.Revoked, false)
		c.want(y, store.Admit{Key: client}, store.Banned, false)
		c.want(y, store.Admit{Key: address(3)}, store.Banned, false)
		// The cut is when it was asked for, not when it was sent.
		c.want(y, store.Admit{Key: user, IssuedAt: cut.Add(10 * time.Second)}, store.None, false)
		if e := y.seen(store.EventRevoke); len(e) == 0 || e[0].Why != "left" || e[len(e)-1].Before != e[0].Before {
			c.Errorf("told there: %+v", e)
		}
	})
}

func TestManyFailedMarksAreAllSent(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		x.link.Set(storetest.Fault{Err: storetest.ErrFault})
		for i := range 6000 {
			x.Do(ctx, &store.Mark{Key: store.TokenID("i", fmt.Sprint(i)), Kind: store.MarkRevoke})
		}
		x.heal()
		for i := range 6000 {
			if v := c.truth(store.Admit{Key: store.TokenID("i", fmt.Sprint(i))}); v.Refused != store.Revoked {
				c.Fatalf("mark %d is missing", i)
			}
		}
	})
}

func TestLosingAndRegainingAreEventsOnceEach(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		for round := 1; round <= 3; round++ {
			x.cut()
			time.Sleep(20 * time.Second)
			if down, up := len(x.seen(store.EventDown)), len(x.seen(store.EventUp)); down != round || up != round-1 {
				c.Fatalf("round %d: %d down, %d up", round, down, up)
			}
			x.heal()
			if down, up := len(x.seen(store.EventDown)), len(x.seen(store.EventUp)); down != round || up != round {
				c.Fatalf("round %d: %d down, %d up", round, down, up)
			}
		}
		// Without a handshake a node notices, too.
		x.link.Set(storetest.Fault{Hang: true})
		time.Sleep(10 * time.Second)
		if len(x.seen(store.EventDown)) != 4 {
			c.Error("an idle node does not notice that its store is away")
		}
	})
}
