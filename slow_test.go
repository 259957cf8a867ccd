package wssecure_test

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// deciders are the functions of the application that answer with an error, and
// see their context end.
var deciders = map[string]func(fn func(context.Context) error) wssecure.Option{
	"verifier": func(fn func(context.Context) error) wssecure.Option {
		return wssecure.RequireToken(wssecure.VerifierFunc(func(ctx context.Context, token string) (*wssecure.Identity, error) {
			return &wssecure.Identity{Subject: token}, fn(ctx)
		}))
	},
	"check": func(fn func(context.Context) error) wssecure.Option {
		return wssecure.Options(wssecure.InsecureAllowAnonymous("test"),
			wssecure.RequireCheck("own", func(ctx context.Context, _ *wssecure.Handshake) error { return fn(ctx) }))
	},
}

// userFunctions are all that a handshake waits for.
var userFunctions = func() map[string]func(fn func(context.Context) error) wssecure.Option {
	all := maps.Clone(deciders)
	all["limits"] = func(fn func(context.Context) error) wssecure.Option {
		return wssecure.Options(deciders["verifier"](func(context.Context) error { return nil }),
			wssecure.LimitSessionBy(func(*wssecure.Identity) wssecure.Limits { fn(context.Background()); return wssecure.Limits{} }))
	}
	all["key"] = func(fn func(context.Context) error) wssecure.Option {
		return wssecure.Options(wssecure.InsecureAllowAnonymous("test"),
			wssecure.LimitConns(wssecure.ByFunc("own", func(*wssecure.Handshake) string { fn(context.Background()); return "all" }), 1))
	}
	all["context"] = func(fn func(context.Context) error) wssecure.Option {
		return wssecure.Options(wssecure.InsecureAllowAnonymous("test"),
			wssecure.SetContext(func(ctx context.Context, _ *wssecure.Handshake) context.Context { fn(ctx); return ctx }))
	}
	return all
}()

// aGuard counts its refusals; it is shut down by the test, inside its own time.
func aGuard(opts ...wssecure.Option) *wssecure.Guard {
	return must(wssecure.New(append(opts, wssecure.AllowOrigins(wssecuretest.Origin))...))
}

func fixtureFrom(client int64) *http.Request {
	return requestOf((&wssecuretest.Server{}).Handshake(goodToken).Bytes(), client)
}

func TestSlowFunctionIsNotWaitedFor(t *testing.T) {
	for name, option := range userFunctions {
		for _, limit := range []time.Duration{0, 3 * time.Second} {
			t.Run("H-37 "+name+" "+limit.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					opts := []wssecure.Option{option(func(context.Context) error { <-release; return nil })}
					want := 10 * time.Second
					if limit != 0 {
						opts, want = append(opts, wssecure.LimitHandshakeTime(limit)), limit
					}
					g := aGuard(opts...)
					start := time.Now()
					w := serveInMemory(g.ConnHandler(wssecuretest.Echo), fixtureFrom(1))
					if took := time.Since(start); w.outcome() != 503 || took != want {
						t.Errorf("%d after %v, want 503 after %v", w.outcome(), took, want)
					}
					close(release)
					synctest.Wait()
					// The late verdict admits nobody.
					if n := g.Stats(); n.Open != 0 || n.Admitted != 0 || n.Refused[wssecure.ReasonUnavailable] != 1 || len(w.conn.written()) != 0 {
						t.Errorf("%+v", n)
					}
					g.Shutdown(context.Background())
				})
			})
		}
	}
}

// The function's own context ends with the limit, and with the client.
func TestSlowFunctionIsToldToStop(t *testing.T) {
	for name, option := range deciders {
		t.Run("H-37 "+name+" by the limit", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := aGuard(option(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), wssecure.LimitHandshakeTime(2*time.Second))
				if w := serveInMemory(g.ConnHandler(wssecuretest.Echo), fixtureFrom(1)); w.outcome() != 503 {
					t.Errorf("%d, want 503", w.outcome())
				}
				g.Shutdown(context.Background())
			})
		})
		t.Run("H-37 "+name+" by the client", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := aGuard(option(func(ctx context.Context) error { <-ctx.Done(); return nil }))
				ctx, leave := context.WithCancel(context.Background())
				time.AfterFunc(time.Second, leave)
				start := time.Now()
				w := serveInMemory(g.ConnHandler(wssecuretest.Echo), fixtureFrom(1).WithContext(ctx))
				if took := time.Since(start); w.outcome() != 503 || took != time.Second {
					t.Errorf("%d after %v, want 503 after 1s", w.outcome(), took)
				}
				synctest.Wait()
				if n := g.Stats(); n.Open != 0 || n.Admitted != 0 || n.Refused[wssecure.ReasonPeer] != 1 {
					t.Errorf("%+v", n)
				}
				g.Shutdown(context.Background())
			})
		})
	}
}

func TestOverdueCallsAreBounded(t *testing.T) {
	const bound = 1024
	for name, option := range userFunctions {
		t.Run("H-38 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var calls atomic.Int64
				g := aGuard(option(func(context.Context) error { calls.Add(1); <-release; return nil }))
				h := g.ConnHandler(wssecuretest.Echo)
				var all sync.WaitGroup
				for client := range int64(bound) {
					all.Go(func() {
						if w := serveInMemory(h, fixtureFrom(client)); w.outcome() != 503 {
							t.Errorf("%d, want 503", w.outcome())
						}
					})
				}
				all.Wait()
				for client := range int64(3) {
					start := time.Now()
					w := serveInMemory(h, fixtureFrom(bound+client))
					if took := time.Since(start); w.outcome() != 503 || took != 0 || w.header.Get("Retry-After") == "" {
						t.Errorf("%d after %v, Retry-After %q; want 503 at once", w.outcome(), took, w.header.Get("Retry-After"))
					}
				}
				if n := calls.Load(); n != bound {
					t.Errorf("%d calls, want %d", n, bound)
				}
				// Another function of the same guard has a bound of its own.
				other := must(g.With(wssecure.InsecureAllowAnonymous("test"), wssecure.RequireCheck("other", func(context.Context, *wssecure.Handshake) error { return wssecure.ReasonScope })))
				if name == "verifier" {
					if w := serveInMemory(other.ConnHandler(wssecuretest.Echo), fixtureFrom(5000)); w.outcome() != 403 {
						t.Errorf("another function: %d, want 403", w.outcome())
					}
				}
				close(release)
				synctest.Wait()
				if w := serveInMemory(h, fixtureFrom(6000)); w.outcome() != 101 {
					t.Errorf("after they returned: %d, want 101", w.outcome())
				}
				g.Shutdown(context.Background())
			})
		})
	}
}

// Who waits less than the limit is answered when the function answers, and a
// verdict that is there is never lost to the end of its own context.
func TestQuickVerdictIsNeverLost(t *testing.T) {
	// More threads than cores: the scheduler then stops a caller anywhere.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(32))
	for name, option := range deciders {
		t.Run(name, func(t *testing.T) {
			g := aGuard(option(func(context.Context) error { return wssecure.ReasonScope }))
			t.Cleanup(func() { g.Shutdown(context.Background()) })
			h := g.ConnHandler(wssecuretest.Echo)
			var all sync.WaitGroup
			for worker := range int64(32) {
				all.Go(func() {
					for i := range int64(1_000) {
						if w := serveInMemory(h, fixtureFrom(worker<<16+i)); w.outcome() != 403 {
							t.Errorf("%d %s, want 403", w.outcome(), bytes.TrimSpace(w.body.Bytes()))
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}
