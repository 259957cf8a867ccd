package wssecure_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// stalledConn is a peer that takes nothing until it is told to.
type stalledConn struct {
	*memnet.SilentConn
	mu    sync.Mutex
	ready *sync.Cond
	takes bool
	wrote int
}

func newStalledConn() *stalledConn {
	c := &stalledConn{SilentConn: memnet.NewSilentConn(), takes: true}
	c.ready = sync.NewCond(&c.mu)
	return c
}

func (c *stalledConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.takes {
		c.ready.Wait()
	}
	c.wrote += len(p)
	return len(p), nil
}

func (c *stalledConn) take(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takes = yes
	c.ready.Broadcast()
}

func TestWaitForWriteCanBeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := newStalledConn()
		c := memSessionOver(t, peer, &peer.Over)
		peer.take(false)
		message := []byte("one")
		first := make(chan error, 1)
		go func() { first <- c.Write(context.Background(), wssecure.MessageBinary, message) }()
		synctest.Wait() // the first has its turn, and the peer does not take it

		ctx, cancel := context.WithCancel(context.Background())
		second, third := make(chan error, 1), make(chan error, 1)
		go func() { second <- c.Write(ctx, wssecure.MessageBinary, message) }()
		go func() { third <- c.Write(context.Background(), wssecure.MessageBinary, message) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-second:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the second Write: %v, want context.Canceled", err)
			}
		default:
			t.Error("the second Write still waits after its context has ended")
		}
		select {
		case err := <-third:
			t.Errorf("the third Write did not wait for its turn: %v", err)
		default:
		}

		peer.take(true)
		synctest.Wait()
		for i, result := range []chan error{first, third} {
			select {
			case err := <-result:
				if err != nil {
					t.Errorf("Write %d of those that may: %v", i, err)
				}
			default:
				t.Errorf("Write %d of those that may still waits", i)
			}
		}
		_ = peer.Close()
	})
}

// waits counts how often somebody has begun to wait for its end.
type waits struct {
	context.Context
	n atomic.Int64
}

func (w *waits) Done() <-chan struct{} {
	w.n.Add(1)
	return w.Context.Done()
}

// C-17: a turn that ends wakes one of those who wait, not thousands.
func TestTurnWakesOne(t *testing.T) {
	const many = 1000
	synctest.Test(t, func(t *testing.T) {
		ctx := &waits{Context: context.Background()}
		var turn wssecure.Turn
		wssecure.TakeTurn(&turn, ctx)
		took := make(chan int)
		for i := range many {
			go func() {
				if wssecure.TakeTurn(&turn, ctx) {
					took <- i
				}
			}()
		}
		synctest.Wait()
		for range many {
			wssecure.EndTurn(&turn)
			synctest.Wait()
			<-took
			select {
			case <-took:
				t.Fatal("two have one turn")
			default:
			}
		}
		if n := ctx.n.Load(); n > 2*many {
			t.Errorf("%d waits for %d turns", n, many)
		}
	})
}

// However takers come and give up, the turn is one's at a time and nobody waits
// for a free one.
func TestTurnIsNeverLost(t *testing.T) {
	var turn wssecure.Turn
	var all sync.WaitGroup
	var held, given atomic.Int64
	for i := range 32 {
		all.Go(func() {
			for range 2000 {
				ctx, cancel := context.WithCancel(context.Background())
				if i%4 == 0 {
					time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
				}
				if wssecure.TakeTurn(&turn, ctx) {
					if held.Add(1) != 1 {
						t.Error("two have one turn")
					}
					given.Add(1)
					held.Add(-1)
					wssecure.EndTurn(&turn)
				} else if ctx.Err() == nil {
					t.Error("no turn, and no reason for it")
				}
				cancel()
			}
		})
	}
	all.Wait() // hangs when one is lost
	if given.Load() < 24*2000 {
		t.Errorf("%d turns", given.Load())
	}
}

// endsMeanwhile is a context that ends right after it was first asked.
type endsMeanwhile struct {
	context.Context
	asked atomic.Bool
	done  chan struct{}
}

func (c *endsMeanwhile) Done() <-chan struct{} { return c.done }

func (c *endsMeanwhile) Err() error {
	if !c.asked.Swap(true) {
		close(c.done)
		return nil
	}
	return context.Canceled
}

// C-16: a context that ends while Write waits for its turn takes the message, not
// the session.
func TestWriteContextEndsBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := newStalledConn()
		c := memSessionOver(t, peer, &peer.Over)
		peer.take(false)
		ctx := &endsMeanwhile{Context: context.Background(), done: make(chan struct{})}
		result := make(chan error, 1)
		go func() { result <- c.Write(ctx, wssecure.MessageBinary, []byte("late")) }()
		synctest.Wait() // what goes out now waits for the peer
		peer.take(true)
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Write: %v, want context.Canceled", err)
		}
		if err := c.Write(context.Background(), wssecure.MessageBinary, []byte("next")); err != nil {
			t.Errorf("the next Write: %v", err)
		}
		_ = peer.Close()
	})
}
