package wssecure_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

// renewer is an application that takes fresh tokens from messages "renew <token>"
// and says what came of it; it echoes everything else.
func renewer(ctx context.Context, c *wssecure.Conn) error {
	for {
		_, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if token, ok := strings.CutPrefix(string(p), "renew "); ok {
			p = []byte(verdictOf(c.Session().Renew(ctx, token)))
		}
		if err := c.Write(ctx, wssecure.MessageText, p); err != nil {
			return err
		}
	}
}

func verdictOf(err error) string {
	var rejection *wssecure.Rejection
	switch {
	case err == nil:
		return "renewed"
	case errors.As(err, &rejection):
		return string(rejection.Reason)
	}
	return err.Error()
}

// renewal is a session in fake time with a token of an hour, and its peer.
type renewal struct {
	*timed
	t     *testing.T
	p     *peer
	start time.Time
}

// renewing runs f with a session whose token has these claims.
func renewing(t *testing.T, claims members, f func(r *renewal), more ...wssecure.Option) {
	t.Helper()
	inTime(t, renewer, func(t *testing.T, s *timed) {
		r := &renewal{timed: s, t: t, start: time.Now()}
		r.p = listen(s.open(r.token(time.Hour, claims)), true)
		synctest.Wait()
		f(r)
		leave(r.p)
	}, more...)
}

// token is one of alice that expires in d from the start.
func (r *renewal) token(d time.Duration, more ...members) string {
	all := append([]members{{"exp": r.start.Add(d).Unix()}}, more...)
	return r.issuer.Sign("ES256", r.issuer.Claims("alice", all...))
}

// renew sends a token and gives the application's answer, "" when there is none.
func (r *renewal) renew(token string) string {
	r.t.Helper()
	had := len(r.p.texts)
	send(r.t, r.p.Conn, text("renew "+token))
	synctest.Wait()
	if len(r.p.texts) == had {
		return ""
	}
	return r.p.texts[had]
}

func (r *renewal) want(token, verdict string) {
	r.t.Helper()
	if got := r.renew(token); got != verdict {
		r.t.Fatalf("Renew: %q, want %q", got, verdict)
	}
}

// wantUnchanged wants that the session ends with the token's hour, and for nothing
// else: what was refused has changed nothing.
func (r *renewal) wantUnchanged() {
	r.t.Helper()
	if n := r.count(wssecure.EventRenewed); n != 0 {
		r.t.Errorf("%d renewed events", n)
	}
	r.p.wantEnd(r.t, r.start, 3000, "token-expired", time.Hour, time.Hour+31*time.Second)
}

func (r *renewal) wantOpen() {
	r.t.Helper()
	synctest.Wait()
	if r.p.code != 0 {
		r.t.Fatalf("ended with %d %s", r.p.code, r.p.reason)
	}
}

