package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

func rate(k store.Key, r store.Rate, n int) store.Admit {
	return store.Admit{Key: k, Bucket: "handshakes", Rate: r, N: n}
}

var tenPerSecond = store.Rate{N: 10, Per: time.Second, Burst: 10}

// deaf is a store that never answers, whatever its context says.
type deaf struct{ *store.Memory }

func (deaf) Do(context.Context, ...store.Op) error { select {} }

func TestG4NobodyWaitsLongerThanTheBudget(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{
		"hangs":          {Hang: true},
		"is slow":        {Delay: time.Minute},
		"loses answers":  {Delay: 24 * time.Millisecond, Lose: true},
		"fails at once":  {Err: storetest.ErrFault},
		"fails slowly":   {Delay: 20 * time.Millisecond, Err: storetest.ErrFault},
		"says it's busy": {Err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 1, func(c *cluster) {
				x := c.nodes[0]
				x.link.Set(fault)
				calls := 0
				for i := range 20 {
					before, _ := x.link.Calls()
					start := time.Now()
					v, err := x.admit(rate(address(i), tenPerSecond, 1))
					took := time.Since(start)
					if after, _ := x.link.Calls(); after > before {
						calls++
					}
					if err != nil || v.Refused != store.None || !v.Local {
						c.Errorf("call %d: %+v, %v", i, v, err)
					}
					if most := 25 * time.Millisecond; took > most || i >= 5 && took > 0 {
						c.Errorf("call %d took %v", i, took)
					}
				}
				if calls > 6 {
					c.Errorf("%d calls went out, want five and a probe at most", calls)
				}
			})
		})
	}
}

func TestAStoreThatIgnoresItsContextHoldsNobody(t *testing.T) {
	// Not in a bubble: what is deaf for ever would never let it end.
	n := newNode(t, deaf{store.NewMemory()})
	start := time.Now()
	for i := range 50 {
		a := rate(address(i), tenPerSecond, 1)
		if n.Do(ctx, &a); a.Err != nil || !a.Verdict.Local {
			t.Fatalf("call %d: %+v, %v", i, a.Verdict, a.Err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("50 calls took %v", took)
	}
}

// loud is a store that panics.
type loud struct{ *store.Memory }

func (loud) Do(context.Context, ...store.Op) error { panic("boom") }

func TestAStoreThatPanicsIsAStoreThatFails(t *testing.T) {
	n := newNode(t, loud{store.NewMemory()})
	a := rate(client, tenPerSecond, 1)
	if n.Do(ctx, &a); a.Err != nil || !a.Verdict.Local {
		t.Errorf("%+v, %v", a.Verdict, a.Err)
	}
}

func TestTheBreakerOpensAfterFiveInARowAndProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(store.NewMemory())
		n := newNode(t, f)
		f.Set(storetest.Fault{Err: storetest.ErrFault})
		ask := func() bool {
			before, _ := f.Calls()
			a := rate(address(int(time.Now().UnixNano())), tenPerSecond, 1)
			n.Do(ctx, &a)
			synctest.Wait()
			after, _ := f.Calls()
			return after > before
		}
		for i := range 5 {
			if !ask() {
				t.Fatalf("call %d did not go out", i)
			}
		}
		// Each probe comes after its pause, with up to a fifth of jitter, and never before.
		for _, pause := range []time.Duration{250, 500, 1000, 2000, 2000} {
			pause *= time.Millisecond
			time.Sleep(pause - time.Millisecond)
			if ask() {
				t.Errorf("a call within the pause of %v", pause)
			}
			time.Sleep(pause/5 + time.Millisecond)
			if !ask() {
				t.Errorf("no probe after %v", pause)
			}
			if ask() {
				t.Errorf("two probes after %v", pause)
			}
		}
		f.Heal()
		time.Sleep(3 * time.Second)
		ask() // starts the probe that closes it
		a := rate(client, tenPerSecond, 1)
		if n.Do(ctx, &a); a.Verdict.Local {
			t.Error("still open after a good probe")
		}
	})
}

func TestTheBreakerOpensWhenMoreThanHalfOfASecondFails(t *testing.T) {
	for name, row := range map[string]struct {
		fails func(i int) bool
		calls int
		open  bool
	}{
		"two of three":             {func(i int) bool { return i%3 != 0 }, 21, true},
		"two of three, too few":    {func(i int) bool { return i%3 != 0 }, 19, false},
		"every second":             {func(i int) bool { return i%2 == 1 }, 100, false},
		"two of three, over 40 s":  {func(i int) bool { return i%3 != 0 }, -21, false},
		"four in a row, then good": {func(i int) bool { return i%5 != 4 }, 15, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := storetest.NewFaulty(store.NewMemory())
				n := newNode(t, f)
				for i := range max(row.calls, -row.calls) {
					f.Heal()
					if row.fails(i) {
						f.Set(storetest.Fault{Err: storetest.ErrFault})
					}
					a := rate(address(i), tenPerSecond, 1)
					n.Do(ctx, &a)
					if row.calls < 0 {
						time.Sleep(2 * time.Second)
					}
				}
				f.Heal()
				a := rate(client, tenPerSecond, 1)
				n.Do(ctx, &a)
				if a.Verdict.Local != row.open {
					t.Errorf("open %v, want %v", a.Verdict.Local, row.open)
				}
			})
		})
	}
}

