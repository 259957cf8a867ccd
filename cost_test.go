package wssecure_test

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// What is exact about speed and memory is tested here; ratios are benchmarks.

func TestRefusalsAllocateLittle(t *testing.T) {
	// Of the writer under the guard's are the header map and the group of its
	// first eight keys.
	const most = 4
	for i, row := range floods {
		t.Run(row.name, func(t *testing.T) {
			once := runRefused(t, i)
			if n := testing.AllocsPerRun(200, once); n > most {
				t.Errorf("%.0f allocations, want at most %d", n, most)
			}
		})
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	for _, size := range memSizes {
		t.Run("ReadInto "+size.name, func(t *testing.T) {
			c, buf := memSession(t, memnet.Frames(size.n, 1)), make([]byte, size.n)
			n := testing.AllocsPerRun(200, func() {
				if _, p, err := c.ReadInto(context.Background(), buf); err != nil || len(p) != size.n {
					t.Fatalf("%d bytes, %v", len(p), err)
				}
			})
			if n > 0 {
				t.Errorf("%.0f allocations a message, want none", n)
			}
		})
		t.Run("Write "+size.name, func(t *testing.T) {
			c, p := memSession(t, nil), make([]byte, size.n)
			n := testing.AllocsPerRun(200, func() {
				if err := c.Write(context.Background(), wssecure.MessageBinary, p); err != nil {
					t.Fatal(err)
				}
			})
			if n > 0 {
				t.Errorf("%.0f allocations a message, want none", n)
			}
		})
	}
}

func TestIdleSessionHoldsOneGoroutine(t *testing.T) {
	const sessions = 100
	synctest.Test(t, func(t *testing.T) {
		g, token := memGuard(t, memnet.DeafLog{})
		handler := g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			_, _, err := c.ReadInto(ctx, nil)
			return err
		})
		r, keys := memnet.Request(token), &memnet.Nonces{}
		before := bubbled()
		conns := make([]*memnet.SilentConn, sessions)
		for i := range conns {
			conns[i] = memnet.NewSilentConn()
			keys.Set(r)
			handler.ServeHTTP(memnet.NewWriter(conns[i]), r)
		}
		synctest.Wait() // all of them wait for their peer
		if n := bubbled() - before; n != sessions {
			t.Errorf("%d sessions hold %d goroutines, want one each", sessions, n)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		synctest.Wait()
		if n := g.Stats().Open; n != 0 {
			t.Errorf("%d sessions are still open", n)
		}
	})
}

// bubbled is the number of goroutines in the bubble of synctest: what other tests
// have left behind, and what still ends of it, does not count.
func bubbled() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte(", synctest bubble "))
}