func TestRenew(t *testing.T) {
	t.Run("S-01 renewed before; S-02 the deadline is the new one", func(t *testing.T) {
		renewing(t, nil, func(r *renewal) {
			time.Sleep(59 * time.Minute)
			r.want(r.token(2*time.Hour), "renewed")
			r.p.wantEnd(t, r.start, 3000, "token-expired", 2*time.Hour, 2*time.Hour+31*time.Second)
			if n := r.count(wssecure.EventRenewed); n != 1 {
				t.Errorf("%d renewed events", n)
			}
		})
	})
	t.Run("S-01 renewed within the skew", func(t *testing.T) {
		renewing(t, nil, func(r *renewal) {
			time.Sleep(time.Hour + 29*time.Second)
			r.want(r.token(2*time.Hour), "renewed")
			time.Sleep(30 * time.Minute)
			r.wantOpen()
		})
	})
	t.Run("S-30 renewed after exp", func(t *testing.T) {
		renewing(t, nil, func(r *renewal) {
			time.Sleep(2 * time.Hour)
			r.want(r.token(3*time.Hour), "renewed")
			r.p.wantEnd(t, r.start, 3000, "token-expired", 5*time.Hour, 5*time.Hour+31*time.Second)
		}, outlive(2*time.Hour))
	})
	for name, target := range map[string]func(issuer, n string) wssecure.Target{
		"TokenID":     func(issuer, n string) wssecure.Target { return wssecure.TokenID(issuer, "t"+n) },
		"OIDCSession": func(issuer, n string) wssecure.Target { return wssecure.OIDCSession(issuer, "s"+n) },
	} {
		t.Run("S-02 the index moves: "+name, func(t *testing.T) {
			renewing(t, members{"jti": "t1", "sid": "s1"}, func(r *renewal) {
				r.want(r.token(2*time.Hour, members{"jti": "t2", "sid": "s2"}), "renewed")
				if n, err := r.guard.Revoke(t.Context(), target(r.issuer.URL, "1"), "the old one"); n != 0 || err != nil {
					t.Errorf("%d closed, %v", n, err)
				}
				r.want(r.token(3*time.Hour, members{"jti": "t2", "sid": "s2"}), "renewed")
				r.wantOpen()
				if n, _ := r.guard.Revoke(t.Context(), target(r.issuer.URL, "2"), "the new one"); n != 1 {
					t.Errorf("%d closed", n)
				}
				<-r.p.over
			})
		})
	}
	t.Run("S-02 fewer scopes, and again; C-07 filters see the new Identity", func(t *testing.T) {
		var seen []int
		filter := func(_ context.Context, c *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
			seen = append(seen, len(c.Identity().Scopes))
			return p, nil
		}
		renewing(t, members{"scope": "a b c"}, func(r *renewal) {
			r.want(r.token(2*time.Hour, members{"scope": "a c"}), "renewed")
			r.want(r.token(3*time.Hour, members{"scope": "a b"}), "scope")
			r.want(r.token(3*time.Hour, members{"scope": "a"}), "renewed")
			send(t, r.p.Conn, text("x"))
			synctest.Wait()
			if want := []int{3, 2, 2, 1}; len(seen) != 4 || seen[0] != want[0] || seen[1] != want[1] || seen[2] != want[2] || seen[3] != want[3] {
				t.Errorf("the filter saw %v scopes, want %v", seen, want)
			}
		}, wssecure.OnMessage(filter))
	})
	t.Run("L-37 new limits from the next frame on", func(t *testing.T) {
		var asked int
		byPlan := wssecure.LimitSessionBy(func(id *wssecure.Identity) wssecure.Limits {
			asked++
			switch id.Claims["plan"] {
			case "small":
				return wssecure.Limits{MessageSize: 8}
			case "broken":
				return wssecure.Limits{MessageSize: -1}
			case "panic":
				panic("L-37")
			}
			return wssecure.Limits{}
		})
		renewing(t, members{"plan": "large"}, func(r *renewal) {
			r.want(r.token(2*time.Hour, members{"plan": "broken"}), "internal")
			r.want(r.token(2*time.Hour, members{"plan": "panic"}), "internal")
			if asked != 3 || r.count(wssecure.EventRenewed) != 0 {
				t.Errorf("asked %d times", asked)
			}
			r.want(r.token(2*time.Hour, members{"plan": "large"}), "renewed")
			r.want(r.token(3*time.Hour, members{"plan": "small"}), "renewed")
			start := time.Now()
			send(t, r.p.Conn, text("123456789"))
			r.p.wantEnd(t, start, 1009, "message-size", 0, 0)
		}, byPlan)
	})
	t.Run("S-02 Sessions shows the new expiry", func(t *testing.T) {
		renewing(t, nil, func(r *renewal) {
			r.want(r.token(2*time.Hour), "renewed")
			for info := range r.guard.Sessions() {
				if !info.Expiry.Equal(r.start.Add(2 * time.Hour).Truncate(time.Second)) {
					t.Errorf("expiry %s", info.Expiry)
				}
			}
		})
	})
}

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

