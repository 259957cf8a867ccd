package wssecure_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestRefusalHeaders is the one door out, behind middleware that has already
// written into the answer.
func TestRefusalHeaders(t *testing.T) {
	outer := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Add("Set-Cookie", "sid=1")
			h.Add("Set-Cookie", "sid=2")
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Allow-Credentials", "true")
			h.Set("Content-Security-Policy", "default-src *")
			h.Set("Strict-Transport-Security", "max-age=1")
			h.Set("X-Frame-Options", "SAMEORIGIN")
			h.Set("Cache-Control", "public")
			h.Set("Connection", "keep-alive")
			h.Set("Vary", "Origin")
			h.Set("Location", "/login")
			h.Set("Refresh", "0;url=/login")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Retry-After", "1")
			h.Set("Content-Length", "0")
			next.ServeHTTP(w, r)
		})
	}
	behind := func(g *wssecure.Guard) http.Handler { return outer(g.ConnHandler(wssecuretest.Echo)) }
	for name, plaintext := range map[string]bool{"D-14 TLS": false, "D-14 plaintext": true} {
		t.Run(name, func(t *testing.T) {
			s := startOver(t, plaintext, behind)
			status, reason, want := 403, wssecure.ReasonOrigin, []string{"max-age=31536000"}
			if plaintext {
				reason, want = wssecure.ReasonTransport, nil
			}
			r, _ := wantRefused(t, s, page(s, "https://evil.net"), status, reason)
			for _, name := range []string{"Access-Control-Allow-Credentials", "Refresh", "Retry-After"} {
				if got := r.Values(name); len(got) > 0 {
					t.Errorf("%s: %q", name, got)
				}
			}
			if got := r.Values("Strict-Transport-Security"); !slices.Equal(got, want) {
				t.Errorf("HSTS %q, want %q", got, want)
			}
		})
	}
	t.Run("D-13 OPTIONS", func(t *testing.T) {
		s := startRoutes(t, guarded(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		hs := page(s, wssecuretest.Origin)
		hs.Method = "OPTIONS"
		r, _ := wantRefused(t, s, hs, 405, wssecure.ReasonMethod)
		if r.Get("Allow") != "GET" {
			t.Errorf("Allow %q", r.Get("Allow"))
		}
		ordinary := plainGet("/", wssecuretest.Host)
		ordinary.Method = "OPTIONS"
		r = fetch(t, s, ordinary.Add("Origin: https://evil.net").Add("Access-Control-Request-Method: GET"))
		if r.Status != http.StatusNoContent {
			t.Errorf("status %d, want next's 204", r.Status)
		}
		for _, f := range r.Header {
			if strings.HasPrefix(strings.ToLower(f.Name), "access-control-") {
				t.Errorf("%s: %s", f.Name, f.Value)
			}
		}
	})
}

// TestRefusalKeys is D-25, on the header map itself: a bare writer shows what
// net/http would add to.
func TestRefusalKeys(t *testing.T) {
	g, token := memGuard(t, memnet.DeafLog{}, wssecure.TrustProxies("X-Forwarded-For", "203.0.113.9/32"), wssecure.RequireScopes("none"),
		wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerMinute(2)))
	h := g.ConnHandler(wssecuretest.Echo)
	for _, tc := range []struct {
		name   string
		status int
		most   int
		change func(*http.Request)
	}{
		{"405", 405, 9, func(r *http.Request) { r.Method = "POST" }},
		{"426", 426, 9, func(r *http.Request) { delete(r.Header, "Upgrade") }},
		{"400", 400, 8, func(r *http.Request) { r.Header["Sec-Websocket-Key"] = []string{"short"} }},
		{"400 version", 400, 9, func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"13", "13"} }},
		{"400 host", 400, 8, func(r *http.Request) { r.Host = "a..b" }},
		{"403", 403, 8, func(r *http.Request) { r.Header["Origin"] = []string{"null"} }},
		{"401", 401, 8, func(r *http.Request) { delete(r.Header, "Authorization") }},
		{"403 scope", 403, 8, func(*http.Request) {}},
		{"429", 429, 8, func(r *http.Request) { delete(r.Header, "Authorization") }},
	} {
		t.Run("D-25 "+tc.name, func(t *testing.T) {
			r := memnet.Request(token)
			r.Header["X-Forwarded-Proto"] = []string{"https"}
			tc.change(r)
			w := serveInMemory(h, r)
			if w.status != tc.status {
				t.Fatalf("status %d, want %d: %s", w.status, tc.status, w.body.String())
			}
			if n := len(w.header); n > tc.most {
				t.Errorf("%d header keys, want at most %d: %v", n, tc.most, slices.Sorted(maps.Keys(w.header)))
			}
			for _, name := range []string{"Vary", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy"} {
				if w.header[name] != nil {
					t.Errorf("a refusal has %s", name)
				}
			}
			if got := w.header["Strict-Transport-Security"]; tc.name != "400 host" && !slices.Equal(got, []string{"max-age=31536000"}) {
				t.Errorf("HSTS %q", got)
			}
		})
	}
}
