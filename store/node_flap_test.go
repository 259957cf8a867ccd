package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
)

// flapping is a store whose feed breaks off, or has a gap, again and again.
type flapping struct {
	*store.Memory
	every time.Duration
	err   error
	fails atomic.Int64 // of so many batches without a Beat one does; 0: none
	over  atomic.Bool  // it flaps no more
	cut   atomic.Pointer[context.CancelFunc]
	calls atomic.Int64
	asked atomic.Int64 // marks that were asked for
	marks atomic.Int64
	lost  atomic.Int64 // so many Beats are told that all is lost
}

func (f *flapping) Do(ctx context.Context, ops ...store.Op) error {
	if _, beat := ops[0].(*store.Beat); !beat {
		if n, one := f.calls.Add(1), f.fails.Load(); one > 0 && n%one == 0 {
			return errors.New("this one not")
		}
	}
	err := f.Memory.Do(ctx, ops...)
	for _, op := range ops {
		switch o := op.(type) {
		case *store.Admit:
			f.asked.Add(1)
		case *store.Mark:
			f.marks.Add(1)
		case *store.Beat:
			o.Lost = o.Lost || o.TTL > 0 && f.lost.Add(-1) >= 0
		}
	}
	return err
}

func (f *flapping) Follow(ctx context.Context, after store.Cursor, apply func(store.Event)) error {
	inner, cut := context.WithCancel(ctx)
	defer cut()
	f.cut.Store(&cut)
	if !f.over.Load() {
		inner, cut = context.WithTimeout(inner, f.every)
		defer cut()
	}
	_ = f.Memory.Follow(inner, after, apply)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return f.err
}

// watching gives a node that follows f for so many sessions.
func watching(t *testing.T, f *flapping, n int, opts ...store.NodeOption) *clusterNode {
	x := &clusterNode{Node: newNode(t, f, opts...)}
	live := sessions{}
	for i := range n {
		live[store.TokenID("i", fmt.Sprint(i))] = time.Now()
	}
	x.Watch(live.all())
	x.follow()
	return x
}

// TestAFlappingFeedDoesNotHammerTheStore: a store that is down because too much is asked of it must not be asked more the
// more often it breaks off. What is revoked is heard of nevertheless.
func TestAFlappingFeedDoesNotHammerTheStore(t *testing.T) {
	const live = 500
	for name, f := range map[string]*flapping{
		"breaks off":   {every: 600 * time.Millisecond, err: errors.New("broken off")},
		"never begins": {every: 0, err: errors.New("broken off")},
		"has gaps":     {every: 600 * time.Millisecond, err: store.ErrGap},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.Memory = store.NewMemory()
				x := watching(t, f, live)
				time.Sleep(10 * time.Minute)
				if rounds := int(f.asked.Load()) / live; rounds < 15 || rounds > 40 {
					t.Errorf("everything was asked for %d times in ten minutes", rounds)
				}
				token := store.TokenID("i", "77")
				f.Do(ctx, &store.Mark{Key: token, Kind: store.MarkRevoke})
				time.Sleep(37 * time.Second)
				if !x.revokedKeys()[token] {
					t.Error("a revocation was not heard of within its time")
				}
				x.stop()
			})
		})
	}
}

// TestAFlappingFeedKeepsToMaxStale: what a gap hides is heard of before the node's knowledge may be that old.
func TestAFlappingFeedKeepsToMaxStale(t *testing.T) {
	for _, stale := range []time.Duration{time.Second, 5 * time.Second, 40 * time.Second, time.Minute} {
		t.Run(stale.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &flapping{Memory: store.NewMemory(), err: store.ErrGap}
				x := watching(t, f, 50, store.MaxStale(stale))
				defer x.stop()
				time.Sleep(10 * time.Minute)
				for i := range 50 {
					token := store.TokenID("i", fmt.Sprint(i))
					f.Memory.Do(ctx, &store.Mark{Key: token, Kind: store.MarkRevoke})
					time.Sleep(stale)
					if !x.revokedKeys()[token] {
						t.Fatalf("revocation %d was not heard of within %v", i, stale)
					}
				}
			})
		})
	}
}

// TestAFeedThatRecoversIsAskedForAtOnceAgain: what flapped an hour ago is as good as new.
func TestAFeedThatRecoversIsAskedForAtOnceAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flapping{Memory: store.NewMemory(), every: 600 * time.Millisecond, err: errors.New("broken off")}
		x := watching(t, f, 1)
		time.Sleep(10 * time.Minute)
		f.over.Store(true)
		time.Sleep(time.Hour)
		f.over.Store(false)
		(*f.cut.Load())()
		before := f.asked.Load()
		time.Sleep(5 * time.Second) // at once, after a second, after two more
		if rounds := (f.asked.Load() - before) / 2; rounds != 3 {
			t.Errorf("asked %d times within five seconds, want 3", rounds)
		}
		x.stop()
	})
}

// TestOneBatchOfManyThatFailsIsAskedAgain: it alone, or a node with many sessions would never come to the end.
func TestOneBatchOfManyThatFailsIsAskedAgain(t *testing.T) {
	const live = 20_000 // forty batches
	synctest.Test(t, func(t *testing.T) {
		f := &flapping{Memory: store.NewMemory(), every: 5 * time.Second, err: errors.New("broken off")}
		f.fails.Store(7)
		x := watching(t, f, live)
		time.Sleep(4 * time.Second)
		f.over.Store(true)
		time.Sleep(30 * time.Second)
		if asked := f.asked.Load(); asked < live || asked > live+100 {
			t.Errorf("%d questions for %d sessions", asked, live)
		}
		x.stop()
	})
}

// TestAStoreThatLosesAllAgainAndAgain is told again of what it lost, but not each second: each mark that is published
// makes its feed longer.
func TestAStoreThatLosesAllAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flapping{Memory: store.NewMemory(), every: time.Hour}
		x := watching(t, f, 0)
		time.Sleep(2 * time.Second)
		for i := range 10 {
			x.Do(ctx, &store.Mark{Key: store.TokenID("i", fmt.Sprint(i)), Kind: store.MarkRevoke})
		}
		f.lost.Store(1 << 20)
		time.Sleep(2 * time.Second)
		if n := f.marks.Load(); n < 20 {
			t.Errorf("%d marks published, want the 10 a second time at once", n)
		}
		time.Sleep(10 * time.Minute)
		if n := f.marks.Load(); n > 10*40 {
			t.Errorf("10 marks were published %d times in ten minutes", n/10)
		}
		x.stop()
	})
}

// TestPublishingGoesOnWhereItFailed: one batch of many that fails does not begin it anew.
func TestPublishingGoesOnWhereItFailed(t *testing.T) {
	const marks = 20_000 // forty batches
	synctest.Test(t, func(t *testing.T) {
		f := &flapping{Memory: store.NewMemory(), every: time.Hour}
		x := watching(t, f, 0)
		time.Sleep(2 * time.Second)
		for i := range marks {
			f.Do(ctx, &store.Mark{Key: store.TokenID("i", fmt.Sprint(i)), Kind: store.MarkRevoke})
		}
		time.Sleep(2 * time.Second)
		f.fails.Store(7)
		f.lost.Store(1)
		time.Sleep(30 * time.Second)
		if n := f.marks.Load(); n != 2*marks {
			t.Errorf("%d marks published, want each once: %d", n-marks, marks)
		}
		x.stop()
	})
}
