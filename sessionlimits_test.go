package wssecure_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// plan reads limits from a claim, as an application with tariffs would.
func plan(id *wssecure.Identity) wssecure.Limits {
	switch id.Claims["plan"] {
	case "five":
		return wssecure.Limits{Conns: 5}
	case "small":
		return wssecure.Limits{MessageSize: 100}
	case "large":
		return wssecure.Limits{MessageSize: 8 << 20}
	case "short":
		return wssecure.Limits{Lifetime: time.Minute}
	case "negative":
		return wssecure.Limits{Conns: -1}
	case "senseless":
		return wssecure.Limits{Messages: wssecure.Rate{N: 1}}
	case "too many":
		return wssecure.Limits{Conns: 1 << 20}
	case "panic":
		panic("no such plan")
	case "slow":
		time.Sleep(11 * time.Second)
	}
	return wssecure.Limits{}
}

// of is a token of somebody with a plan.
func of(issuer interface {
	Claims(string, ...map[string]any) map[string]any
	Sign(string, map[string]any) string
}, sub, plan string) string {
	return issuer.Sign("ES256", issuer.Claims(sub, map[string]any{"plan": plan}))
}

func TestLimitSessionByCapsASubject(t *testing.T) {
	caps := func(t *testing.T, g *gate, plan string, want int) {
		t.Helper()
		for range want {
			wantAnswer(t, g.knock(attacker, bearer(of(g.issuer, "alice", plan))), 101, "")
		}
		wantAnswer(t, g.knock(attacker, bearer(of(g.issuer, "alice", plan))), 429, wssecure.ReasonConnLimit)
		wantAnswer(t, g.knock(attacker, bearer(of(g.issuer, "bob", plan))), 101, "")
	}
	by := wssecure.LimitSessionBy(plan)
	t.Run("L-45 Conns 5", func(t *testing.T) {
		caps(t, newTokenGate(t, stay, by, wssecure.LimitConns(wssecure.BySubject(), 2)), "five", 5)
	})
	t.Run("L-45 Conns 0 is that of LimitConns", func(t *testing.T) {
		caps(t, newTokenGate(t, stay, by, wssecure.LimitConns(wssecure.BySubject(), 2)), "none", 2)
	})
	t.Run("L-45 Conns 0 is that of LimitSession", func(t *testing.T) {
		caps(t, newTokenGate(t, stay, by, wssecure.LimitSession(wssecure.Limits{Conns: 3})), "none", 3)
	})
	t.Run("L-45 Conns 0 is the default", func(t *testing.T) {
		caps(t, newTokenGate(t, stay, by), "none", 64)
	})
	t.Run("another route's LimitConns is not the parent's", func(t *testing.T) {
		g := newTokenGate(t, stay, by)
		child, err := g.guard.With(wssecure.LimitConns(wssecure.BySubject(), 1))
		if err != nil {
			t.Fatal(err)
		}
		g.serve = child.ConnHandler(stay)
		caps(t, g, "none", 1)
	})
	for _, name := range []string{"negative", "panic", "senseless", "too many"} {
		t.Run("L-37 L-45 "+name, func(t *testing.T) {
			g := newTokenGate(t, stay, by)
			wantAnswer(t, g.knock(attacker, bearer(of(g.issuer, "alice", name))), 500, wssecure.ReasonInternal)
			g.await(wssecure.EventRefused, 1)
			if e := g.seen(wssecure.EventRefused)[0]; e.Err == nil || e.Check != "conn-limit" {
				t.Errorf("event %+v, want its error", e)
			}
			g.settled(0)
			wantAnswer(t, g.knock(attacker, bearer(of(g.issuer, "alice", "none"))), 101, "")
		})
	}
	t.Run("L-28 L-37 overdue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newTokenGate(t, stay, by)
			start := time.Now()
			wantAnswer(t, g.knock(attacker, bearer(of(g.issuer, "alice", "slow"))), 503, wssecure.ReasonUnavailable)
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("refused after %s, want 10s", took)
			}
			g.settled(0)
			time.Sleep(2 * time.Second)
		})
	})
	t.Run("L-37 without identity it is not called", func(t *testing.T) {
		var called atomic.Int32
		g := newGate(t, stay, wssecure.LimitSessionBy(func(*wssecure.Identity) wssecure.Limits {
			called.Add(1)
			return wssecure.Limits{}
		}))
		wantAnswer(t, g.knock(attacker), 101, "")
		if n := called.Load(); n != 0 {
			t.Errorf("called %d times", n)
		}
	})
	t.Run("a refused handshake does not ask", func(t *testing.T) {
		var called atomic.Int32
		g := newTokenGate(t, stay, wssecure.RequireScopes("chat"), wssecure.LimitSessionBy(func(*wssecure.Identity) wssecure.Limits {
			called.Add(1)
			return wssecure.Limits{}
		}))
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 403, wssecure.ReasonScope)
		if n := called.Load(); n != 0 {
			t.Errorf("called %d times", n)
		}
	})
}