// bubbleStart is when the clock of a synctest bubble begins.
const bubbleStart = 946_684_800

// TestRenewEnds is S-16: a token that tells against the session.
func TestRenewEnds(t *testing.T) {
	claims := func(more members) func(*renewal) string {
		return func(r *renewal) string {
			return r.token(2*time.Hour, members{"scope": "ws:read ws:write", "roles": "ops", "acr": "mfa", "auth_time": bubbleStart}, more)
		}
	}
	for name, row := range map[string]struct {
		token  func(*renewal) string
		code   int
		reason string
	}{
		"another subject": {claims(members{"sub": "bob"}), 3000, "token-invalid"},
		"bound to a key":  {claims(members{"cnf": members{"x5t#S256": strings.Repeat("A", 43)}}), 3000, "token-invalid"},
		"a scope lost":    {claims(members{"scope": "ws:read"}), 3003, "scope"},
		"a role lost":     {claims(members{"roles": "x"}), 3003, "forbidden"},
		"a level lost":    {claims(members{"acr": "pwd"}), 3003, "auth-level"},
	} {
		t.Run("S-16 "+name, func(t *testing.T) {
			renewing(t, members{"scope": "ws:read ws:write", "roles": "ops", "acr": "mfa", "auth_time": bubbleStart}, func(r *renewal) {
				start := time.Now()
				if got := r.renew(row.token(r)); got != "" {
					t.Errorf("Renew: %q, want none", got)
				}
				r.p.wantEnd(t, start, row.code, row.reason, 0, 0)
				if e := r.closed(t); e.By != wssecure.ByGuard || e.Subject != "alice" {
					t.Errorf("closed %+v", e)
				}
				if n := r.count(wssecure.EventRenewed); n != 0 {
					t.Errorf("%d renewed events", n)
				}
			}, readWrite(), roles("ops"), stepUp())
		})
	}
	t.Run("S-16 all conditions met, however long ago the login", func(t *testing.T) {
		renewing(t, members{"scope": "ws:read ws:write", "roles": "ops", "acr": "mfa", "auth_time": bubbleStart}, func(r *renewal) {
			time.Sleep(30 * time.Minute)
			r.want(claims(nil)(r), "renewed")
		}, readWrite(), roles("ops"), stepUp())
	})
	t.Run("S-16 another issuer", func(t *testing.T) {
		other := wssecuretest.NewIssuer(t, "https://other.example.com")
		ours := wssecuretest.NewIssuer(t, "")
		both := wssecure.RequireToken(wssecure.AnyOf(
			wssecure.StaticKeys(ours.JWKS(), ours.URL, wssecuretest.Audience),
			wssecure.StaticKeys(other.JWKS(), other.URL, wssecuretest.Audience),
		))
		renewing(t, nil, func(r *renewal) {
			r.want(r.token(2*time.Hour), "renewed")
			start := time.Now()
			r.renew(other.Sign("ES256", other.Claims("alice", members{"exp": r.start.Add(3 * time.Hour).Unix()})))
			r.p.wantEnd(t, start, 3000, "token-invalid", 0, 0)
		}, both)
	})
	for name := range targets("", "") {
		// T15: what another node has revoked while the feed is cut.
		t.Run("S-16 revoked elsewhere: "+name, func(t *testing.T) {
			fresh := members{"jti": "t1", "sid": "s1"}
			renewing(t, nil, func(r *renewal) {
				m := markingStore(r.guard)
				m.revoke(t, targets(r.issuer.URL, r.sessionID(t))[name])
				start := time.Now()
				r.renew(r.token(2*time.Hour, fresh))
				r.p.wantEnd(t, start, 3000, "revoked", 0, 0)
			})
		})
		t.Run("S-16 its own token was revoked elsewhere: "+name, func(t *testing.T) {
			renewing(t, members{"jti": "t1", "sid": "s1"}, func(r *renewal) {
				m := markingStore(r.guard)
				m.revoke(t, targets(r.issuer.URL, r.sessionID(t))[name])
				time.Sleep(2 * time.Second)
				start := time.Now()
				r.renew(r.token(2*time.Hour, members{"iat": start.Unix()})) // a login of after the mark
				r.p.wantEnd(t, start, 3000, "revoked", 0, 0)
			})
		})
	}
	t.Run("S-16 revoked between the question and the swap", func(t *testing.T) {
		renewing(t, nil, func(r *renewal) {
			m := markingStore(r.guard)
			asked := 0
			m.before = func(ops []store.Op) {
				if _, isMark := ops[0].(*store.Admit); !isMark {
					return
				}
				if asked++; asked == 2 { // the session has its new keys by now
					m.revoke(t, store.TokenID(r.issuer.URL, "t2"))
				}
			}
			start := time.Now()
			r.renew(r.token(2*time.Hour, members{"jti": "t2"}))
			r.p.wantEnd(t, start, 3000, "revoked", 0, 0)
			if n := r.count(wssecure.EventRenewed); n != 0 {
				t.Errorf("%d renewed events", n)
			}
		})
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

// TestRenewBesideCertificate: a fresh token does not outlast the certificate of
// the connection, nor is its expiry lost where the certificate lasts longer.
func TestRenewBesideCertificate(t *testing.T) {
	for name, row := range map[string]struct{ certificate, ends time.Duration }{
		"the certificate ends first": {90 * time.Minute, 90 * time.Minute},
		"the token ends first":       {5 * time.Hour, 2 * time.Hour},
	} {
		t.Run("A-48 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newClientCA(t, "ours")
				leaf := ca.issue("device-1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(row.certificate) }).Leaf
				fresh := make(chan string)
				start := time.Now()
				g := newTokenGate(t, func(ctx context.Context, c *wssecure.Conn) error {
					if err := c.Session().Renew(ctx, <-fresh); err != nil {
						t.Error(err)
					}
					<-ctx.Done()
					return nil
				}, wssecure.RequireClientCert(ca.pool), wssecure.SetPing(time.Hour), wssecure.LimitSession(wssecure.Limits{Pong: 10 * time.Hour}))
				bound := members{"cnf": members{"x5t#S256": thumbprint(tls.Certificate{Certificate: [][]byte{leaf.Raw}})}}
				a := g.knock(attacker, bearer(g.issuer.Sign("ES256", g.issuer.Claims("alice", bound))), func(r *http.Request) {
					r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
				})
				wantAnswer(t, a, 101, "")
				fresh <- g.issuer.Sign("ES256", g.issuer.Claims("alice", bound, members{"exp": start.Add(2 * time.Hour).Unix()}))
				time.Sleep(row.ends + 20*time.Second)
				synctest.Wait()
				if n := len(g.seen(wssecure.EventClosed)); n != 0 {
					t.Errorf("ended early: %+v", g.seen(wssecure.EventClosed))
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if e := g.seen(wssecure.EventClosed); len(e) != 1 || e[0].Reason != wssecure.ReasonTokenExpired {
					t.Errorf("closed %+v", e)
				}
			})
		})
	}
}

// TestRenewRotatesIntrospectedToken: the answers about the last token, which its
// server forgets when the next is issued, are not about the session any more.
func TestRenewRotatesIntrospectedToken(t *testing.T) {
	const every = 5 * time.Minute
	exp := func(d time.Duration) members { return members{"exp": time.Now().Add(d).Unix()} }
	open := func(t *testing.T, f func(t *testing.T, s *timed, p *peer, first string), more ...wssecure.Option) {
		t.Helper()
		byIntrospection(t, func(t *testing.T, s *timed) {
			s.pipeServer = newPipeServer(t, s.guard.ConnHandler(renewer))
			first := s.issuer.Opaque("alice", exp(10*time.Hour))
			f(t, s, listen(s.open(first), true), first)
		}, more...)
	}
	t.Run("A-65 the old one inactive later", func(t *testing.T) {
		open(t, func(t *testing.T, s *timed, p *peer, first string) {
			r := &renewal{timed: s, t: t, p: p}
			second := s.issuer.Opaque("alice", exp(20*time.Hour))
			r.want(second, "renewed")
			s.issuer.SetActive(first, nil)
			time.Sleep(10 * every)
			r.wantOpen()
			start := time.Now()
			s.issuer.SetActive(second, nil)
			p.wantEnd(t, start, 3000, "revoked", 0, every)
		})
	})
	for name, active := range map[string]bool{"good": true, "that it is not active": false} {
		t.Run("A-65 an answer about the old one under way: "+name, func(t *testing.T) {
			slow := &slowly{}
			byIntrospectionThrough(t, slow, func(t *testing.T, s *timed) {
				slow.asked = make(chan struct{}) // of the bubble
				s.pipeServer = newPipeServer(t, s.guard.ConnHandler(renewer))
				first, second := s.issuer.Opaque("alice", exp(10*time.Hour)), s.issuer.Opaque("alice", exp(20*time.Hour))
				r := &renewal{timed: s, t: t, p: listen(s.open(first), true)}
				slow.next.Store(true)
				<-slow.asked
				if !active {
					s.issuer.SetActive(first, nil)
				}
				r.want(second, "renewed")
				time.Sleep(5 * time.Second) // the answer is there
				r.wantOpen()
				for info := range s.guard.Sessions() {
					if left := time.Until(info.Expiry); left < 15*time.Hour {
						t.Errorf("the old answer came back: %v left", left)
					}
				}
			})
		})
	}
	t.Run("S-20 it stays in its group of SetRecheck", func(t *testing.T) {
		a := &asking{}
		renewing(t, nil, func(r *renewal) {
			for i := range 5 {
				r.want(r.token(time.Duration(i+2)*time.Hour), "renewed")
				time.Sleep(recheckEvery)
			}
			synctest.Wait()
			if n := len(a.times()); n < 4 || n > 6 {
				t.Errorf("asked %d times in five intervals", n)
			}
			a.say(refusing(wssecure.ReasonForbidden))
			start := time.Now()
			r.p.wantEnd(t, start, 3003, "forbidden", 0, recheckEvery)
		}, wssecure.SetRecheck(recheckEvery, a.ask))
	})
}

// slowly holds up the next request, once it is told to, for three seconds.
type slowly struct {
	http.RoundTripper
	next  atomic.Bool
	asked chan struct{}
}

func (s *slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.next.Swap(false) {
		close(s.asked)
		time.Sleep(3 * time.Second)
	}
	return s.RoundTripper.RoundTrip(r)
}

// TestRenewRaces is S-17: one wins, an end is final, and each renewal tells once.
func TestRenewRaces(t *testing.T) {
	for round := range 80 {
		raceRenewal(t, round)
	}
}

// raceRenewal lets the verifier return at the very moment of an end.
func raceRenewal(t *testing.T, round int) {
	synctest.Test(t, func(t *testing.T) {
		const moment = 5 * time.Second
		var first atomic.Bool
		start := time.Now()
		verify := wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
			if !first.Swap(true) {
				return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: "t1", Expiry: start.Add(moment)}, nil
			}
			time.Sleep(time.Until(start.Add(moment)))
			return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: "t2", Expiry: start.Add(time.Hour)}, nil
		})
		s := newTimed(t, wssecure.RequireToken(verify))
		results := make(chan error, 1)
		s.pipeServer = newPipeServer(t, s.guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			at := func(f func()) { time.AfterFunc(time.Until(start.Add(moment)), f) }
			switch round % 4 {
			case 1:
				at(func() { s.guard.Revoke(context.Background(), wssecure.Subject("x", "alice"), "race") })
			case 2:
				at(func() { s.guard.Revoke(context.Background(), wssecure.TokenID("x", "t2"), "race") })
			case 3:
				at(func() { c.Session().Close(4000, "race") })
			}
			results <- c.Session().Renew(ctx, "second")
			<-ctx.Done()
			return nil
		}))
		p := listen(s.open("first"), true)
		err := <-results
		synctest.Wait()
		if err == nil {
			if _, revoked := s.guard.Revoke(t.Context(), wssecure.TokenID("x", "t2"), "found"); revoked != nil {
				t.Error(revoked)
			}
		}
		<-p.over
		e := s.closed(t)
		if err != nil && !errors.Is(err, e.Reason) {
			t.Errorf("round %d: Renew: %v; closed for %s", round, err, e.Reason)
		}
		if renewed := s.count(wssecure.EventRenewed); (err == nil) != (renewed == 1) {
			t.Errorf("round %d: Renew: %v, %d renewed events", round, err, renewed)
		}
		if err == nil && e.Reason == wssecure.ReasonTokenExpired {
			t.Errorf("round %d: the old deadline ended a session that was renewed", round)
		}
		if open := s.guard.Stats().Open; open != 0 {
			t.Errorf("round %d: %d open", round, open)
		}
	})
}

