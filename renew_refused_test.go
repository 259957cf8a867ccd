package wssecure_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestRenewRefused is S-15: an error, and the session is as it was.
func TestRenewRefused(t *testing.T) {
	for name, row := range map[string]struct {
		token   func(r *renewal) string
		verdict string
	}{
		"no token":               {func(*renewal) string { return "" }, "token-missing"},
		"an invalid token":       {func(*renewal) string { return "b.a.d" }, "token-invalid"},
		"a token too long":       {func(*renewal) string { return strings.Repeat("x", 8193) }, "token-invalid"},
		"a forged token":         {func(r *renewal) string { return spoil(r.token(2 * time.Hour)) }, "token-forged"},
		"an expired token":       {func(r *renewal) string { return r.token(-time.Hour) }, "token-expired"},
		"an audience of others":  {func(r *renewal) string { return r.token(2*time.Hour, members{"aud": "mail"}) }, "token-invalid"},
		"exp the same":           {func(r *renewal) string { return r.token(time.Hour) }, "token-invalid"},
		"exp earlier":            {func(r *renewal) string { return r.token(30 * time.Minute) }, "token-invalid"},
		"iat earlier":            {func(r *renewal) string { return r.token(2*time.Hour, members{"iat": ago(time.Minute)}) }, "token-invalid"},
		"wider scope":            {func(r *renewal) string { return r.token(2*time.Hour, members{"scope": "a b"}) }, "scope"},
		"another scope":          {func(r *renewal) string { return r.token(2*time.Hour, members{"scope": "b"}) }, "scope"},
		"an old token with less": {func(r *renewal) string { return r.token(time.Minute, members{"roles": "x"}) }, "token-invalid"},
	} {
		t.Run("S-15 "+name, func(t *testing.T) {
			renewing(t, members{"scope": "a", "roles": "ops"}, func(r *renewal) {
				r.want(row.token(r), row.verdict)
				r.wantUnchanged()
			}, roles("ops"))
		})
	}
	t.Run("S-15 no iat is not older", func(t *testing.T) {
		renewing(t, nil, func(r *renewal) {
			r.want(r.token(2*time.Hour, members{"iat": wssecuretest.Absent}), "renewed")
		})
	})
	t.Run("S-15 over 10 a minute is not verified", func(t *testing.T) {
		var asked atomic.Int32
		verify := wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
			n := asked.Add(1)
			return &wssecure.Identity{Issuer: "x", Subject: "alice", Expiry: time.Now().Add(time.Duration(n) * time.Hour)}, nil
		})
		renewing(t, nil, func(r *renewal) {
			for range 10 {
				r.want("token", "renewed")
			}
			for range 5 {
				r.want("token", "rate-limited")
			}
			if n := asked.Load(); n != 11 {
				t.Errorf("verified %d tokens, want that of the handshake and ten", n)
			}
			time.Sleep(time.Minute)
			for range 10 {
				r.want("token", "renewed")
			}
			r.want("token", "rate-limited")
		}, wssecure.RequireToken(verify))
	})
	t.Run("S-15 a verifier or a store that cannot decide", func(t *testing.T) {
		var down atomic.Bool
		verify := wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
			if down.Load() {
				return nil, errPlain
			}
			return &wssecure.Identity{Issuer: "x", Subject: "alice", Expiry: time.Now().Add(time.Hour)}, nil
		})
		renewing(t, nil, func(r *renewal) {
			m := markingStore(r.guard)
			time.Sleep(time.Minute)
			down.Store(true)
			r.want("token", "unavailable")
			down.Store(false)
			m.fail(errPlain)
			r.want("token", "unavailable")
			m.fail(nil)
			r.wantUnchanged()
		}, wssecure.RequireToken(verify))
	})
	t.Run("S-15 the second question fails: undone", func(t *testing.T) {
		renewing(t, members{"jti": "t1"}, func(r *renewal) {
			m := markingStore(r.guard)
			asked := 0
			m.before = func([]store.Op) {
				if asked++; asked == 2 {
					m.fail(errPlain)
				}
			}
			r.want(r.token(2*time.Hour, members{"jti": "t2"}), "unavailable")
			m.fail(nil)
			if n, _ := r.guard.Revoke(t.Context(), wssecure.TokenID(r.issuer.URL, "t2"), "never the session's"); n != 0 {
				t.Error("the session is found by the token that was undone")
			}
			r.wantUnchanged()
		})
	})
	t.Run("S-15 a ban lets nobody live longer", func(t *testing.T) {
		renewing(t, nil, func(r *renewal) {
			if err := r.guard.Ban(t.Context(), wssecure.Subject(r.issuer.URL, "alice"), 2*time.Hour, "S-15"); err != nil {
				t.Fatal(err)
			}
			r.want(r.token(2*time.Hour), "banned")
			r.wantUnchanged()
		})
	})
	t.Run("S-15 only a forged token is a failure", func(t *testing.T) {
		s := serving(t, renewer, wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 2, Per: time.Hour, Burst: 2}, time.Hour))
		c := connect(t, s)
		renew := func(token, verdict string) {
			t.Helper()
			send(t, c, text("renew "+token))
			wantText(t, c, verdict)
		}
		for range 4 {
			renew("b.a.d", "token-invalid")
		}
		same := spoil(s.Issuer.Token("alice"))
		renew(same, "token-forged")
		renew(same, "token-forged") // counts once a minute
		connect(t, s)
		renew(spoil(s.Issuer.Token("alice")), "token-forged")
		renew(spoil(s.Issuer.Token("alice")), "token-forged")
		if e := s.WaitEvent(wssecure.EventBanned); e.Reason != wssecure.ReasonTokenForged {
			t.Errorf("banned %+v", e)
		}
		wantEcho(t, c, "lives on")
	})
	t.Run("U-04 no token in any event", func(t *testing.T) {
		const secret = "a-secret-of-the-peer"
		verify := wssecure.VerifierFunc(func(_ context.Context, token string) (*wssecure.Identity, error) {
			if token == secret {
				return nil, errors.New("no such token: " + token)
			}
			return &wssecure.Identity{Issuer: "x", Subject: "alice", Expiry: time.Now().Add(time.Hour)}, nil
		})
		var said string
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			said = c.Session().Renew(ctx, secret).Error()
			return nil
		}, func(t *testing.T, s *timed) {
			<-listen(s.open("token"), true).over
			if !strings.Contains(said, "no such token") || strings.Contains(said, secret) {
				t.Errorf("the error says %q", said)
			}
		}, wssecure.RequireToken(verify))
	})
}

