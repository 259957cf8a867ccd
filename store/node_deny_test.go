package store_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/wssecure/wssecure/store"
)

// TestT17AFloodAsksOnce: one address at a hundred times its limit, against one node and then over three.
func TestT17AFloodAsksOnce(t *testing.T) {
	hundred := store.Rate{N: 100, Per: time.Second, Burst: 100}
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			inCluster(t, 3, func(c *cluster) {
				used := c.nodes[:nodes]
				counts := map[*clusterNode]int{}
				admitted := 0
				const seconds = 5
				for i := range seconds * 10_000 {
					x := used[i%nodes]
					before, _ := x.link.Calls()
					v, err := x.admit(rate(client, hundred, 1))
					if err != nil || v.Local {
						c.Fatalf("%+v, %v", v, err)
					}
					after, _ := x.link.Calls()
					counts[x] += after - before
					if v.Refused == store.None {
						admitted++
					} else if truth := c.truth(rate(client, hundred, 1)); truth.Refused == store.None && after == before {
						c.Fatalf("call %d: refused here, though the store would admit", i)
					} else if v.RetryAfter <= 0 || v.RetryAfter > time.Second {
						c.Fatalf("RetryAfter %v", v.RetryAfter)
					}
					time.Sleep(time.Second / 10_000)
				}
				if most := 100 + seconds*100; admitted > most || admitted < most-seconds*nodes {
					c.Errorf("%d admitted, want %d", admitted, most)
				}
				for _, n := range counts {
					if most := 100 + seconds*(100+1); n > most { // the first burst beside
						c.Errorf("a node asked %d times in %d s", n, seconds)
					}
				}
			})
		})
	}
}

func TestTokensGivenBackAreThereAtOnce(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		slow := store.Rate{N: 1, Per: time.Hour, Burst: 2}
		c.want(x, rate(client, slow, 1), store.None, false)
		c.want(x, rate(client, slow, 1), store.None, false)
		c.want(x, rate(client, slow, 1), store.OverRate, false)
		// Alone, and in a batch with others.
		x.Do(ctx, &store.Admit{Key: client, Bucket: "handshakes", Rate: slow, N: -1})
		c.want(x, rate(client, slow, 1), store.None, false)
		c.want(x, rate(client, slow, 1), store.OverRate, false)
		x.Do(ctx, &store.Admit{Key: user, IssuedAt: time.Now()}, &store.Admit{Key: client, Bucket: "handshakes", Rate: slow, N: -1})
		c.want(x, rate(client, slow, 1), store.None, false)
		// A route of a wider limit shares the counter and asks for itself.
		c.want(x, rate(client, slow, 1), store.OverRate, false)
		c.want(x, rate(client, store.Rate{N: 2, Per: time.Hour, Burst: 9}, 1), store.None, false)
	})
}

func TestABatchThatIsRefusedHereIsNotSent(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		slow := store.Rate{N: 1, Per: time.Hour, Burst: 1}
		c.want(x, rate(user, slow, 1), store.None, false)
		x.Do(ctx, &store.Put{Ticket: "t", TTL: time.Hour})
		before, _ := x.link.Calls()
		a, other, back := rate(user, slow, 1), x.lease(client, 1, 1), rate(client, slow, -1)
		k, r, p := store.Claim{Space: store.SpaceHandshakeKey, Value: "k", TTL: time.Hour}, store.Redeem{Ticket: "t"}, store.Put{Ticket: "u", TTL: time.Hour}
		x.Do(ctx, &a, &other, &back, &k, &r, &p)
		if a.Verdict.Refused != store.OverRate || a.Err != nil {
			c.Errorf("%+v, %v", a.Verdict, a.Err)
		}
		for i, err := range []error{other.Err, back.Err, k.Err, r.Err, p.Err} {
			if !errors.Is(err, store.ErrSkipped) || errors.Is(err, store.ErrUnavailable) {
				c.Errorf("operation %d: %v", i, err)
			}
		}
		if after, _ := x.link.Calls(); after != before {
			c.Error("it was sent")
		}
		if held, _, _, _ := x.Sizes(); held != 0 {
			c.Error("a lease was taken")
		}
		x.Do(ctx, &k, &r)
		if !k.First || !r.OK {
			c.Error("something of it has happened")
		}
	})
}

