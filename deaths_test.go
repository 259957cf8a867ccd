package wssecure_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// U-01, L-09, S-23: however a session dies there is one opened and one closed
// event, and nothing of it is left: no place, no lease, no entry; and no goroutine,
// or synctest would not let the bubble end.
func TestWaysToDie(t *testing.T) {
	for _, row := range []struct {
		name   string
		serve  serveFunc // nil: echo
		deaf   bool      // the peer reads nothing
		kill   func(s *timed, c *probe.Conn)
		reason wssecure.Reason
	}{
		{name: "panic in user code", serve: func(context.Context, *wssecure.Conn) error { panic("boom") }, reason: wssecure.ReasonInternal},
		{name: "reset", kill: func(_ *timed, c *probe.Conn) { c.NetConn().Close() }, reason: wssecure.ReasonPeer},
		{name: "half-open", deaf: true, reason: wssecure.ReasonSlowReader}, // a pipe holds no ping
		{name: "revoked", kill: func(s *timed, _ *probe.Conn) { s.guard.Revoke(context.Background(), wssecure.Everyone(), "x") }, reason: wssecure.ReasonRevoked},
		{name: "drained", kill: func(s *timed, _ *probe.Conn) { s.guard.Shutdown(context.Background()) }, reason: wssecure.ReasonRestart},
		{name: "expired", reason: wssecure.ReasonTokenExpired},
		{name: "protocol", kill: func(_ *timed, c *probe.Conn) { c.Send([]byte{0xFF, 0xFF}) }, reason: wssecure.ReasonProtocol},
		{name: "oversize", kill: func(_ *timed, c *probe.Conn) {
			c.SendFrame(probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Length: new(uint64(1 << 40))})
		}, reason: wssecure.ReasonMessageSize},
		{name: "filter", kill: func(_ *timed, c *probe.Conn) { c.SendFrame(text("refuse")) }, reason: wssecure.ReasonMessageInvalid},
		{name: "slow reader", deaf: true, serve: func(ctx context.Context, c *wssecure.Conn) error {
			return c.Write(ctx, wssecure.MessageText, []byte("stalls"))
		}, reason: wssecure.ReasonSlowReader},
		{name: "closed by the application", serve: func(_ context.Context, c *wssecure.Conn) error { return c.Close(4000, "") }, reason: wssecure.ReasonDone},
		{name: "closed by the peer", kill: func(_ *timed, c *probe.Conn) { c.Send(probe.CloseFrame(1001, "")) }, reason: wssecure.ReasonPeer},
		{name: "error of user code", serve: func(context.Context, *wssecure.Conn) error { return errors.New("x") }, reason: wssecure.ReasonInternal},
	} {
		t.Run(row.name, func(t *testing.T) {
			serve := row.serve
			if serve == nil {
				serve = echo
			}
			// One connection a subject: a lease that stays shows at once.
			one := wssecure.LimitConns(wssecure.BySubject(), 1)
			inTime(t, serve, func(t *testing.T, s *timed) {
				c := s.open(s.issuer.Token("alice"))
				if !row.deaf {
					listen(c, true)
				}
				synctest.Wait()
				if row.kill != nil {
					row.kill(s, c)
				}
				time.Sleep(2 * time.Hour)
				if e := s.closed(t); e.Reason != row.reason {
					t.Errorf("closed for %s (%v), want %s", e.Reason, e.Err, row.reason)
				}
				s.mu.Lock()
				oneEvent(t, s.events, wssecure.EventOpened)
				s.mu.Unlock()
				for info := range s.guard.Sessions() {
					t.Errorf("session %s is left", info.ID)
				}
				if n := s.guard.Stats().Open; n != 0 {
					t.Errorf("%d places are taken", n)
				}
				if row.reason != wssecure.ReasonRestart {
					s.open(s.issuer.Token("alice"))
				}
			}, one, wssecure.OnMessage(rewrite))
		})
	}
}