func TestWhoHangsUpNeitherOpensTheBreakerNorGetsBy(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		x.link.Set(storetest.Fault{Delay: 10 * time.Millisecond})
		gone, cancel := context.WithCancel(ctx)
		cancel()
		for i := range 100 {
			a := rate(client, tenPerSecond, 1)
			x.Do(gone, &a)
			if a.Verdict.Local || a.Err != nil {
				c.Fatalf("call %d was decided here: %+v, %v", i, a.Verdict, a.Err)
			}
			if i >= 20 && a.Verdict.Refused != store.OverRate {
				c.Fatalf("call %d got by its limit", i)
			}
		}
		if len(x.seen(store.EventDown)) != 0 {
			c.Error("the store counts as lost")
		}
	})
}

func TestMarkAndBeatPassTheBreaker(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		x.cut()
		x.link.Set(storetest.Fault{Delay: time.Second})
		m := store.Mark{Key: user, Kind: store.MarkRevoke}
		start := time.Now()
		if x.Do(ctx, &m); m.Err != nil || time.Since(start) != time.Second {
			c.Errorf("Mark: %v after %v", m.Err, time.Since(start))
		}
		x.link.Set(storetest.Fault{Hang: true})
		for _, row := range []struct{ caller, most time.Duration }{{time.Hour, 2 * time.Second}, {time.Second / 2, time.Second / 2}} {
			short, cancel := context.WithTimeout(ctx, row.caller)
			start = time.Now()
			m = store.Mark{Key: user, Kind: store.MarkRevoke}
			if x.Do(short, &m); m.Err == nil || time.Since(start) != row.most {
				c.Errorf("Mark: %v after %v, want an error after %v", m.Err, time.Since(start), row.most)
			}
			cancel()
		}
		x.link.Set(storetest.Fault{Delay: 100 * time.Millisecond})
		b := store.Beat{Node: 7, TTL: time.Hour}
		if x.Do(ctx, &b); b.Err != nil || len(b.Live) != 2 {
			c.Errorf("Beat: %v, live %v", b.Err, b.Live)
		}
	})
}

func TestOperationErrorsAreDecidedHereToo(t *testing.T) {
	// A store that is full of memory fails operations, not calls.
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, failsOps{store.NewMemory()})
		a := rate(client, tenPerSecond, 1)
		if n.Do(ctx, &a); a.Err != nil || !a.Verdict.Local {
			t.Errorf("%+v, %v", a.Verdict, a.Err)
		}
		r := store.Redeem{Ticket: "t"}
		if n.Do(ctx, &r); r.Err == nil {
			t.Error("a ticket that was not redeemed has no error")
		}
	})
}

type failsOps struct{ *store.Memory }

func (f failsOps) Do(_ context.Context, ops ...store.Op) error {
	for _, op := range ops {
		switch o := op.(type) {
		case *store.Admit:
			o.Err = errors.New("OOM")
		case *store.Redeem:
			o.Err = errors.New("OOM")
		}
	}
	return nil
}

func TestConcurrentCallsOfADyingStore(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		var group sync.WaitGroup
		for i := range 200 {
			group.Go(func() {
				for j := range 50 {
					a := x.lease(user, 10_000, uint64(i*1000+j))
					x.Do(ctx, &a)
					time.Sleep(time.Millisecond)
					if a.Err == nil && a.Verdict.Refused == store.None {
						x.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: a.Conn})
					}
				}
			})
		}
		group.Go(func() {
			for i := range 20 {
				time.Sleep(5 * time.Millisecond)
				x.link.Set([]storetest.Fault{{}, {Hang: true}, {Lose: true}, {Err: storetest.ErrFault}, {Delay: 30 * time.Millisecond}}[i%5])
			}
			x.link.Heal()
		})
		group.Wait()
		time.Sleep(10 * time.Second)
		if held, counts, backlog, _ := x.Sizes(); held+counts+backlog != 0 {
			c.Errorf("left over: %d leases, %d counts, %d releases", held, counts, backlog)
		}
		if v := c.truth(store.Admit{Key: user, IssuedAt: time.Now()}); v.Held != 0 {
			c.Errorf("%d ghosts in the shared store", v.Held)
		}
	})
}