func TestQuestionsForMarksDoNotHangTogether(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		x := c.nodes[0]
		x.Do(ctx, &store.Mark{Key: user, Kind: store.MarkBan, Until: time.Now().Add(time.Hour)})
		m, _ := c.shared.current()
		a, b, d := store.Admit{Key: user, IssuedAt: later()}, store.Admit{Key: store.TokenID("i", "1")}, store.Admit{Key: store.TokenID("i", "2")}
		m.Do(ctx, &store.Mark{Key: d.Key, Kind: store.MarkRevoke})
		if x.Do(ctx, &a, &b, &d); a.Verdict.Refused != store.Banned || b.Err != nil || d.Verdict.Refused != store.Revoked {
			c.Errorf("%v, %v, %v", a.Verdict, b.Err, d.Verdict)
		}
	})
}

func TestABannedAddressMayShowATicketAtItsOwnRate(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		x := c.nodes[0]
		c.nodes[1].Do(ctx, &store.Mark{Key: client, Kind: store.MarkBan, Base: time.Hour}, &store.Put{Ticket: "t", TTL: time.Hour})
		time.Sleep(time.Second)
		five := store.Rate{N: 1, Per: time.Hour, Burst: 5}
		before, _ := x.link.Calls()
		for i := range 50 {
			a, r := rate(client, five, 1), store.Redeem{Ticket: "t", Keep: true}
			x.Do(ctx, &a, &r)
			if a.Verdict.Refused != store.Banned || a.Verdict.RetryAfter < 59*time.Minute {
				c.Fatalf("%+v", a.Verdict)
			}
			if r.OK != (i < 5) || !r.OK && !errors.Is(r.Err, store.ErrSkipped) {
				c.Fatalf("ticket %d: %v, %v", i, r.OK, r.Err)
			}
		}
		if after, _ := x.link.Calls(); after-before != 5 {
			c.Errorf("%d calls for 50 made-up tickets", after-before)
		}
		// One that is to be spent is not.
		x.Do(ctx, &store.Mark{Key: user, Kind: store.MarkBan, Until: time.Now().Add(time.Hour)})
		time.Sleep(time.Second)
		a, r := store.Admit{Key: user, IssuedAt: time.Now().Add(time.Hour)}, store.Redeem{Ticket: "t"}
		if x.Do(ctx, &a, &r); a.Verdict.Refused != store.Banned || r.OK {
			c.Errorf("%+v, spent %v", a.Verdict, r.OK)
		}
	})
}

func TestBansAndMarksOfTheFeedAreKnownEverywhere(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		x, y := c.nodes[0], c.nodes[1]
		net := store.Network(netip.MustParsePrefix("198.51.100.0/24"))
		now := time.Now()
		for _, m := range []store.Mark{
			{Key: client, Kind: store.MarkBan, Base: time.Hour}, {Key: user, Kind: store.MarkRevoke},
			{Key: net, Kind: store.MarkRevoke}, {Key: store.Everyone(), Kind: store.MarkRevoke, Before: now.Add(-time.Hour)},
		} {
			x.Do(ctx, &m)
		}
		time.Sleep(time.Second)
		before, _ := y.link.Calls()
		for _, row := range []struct {
			a    store.Admit
			want store.Refusal
		}{
			{store.Admit{Key: client}, store.Banned},
			{store.Admit{Key: user, IssuedAt: now}, store.Revoked},
			{store.Admit{Key: store.Network(netip.MustParsePrefix("198.51.100.7/32")), IssuedAt: now}, store.Revoked},
			{store.Admit{Key: store.Everyone()}, store.Revoked},
		} {
			c.want(y, row.a, row.want, false)
		}
		if after, _ := y.link.Calls(); after != before {
			c.Error("what the feed has told was asked for")
		}
		c.want(y, store.Admit{Key: user, IssuedAt: now.Add(2 * time.Second)}, store.None, false)
		c.want(y, store.Admit{Key: store.Everyone(), IssuedAt: now}, store.None, false)
		x.Do(ctx, &store.Mark{Key: client, Kind: store.MarkUnban})
		time.Sleep(time.Millisecond)
		c.want(y, store.Admit{Key: client}, store.None, false)
	})
}

