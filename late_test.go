package wssecure_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

func late() wssecure.Option { return wssecure.AllowLateToken(10 * time.Second) }

// latecomer is an application that takes a token from any message "auth <token>"
// and tells who the session is then; it echoes everything else.
func latecomer(ctx context.Context, c *wssecure.Conn) error {
	return obey(ctx, c, "auth ", func(token string) string {
		if err := c.Session().Authenticate(ctx, token); err != nil {
			return "error"
		}
		if id, ok := wssecure.IdentityFrom(ctx); ok && id == c.Identity() {
			return id.Subject
		}
		return "nobody"
	})
}

// lateServer starts a server whose sessions may come without a token.
func lateServer(t *testing.T, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	return serving(t, latecomer, append([]wssecure.Option{late()}, more...)...)
}

func anonymous(t *testing.T, s *wssecuretest.Server) *probe.Conn {
	t.Helper()
	_, c := wantAdmitted(t, s, freshHandshake(""))
	return c
}

func authenticate(t *testing.T, c *probe.Conn, token, answer string) {
	t.Helper()
	send(t, c, text("auth "+token))
	wantText(t, c, answer)
}

func TestLateTokenInTime(t *testing.T) {
	s := lateServer(t)
	t.Run("A-66 in time", func(t *testing.T) {
		c := anonymous(t, s)
		wantEcho(t, c, "hello")
		authenticate(t, c, s.Issuer.Token("alice"), "alice")
		if e := s.WaitEvent(wssecure.EventRenewed); e.Subject != "alice" || e.SessionID == "" {
			t.Errorf("event %+v", e)
		}
		oneEvent(t, s.Events(), wssecure.EventRenewed)
		for range 20 {
			wantEcho(t, c, "as long as any") // A-56 is over
		}
		wantEcho(t, c, strings.Repeat("x", 20<<10))
		t.Run("A-57 second call", func(t *testing.T) {
			authenticate(t, c, s.Issuer.Token("bob"), "error")
			wantEcho(t, c, "unchanged")
			oneEvent(t, s.Events(), wssecure.EventRenewed)
		})
	})
	t.Run("A-57 session not late", func(t *testing.T) {
		c := connect(t, s)
		authenticate(t, c, s.Issuer.Token("bob"), "error")
		wantEcho(t, c, "unchanged")
	})
	t.Run("A-66 a bad credential in the handshake", func(t *testing.T) {
		wantRefused(t, s, freshHandshake("b.a.d"), 401, wssecure.ReasonTokenInvalid)
	})
	t.Run("A-67 no Origin", func(t *testing.T) {
		hs := freshHandshake("")
		hs.Del("Origin")
		wantRefused(t, s, hs, 403, wssecure.ReasonOriginMissing)
	})
	t.Run("A-66 without the option", func(t *testing.T) {
		s := serving(t, latecomer)
		wantRefused(t, s, freshHandshake(""), 401, wssecure.ReasonTokenMissing)
	})
}

func TestLateTokenDeadline(t *testing.T) {
	inTime(t, latecomer, func(t *testing.T, s *timed) {
		start := time.Now()
		slow := listen(s.open(""), true)
		good := listen(s.open(""), true)
		send(t, good.Conn, text("auth "+s.issuer.Token("alice")))
		slow.wantEnd(t, start, 3000, "token-missing", 10*time.Second, 10*time.Second)
		synctest.Wait()
		if e := s.closed(t); e.Reason != wssecure.ReasonTokenMissing || e.By != wssecure.ByGuard {
			t.Errorf("closed %+v", e)
		}
		// From now on the session has its token's time (S-34, S-01).
		good.wantEnd(t, start, 3000, "token-expired", time.Hour, time.Hour+40*time.Second)
	}, late())
}

