package wssecure_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/wssecuretest"
)

// atIssuer is a guard of opts and the issuer of its tokens, which is served on
// loopback.
func atIssuer(t *testing.T, require func(i *wssecuretest.Issuer, c *http.Client) wssecure.Verifier, opts ...wssecure.Option) (*wssecuretest.Server, *wssecuretest.Issuer) {
	t.Helper()
	i := wssecuretest.NewIssuer(t, "")
	client := i.Serve(t)
	opts = append(opts, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(require(i, client)))
	return wssecuretest.Start(t, wssecuretest.Config{Options: opts}), i
}

func byDiscovery(i *wssecuretest.Issuer, c *http.Client) wssecure.Verifier {
	return wssecure.OIDC(i.URL, wssecuretest.Audience, wssecure.HTTPClient(c))
}

func introspecting(i *wssecuretest.Issuer, c *http.Client) wssecure.Verifier {
	return wssecure.Introspection(i.URL+wssecuretest.IntrospectionPath, wssecuretest.ClientID, wssecuretest.ClientSecret, wssecuretest.Audience, wssecure.HTTPClient(c))
}

func TestOIDC(t *testing.T) {
	s, i := atIssuer(t, byDiscovery)
	t.Run("Q-01 nothing is fetched before the first handshake", func(t *testing.T) {
		if n := i.Fetches(); n != 0 {
			t.Errorf("%d fetches", n)
		}
	})
	t.Run("Q-14 a token of the issuer", func(t *testing.T) {
		wantAdmitted(t, s, s.Handshake(i.Token("alice")))
		if err := s.Guard.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("J-15 its ID token", func(t *testing.T) {
		wantRefused(t, s, fresh(s.Handshake(i.Sign("ES256", i.Claims("alice", map[string]any{"at_hash": "x"})))), 401, wssecure.ReasonTokenInvalid)
	})
	t.Run("A-31 another issuer's", func(t *testing.T) {
		wantRefused(t, s, fresh(s.Handshake(wssecuretest.NewIssuer(t, "").Token("alice"))), 401, wssecure.ReasonTokenInvalid)
	})
}

func TestOIDCDownAtStart(t *testing.T) {
	s, i := atIssuer(t, byDiscovery)
	i.SetFault(wssecuretest.Down)
	t.Run("Q-02 503 with Retry-After", func(t *testing.T) {
		r, _ := wantRefused(t, s, fresh(s.Handshake(i.Token("alice"))), 503, wssecure.ReasonUnavailable)
		if r.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if err := s.Guard.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), i.URL) {
			t.Errorf("Ready: %v", err)
		}
		if e := s.WaitEvent(wssecure.EventKeysFailed); e.Err == nil || !strings.Contains(e.Err.Error(), "status 500") || !strings.Contains(e.Hint, i.URL) {
			t.Errorf("event %+v", e)
		}
	})
	t.Run("Q-02 recovery", func(t *testing.T) {
		i.SetFault(wssecuretest.NoFault)
		s.WaitEvent(wssecure.EventKeysRefreshed)
		wantAdmitted(t, s, fresh(s.Handshake(i.Token("alice"))))
		if err := s.Guard.Ready(t.Context()); err != nil {
			t.Errorf("Ready: %v", err)
		}
	})
}

func TestOIDCWrongIssuer(t *testing.T) {
	s, i := atIssuer(t, func(i *wssecuretest.Issuer, c *http.Client) wssecure.Verifier {
		return wssecure.OIDC(i.URL+"/", wssecuretest.Audience, wssecure.HTTPClient(c))
	})
	wantRefused(t, s, fresh(s.Handshake(i.Sign("ES256", i.Claims("alice", map[string]any{"iss": i.URL + "/"})))), 503, wssecure.ReasonUnavailable)
	if e := s.WaitEvent(wssecure.EventKeysFailed); e.Seen != `"`+i.URL+`"` || e.Wanted != `"`+i.URL+`/"` {
		t.Errorf("Q-15 seen %s, wanted %s", e.Seen, e.Wanted)
	}
	if i.Fetches() != 0 {
		t.Error("Q-15 its keys were fetched")
	}
}

// TestOIDCFaults is Q-03: whatever an issuer's server answers, there is a 503.
func TestOIDCFaults(t *testing.T) {
	for name, fault := range map[string]wssecuretest.Fault{
		"HTML": wssecuretest.HTML, "4 MiB": wssecuretest.Huge, "redirect": wssecuretest.Redirect, "no keys": wssecuretest.EmptySet,
	} {
		t.Run("Q-03 "+name, func(t *testing.T) {
			s, i := atIssuer(t, byDiscovery)
			i.SetFault(fault)
			wantRefused(t, s, fresh(s.Handshake(i.Token("alice"))), 503, wssecure.ReasonUnavailable)
			s.WaitEvent(wssecure.EventKeysFailed)
		})
	}
}

