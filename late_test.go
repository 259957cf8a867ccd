package wssecure_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
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
	for {
		_, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if token, ok := strings.CutPrefix(string(p), "auth "); ok {
			p = []byte("nobody")
			if err := c.Session().Authenticate(ctx, token); err != nil {
				p = []byte("error")
			} else if id, ok := wssecure.IdentityFrom(ctx); ok && id == c.Identity() {
				p = []byte(id.Subject)
			}
		}
		if err := c.Write(ctx, wssecure.MessageText, p); err != nil {
			return err
		}
	}
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

// eventually waits for what comes by itself.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within five seconds")
		}
	}
}

// TestLateTokenRefused is A-57 and S-35.
func TestLateTokenRefused(t *testing.T) {
	busy := wssecure.RequireCheck("busy", func(_ context.Context, h *wssecure.Handshake) error {
		switch h.Identity.Subject { // never asked without an identity
		case "origin":
			return wssecure.ReasonOrigin
		case "lost":
			return errors.New("no answer")
		case "panic":
			panic("check")
		}
		return nil
	})
	enough := func(more members) func(*wssecuretest.Issuer) string {
		return func(i *wssecuretest.Issuer) string {
			all := members{"scope": "ws:read ws:write", "roles": "ops", "acr": "mfa", "auth_time": ago(0)}
			return i.Sign("ES256", i.Claims("alice", all, more))
		}
	}
	forged := func(i *wssecuretest.Issuer) string {
		good := i.Token("alice")
		return good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86)
	}
	for _, row := range []struct {
		name   string
		token  func(i *wssecuretest.Issuer) string
		code   int
		reason wssecure.Reason
		public string
	}{
		{"A-57 no token", func(*wssecuretest.Issuer) string { return "" }, 3000, wssecure.ReasonTokenMissing, "token-missing"},
		{"A-57 a bad token", func(*wssecuretest.Issuer) string { return "b.a.d" }, 3000, wssecure.ReasonTokenInvalid, "token-invalid"},
		{"A-57 a forged token", forged, 3000, wssecure.ReasonTokenForged, "token-invalid"},
		{"A-57 an expired token", enough(members{"exp": ago(time.Hour)}), 3000, wssecure.ReasonTokenExpired, "token-expired"},
		{"A-57 level missing", enough(members{"acr": "pwd"}), 3003, wssecure.ReasonAuthLevel, "auth-level"},
		{"A-57 scope missing", enough(members{"scope": "ws:read"}), 3003, wssecure.ReasonScope, "scope"},
		{"A-57 claim missing", enough(members{"roles": "x"}), 3003, wssecure.ReasonForbidden, "forbidden"},
		{"S-35 a reason without a close code", enough(members{"sub": "origin"}), 3003, wssecure.ReasonOrigin, "origin"},
		{"S-35 no verdict", enough(members{"sub": "lost"}), 1011, wssecure.ReasonUnavailable, "unavailable"},
		{"S-35 a panic", enough(members{"sub": "panic"}), 1011, wssecure.ReasonInternal, "internal"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serving(t, latecomer, late(), readWrite(), roles("ops"), stepUp(), busy)
			c := anonymous(t, s)
			token := row.token(s.Issuer)
			send(t, c, text("auth "+token))
			wantClose(t, c, row.code, row.public)
			c.Close()
			e := s.WaitEvent(wssecure.EventClosed)
			if e.Reason != row.reason || e.By != wssecure.ByGuard || e.Subject != "" || e.Err == nil {
				t.Errorf("closed %+v", e)
			}
			if token != "" && e.Err != nil && strings.Contains(e.Err.Error(), token) {
				t.Errorf("the token is in the error: %v", e.Err)
			}
			if slices.ContainsFunc(s.Events(), func(e wssecure.Event) bool { return e.Kind == wssecure.EventRenewed }) {
				t.Error("a refused token renewed the session")
			}
		})
	}
	t.Run("A-57 enough", func(t *testing.T) {
		s := serving(t, latecomer, late(), readWrite(), roles("ops"), stepUp(), busy)
		authenticate(t, anonymous(t, s), enough(nil)(s.Issuer), "alice")
	})
	t.Run("A-57 a revoked token", func(t *testing.T) {
		s := lateServer(t)
		c := anonymous(t, s)
		token := s.Issuer.Token("alice")
		s.Guard.Revoke(t.Context(), wssecure.Subject(s.Issuer.URL, "alice"), "A-57")
		send(t, c, text("auth "+token))
		wantClose(t, c, 3000, "revoked")
		wantNobody(t, s, "alice")
	})
	t.Run("A-57 a banned subject", func(t *testing.T) {
		s := lateServer(t)
		c := anonymous(t, s)
		if err := s.Guard.Ban(t.Context(), wssecure.Subject(s.Issuer.URL, "alice"), time.Hour, "A-57"); err != nil {
			t.Fatal(err)
		}
		send(t, c, text("auth "+s.Issuer.Token("alice")))
		wantClose(t, c, 3003, "banned")
	})
	t.Run("A-57 a subject over its cap", func(t *testing.T) {
		s := lateServer(t, wssecure.LimitConns(wssecure.BySubject(), 1))
		first, c := connect(t, s), anonymous(t, s)
		send(t, c, text("auth "+s.Issuer.Token("alice")))
		wantClose(t, c, 1008, "conn-limit")
		wantNobody(t, s, "alice") // S-35: but the first
		first.Close()
		eventually(t, func() bool { return s.Guard.Stats().Open <= 1 })
		authenticate(t, anonymous(t, s), s.Issuer.Token("alice"), "alice")
	})
	t.Run("S-35 the lease that was won goes back", func(t *testing.T) {
		s := lateServer(t, wssecure.LimitConns(wssecure.BySubject(), 1))
		c := anonymous(t, s)
		token := claimed(members{"jti": "t1"})(s.Issuer)
		s.Guard.Revoke(t.Context(), wssecure.TokenID(s.Issuer.URL, "t1"), "S-35")
		send(t, c, text("auth "+token))
		wantClose(t, c, 3000, "revoked")
		connect(t, s)
	})
	t.Run("A-57 many forged ones", func(t *testing.T) {
		s := lateServer(t, wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 2, Per: time.Hour, Burst: 2}, time.Hour))
		again := forged(s.Issuer) // the same bad token counts once a minute
		for range 4 {
			c := anonymous(t, s)
			send(t, c, text("auth "+again))
			wantClose(t, c, 3000, "token-invalid")
			c.Close()
		}
		for range 2 {
			c := anonymous(t, s)
			send(t, c, text("auth "+forged(s.Issuer)))
			wantClose(t, c, 3000, "token-invalid")
			c.Close()
		}
		if e := s.WaitEvent(wssecure.EventBanned); e.Reason != wssecure.ReasonTokenForged {
			t.Errorf("banned %+v", e)
		}
	})
}