// TestRenewInParallel: whatever order they come in, the last expiry stays, each
// index names the identity, and nothing of an ended session is left.
func TestRenewInParallel(t *testing.T) {
	const rounds, tokens = 300, 6
	start := time.Now().Truncate(time.Second)
	verify := wssecure.VerifierFunc(func(_ context.Context, token string) (*wssecure.Identity, error) {
		n := time.Duration(token[len(token)-1]-'0') * time.Hour
		return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: token, Expiry: start.Add(n)}, nil
	})
	g := &gate{t: t}
	sessions := make(chan *wssecure.Session, 1)
	g.start(func(ctx context.Context, c *wssecure.Conn) error {
		sessions <- c.Session()
		<-ctx.Done()
		return nil
	}, []wssecure.Option{wssecure.RequireToken(verify), fastHandshakes})
	var won atomic.Int64
	for round := range rounds {
		wantAnswer(t, g.knock(attacker, bearer("t1")), 101, "")
		s := next(t, sessions)
		var all sync.WaitGroup
		for i := range tokens {
			all.Go(func() {
				if s.Renew(t.Context(), "t"+string(rune('2'+i))) == nil {
					won.Add(1)
				}
			})
		}
		if round%2 == 1 {
			all.Go(func() { s.Close(4000, "race") })
		}
		all.Wait()
		if round%2 == 1 {
			if s.Renew(t.Context(), "t9") == nil {
				t.Fatal("S-17 an ended session was renewed")
			}
			continue
		}
		if id := s.Identity(); id.TokenID != "t7" {
			t.Fatalf("the session is %s's, want t7's", id.TokenID)
		}
		if n, _ := g.guard.Revoke(t.Context(), wssecure.SessionID(s.ID()), "found"); n != 1 {
			t.Fatalf("%d sessions found by their id", n)
		}
	}
	g.hangUp()
	g.settled(0)
	g.await(wssecure.EventRenewed, int(won.Load()))
	if n := int64(len(g.seen(wssecure.EventRenewed))); n != won.Load() {
		t.Errorf("%d renewed events for %d renewals", n, won.Load())
	}
}

// TestRenewOvertaken: a renewal that another one has overtaken is judged against
// that one.
func TestRenewOvertaken(t *testing.T) {
	d := newRenewDesk(t, nil)
	m, asked := markingStore(d.guard), 0
	early, later := d.token(2*time.Hour), d.token(3*time.Hour, members{"jti": "later"})
	m.before = func([]store.Op) {
		if asked++; asked != 1 {
			return
		}
		if err := d.session.Renew(t.Context(), later); err != nil {
			t.Error(err)
		}
	}
	if err := d.session.Renew(t.Context(), early); !errors.Is(err, wssecure.ReasonTokenInvalid) {
		t.Errorf("S-17 Renew: %v, want that it does not expire later", err)
	}
	if id := d.session.Identity(); id.TokenID != "later" {
		t.Error("S-17 the last expiry was lost")
	}
}