// TestAnyOfIssuers is A-49 with issuers of every kind beside each other.
func TestAnyOfIssuers(t *testing.T) {
	b := wssecuretest.NewIssuer(t, "https://b.example")
	b.Rotate("ES256")
	tenants := wssecuretest.NewIssuer(t, "https://login.example/a1")
	tenants.Rotate("ES256")
	s, a := atIssuer(t, func(i *wssecuretest.Issuer, c *http.Client) wssecure.Verifier {
		return wssecure.AnyOf(byDiscovery(i, c), introspecting(i, c), wssecure.StaticKeys(b.JWKS(), b.URL, wssecuretest.Audience),
			wssecure.StaticKeys(tenants.JWKS(), "https://login.example/{tenantid}", wssecuretest.Audience, wssecure.Tenants("a1", "a2")))
	})
	under := func(iss string) map[string]any { return map[string]any{"iss": iss} }
	opaque := a.Opaque("alice")
	for _, row := range []struct {
		name, token string
		status      int
		reason      wssecure.Reason
		asked       int // requests for introspection
	}{
		{"a JWT of the discovered one", a.Token("alice"), 101, "", 0},
		{"a JWT of the static one", b.Token("alice"), 101, "", 0},
		{"a JWT of a tenant", tenants.Token("alice"), 101, "", 0},
		{"an opaque token", opaque, 101, "", 1},
		{"that token again", opaque, 101, "", 0},
		{"an opaque token nobody knows", "made-up-token", 401, wssecure.ReasonTokenInvalid, 1},
		{"a JWT of nobody: to those without issuer", wssecuretest.NewIssuer(t, "https://x.example").Token("alice"), 401, wssecure.ReasonTokenInvalid, 1},
		{"B's signature under A's issuer", b.SignHeader(map[string]any{"kid": a.KeyID("ES256")}, b.Claims("alice", under(a.URL)), "ES256"), 401, wssecure.ReasonTokenForged, 0},
		{"A's signature under B's issuer", a.SignHeader(map[string]any{"kid": b.KeyID("ES256")}, a.Claims("alice", under(b.URL)), "ES256"), 401, wssecure.ReasonTokenForged, 0},
		{"A's signature under a tenant's issuer", a.SignHeader(map[string]any{"kid": tenants.KeyID("ES256")}, a.Claims("alice", under(tenants.URL)), "ES256"), 401, wssecure.ReasonTokenForged, 0},
	} {
		t.Run("A-49 "+row.name, func(t *testing.T) {
			before := a.Introspections()
			if row.status == 101 {
				wantAdmitted(t, s, fresh(s.Handshake(row.token)))
			} else {
				wantRefused(t, s, fresh(s.Handshake(row.token)), row.status, row.reason)
			}
			if n := a.Introspections() - before; n != row.asked {
				t.Errorf("%d requests for introspection, want %d", n, row.asked)
			}
		})
	}
	v := wssecure.StaticKeys(b.JWKS(), b.URL, wssecuretest.Audience)
	wantFault(t, `AnyOf: issuer "https://b.example" has two verifiers; merge them`, wssecure.RequireToken(wssecure.AnyOf(v, v)))
	wantFault(t, `AnyOf: issuer "https://login.example/a1" has two verifiers; merge them`, wssecure.RequireToken(wssecure.AnyOf(
		wssecure.OIDC("https://login.example/{tenantid}", wssecuretest.Audience, wssecure.Tenants("a1")), wssecure.OIDC("https://login.example/a1", wssecuretest.Audience))))
}

