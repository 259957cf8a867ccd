package store_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
)

// stubborn is a store that answers a Mark when it has taken its time, whatever the context says, and all else at once.
type stubborn struct {
	*store.Memory
	slow  time.Duration
	marks *atomic.Int64
}

func (s stubborn) Do(_ context.Context, ops ...store.Op) error {
	if _, ok := ops[0].(*store.Mark); ok {
		s.marks.Add(1)
		time.Sleep(s.slow)
	}
	return s.Memory.Do(context.Background(), ops...)
}

const mostOverdue = 1024

// TestHangUpsAreNotOverdue: whoever revokes and hangs up on a slow store, as one who posts a logout may, breaks off
// neither the store's other calls nor opens the breaker.
func TestHangUpsAreNotOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stubborn{store.NewMemory(), 1500 * time.Millisecond, new(atomic.Int64)}
		n := newNode(t, s)
		gone, hangUp := context.WithCancel(ctx)
		for range mostOverdue + 500 {
			go func() {
				m := store.Mark{Key: user, Kind: store.MarkRevoke}
				if n.Do(gone, &m); m.Err == nil {
					t.Error("a caller that hung up was waited for")
				}
			}()
		}
		synctest.Wait()
		hangUp()
		synctest.Wait()
		if took := s.marks.Load(); took != mostOverdue+500 {
			t.Fatalf("%d marks were asked for", took)
		}
		a := rate(client, tenPerSecond, 1)
		if n.Do(ctx, &a); a.Err != nil || a.Verdict.Local {
			t.Errorf("a handshake: %+v, %v", a.Verdict, a.Err)
		}
		m := store.Mark{Key: user, Kind: store.MarkRevoke}
		if n.Do(ctx, &m); m.Err != nil {
			t.Errorf("a patient caller: %v", m.Err)
		}
		time.Sleep(time.Minute)
	})
}

// TestCallsThatNeverReturnAreBounded: whoever hangs up on them or waits to the end of their time.
func TestCallsThatNeverReturnAreBounded(t *testing.T) {
	for name, patience := range map[string]time.Duration{"to the end": time.Hour, "hung up": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stubborn{store.NewMemory(), time.Minute, new(atomic.Int64)}
				n := newNode(t, s)
				caller, leave := context.WithTimeout(ctx, patience)
				defer leave()
				for range mostOverdue {
					go n.Do(caller, &store.Mark{Key: user, Kind: store.MarkRevoke})
				}
				time.Sleep(3 * time.Second)
				start := time.Now()
				m := store.Mark{Key: user, Kind: store.MarkRevoke}
				if n.Do(ctx, &m); m.Err == nil || time.Since(start) != 0 || s.marks.Load() != mostOverdue {
					t.Errorf("%v after %v, and %d calls; want an error at once, and %d", m.Err, time.Since(start), s.marks.Load(), mostOverdue)
				}
				a := rate(client, tenPerSecond, 1)
				if n.Do(ctx, &a); a.Err != nil || !a.Verdict.Local {
					t.Errorf("a handshake: %+v, %v; want it decided here", a.Verdict, a.Err)
				}
				time.Sleep(2 * time.Minute)
				b := rate(address(7), tenPerSecond, 1)
				if n.Do(ctx, &b); b.Err != nil || b.Verdict.Local {
					t.Errorf("after they returned: %+v, %v", b.Verdict, b.Err)
				}
			})
		})
	}
}
