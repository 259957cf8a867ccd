package wssecure_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

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
