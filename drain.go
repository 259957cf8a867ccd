package wssecure

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Shutdown refuses new handshakes with 503, ends every session with 1012 and
// waits until the user code of all has returned. When ctx ends first what is
// left is cut and ctx's error returned. Call it before http.Server's own
// Shutdown, which does not know of hijacked connections; a server of [Harden]
// does it by itself.
func (g *Guard) Shutdown(ctx context.Context) error {
	c := g.core
	c.draining.Store(true)
	c.shutdown.Do(func() {
		c.audit.emit(Event{Kind: EventDraining, Time: time.Now().UTC()}, c.hooks)
	})
	for s := range c.live.All() {
		s.endWith(&Rejection{Reason: ReasonRestart}, ByGuard, 1012)
	}
	// In this order: a handshake that was admitted before the drain began is a
	// session already, and its user code is counted before it can be closed.
	err := c.sessions.wait(ctx)
	if err == nil {
		err = c.running.wait(ctx)
	}
	if err != nil {
		for s := range c.live.All() {
			s.cut()
		}
	}
	c.mu.Lock()
	verifiers := c.verifiers
	c.verifiers = nil
	c.mu.Unlock()
	for _, v := range verifiers {
		v.detach(c)
	}
	return err
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

// wait returns when nothing runs, or with ctx's error.
func (t *tasks) wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		if t.n == 0 {
			t.mu.Unlock()
			return nil
		}
		if t.idle == nil {
			t.idle = make(chan struct{})
		}
		idle := t.idle
		t.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
