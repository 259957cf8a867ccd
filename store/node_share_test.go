package store_test

import (
	"testing"
	"time"

	"github.com/wssecure/wssecure/store"
)

// TestT6CutNodesKeepToTheirShare: N1. A hundred a second by address from three nodes for ten seconds, with some nodes
// cut at two seconds.
func TestT6CutNodesKeepToTheirShare(t *testing.T) {
	hundred := store.Rate{N: 100, Per: time.Second, Burst: 100}
	for name, row := range map[string]struct {
		cut   int
		least int
		most  int
	}{
		// limit × (1 + k/N) for the eight seconds of the cut, and one burst × k/N.
		"none":          {0, 100 + 990, 100 + 1000},
		"one of three":  {1, 100 + 200 + 800 + 33*8 - 10, 100 + 200 + 800 + 800/3 + 34},
		"two of three":  {2, 100 + 200 + 800 + 66*8 - 10, 100 + 200 + 800 + 1600/3 + 67},
		"three of them": {3, 100 + 200 + 99*8 - 10, 100 + 200 + 800 + 100},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 3, func(c *cluster) {
				admitted := 0
				cut := false
				for start := time.Now(); time.Since(start) < 10*time.Second; {
					if !cut && time.Since(start) >= 2*time.Second {
						cut = true
						for _, x := range c.nodes[:row.cut] {
							x.cut()
						}
					}
					for _, x := range c.nodes {
						v, err := x.admit(rate(client, hundred, 1))
						if err != nil {
							c.Fatal(err)
						}
						if v.Refused == store.None {
							admitted++
						}
					}
					time.Sleep(time.Millisecond)
				}
				if admitted < row.least || admitted > row.most {
					c.Errorf("%d admitted, want %d to %d", admitted, row.least, row.most)
				}
				c.Logf("%d admitted, bound %d", admitted, row.most)
			})
		})
	}
}

// TestN2CapWhileCutOff: a cut node holds its share of a cap at most, those from before included.
func TestN2CapWhileCutOff(t *testing.T) {
	for name, row := range map[string]struct {
		most, before, want int
	}{
		"ten of ten are free":   {10, 0, 4},
		"two are held":          {10, 2, 4},
		"six are held":          {10, 6, 6},
		"a cap of one":          {1, 0, 1},
		"a cap of two, one out": {2, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 3, func(c *cluster) {
				x := c.nodes[0]
				conn := uint64(0)
				for range row.before {
					conn++
					c.want(x, x.lease(user, row.most, conn), store.None, false)
				}
				x.cut()
				held := row.before
				for range 20 {
					conn++
					v, err := x.admit(x.lease(user, row.most, conn))
					if err != nil || !v.Local {
						c.Fatalf("%+v, %v", v, err)
					}
					if v.Refused == store.None {
						held++
					} else if v.Refused != store.OverCap || v.Held != held {
						c.Fatalf("%+v, %d held", v, held)
					}
				}
				if held != row.want {
					c.Errorf("%d held, want %d", held, row.want)
				}
				// A place that is given back can be had again; back in the cluster all of them are told.
				x.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: conn - 20 + 1})
				if row.before < row.want {
					c.want(x, x.lease(user, row.most, 99), store.None, true)
				}
				x.heal()
				held, _, _, _ = x.Sizes()
				if v := c.truth(store.Admit{Key: user, IssuedAt: time.Now().Add(time.Hour)}); v.Held != held {
					c.Errorf("the shared store counts %d, the node holds %d", v.Held, held)
				}
			})
		})
	}
}

func TestShareIsAtLeastOneToken(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		x := c.nodes[0]
		x.cut()
		one := store.Rate{N: 1, Per: time.Minute, Burst: 1}
		c.want(x, rate(client, one, 1), store.None, true)
		c.want(x, rate(client, one, 1), store.OverRate, true)
		time.Sleep(2 * time.Minute)
		c.want(x, rate(client, one, 1), store.OverRate, true) // a third of the rate
		time.Sleep(time.Minute)
		c.want(x, rate(client, one, 1), store.None, true)
		// A share of what is rare must not overflow into a free pass.
		rare := store.Rate{N: 1, Per: 4 * 365 * 24 * time.Hour, Burst: 1}
		c.want(x, rate(address(5), rare, 1), store.None, true)
		c.want(x, rate(address(5), rare, 1), store.OverRate, true)
	})
}

func TestTheFirstReasonWinsHereToo(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		x.cut()
		a := x.lease(user, 1, 1)
		a.Bucket, a.Rate, a.N = "r", store.Rate{N: 1, Per: time.Hour, Burst: 2}, 1
		c.want(x, a, store.None, true)
		a.Conn = 2
		c.want(x, a, store.OverCap, true)
		c.want(x, a, store.OverCap, true)  // and charges nothing
		a.Conn = 1                         // held already
		c.want(x, a, store.None, true)     // the last token
		c.want(x, a, store.OverRate, true) // keeps its lease
		a.Conn = 2
		c.want(x, a, store.OverRate, true)
		if held, _, _, _ := x.Sizes(); held != 1 {
			c.Errorf("%d leases held", held)
		}
		b := rate(client, store.Rate{N: 1, Per: time.Hour, Burst: 1}, 1)
		c.want(x, b, store.None, true)
		lease := x.lease(client, 5, 7)
		lease.Bucket, lease.Rate, lease.N = b.Bucket, b.Rate, 1
		c.want(x, lease, store.OverRate, true)
		if held, _, _, _ := x.Sizes(); held != 1 {
			c.Errorf("%d leases held: a refused Admit took one", held)
		}
	})
}