// TestANetworksBanIsNotJudgedByItsMark: whom a ban of a network spares is the guard's rule, so its question goes out.
func TestANetworksBanIsNotJudgedByItsMark(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		x.Do(ctx, &store.Mark{Key: store.Network(netip.MustParsePrefix("198.51.100.0/24")), Kind: store.MarkBan, Until: time.Now().Add(time.Hour)})
		time.Sleep(time.Second)
		for range 3 {
			a, r := store.Admit{Key: store.Network(netip.MustParsePrefix("198.51.100.7/32")), IssuedAt: time.Now()}, rate(user, tenPerSecond, 1)
			if x.Do(ctx, &a, &r); a.Verdict.Refused != store.Banned || r.Err != nil {
				c.Errorf("%+v; beside it %v", a.Verdict, r.Err)
			}
		}
	})
}

func TestRefusalsAreBounded(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		slow := store.Rate{N: 1, Per: time.Hour, Burst: 1}
		other := c.add()
		for i := range 1<<16 + 1000 {
			a, b := rate(address(i), slow, 1), rate(address(i), slow, 1)
			other.Do(ctx, &a)
			x.Do(ctx, &b)
		}
		if _, _, _, refused := x.Sizes(); refused != 1<<16 {
			c.Errorf("%d refusals are remembered", refused)
		}
		time.Sleep(2 * time.Second)
		a := rate(address(1<<16+500), slow, 1)
		x.Do(ctx, &a)
		if _, _, _, refused := x.Sizes(); refused != 1 {
			c.Errorf("%d refusals are remembered when they are over", refused)
		}
	})
}

func TestPeekOfANodeChargesNothing(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		x := c.nodes[0]
		two := store.Rate{N: 1, Per: time.Hour, Burst: 2}
		a, k, r, b := rate(client, two, 1), store.Claim{Space: store.SpaceHandshakeKey, Value: "k", TTL: time.Hour}, store.Redeem{Ticket: "t"}, store.Beat{}
		before, _ := x.link.Calls()
		for range 5 {
			if x.Peek(&a, &k, &r, &b); a.Verdict != (store.Verdict{}) || a.Err != nil || !k.First || r.OK || r.Err == nil || b.Err == nil {
				c.Fatalf("%+v %+v %+v", a, k, r)
			}
		}
		if after, _ := x.link.Calls(); after != before {
			c.Error("Peek asks the shared store")
		}
		c.want(x, a, store.None, false)
		c.want(x, a, store.None, false)
		if x.Peek(&a); a.Verdict.Refused != store.OverRate {
			c.Errorf("%+v", a.Verdict)
		}
		x.Do(ctx, &store.Mark{Key: user, Kind: store.MarkBan, Until: time.Now().Add(time.Hour)})
		u := store.Admit{Key: user}
		if x.Peek(&u); u.Verdict.Refused != store.Banned || u.Verdict.RetryAfter < 59*time.Minute {
			c.Errorf("%+v", u.Verdict)
		}
		x.cut()
		free, capped := rate(address(9), two, 1), x.lease(address(9), 2, 1)
		for range 3 {
			if x.Peek(&free, &capped); !free.Verdict.Local || free.Verdict.Refused != store.None || capped.Verdict.Refused != store.None {
				c.Fatalf("%+v %+v", free.Verdict, capped.Verdict)
			}
		}
		x.Do(ctx, &free, &capped)
		capped.Conn = 2
		if x.Peek(&free, &capped); free.Verdict.Refused != store.OverRate || capped.Verdict.Refused != store.OverCap || capped.Verdict.Held != 1 {
			c.Errorf("%+v %+v", free.Verdict, capped.Verdict)
		}
	})
}

func TestPeekOfANodeAllocatesNothing(t *testing.T) {
	n := newNode(t, store.NewMemory())
	a := rate(client, tenPerSecond, 1)
	if got := testing.AllocsPerRun(100, func() { n.Peek(&a) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
