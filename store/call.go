package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// This file is the one way to the shared store.

// ask runs ops, which nobody else may hold, on the shared store and waits for at most d, even for a store that ignores
// its context. Only the end of d makes a call overdue: callers that hang up on a store which ignores that would make it
// count, and so break off everybody else's calls.
func (n *Node) ask(caller context.Context, d time.Duration, ops []Op) error {
	if n.overdue.Load() >= mostOverdue {
		return errOverdue
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(caller, d)
	defer cancel()
	done := make(chan error, 1)
	var settled atomic.Bool // by whoever comes first: the answer or the end of d
	go func() {
		err := n.protected(ctx, ops)
		if settled.Swap(true) {
			n.overdue.Add(-1)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	isOver := func() bool {
		n.overdue.Add(1)
		answered := settled.Swap(true)
		if answered {
			n.overdue.Add(-1)
		}
		return !answered
	}
	if caller.Err() != nil {
		time.AfterFunc(d-time.Since(began), func() { isOver() })
		return caller.Err()
	}
	if !isOver() {
		return <-done // it came in the very last moment
	}
	return ctx.Err()
}

var errOverdue = fmt.Errorf("store: %d calls are past their deadline; no more are made until they return", mostOverdue)

// protected survives a store that panics: on a goroutine of ours it would take the process along.
func (n *Node) protected(ctx context.Context, ops []Op) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: the shared store panicked: %v", p)
		}
	}()
	return n.shared.Do(ctx, ops...)
}

func (n *Node) noteCall(ok bool) {
	if n.breaker.note(ok, time.Now()) {
		n.lost()
	}
}

// probe asks what costs nothing and changes nothing.
func (n *Node) probe() {
	err := n.ask(context.Background(), callBudget, []Op{&Admit{Key: Everyone()}})
	if n.breaker.probed(err == nil, time.Now()) {
		n.regained()
	}
}
