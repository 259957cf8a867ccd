package wssecure_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// U-01, L-09, S-23: however a session dies there is one opened and one closed
// event, and nothing of it is left: no place, no lease, no entry; and no goroutine,
// or synctest would not let the bubble end.
func TestWaysToDie(t *testing.T) {
	for _, row := range []struct {
		name   string
		serve  serveFunc        // nil: echo
		next   http.HandlerFunc // of Handler, in place of serve
		limits wssecure.Limits
		deaf   bool // the peer reads nothing
		mute   bool // the peer answers no ping
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
		{name: "idle", limits: wssecure.Limits{Idle: 10 * time.Minute}, reason: wssecure.ReasonIdle},
		{name: "no pong", mute: true, reason: wssecure.ReasonPong},
		{name: "lifetime", limits: wssecure.Limits{Lifetime: 30 * time.Minute}, reason: wssecure.ReasonLifetime},
		{name: "dripped", kill: func(_ *timed, c *probe.Conn) { c.Send([]byte{0x81}) }, reason: wssecure.ReasonMessageTime},
		{name: "flood of pings", kill: func(_ *timed, c *probe.Conn) {
			for range 21 {
				c.SendFrame(probe.Message(probe.Ping, nil))
			}
		}, reason: wssecure.ReasonControlRate},
		{name: "flood of empty fragments", kill: func(_ *timed, c *probe.Conn) {
			c.SendFrame(part(probe.Text, false, ""))
			for range 128 {
				c.SendFrame(part(probe.Continuation, false, ""))
			}
		}, reason: wssecure.ReasonFragments},
		{name: "flood of messages", limits: wssecure.Limits{CloseOnRate: true}, kill: func(_ *timed, c *probe.Conn) {
			for range 121 {
				c.SendFrame(text("x"))
			}
		}, reason: wssecure.ReasonMessageRate},
		{name: "user code returns", serve: func(context.Context, *wssecure.Conn) error { return nil }, reason: wssecure.ReasonDone},
		{name: "user code stays behind the end", serve: func(ctx context.Context, _ *wssecure.Conn) error {
			<-ctx.Done()
			time.Sleep(time.Hour)
			return nil
		}, kill: func(s *timed, _ *probe.Conn) { s.guard.Revoke(context.Background(), wssecure.Everyone(), "x") }, reason: wssecure.ReasonRevoked},
		{name: "library closes", next: underCoder(func(c *websocket.Conn) { c.Close(websocket.StatusNormalClosure, "") }), reason: wssecure.ReasonDone},
		{name: "library drops", next: underCoder(func(c *websocket.Conn) { c.CloseNow() }), reason: wssecure.ReasonDone},
		{name: "library panics", next: underCoder(func(*websocket.Conn) { panic("boom") }), reason: wssecure.ReasonInternal},
		{name: "library is revoked", next: underCoder(func(c *websocket.Conn) { c.Read(context.Background()) }),
			kill: func(s *timed, _ *probe.Conn) { s.guard.Revoke(context.Background(), wssecure.Everyone(), "x") }, reason: wssecure.ReasonRevoked},
		{name: "library stalls in a write", deaf: true, next: underCoder(func(c *websocket.Conn) {
			c.Write(context.Background(), websocket.MessageText, []byte("stalls"))
		}), reason: wssecure.ReasonSlowReader},
		{name: "error of user code", serve: func(context.Context, *wssecure.Conn) error { return errors.New("x") }, reason: wssecure.ReasonInternal},
	} {
		t.Run(row.name, func(t *testing.T) {
			serve := row.serve
			if serve == nil {
				serve = echo
			}
			options := []wssecure.Option{
				wssecure.LimitConns(wssecure.BySubject(), 1), // a lease that stays shows at once
				wssecure.LimitSession(row.limits),
			}
			if row.next == nil {
				options = append(options, wssecure.OnMessage(rewrite))
			}
			synctest.Test(t, func(t *testing.T) {
				s := newTimed(t, options...)
				handler := s.guard.ConnHandler(serve)
				if row.next != nil {
					handler = s.guard.Handler(row.next)
				}
				s.pipeServer = newPipeServer(t, handler)
				c := s.open(s.issuer.Token("alice"))
				if !row.deaf {
					listen(c, !row.mute)
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
					s.open(s.issuer.Token("alice")).Close()
					time.Sleep(2 * time.Hour)
				}
			})
		})
	}
}

// underCoder is a handler over coder/websocket.
func underCoder(serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err == nil {
			serve(c)
		}
	}
}
