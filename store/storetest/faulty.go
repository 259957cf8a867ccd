package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/store"
)

// ErrFault is what a Faulty store fails with unless told otherwise.
var ErrFault = errors.New("storetest: fault")

// Fault is how a Faulty store misbehaves. Its fields combine, in this order.
type Fault struct {
	Only  func(store.Op) bool // which operations are meant, nil: all; the others of a batch go through untouched
	Times int                 // how many batches, zero: all until Set or Heal; Follow does not count
	Delay time.Duration       // wait first, or until the context ends, and then fail with its error
	Hang  bool                // wait until Heal or Set, or until the context ends; Follow delivers nothing meanwhile
	Lose  bool                // do it, then fail: the answer got lost
	Err   error               // fail with this; Follow ends with it at once
}

// Faulty is a Store in front of another one that delays, fails, hangs or loses answers on command.
type Faulty struct {
	inner   store.Store
	batches atomic.Int64
	ops     atomic.Int64

	mu      sync.Mutex
	fault   Fault
	left    int
	changed chan struct{} // closed when the fault changes
}

// NewFaulty returns a store that behaves, until told otherwise.
func NewFaulty(s store.Store) *Faulty { return &Faulty{inner: s, changed: make(chan struct{})} }

// Set makes the store misbehave from now on. What hangs is looked at anew.
func (f *Faulty) Set(x Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.left = x, x.Times
	close(f.changed)
	f.changed = make(chan struct{})
}

// Heal makes it behave.
func (f *Faulty) Heal() { f.Set(Fault{}) }

// Calls counts the batches and operations that were asked for so far.
func (f *Faulty) Calls() (batches, ops int) { return int(f.batches.Load()), int(f.ops.Load()) }

// Do implements store.Store.
func (f *Faulty) Do(ctx context.Context, ops ...store.Op) error {
	f.batches.Add(1)
	f.ops.Add(int64(len(ops)))
	x, changed := f.take(ops)
	struck, spared := split(ops, x.Only)
	if len(spared) > 0 {
		if err := f.inner.Do(ctx, spared...); err != nil {
			fail(struck, err)
			return err
		}
	}
	if len(struck) == 0 {
		return nil
	}
	if x.Delay > 0 {
		timer := time.NewTimer(x.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fail(struck, ctx.Err())
		}
	}
	for x.Hang {
		select {
		case <-changed:
			x, changed = f.take(struck)
		case <-ctx.Done():
			return fail(struck, ctx.Err())
		}
	}
	if x.Err != nil && !x.Lose {
		return fail(struck, x.Err)
	}
	err := f.inner.Do(ctx, struck...)
	if !x.Lose {
		return err
	}
	if x.Err == nil {
		x.Err = ErrFault
	}
	return fail(struck, x.Err)
}

// take returns the fault that holds for a batch, and counts it.
func (f *Faulty) take(ops []store.Op) (Fault, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.fault
	if struck, _ := split(ops, x.Only); len(struck) == 0 {
		return Fault{}, f.changed
	}
	if x.Times > 0 {
		if f.left == 0 {
			return Fault{}, f.changed
		}
		f.left--
	}
	return x, f.changed
}

// Follow implements store.Store.
func (f *Faulty) Follow(ctx context.Context, after store.Cursor, apply func(store.Event)) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		f.cut(inner, cancel)
	}()
	err := f.inner.Follow(inner, after, func(e store.Event) {
		if f.pass(inner) {
			apply(e)
		}
	})
	cause := context.Cause(inner)
	cancel(nil)
	<-watched
	if ctx.Err() == nil && cause != nil {
		return cause
	}
	return err
}

// cut ends a Follow when the store is told to fail.
func (f *Faulty) cut(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		f.mu.Lock()
		x, changed := f.fault, f.changed
		f.mu.Unlock()
		if x.Err != nil && x.Only == nil {
			cancel(x.Err)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// pass holds an event back while the store hangs, and reports whether it may still be delivered.
func (f *Faulty) pass(ctx context.Context) bool {
	for {
		f.mu.Lock()
		x, changed := f.fault, f.changed
		f.mu.Unlock()
		if x.Only != nil || !x.Hang {
			return ctx.Err() == nil && (x.Err == nil || x.Only != nil)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func split(ops []store.Op, only func(store.Op) bool) (struck, spared []store.Op) {
	if only == nil {
		return ops, nil
	}
	for _, op := range ops {
		if only(op) {
			struck = append(struck, op)
		} else {
			spared = append(spared, op)
		}
	}
	return struck, spared
}

// fail answers ops as a store does that cannot tell whether they happened.
func fail(ops []store.Op, err error) error {
	for _, op := range ops {
		switch o := op.(type) {
		case *store.Admit:
			o.Verdict, o.Err = store.Verdict{}, err
		case *store.Release:
			o.Err = err
		case *store.Claim:
			o.First, o.Local, o.Err = false, false, err
		case *store.Put:
			o.Err = err
		case *store.Redeem:
			o.Data, o.OK, o.Err = nil, false, err
		case *store.Mark:
			o.Err = err
		case *store.Beat:
			o.Live, o.Lost, o.Now, o.Tail, o.Err = o.Live[:0], false, time.Time{}, store.Cursor{}, err
		}
	}
	return err
}