// TestLateTokenLimits is A-56.
func TestLateTokenLimits(t *testing.T) {
	t.Run("A-56 a message over 8 KiB", func(t *testing.T) {
		s := lateServer(t)
		c := anonymous(t, s)
		wantEcho(t, c, strings.Repeat("x", 8<<10))
		send(t, c, text(strings.Repeat("x", 8<<10+1)))
		wantClose(t, c, 1009, "message-size")
	})
	t.Run("A-56 an 11th message", func(t *testing.T) {
		inTime(t, latecomer, func(t *testing.T, s *timed) {
			p := listen(s.open(""), true)
			for range 10 {
				time.Sleep(500 * time.Millisecond) // however slow
				send(t, p.Conn, text("x"))
			}
			synctest.Wait()
			if len(p.texts) != 10 {
				t.Errorf("%d of 10 messages came back", len(p.texts))
			}
			start := time.Now()
			send(t, p.Conn, text("x"))
			p.wantEnd(t, start, 1008, "message-rate", 0, 0)
		}, late())
	})
	t.Run("A-56 ten messages in many pieces", func(t *testing.T) {
		s := lateServer(t, wssecure.LimitSession(wssecure.Limits{MessageSize: 1 << 10, Bytes: wssecure.Rate{N: 1 << 10, Per: time.Second, Burst: 1 << 10}}))
		c := anonymous(t, s)
		for range 10 {
			wantEcho(t, c, strings.Repeat("x", 1<<10))
		}
		send(t, c, text(strings.Repeat("x", 1<<10+1)))
		wantClose(t, c, 1009, "message-size")
	})
	t.Run("A-56 a small message that inflates", func(t *testing.T) {
		s := lateServer(t, wssecure.AllowCompression())
		hs := freshHandshake("")
		hs.Add("Sec-WebSocket-Extensions: permessage-deflate")
		_, c := wantAdmitted(t, s, hs)
		send(t, c, compressed(probe.Text, deflate([]byte(strings.Repeat("x", 9<<10)))))
		wantClose(t, c, 1009, "message-size")
	})
}

// TestLateTokenCap is S-33: the cap of those without a token is their own.
func TestLateTokenCap(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("S-33"), wssecure.LimitConns(wssecure.ByIP(), 1)},
		Handler: func(g *wssecure.Guard) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/open", g.ConnHandler(latecomer))
			mux.Handle("/ws", with(t, g, issuer.Option(), late()).ConnHandler(latecomer))
			return mux
		},
	})
	s.Issuer = issuer
	bystander := func() *probe.Handshake {
		hs := freshHandshake("")
		hs.Target = "/open"
		return hs
	}
	wantAdmitted(t, s, bystander()) // the one that ByIP admits
	wantRefused(t, s, bystander(), 429, wssecure.ReasonConnLimit)
	var last *probe.Conn
	for range 64 {
		last = anonymous(t, s)
	}
	r, e := wantRefused(t, s, freshHandshake(""), 429, wssecure.ReasonConnLimit)
	if r.Get("Retry-After") == "" || e.Check != "conn-limit" {
		t.Errorf("Retry-After %q, event %+v", r.Get("Retry-After"), e)
	}
	connect(t, s)                                         // who brings a token is not counted here
	authenticate(t, last, issuer.Token("alice"), "alice") // and no longer who has shown one
	eventually(t, func() bool {
		r, _ := ask(t, s, freshHandshake(""))
		return r.Status == 101
	})
}

