package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/wssecure/wssecure/store"
)

// forgetful is a store that, having come back empty, calls a cursor beyond its end what it is: events that are gone.
type forgetful struct{ *swap }

func (s forgetful) Follow(ctx context.Context, after store.Cursor, apply func(store.Event)) error {
	m, _ := s.current()
	tail := store.Beat{Node: store.NewNodeID()} // leaves at once
	if err := m.Do(ctx, &tail); err != nil {
		return err
	}
	if after.Compare(tail.Tail) > 0 {
		return store.ErrGap
	}
	return s.swap.Follow(ctx, after, apply)
}

var gone = store.Subject("iss", "gone")

// TestG5AfterAGap: whoever asks for the end of the feed must not hear, in the heart's place, that the epoch is lost.
func TestG5AfterAGap(t *testing.T) {
	inCluster(t, 0, func(c *cluster) {
		x := c.addTo(forgetful{c.shared})
		c.want(x, x.lease(user, 10, 1), store.None, false)
		issued := time.Now()
		if err := x.Do(ctx, &store.Mark{Key: gone, Kind: store.MarkRevoke}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		c.shared.replace(store.NewMemory())
		time.Sleep(3 * time.Second)
		c.wantHeld(user, 1)
		if v := c.truth(store.Admit{Key: gone, IssuedAt: issued}); v.Refused != store.Revoked {
			c.Errorf("a revoked credential: %v", v.Refused)
		}
	})
}
