package wssecure_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestContextThatEnds asks a session's context for what ends with it at every
// time: the part that ends is made when somebody asks.
func TestContextThatEnds(t *testing.T) {
	wantOver := func(t *testing.T, ctx context.Context) {
		t.Helper()
		<-ctx.Done()
		if ctx.Err() != context.Canceled || !errors.Is(context.Cause(ctx), wssecure.ReasonDone) {
			t.Errorf("Err %v, cause %v", ctx.Err(), context.Cause(ctx))
		}
	}
	rows := []struct {
		name string
		run  func(t *testing.T, ctx context.Context, end func())
	}{
		{"nobody asked before the end", func(t *testing.T, ctx context.Context, end func()) {
			end()
			if ctx.Err() != context.Canceled {
				t.Errorf("Err %v", ctx.Err())
			}
			wantOver(t, ctx)
		}},
		{"asked before the end", func(t *testing.T, ctx context.Context, end func()) {
			done := ctx.Done()
			select {
			case <-done:
				t.Error("over before the end")
			default:
			}
			if err := context.Cause(ctx); err != nil || ctx.Err() != nil {
				t.Errorf("Err %v, cause %v before the end", ctx.Err(), err)
			}
			end()
			<-done
			wantOver(t, ctx)
		}},
		{"a child ends with it, and needs no goroutine", func(t *testing.T, ctx context.Context, end func()) {
			before := runtime.NumGoroutine()
			var children []context.Context
			for range 100 {
				child, cancel := context.WithCancel(context.WithValue(ctx, contextKey{}, 1))
				defer cancel()
				children = append(children, child)
			}
			if n := runtime.NumGoroutine() - before; n > 50 {
				t.Errorf("100 children have started %d goroutines", n)
			}
			end()
			for _, child := range children {
				wantOver(t, child)
			}
		}},
		{"a child made after the end", func(t *testing.T, ctx context.Context, end func()) {
			end()
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			wantOver(t, child)
		}},
		{"a function to call at the end", func(t *testing.T, ctx context.Context, end func()) {
			called := make(chan struct{})
			context.AfterFunc(ctx, func() { close(called) })
			end()
			<-called
		}},
		{"asked by many beside the end", func(t *testing.T, ctx context.Context, end func()) {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() { wantOver(t, ctx) })
			}
			end()
			all.Wait()
		}},
		{"values", func(t *testing.T, ctx context.Context, end func()) {
			if s, ok := wssecure.SessionFrom(context.WithoutCancel(ctx)); !ok || s.Context() != ctx || ctx.Value(contextKey{}) != nil {
				t.Error("it does not give its session, or more than that")
			}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			ran := make(chan struct{})
			s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
				defer close(ran)
				row.run(t, ctx, func() { c.Close(wssecure.StatusNormalClosure, "") })
				return nil
			})
			connect(t, s)
			next(t, ran)
		})
	}
}

// TestRequestsAreNotMixed opens sessions that ask for the same, and for something
// else, in turns: what they share must be what each has asked for.
func TestRequestsAreNotMixed(t *testing.T) {
	asked := make(chan string, 1)
	s := serving(t, func(_ context.Context, c *wssecure.Conn) error {
		r := c.Session().Request()
		r.URL.Path, r.URL.RawQuery = "/changed", "changed"
		r = c.Session().Request()
		asked <- r.Method + " " + r.Host + " " + r.URL.String()
		return nil
	})
	for _, target := range []string{"/ws", "/ws", "/ws?room=1", "/ws?room=2", "/ws?room=2", "/%77s", "/ws"} {
		h := freshHandshake(s.Issuer.Token("alice"))
		h.Target = target
		wantAdmitted(t, s, h)
		if got, want := next(t, asked), "GET "+wssecuretest.Host+" "+target; got != want {
			t.Errorf("a session knows it was asked %q, want %q", got, want)
		}
	}
}