// TestLateTokenSwaps is S-34: whatever counts or finds a session knows it as its
// person's, and as no one else's.
func TestLateTokenSwaps(t *testing.T) {
	for name, target := range map[string]func(i *wssecuretest.Issuer) wssecure.Target{
		"S-34 Subject":     func(i *wssecuretest.Issuer) wssecure.Target { return wssecure.Subject(i.URL, "alice") },
		"S-34 TokenID":     func(i *wssecuretest.Issuer) wssecure.Target { return wssecure.TokenID(i.URL, "t1") },
		"S-34 OIDCSession": func(i *wssecuretest.Issuer) wssecure.Target { return wssecure.OIDCSession(i.URL, "s1") },
	} {
		t.Run(name, func(t *testing.T) {
			s := lateServer(t)
			c, other := anonymous(t, s), anonymous(t, s)
			authenticate(t, c, claimed(members{"jti": "t1", "sid": "s1"})(s.Issuer), "alice")
			if n, err := s.Guard.Revoke(t.Context(), target(s.Issuer), "S-34"); n != 1 || err != nil {
				t.Errorf("%d sessions closed, %v", n, err)
			}
			wantClose(t, c, 3000, "revoked")
			wantEcho(t, other, "still waiting")
		})
	}
	t.Run("S-34 Everyone, before a token came", func(t *testing.T) {
		s := lateServer(t)
		c := anonymous(t, s)
		s.Guard.Revoke(t.Context(), wssecure.Everyone(), "S-33")
		wantClose(t, c, 3000, "revoked")
	})
	t.Run("S-33 Shutdown", func(t *testing.T) {
		s := lateServer(t)
		c := anonymous(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		go s.Guard.Shutdown(ctx)
		wantClose(t, c, 1012, "restart")
	})
	t.Run("S-34 the address gets its token back", func(t *testing.T) {
		s := lateServer(t, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}))
		for range 3 {
			authenticate(t, anonymous(t, s), s.Issuer.Token("alice"), "alice")
		}
		anonymous(t, s)
		wantRefused(t, s, freshHandshake(""), 429, wssecure.ReasonRate)
	})
	t.Run("S-34 the subject's lease comes back at the end", func(t *testing.T) {
		s := lateServer(t, wssecure.LimitConns(wssecure.BySubject(), 1))
		for range 3 {
			c := anonymous(t, s)
			authenticate(t, c, s.Issuer.Token("alice"), "alice")
			c.Close()
			eventually(t, func() bool { return s.Guard.Stats().Open == 0 })
		}
	})
	t.Run("S-34 SetRecheck", func(t *testing.T) {
		var asked atomic.Int32
		gone := wssecure.SetRecheck(time.Minute, func(_ context.Context, id *wssecure.Identity) error {
			asked.Add(1)
			return wssecure.ReasonForbidden
		})
		inTime(t, latecomer, func(t *testing.T, s *timed) {
			start := time.Now()
			p := listen(s.open(""), true)
			send(t, p.Conn, text("auth "+s.issuer.Token("alice")))
			p.wantEnd(t, start, 3003, "forbidden", 54*time.Second, time.Minute)
			if asked.Load() != 1 {
				t.Errorf("asked %d times", asked.Load())
			}
		}, late(), gone)
	})
	t.Run("S-34 rules by function", func(t *testing.T) {
		bySubject := wssecure.ByFunc("who", func(h *wssecure.Handshake) string { return h.Identity.Subject })
		s := lateServer(t, wssecure.LimitConns(bySubject, 1))
		authenticate(t, anonymous(t, s), s.Issuer.Token("alice"), "alice")
		c := anonymous(t, s)
		send(t, c, text("auth "+s.Issuer.Token("alice")))
		wantClose(t, c, 1008, "conn-limit")
		authenticate(t, anonymous(t, s), s.Issuer.Token("bob"), "bob")
	})
}

// TestLateTokenUnderHandler: the session is in the context of any library's
// handler, before its 101 and after.
func TestLateTokenUnderHandler(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	token := issuer.Token("alice")
	for _, early := range []bool{true, false} {
		s := wssecuretest.Start(t, wssecuretest.Config{
			Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), late()},
			Handler: func(g *wssecure.Guard) http.Handler {
				return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					session, _ := wssecure.SessionFrom(r.Context())
					authenticate := func() {
						if err := session.Authenticate(r.Context(), token); err != nil {
							t.Error(err)
						}
					}
					if early {
						authenticate()
					}
					c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
					if err != nil {
						t.Error(err)
						return
					}
					defer c.CloseNow()
					if !early {
						authenticate()
					}
					for {
						typ, p, err := c.Read(r.Context())
						if err != nil || c.Write(r.Context(), typ, p) != nil {
							return
						}
					}
				}))
			},
		})
		c := anonymous(t, s)
		for range 15 { // more than a session without a token may send
			wantEcho(t, c, strings.Repeat("x", 10<<10))
		}
		if e := s.WaitEvent(wssecure.EventRenewed); e.Subject != "alice" {
			t.Errorf("event %+v", e)
		}
	}
}

func TestLateTokenFaults(t *testing.T) {
	for want, opts := range map[string][]wssecure.Option{
		"AllowLateToken: 0s is out of range; use 1s to 1m0s":   withToken(wssecure.AllowLateToken(0)),
		"AllowLateToken: -1s is out of range; use 1s to 1m0s":  withToken(wssecure.AllowLateToken(-time.Second)),
		"AllowLateToken: 1m1s is out of range; use 1s to 1m0s": withToken(wssecure.AllowLateToken(61 * time.Second)),
		"AllowLateToken: no verifier to ask; add RequireToken": anybody(wssecure.AllowLateToken(time.Second)),
		"AllowLateToken: is given twice; keep one":             withToken(late(), late()),
	} {
		wantFault(t, want, append(opts, wssecure.AllowOrigins(wssecuretest.Origin))...)
	}
}
