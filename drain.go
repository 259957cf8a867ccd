package wssecure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Shutdown refuses new handshakes with 503 and ends the sessions with 1012, in
// random order and evenly over 80 % of the time that ctx leaves, or of 30 seconds
// when it has no deadline: not all of them reach the next server in one second.
// It returns nil as soon as the user code of all has returned. When ctx ends
// first, what is left is closed with 1001, cut after at most a quarter of a
// second, and ctx's error returned.
//
// A second call waits for the drain that the first has begun, and the end of its
// ctx ends that drain in the same way. Call Shutdown before http.Server's own,
// which does not know of hijacked connections; a server of [Guard.Harden] then begins
// a drain of 30 seconds by itself, but does not wait for it.
func (g *Guard) Shutdown(ctx context.Context) error {
	c := g.core
	c.draining.Store(true)
	c.queues.close()
	if c.staged.CompareAndSwap(false, true) {
		c.audit.emit(Event{Kind: EventDraining, Time: time.Now().UTC()}, c.hooks)
		c.endInStages(ctx)
	}
	// In this order: a handshake that was admitted before the drain began is a
	// session already, and its user code is counted before it can be closed.
	err := c.sessions.wait(ctx)
	if err == nil {
		if err = c.running.wait(ctx); err != nil {
			err = fmt.Errorf("wssecure: user code of %d ended sessions still runs; let it return when its context ends: %w", c.running.count(), err)
		}
	}
	if err != nil {
		c.cutRest()
	}
	c.unfollow()
	c.mu.Lock()
	verifiers := c.verifiers
	c.verifiers = nil
	c.mu.Unlock()
	for _, v := range verifiers {
		v.detach(c)
	}
	return err
}

// endInStages tells one session after the other that the server restarts, until
// all are told or gone, or ctx ends. A handshake that is not listed here was
// registered after draining was set, and refuses itself.
func (c *core) endInStages(ctx context.Context) {
	left := slices.Collect(c.live.All())
	rand.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	start, total, span := time.Now(), len(left), drainTime(ctx)/5*4
	for ctx.Err() == nil {
		due := total
		if passed := time.Since(start); passed < span {
			due = min(total, 1+int(float64(total)*passed.Seconds()/span.Seconds()))
		}
		for told := total - len(left); told < due; told++ {
			left[0].endWith(&Rejection{Reason: ReasonRestart}, ByGuard, 1012)
			left[0], left = nil, left[1:]
		}
		if len(left) == 0 {
			return
		}
		next := time.Duration(float64(span) * float64(due) / float64(total))
		select {
		case <-time.After(max(next-time.Since(start), drainTick)):
		case <-c.sessions.gone():
			return
		case <-ctx.Done():
		}
	}
}

// drainTime is how long ctx leaves for a drain.
func drainTime(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return defaultDrain
}

// cutRest closes what is left when the time is over: with a close frame where
// none has been sent, and without waiting for an answer.
func (c *core) cutRest() {
	for s := range c.live.All() {
		s.endWith(&Rejection{Reason: ReasonDraining}, ByGuard, 1001)
	}
	// A caller may end the process when Shutdown returns: the frames go out first.
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if c.sessions.wait(ctx) == nil {
		return
	}
	for s := range c.live.All() {
		if w := s.connection(); w != nil {
			w.Cut()
		}
	}
}

// Serve serves srv, hardened, until ctx ends; then it takes itself out of
// rotation by [Guard.Ready], waits 3 seconds for load balancers to see it, drains
// the sessions within 20 and shuts srv down, in this order. It uses TLS when the
// guard or srv has a certificate. A srv.Addr that cannot be had is an error at
// once. It uses [Guard.Listener] when [LimitAccepts] is given: not by itself, since
// srv may serve pages and offices, which that one keeps out or slows down.
func (g *Guard) Serve(ctx context.Context, srv *http.Server) error {
	if ctx.Err() != nil {
		return nil
	}
	l, err := g.listen(srv)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	g.core.leaving.Store(true)
	select {
	case err := <-failed:
		return err
	case <-time.After(drainNotice):
	}
	drain, cancel := context.WithTimeout(context.Background(), serveDrain)
	defer cancel()
	err = g.Shutdown(drain)
	return errors.Join(err, srv.Shutdown(drain))
}

// tasks counts what runs, so that Shutdown can wait for it.
type tasks struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (t *tasks) enter() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tasks) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

func (t *tasks) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// gone is closed when nothing runs.
func (t *tasks) gone() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	return t.idle
}

// wait returns when nothing runs, or with ctx's error.
func (t *tasks) wait(ctx context.Context) error {
	gone := t.gone()
	select {
	case <-gone: // also when ctx has ended
		return nil
	default:
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
