package wssecure_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

func TestShutdown(t *testing.T) {
	t.Run("S-11 new ones 503, live ones 1012, user code awaited", func(t *testing.T) {
		returned := false
		inTime(t, func(ctx context.Context, _ *wssecure.Conn) error {
			<-ctx.Done()
			time.Sleep(5 * time.Second) // it tidies up
			returned = true
			return nil
		}, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			synctest.Wait()
			done, again := make(chan error), make(chan error)
			start := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			go func() { done <- s.guard.Shutdown(ctx) }()
			synctest.Wait()
			go func() { again <- s.guard.Shutdown(context.Background()) }()
			if r := sendHandshake(t, s.dial(), freshHandshake(s.issuer.Token("bob"))); r.Status != http.StatusServiceUnavailable || r.Get("Retry-After") == "" {
				t.Errorf("a new handshake: %d", r.Status)
			}
			if s.guard.Ready(context.Background()) == nil {
				t.Error("Ready while draining")
			}
			p.wantEnd(t, start, 1012, "restart", 0, 17*time.Second)
			if err := <-done; err != nil || !returned {
				t.Errorf("Shutdown: %v, user code returned: %v", err, returned)
			}
			if err := <-again; err != nil {
				t.Errorf("S-21: Shutdown again: %v", err)
			}
			if e := s.closed(t); e.Reason != wssecure.ReasonRestart {
				t.Errorf("closed for %s", e.Reason)
			}
		})
	})
	t.Run("S-21, S-25 user code that ignores its context", func(t *testing.T) {
		inTime(t, func(context.Context, *wssecure.Conn) error { time.Sleep(time.Minute); return nil }, func(t *testing.T, s *timed) {
			listen(s.open(s.issuer.Token("alice")), true)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := s.guard.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "user code of 1 ended sessions still runs") {
				t.Errorf("Shutdown: %v", err)
			}
			synctest.Wait()
			if n := s.guard.Stats().Open; n != 0 {
				t.Errorf("%d places are taken after the cut", n)
			}
			s.closed(t)
			time.Sleep(time.Minute)
		})
	})
	t.Run("S-47 the child's Shutdown and Revoke reach the parent's", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			synctest.Wait()
			child, err := s.guard.With(wssecure.RequireScopes("chat"))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := child.Revoke(context.Background(), wssecure.Subject(s.issuer.URL, "alice"), "S-47"); n != 1 || err != nil {
				t.Errorf("Revoke: %d, %v", n, err)
			}
			p.wantEnd(t, time.Now(), 3000, "revoked", 0, time.Second)
			if err := child.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if r := sendHandshake(t, s.dial(), freshHandshake(s.issuer.Token("bob"))); r.Status != 503 {
				t.Errorf("the parent answers %d", r.Status)
			}
		})
	})
}

// A handshake that was past its checks when the drain began is waited for, and
// so is its user code.
func TestShutdownWaitsForAdmittedHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTimed(t)
		returned := false
		inner := s.guard.ConnHandler(func(ctx context.Context, _ *wssecure.Conn) error {
			<-ctx.Done()
			time.Sleep(5 * time.Second) // it tidies up
			returned = true
			return nil
		})
		done := make(chan error)
		s.pipeServer = newPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(hijackHook{w, func() {
				go func() { done <- s.guard.Shutdown(context.Background()) }()
				synctest.Wait()
			}}, r)
		}))
		start := time.Now()
		p := listen(s.open(s.issuer.Token("alice")), true)
		if err := <-done; err != nil || !returned {
			t.Errorf("Shutdown: %v, user code returned: %v", err, returned)
		}
		if n := s.guard.Stats().Open; n != 0 {
			t.Errorf("%d places are taken after it", n)
		}
		p.wantEnd(t, start, 1012, "restart", 0, 2*time.Second)
	})
}

// What a handshake in flight has taken is given back on the ways that never
// reach a session: Shutdown does not wait for it.
func TestShutdownForgetsFailedHandshakes(t *testing.T) {
	for name, handler := range map[string]func(g *wssecure.Guard) http.Handler{
		"middleware's Hijack panics": func(g *wssecure.Guard) http.Handler {
			inner := g.ConnHandler(echo)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner.ServeHTTP(hijackHook{w, func() { panic(http.ErrAbortHandler) }}, r)
			})
		},
		"the handler answers": func(g *wssecure.Guard) http.Handler {
			return g.Handler(http.NotFoundHandler())
		},
		"the handler's 101 is false": func(g *wssecure.Guard) http.Handler {
			return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(101) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTimed(t)
				s.pipeServer = newPipeServer(t, handler(s.guard))
				c := s.dial()
				c.Send(freshHandshake(s.issuer.Token("alice")).Bytes())
				c.Response()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := s.guard.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				oneEvent(t, s.events, wssecure.EventRefused)
			})
		})
	}
}