// TestRenewWithoutToken: what there is nothing to renew for says so.
func TestRenewWithoutToken(t *testing.T) {
	result := make(chan error, 1)
	serve := func(ctx context.Context, c *wssecure.Conn) error {
		result <- c.Session().Renew(ctx, "token")
		return nil
	}
	want := func(t *testing.T, words string) {
		t.Helper()
		if err := next(t, result); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("Renew: %v, want one with %q", err, words)
		}
	}
	t.Run("anonymous", func(t *testing.T) {
		newGate(t, serve).knock(attacker)
		want(t, "no token to renew")
	})
	t.Run("a client certificate alone", func(t *testing.T) {
		ca := newClientCA(t, "ours")
		leaf := ca.issue("device-1").Leaf
		g := &gate{t: t}
		g.start(serve, []wssecure.Option{wssecure.RequireClientCert(ca.pool)})
		g.knock(attacker, func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}} })
		want(t, "no token to renew")
	})
	t.Run("still waiting for its late token", func(t *testing.T) {
		newTokenGate(t, serve, late()).knock(attacker)
		want(t, "call Authenticate")
	})
	t.Run("a token without expiry", func(t *testing.T) {
		g := &gate{t: t}
		g.start(serve, []wssecure.Option{wssecure.RequireToken(wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
			return &wssecure.Identity{Issuer: "x", Subject: "alice"}, nil
		}))})
		g.knock(attacker, bearer("token"))
		want(t, "no expiry")
	})
	t.Run("S-17 ended", func(t *testing.T) {
		g := newTokenGate(t, func(ctx context.Context, c *wssecure.Conn) error {
			c.Session().Close(4000, "bye")
			return serve(ctx, c)
		})
		g.knock(attacker, bearer(g.issuer.Token("alice")))
		if err := next(t, result); !errors.Is(err, wssecure.ReasonDone) {
			t.Errorf("Renew: %v, want that of the end", err)
		}
	})
}
