package wssecure_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

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
