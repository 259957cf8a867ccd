package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

// Whoever hangs up in the middle of a handshake has not found anything broken: anybody could call the operator out of bed.
// What is broken, and what somebody on the way has given up on, still says so.
func TestAClientThatHangsUpIsNoOutage(t *testing.T) {
	const unwilling = time.Second // how long clients wait
	asks := func(answer func(ctx context.Context) error) wssecure.Option {
		return wssecure.RequireCheck("own", func(ctx context.Context, _ *wssecure.Handshake) error { return answer(ctx) })
	}
	waits := asks(func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("asking the directory: %w", ctx.Err())
	})
	breaks := asks(func(context.Context) error {
		time.Sleep(2 * unwilling)
		return errors.New("the directory is down")
	})
	hangsUp := func(r *http.Request) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(r.Context())
		time.AfterFunc(unwilling, cancel)
		return ctx, cancel
	}
	stays := func(r *http.Request) (context.Context, context.CancelFunc) { return context.WithCancel(r.Context()) }
	givenUp := func(r *http.Request) (context.Context, context.CancelFunc) {
		return context.WithTimeout(r.Context(), unwilling)
	}
	for _, row := range []struct {
		name  string
		check wssecure.Option
		ends  func(r *http.Request) (context.Context, context.CancelFunc)
		want  wssecure.Reason
	}{
		{"gone when all checks are over", asks(func(context.Context) error { time.Sleep(2 * unwilling); return nil }), hangsUp, wssecure.ReasonPeer},
		{"gone while a check waits", waits, hangsUp, wssecure.ReasonPeer},
		{"gone while a check fails by itself", breaks, hangsUp, wssecure.ReasonUnavailable},
		{"a check is cancelled by its own side", asks(func(context.Context) error { return context.Canceled }), stays, wssecure.ReasonUnavailable},
		{"middleware has no more time", waits, givenUp, wssecure.ReasonUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, nil, row.check)
				a := g.knock(attacker, func(r *http.Request) {
					ctx, cancel := row.ends(r)
					time.AfterFunc(time.Minute, cancel)
					*r = *r.WithContext(ctx)
				})
				if a.status != 503 {
					t.Errorf("answered %d", a.status)
				}
				synctest.Wait()
				refused := g.seen(wssecure.EventRefused)
				if len(refused) != 1 || refused[0].Reason != row.want {
					t.Errorf("events %+v, want one of %s", refused, row.want)
				}
				if s := g.guard.Stats(); s.Open != 0 || s.Refused[row.want] != 1 {
					t.Errorf("%d open, refused %v", s.Open, s.Refused)
				}
			})
		})
	}
}
