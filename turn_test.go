package wssecure_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

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
