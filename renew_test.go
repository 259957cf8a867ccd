package wssecure_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

// renewer is an application that takes fresh tokens from messages "renew <token>"
// and says what came of it; it echoes everything else.
func renewer(ctx context.Context, c *wssecure.Conn) error {
	return obey(ctx, c, "renew ", func(token string) string { return verdictOf(c.Session().Renew(ctx, token)) })
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