// wantNobody wants that one session of sub is listed at most: one whose token
// was refused is found under no index.
func wantNobody(t *testing.T, s *wssecuretest.Server, sub string) {
	t.Helper()
	found := 0
	for info := range s.Guard.Sessions() {
		if info.Subject == sub {
			found++
		}
	}
	if found > 1 {
		t.Errorf("%d sessions of %s", found, sub)
	}
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
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
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

// TestLateTokenRaces: of calls in parallel one wins, and an end is final.
func TestLateTokenRaces(t *testing.T) {
	t.Run("S-34 twice in parallel", func(t *testing.T) {
		var won, lost atomic.Int32
		s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
			_, token, err := c.Read(ctx)
			if err != nil {
				return err
			}
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if c.Session().Authenticate(ctx, string(token)) == nil {
						won.Add(1)
					} else {
						lost.Add(1)
					}
				})
			}
			wg.Wait()
			return c.Write(ctx, wssecure.MessageText, []byte(c.Identity().Subject))
		}, late())
		c := anonymous(t, s)
		send(t, c, text(s.Issuer.Token("alice")))
		wantText(t, c, "alice")
		if won.Load() != 1 || lost.Load() != 7 {
			t.Errorf("%d won, %d lost", won.Load(), lost.Load())
		}
		s.WaitEvent(wssecure.EventRenewed)
		oneEvent(t, s.Events(), wssecure.EventRenewed)
	})
	t.Run("S-34 against its deadline, a revocation, an end", func(t *testing.T) {
		for round := range 60 {
			raceLateToken(t, round)
		}
	})
}

// raceLateToken lets the verifier return at the very moment of another event.
func raceLateToken(t *testing.T, round int) {
	synctest.Test(t, func(t *testing.T) {
		verify := wssecure.VerifierFunc(func(ctx context.Context, _ string) (*wssecure.Identity, error) {
			time.Sleep(5 * time.Second) // until the deadline
			return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: "t"}, nil
		})
		s := newTimed(t, wssecure.RequireToken(verify), wssecure.AllowLateToken(5*time.Second), wssecure.LimitConns(wssecure.BySubject(), 1))
		results := make(chan error, 1)
		s.pipeServer = newPipeServer(t, s.guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			switch round % 3 {
			case 1:
				time.AfterFunc(5*time.Second, func() { s.guard.Revoke(ctx, wssecure.Subject("x", "alice"), "race") })
			case 2:
				time.AfterFunc(5*time.Second, func() { c.Session().Close(4000, "race") })
			}
			results <- c.Session().Authenticate(ctx, "token")
			<-ctx.Done()
			return nil
		}))
		p := listen(s.open(""), true)
		err := <-results
		synctest.Wait()
		if err == nil { // whatever lost has changed nothing
			s.guard.Revoke(t.Context(), wssecure.TokenID("x", "t"), "found")
		}
		<-p.over
		e := s.closed(t)
		if err != nil && !errors.Is(err, e.Reason) {
			t.Errorf("Authenticate: %v; closed for %s", err, e.Reason)
		}
		if renewed := s.count(wssecure.EventRenewed); (err == nil) != (renewed == 1) {
			t.Errorf("Authenticate: %v, %d renewed events", err, renewed)
		}
		if err == nil && e.Reason == wssecure.ReasonTokenMissing {
			t.Error("the deadline ended a session that has its token")
		}
		held := 0
		for range s.guard.Sessions() {
			held++
		}
		if open := s.guard.Stats().Open; open != 0 || held != 0 {
			t.Errorf("%d open, %d listed", open, held)
		}
	})
}

func (s *timed) count(kind wssecure.EventKind) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
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