func TestIntrospection(t *testing.T) {
	s, i := atIssuer(t, introspecting)
	past := time.Now().Add(-time.Hour).Unix()
	t.Run("A-40 active", func(t *testing.T) {
		wantAdmitted(t, s, fresh(s.Handshake(i.Opaque("alice"))))
		if e := s.WaitEvent(wssecure.EventOpened); e.Issuer != i.URL || e.Subject != "alice" {
			t.Errorf("identity %s %s", e.Issuer, e.Subject)
		}
		wantAdmitted(t, s, fresh(s.Handshake(i.Opaque("", map[string]any{"sub": wssecuretest.Absent, "client_id": "cron", "iss": wssecuretest.Absent}))))
		if e := s.WaitEvent(wssecure.EventOpened); e.Issuer != i.URL+wssecuretest.IntrospectionPath || e.Subject != "cron" {
			t.Errorf("identity %s %s", e.Issuer, e.Subject)
		}
	})
	for _, row := range []struct {
		name, token string
		reason      wssecure.Reason
	}{
		{"A-40 inactive", "made-up", wssecure.ReasonTokenInvalid},
		{"A-40 exp past", i.Opaque("alice", map[string]any{"exp": past}), wssecure.ReasonTokenExpired},
		{"A-70 aud absent", i.Opaque("alice", map[string]any{"aud": wssecuretest.Absent}), wssecure.ReasonTokenInvalid},
		{"A-70 nobody", i.Opaque("alice", map[string]any{"sub": wssecuretest.Absent}), wssecure.ReasonTokenInvalid},
		{"A-22 cnf.jkt", i.Opaque("alice", map[string]any{"cnf": map[string]any{"jkt": "x"}}), wssecure.ReasonTokenInvalid},
		{"A-26 another certificate", i.Opaque("alice", map[string]any{"cnf": map[string]any{"x5t#S256": strings.Repeat("A", 43)}}), wssecure.ReasonTokenInvalid},
	} {
		t.Run(row.name, func(t *testing.T) { wantRefused(t, s, fresh(s.Handshake(row.token)), 401, row.reason) })
	}
	t.Run("A-44 active is a string", func(t *testing.T) {
		wantRefused(t, s, fresh(s.Handshake(i.Opaque("alice", map[string]any{"active": "true"}))), 503, wssecure.ReasonUnavailable)
	})
	for name, fault := range map[string]wssecuretest.Fault{
		"500": wssecuretest.Down, "HTML": wssecuretest.HTML, "4 MiB": wssecuretest.Huge, "redirect": wssecuretest.Redirect, "other JSON": wssecuretest.EmptySet,
	} {
		t.Run("A-44 "+name, func(t *testing.T) {
			i.SetFault(fault)
			defer i.SetFault(wssecuretest.NoFault)
			r, _ := wantRefused(t, s, fresh(s.Handshake(i.Opaque("alice"))), 503, wssecure.ReasonUnavailable)
			if r.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

// TestIntrospectionTellsNoSecret is A-33 and CWE-532 for the client's secret.
func TestIntrospectionTellsNoSecret(t *testing.T) {
	var log logbook.Book
	s, i := atIssuer(t, func(i *wssecuretest.Issuer, c *http.Client) wssecure.Verifier {
		return wssecure.Introspection(i.URL+wssecuretest.IntrospectionPath, "stranger", wssecuretest.ClientSecret, wssecuretest.Audience, wssecure.HTTPClient(c))
	}, wssecure.SetLogger(log.Logger()))
	text := i.Opaque("alice")
	r, e := wantRefused(t, s, fresh(s.Handshake(text)), 503, wssecure.ReasonUnavailable) // 401 is about us
	if e.Err == nil || !strings.Contains(e.Err.Error(), "status 401") {
		t.Errorf("the operator is told %v", e.Err)
	}
	s.Guard.Shutdown(t.Context())
	all := log.String() + string(r.Body) + r.StatusLine
	for _, e := range s.Events() {
		all += e.Hint + e.Seen + e.Wanted
		if e.Err != nil {
			all += e.Err.Error()
		}
	}
	_, err := wssecure.New(wssecure.RequireToken(wssecure.Introspection("http://id.example.com", "stranger", wssecuretest.ClientSecret, "", wssecure.ClockSkew(-1))))
	for _, secret := range []string{"canary", text} {
		if strings.Contains(all+err.Error(), secret) {
			t.Errorf("%q is told", secret)
		}
	}
}

func TestAnyAudience(t *testing.T) {
	why := "the server names no audience"
	s, i := atIssuer(t, func(i *wssecuretest.Issuer, c *http.Client) wssecure.Verifier {
		return wssecure.AnyOf(wssecure.Introspection(i.URL+wssecuretest.IntrospectionPath, wssecuretest.ClientID, wssecuretest.ClientSecret, "",
			wssecure.HTTPClient(c), wssecure.InsecureAnyAudience(why)))
	})
	t.Run("A-64 told at start", func(t *testing.T) {
		if e := s.WaitEvent(wssecure.EventInsecure); e.Check != "InsecureAnyAudience" || e.Hint != why {
			t.Errorf("event %+v", e)
		}
	})
	t.Run("A-64 aud absent or another", func(t *testing.T) {
		wantAdmitted(t, s, fresh(s.Handshake(i.Opaque("alice", map[string]any{"aud": wssecuretest.Absent}))))
		wantAdmitted(t, s, fresh(s.Handshake(i.Opaque("alice", map[string]any{"aud": "mail"}))))
	})
	t.Run("A-64 no reason", func(t *testing.T) {
		wantFault(t, "InsecureAnyAudience: the reason is empty; say why in a few words", wssecure.RequireToken(
			wssecure.Introspection("https://id.example.com/introspect", "a", "b", "", wssecure.InsecureAnyAudience(" "))))
	})
	t.Run("A-50 With replaces the verifier and what was said of it", func(t *testing.T) {
		child, err := s.Guard.With(wssecure.RequireToken(wssecure.StaticKeys(i.JWKS(), i.URL, wssecuretest.Audience)))
		if err != nil || wssecure.HolesOf(child) != 0 {
			t.Errorf("%d holes, %v", wssecure.HolesOf(child), err)
		}
	})
}
