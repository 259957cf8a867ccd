package wssecure

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// This file bounds what the process spends on others: functions of the
// application that do not return.

var errOverdue = errors.New("1024 calls are past their deadline; no more are made until they return")

// LimitHandshakeTime bounds each call of a function of the application during a
// handshake: 10 seconds unless given, from a second to a minute. A late one is
// answered with 503, and a function of which 1,024 calls are late is not called
// until one returns.
func LimitHandshakeTime(t time.Duration) Option {
	return func(d *draft) {
		if !d.once("LimitHandshakeTime") {
			return
		}
		switch {
		case t == 0:
			d.fault("LimitHandshakeTime", "0s admits nobody; use 1s to 1m0s")
		case t < time.Second || t > time.Minute:
			d.fault("LimitHandshakeTime", "%s is out of range; use 1s to 1m0s", t)
		}
		d.handshakeTime = t
	}
}

// calls counts the calls of one user function that are past their deadline.
type calls struct{ overdue atomic.Int64 }

// bounded runs a function of the application for at most limit, which during a
// handshake is LimitHandshakeTime's. A late verdict is ignored; at most 1,024
// calls of one function may be overdue. A panic is 500, an error without a Reason
// 503.
func (c *core) bounded(ctx context.Context, limit time.Duration, n *calls, fn func(context.Context) error) error {
	if n.overdue.Load() >= overdueCalls {
		return &Rejection{Reason: ReasonUnavailable, Err: errOverdue}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel() // here, not where fn runs: the end of ctx must not race the verdict
	// Not ctx's own end: clients that hang up on a function which does not look
	// at ctx would make it count as overdue, and so refuse everybody else.
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	done := make(chan error, 1)
	var settled atomic.Bool // by whoever comes first: the verdict or the deadline
	go func() {
		done <- protect(ctx, fn)
		if settled.Swap(true) {
			n.overdue.Add(-1)
		}
	}()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		if rejection := decided(err); rejection != nil {
			return rejection
		}
		return &Rejection{Reason: ReasonUnavailable, Err: reasonless{err}}
	case <-deadline.C:
		n.overdue.Add(1)
		if settled.Swap(true) {
			n.overdue.Add(-1)
		}
		return &Rejection{Reason: ReasonUnavailable, Err: context.DeadlineExceeded}
	}
}

// reasonless is an error of the application without a Reason.
type reasonless struct{ error }

func (r reasonless) Unwrap() error { return r.error }

// hintUndecided tells whoever wrote a verifier or check whose error admits nobody
// but does not refuse either, which it may have been meant to.
func (a *attempt) hintUndecided(err error) {
	if _, ok := errors.AsType[reasonless](err); ok && a.hint == "" {
		a.hint = hintUndecided
	}
}

func protect(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("panicked: %v", p)}
		}
	}()
	return fn(ctx)
}
