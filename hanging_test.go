package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// hangs returns when nobody waits for it any more, if it is asked on /hang.
func hangs(h *wssecure.Handshake) {
	if h.Request.URL.Path == "/hang" {
		time.Sleep(time.Minute)
	}
}

func hangingKey(h *wssecure.Handshake) string { hangs(h); return "all" }

func hangingContext(ctx context.Context, h *wssecure.Handshake) context.Context { hangs(h); return ctx }

// H-37: a function that gives something, and hangs, leaves no session, lease or
// place behind.
func TestHangingFunctionLeavesNothing(t *testing.T) {
	for name, option := range map[string]wssecure.Option{
		"ByFunc":     wssecure.LimitConns(wssecure.ByFunc("own", hangingKey), 10),
		"SetContext": wssecure.SetContext(hangingContext),
	} {
		for kind, route := range map[string]func(*wssecure.Guard) http.Handler{
			"Handler":     func(g *wssecure.Guard) http.Handler { return g.Handler(http.HandlerFunc(holdOn)) },
			"ConnHandler": func(g *wssecure.Guard) http.Handler { return g.ConnHandler(stay) },
		} {
			t.Run("H-37 "+name+" "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newTokenGate(t, nil, option, wssecure.LimitConns(wssecure.BySubject(), 1))
					alice := bearer(g.issuer.Token("alice"))
					h := route(g.guard)
					start := time.Now()
					wantAnswer(t, g.knockOn(h, attacker, alice, path("/hang")), 503, wssecure.ReasonUnavailable)
					if took := time.Since(start); took != 10*time.Second {
						t.Errorf("refused after %s, want 10s", took)
					}
					time.Sleep(2 * time.Minute)
					events := g.seen(wssecure.EventRefused)
					if len(events) != 1 || len(g.seen(wssecure.EventOpened))+len(g.seen(wssecure.EventClosed)) > 0 {
						t.Fatalf("events %+v, want one that is refused", g.all())
					}
					if err := events[0].Err; err == nil || !strings.Contains(err.Error(), name) {
						t.Errorf("the record says %v", err)
					}
					if s := g.guard.Stats(); s.Open != 0 || s.Admitted != 0 {
						t.Errorf("%d open, %d admitted", s.Open, s.Admitted)
					}
					wantAnswer(t, g.knockOn(h, attacker, alice), 101, "")
					wantAnswer(t, g.knockOn(h, attacker, alice), 429, wssecure.ReasonConnLimit)
				})
			})
		}
	}
}

// holdOn is another library that writes its own 101 and holds the connection.
func holdOn(w http.ResponseWriter, r *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		probe.Accept(r.Header.Get("Sec-Websocket-Key")))
	go func() {
		defer conn.Close()
		conn.Read(make([]byte, 1))
	}()
}

// What a function is waited for holds no place of the process, so that nobody
// can fill it with handshakes that hang.
func TestHangingKeyHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, stay, wssecure.LimitConns(wssecure.ByTotal(), 1), wssecure.LimitConns(wssecure.ByFunc("own", hangingKey), 10))
		hung := make(chan answer)
		go func() { hung <- g.knock(attacker, path("/hang")) }()
		synctest.Wait()
		wantAnswer(t, g.knock("198.51.100.7"), 101, "")
		wantAnswer(t, <-hung, 503, wssecure.ReasonUnavailable)
		time.Sleep(time.Minute)
	})
}

// A failure whose key is not told in time counts by the other rules.
func TestHangingKeyOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTokenGate(t, stay, wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(1), time.Hour),
			wssecure.LimitFailures(wssecure.ByFunc("own", hangingKey), wssecure.PerMinute(1), time.Hour))
		for range 2 {
			start := time.Now()
			wantAnswer(t, g.knock(attacker, bearer(g.forged()), path("/hang")), 401, wssecure.ReasonTokenInvalid)
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("over after %s, want 10s", took)
			}
		}
		if n := len(g.seen(wssecure.EventRefused)); n != 2 {
			t.Errorf("%d events, want 2", n)
		}
		wantAnswer(t, g.knock(attacker), 403, wssecure.ReasonBanned)
		wantAnswer(t, g.knock("198.51.100.7", bearer(g.issuer.Token("alice"))), 101, "") // the key "all" was not charged
		time.Sleep(time.Minute)
	})
}

// S-34: the token that comes late is not waited for either.
func TestHangingKeyOfALateToken(t *testing.T) {
	inTime(t, latecomer, func(t *testing.T, s *timed) {
		start := time.Now()
		p := listen(s.open(""), true)
		send(t, p.Conn, text("auth "+s.issuer.Token("alice")))
		p.wantEnd(t, start, 1011, "unavailable", 2*time.Second, 3*time.Second)
		time.Sleep(time.Minute)
	}, late(), wssecure.LimitHandshakeTime(2*time.Second), wssecure.LimitConns(wssecure.ByFunc("own", func(*wssecure.Handshake) string { time.Sleep(time.Minute); return "" }), 1))
}