func TestLimitSessionByBoundsASession(t *testing.T) {
	base := wssecure.LimitSession(wssecure.Limits{MessageSize: 1000})
	for _, row := range []struct {
		plan     string
		fit, not int
	}{
		{"none", 1000, 1001}, // zero fields are those of LimitSession
		{"small", 100, 101},
		{"large", 5 << 20, 8<<20 + 1}, // more than a default byte budget holds at once
	} {
		t.Run("L-37 "+row.plan, func(t *testing.T) {
			serve, got := readings()
			s := serving(t, serve, base, wssecure.LimitSessionBy(plan))
			_, c := wantAdmitted(t, s, freshHandshake(of(s.Issuer, "alice", row.plan)))
			send(t, c, text(strings.Repeat("x", row.fit)))
			wantDelivered(t, got, strings.Repeat("x", row.fit))
			send(t, c, probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Length: new(uint64(row.not))})
			wantEnded(t, s, c, got, 1009, wssecure.ReasonMessageSize)
		})
	}
	t.Run("L-37 a lifetime", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			start := time.Now()
			p := listen(s.open(of(s.issuer, "alice", "short")), true)
			p.wantEnd(t, start, 1001, "lifetime", 54*time.Second, time.Minute)
		}, wssecure.LimitSessionBy(plan))
	})
	for _, row := range []struct {
		plan string
		code int
	}{{"negative", 1011}, {"panic", 1011}} {
		t.Run("L-37 Authenticate, "+row.plan, func(t *testing.T) {
			s := lateServer(t, wssecure.LimitSessionBy(plan))
			c := anonymous(t, s)
			send(t, c, text("auth "+of(s.Issuer, "alice", row.plan)))
			wantClose(t, c, row.code, "internal")
			wantNobody(t, s, "alice")
		})
	}
	t.Run("L-37 Authenticate asks again, new limits from the next frame on", func(t *testing.T) {
		s := lateServer(t, base, wssecure.LimitSessionBy(plan))
		c := anonymous(t, s)
		wantEcho(t, c, strings.Repeat("x", 1000))
		authenticate(t, c, of(s.Issuer, "alice", "small"), "alice")
		wantEcho(t, c, strings.Repeat("x", 100))
		send(t, c, text(strings.Repeat("x", 101)))
		wantClose(t, c, 1009, "message-size")
	})
	t.Run("L-45 Authenticate, Conns 5", func(t *testing.T) {
		s := lateServer(t, wssecure.LimitConns(wssecure.BySubject(), 1), wssecure.LimitSessionBy(plan))
		for i := range 6 {
			c := anonymous(t, s)
			send(t, c, text("auth "+of(s.Issuer, "alice", "five")))
			if i < 5 {
				wantText(t, c, "alice")
			} else {
				wantClose(t, c, 1008, "conn-limit")
			}
		}
	})
	t.Run("L-37 Authenticate, a lifetime counts from the beginning", func(t *testing.T) {
		inTime(t, latecomer, func(t *testing.T, s *timed) {
			start := time.Now()
			p := listen(s.open(""), true)
			time.Sleep(5 * time.Second)
			send(t, p.Conn, text("auth "+of(s.issuer, "alice", "short")))
			p.wantEnd(t, start, 1001, "lifetime", 54*time.Second, time.Minute)
		}, late(), wssecure.LimitSessionBy(plan))
	})
}

// The plan is asked once for each session, with the identity that is admitted.
func TestLimitSessionBySeesTheIdentity(t *testing.T) {
	asked := make(chan string, 10)
	g := newTokenGate(t, func(_ context.Context, c *wssecure.Conn) error { return nil }, wssecure.LimitSessionBy(func(id *wssecure.Identity) wssecure.Limits {
		asked <- id.Subject
		return wssecure.Limits{}
	}))
	for i := range 5 {
		sub := fmt.Sprint("user", i)
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token(sub))), 101, "")
		if got := next(t, asked); got != sub || len(asked) != 0 {
			t.Errorf("asked about %q and %d more, want %q alone", got, len(asked), sub)
		}
	}
}
