package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
)

// fragile is a store whose feed breaks off on command, notes where it is read from and may be slow.
type fragile struct {
	*store.Memory
	slow time.Duration

	mu   sync.Mutex
	from []store.Cursor
	cut  context.CancelFunc
}

func (f *fragile) Follow(ctx context.Context, after store.Cursor, apply func(store.Event)) error {
	inner, cut := context.WithCancel(ctx)
	defer cut()
	f.mu.Lock()
	f.from, f.cut = append(f.from, after), cut
	f.mu.Unlock()
	err := f.Memory.Follow(inner, after, func(e store.Event) {
		time.Sleep(f.slow)
		apply(e)
	})
	if ctx.Err() == nil {
		return errors.New("broken off")
	}
	return err
}

// TestAReconnectReadsTheLastTenSecondsAgain: what a failover has lost and taken again may stand before the cursor.
func TestAReconnectReadsTheLastTenSecondsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fragile{Memory: store.NewMemory()}
		x := &clusterNode{Node: newNode(t, f)}
		x.follow()
		time.Sleep(2500 * time.Millisecond)
		f.Do(ctx, &store.Mark{Key: user, Kind: store.MarkRevoke})
		marked := uint64(time.Now().UnixMilli())
		time.Sleep(20 * time.Second)
		f.mu.Lock()
		f.cut()
		f.mu.Unlock()
		time.Sleep(time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.from) != 2 || f.from[0] != (store.Cursor{}) || f.from[1] != (store.Cursor{Milli: marked - 10_000}) {
			t.Errorf("read from %v, marked at %d", f.from, marked)
		}
		if n := len(x.seen(store.EventRevoke)); n != 2 {
			t.Errorf("%d events", n)
		}
		x.stop()
	})
}

// TestABusyFeedIsFresh: one that is always a little behind its end, and never at it.
func TestABusyFeedIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fragile{Memory: store.NewMemory(), slow: 900 * time.Millisecond}
		x := &clusterNode{Node: newNode(t, f, store.MaxStale(20*time.Second))}
		x.follow()
		for range 5 {
			f.Do(ctx, &store.Mark{Key: user, Kind: store.MarkRevoke}) // a head start
		}
		for range 60 {
			f.Do(ctx, &store.Mark{Key: user, Kind: store.MarkRevoke})
			time.Sleep(900 * time.Millisecond)
		}
		if x.Stale() {
			t.Error("stale, though it is five seconds behind at most")
		}
		x.stop()
	})
}

// TestYoungLeasesAreAssertedAfterAReconnect: a failover may have lost them, though it knows the node.
func TestYoungLeasesAreAssertedAfterAReconnect(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		c.want(x, x.lease(user, 5, 1), store.None, false)
		time.Sleep(30 * time.Second)
		c.shared.Do(ctx, &store.Release{Key: user, Node: x.ID(), Conn: 1})
		c.wantHeld(user, 0)
		x.cut()
		time.Sleep(time.Second)
		x.heal()
		c.wantHeld(user, 1)
	})
}
