package wssecure_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestPolicies(t *testing.T) {
	csp := func(t *testing.T, s *wssecuretest.Server, host string) string {
		t.Helper()
		lines := fetch(t, s, plainGet("/200", host)).Values("Content-Security-Policy")
		if len(lines) != 1 {
			t.Fatalf("CSP %q, want one", lines)
		}
		return lines[0]
	}
	secure := startRoutes(t, paged(says))
	public := startRoutes(t, paged(says), wssecure.SetPublicURL("https://live.example.com:8443"))
	plain := startOver(t, true, paged(says), wssecure.InsecureAllowPlaintext(why))
	local := startOver(t, true, paged(says), wssecure.AllowLocalhost())
	closed := startOver(t, true, paged(says))
	for _, tc := range []struct {
		name string
		s    *wssecuretest.Server
		host string
		want string
	}{
		{"D-07 Pages", secure, wssecuretest.Host, " wss://ws.example.com"},
		{"D-07 a port", secure, "ws.example.com:8443", " wss://ws.example.com:8443"},
		{"D-07 no host by the grammar", secure, "a;script-src", ""},
		{"D-07 no host by the grammar, a star", secure, "*", ""},
		{"D-07 no host by the grammar, a number", secure, "127.1", ""},
		{"D-07 SetPublicURL", public, "internal.example", " wss://live.example.com:8443"},
		{"D-07 InsecureAllowPlaintext", plain, wssecuretest.Host, " wss://ws.example.com ws://ws.example.com"},
		{"D-07 AllowLocalhost, loopback", local, "localhost:8080", " wss://localhost:8080 ws://localhost:8080"},
		{"D-07 AllowLocalhost, another host", local, wssecuretest.Host, " wss://ws.example.com"},
		{"D-07 plaintext that is not allowed", closed, wssecuretest.Host, " wss://ws.example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := csp(t, tc.s, tc.host); got != pagePolicy(tc.want) {
				t.Errorf("CSP %q\nwant %q", got, pagePolicy(tc.want))
			}
		})
	}

	for _, tc := range []struct{ name, policy, frame string }{
		{"D-06 SetCSP", "default-src 'self'", "DENY"},
		{"D-10 'none'", "frame-ancestors 'none'", "DENY"},
		{"D-10 empty", "frame-ancestors", "DENY"},
		{"D-10 'self'", "default-src 'self'; frame-ancestors 'self'", "SAMEORIGIN"},
		{"D-10 'SELF'", "FRAME-ANCESTORS 'SELF'", "SAMEORIGIN"},
		{"D-10 hosts", "frame-ancestors 'self' https://a.example", ""},
		{"D-10 the first counts", "frame-ancestors 'self'; frame-ancestors 'none'", "SAMEORIGIN"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, handler := range []func(http.HandlerFunc) func(*wssecure.Guard) http.Handler{guarded, paged} {
				s := startRoutes(t, handler(says), wssecure.SetCSP(tc.policy))
				r := fetch(t, s, plainGet("/200", wssecuretest.Host))
				if got := r.Get("Content-Security-Policy"); got != tc.policy {
					t.Errorf("CSP %q, want %q", got, tc.policy)
				}
				if got := r.Get("X-Frame-Options"); got != tc.frame || len(r.Values("X-Frame-Options")) > 1 {
					t.Errorf("X-Frame-Options %q, want %q", got, tc.frame)
				}
			}
			refusing := newIssued(t, wssecure.SetCSP(tc.policy))
			r, _ := wantRefused(t, refusing, page(refusing, "https://evil.net"), 403, wssecure.ReasonOrigin)
			if got := r.Values("Content-Security-Policy"); !slices.Equal(got, []string{strictPolicy}) {
				t.Errorf("D-06 a refusal's CSP: %q", got)
			}
		})
	}
}
