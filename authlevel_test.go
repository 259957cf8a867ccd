package wssecure_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

func stepUp() wssecure.Option { return wssecure.RequireAuthLevel(5*time.Minute, "mfa") }

// TestAuthLevelRows is A-27: what the token says of how and when its person has
// authenticated, and what a refusal tells the client to ask for (RFC 9470).
func TestAuthLevelRows(t *testing.T) {
	const minute = time.Minute
	for _, row := range []struct {
		name     string
		claims   members
		admitted bool
	}{
		{"A-27 mfa, just now", members{"acr": "mfa", "auth_time": ago(0)}, true},
		{"A-27 mfa, four minutes ago", members{"acr": "mfa", "auth_time": ago(4 * minute)}, true},
		{"A-27 mfa, within the issuer's skew ahead", members{"acr": "mfa", "auth_time": ago(-20 * time.Second)}, true},
		{"A-27 mfa, older", members{"acr": "mfa", "auth_time": ago(5*minute + 5*time.Second)}, false},
		{"A-27 mfa, far ahead", members{"acr": "mfa", "auth_time": ago(-5 * minute)}, false},
		{"A-27 mfa, auth_time missing", members{"acr": "mfa"}, false},
		{"A-27 other acr", members{"acr": "pwd", "auth_time": ago(0)}, false},
		{"A-27 acr missing", members{"auth_time": ago(0)}, false},
		{"A-27 acr of another case", members{"acr": "MFA", "auth_time": ago(0)}, false},
		{"A-27 two acr in one", members{"acr": "pwd mfa", "auth_time": ago(0)}, false},
		{"A-27 amr is no acr", members{"amr": []string{"mfa"}, "auth_time": ago(0)}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := wssecuretest.NewServer(t, stepUp())
			hs := s.Handshake(claimed(row.claims)(s.Issuer))
			if row.admitted {
				wantAdmitted(t, s, hs)
				return
			}
			r, e := wantRefused(t, s, hs, 401, wssecure.ReasonAuthLevel)
			want := `Bearer realm="ws", error="insufficient_user_authentication", acr_values="mfa", max_age="300"`
			if got := r.Get("WWW-Authenticate"); got != want {
				t.Errorf("challenge %q, want %q", got, want)
			}
			if e.Check != "auth-level" || e.Subject != "alice" || e.Wanted == "" {
				t.Errorf("event %+v", e)
			}
		})
	}
	t.Run("A-27 before scopes", func(t *testing.T) {
		s := wssecuretest.NewServer(t, readWrite(), stepUp())
		wantRefused(t, s, s.Handshake(s.Issuer.Token("alice")), 401, wssecure.ReasonAuthLevel)
	})
	t.Run("A-27 amr by claim", func(t *testing.T) {
		s := wssecuretest.NewServer(t, wssecure.RequireClaim("amr", "mfa"))
		wantRefused(t, s, s.Handshake(claimed(members{"amr": []string{"pwd"}})(s.Issuer)), 403, wssecure.ReasonForbidden)
		wantAdmitted(t, s, s.Handshake(claimed(members{"amr": []string{"pwd", "mfa"}})(s.Issuer)))
	})
}

// TestAuthLevelOfRoutes: a route narrows what it inherits, and its challenge
// names what satisfies both.
func TestAuthLevelOfRoutes(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	var parent *wssecure.Guard
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), wssecure.RequireAuthLevel(time.Hour, "mfa", "hwk")},
		Handler: func(g *wssecure.Guard) http.Handler {
			parent = g
			return with(t, g, wssecure.RequireAuthLevel(2*time.Hour, "hwk", "phr")).ConnHandler(wssecuretest.Echo)
		},
	})
	token := func(acr string, age time.Duration) string {
		return issuer.Sign("ES256", issuer.Claims("alice", members{"acr": acr, "auth_time": ago(age)}))
	}
	for _, text := range []string{token("mfa", 0), token("phr", 0), token("hwk", 90*time.Minute)} {
		r, _ := ask(t, s, s.Handshake(text))
		want := `Bearer realm="ws", error="insufficient_user_authentication", acr_values="hwk", max_age="3600"`
		if got := r.Get("WWW-Authenticate"); r.Status != 401 || got != want {
			t.Errorf("%d %q, want 401 %q", r.Status, got, want)
		}
	}
	wantAdmitted(t, s, s.Handshake(token("hwk", 30*time.Minute)))
	if _, err := parent.With(wssecure.RequireAuthLevel(time.Hour, "pwd")); err == nil || err.Error() != `RequireAuthLevel: "pwd" is outside the inherited level; use "mfa", "hwk"` {
		t.Errorf("an empty intersection: %v", err)
	}
}

func TestAuthLevelFaults(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	origins := wssecure.AllowOrigins(wssecuretest.Origin)
	for want, opt := range map[string]wssecure.Option{
		"RequireAuthLevel: a maximum age of 0s admits nobody; use 1s or more":    wssecure.RequireAuthLevel(0, "mfa"),
		"RequireAuthLevel: a maximum age of -1s admits nobody; use 1s or more":   wssecure.RequireAuthLevel(-time.Second, "mfa"),
		"RequireAuthLevel: a maximum age of 500ms admits nobody; use 1s or more": wssecure.RequireAuthLevel(time.Second/2, "mfa"),
		`RequireAuthLevel: no acr is given; name those that admit, as "mfa"`:     wssecure.RequireAuthLevel(time.Minute),
		`RequireAuthLevel: "" is no acr; write one such as "mfa"`:                wssecure.RequireAuthLevel(time.Minute, "mfa", ""),
		`RequireAuthLevel: "a b" is no acr; write one such as "mfa"`:             wssecure.RequireAuthLevel(time.Minute, "a b"),
		`RequireAuthLevel: "a\"" is no acr; write one such as "mfa"`:             wssecure.RequireAuthLevel(time.Minute, `a"`),
		"RequireAuthLevel: is given twice; keep one":                             wssecure.Options(stepUp(), stepUp()),
	} {
		wantFault(t, want, origins, opt, issuer.Option())
	}
	wantFault(t, "RequireAuthLevel: no token to read them from; add RequireToken", origins, wssecure.InsecureAllowAnonymous("Z-07"), stepUp())
}
