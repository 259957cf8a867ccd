package e2e

import (
	"slices"
	"testing"

	"github.com/wssecure/wssecure"
)

// TestRefusalsTellThePageNothing: the page sees 1006, the console the status, the event the reason; and no refusal leaves
// anything in the browser.
func TestRefusalsTellThePageNothing(t *testing.T) {
	s, b := startSite(t)
	p := b.open(s.https("app.test", "/"))
	self := s.https("app.test", "")
	expired := s.issuer.Sign("ES256", s.issuer.Claims("alice", map[string]any{"iat": 1_000_000_000, "exp": 1_000_003_600}))
	const unauthorized = "HTTP Authentication failed" // what Chromium makes of a 401; nobody is asked for a password

	for _, row := range []struct {
		name      string
		path      string
		protocols []string
		reason    wssecure.Reason
		console   string
	}{
		{"no credential", "/token", nil, wssecure.ReasonTokenMissing, unauthorized},
		{"no cookie", "/cookie", nil, wssecure.ReasonTokenMissing, unauthorized},
		{"an expired token", "/token", []string{"bearer", expired}, wssecure.ReasonTokenExpired, unauthorized},
		{"no token at all", "/token", []string{"bearer", "abc"}, wssecure.ReasonTokenInvalid, unauthorized},
		{"a marker without a token", "/token", []string{"chat", "bearer"}, wssecure.ReasonCredential, "Unexpected response code: 400"},
	} {
		b.run(t, row.name, func(t *testing.T) {
			s.wantRefused(t, p.dial(s.wss(row.path+"?set-cookie"), row.protocols...), row.reason, self)
			p.wantTrouble(row.console)
		})
	}
	if kept := b.cookies(); len(kept) > 0 {
		t.Errorf("refusals left the cookies %q", kept)
	}

	b.run(t, "a cookie that nobody knows", func(t *testing.T) {
		p.goTo(s.https("app.test", "/login?unknown"))
		s.wantRefused(t, p.dial(s.wss("/cookie")), wssecure.ReasonTokenInvalid, self)
	})
	b.run(t, "an admitted handshake keeps the middleware's cookie", func(t *testing.T) {
		p.goTo(s.https("app.test", "/login"))
		s.wantOpen(t, p.dial(s.wss("/cookie?set-cookie")), "open")
		p.send("done", 1)
		s.wantClosed(t, p, "close 1000", wssecure.ReasonDone, wssecure.ByApp)
		if kept := b.cookies(); !slices.Contains(kept, "by-middleware") {
			t.Errorf("the browser keeps %q: the rows above would not have seen a cookie", kept)
		}
	})
}

// TestRefusalsTellThePageWhy: with SetBrowserRefusals the page sees code and reason, and still nothing is left in the browser.
func TestRefusalsTellThePageWhy(t *testing.T) {
	s, b := startSite(t)
	p := b.open(s.https("app.test", "/"))
	told := func(name, path string, protocols []string, want []string, reason wssecure.Reason) {
		b.run(t, name, func(t *testing.T) {
			s.wantTold(t, p, p.dial(s.wss(path+"?set-cookie"), protocols...), want, reason)
			if lines := p.trouble(); len(lines) > 0 {
				t.Errorf("the console says %q", lines)
			}
		})
	}
	told("no cookie", "/told", nil, []string{"open", "close 3000 token-missing"}, wssecure.ReasonTokenMissing)
	told("a broken token", "/told/token", []string{"bearer", "abc"}, []string{"open bearer", "close 3000 token-invalid"}, wssecure.ReasonTokenInvalid)
	told("the real protocol is named", "/told/token", []string{"bearer", "abc", "chat"}, []string{"open chat", "close 3000 token-invalid"}, wssecure.ReasonTokenInvalid)
	told("or one the server does not speak", "/told/token", []string{"bearer", "abc", "soap"}, []string{"open soap", "close 3000 token-invalid"}, wssecure.ReasonTokenInvalid)
	if kept := b.cookies(); len(kept) > 0 {
		t.Errorf("refusals left the cookies %q", kept)
	}
	p.goTo(s.https("app.test", "/login"))
	told("not for this identity", "/told/scope", nil, []string{"open", "close 3003 scope"}, wssecure.ReasonScope)
	told("too many", "/told/conn-limit", nil, []string{"open", "close 1008 conn-limit"}, wssecure.ReasonConnLimit)
	told("nobody can tell", "/told/unavailable", nil, []string{"open", "close 1013 unavailable"}, wssecure.ReasonUnavailable)
	b.run(t, "a mistake of the server stays its own", func(t *testing.T) {
		s.wantRefused(t, p.dial(s.wss("/told/internal")), wssecure.ReasonInternal, s.https("app.test", ""))
	})
	b.run(t, "an admitted page is none the wiser", func(t *testing.T) {
		s.wantOpen(t, p.dial(s.wss("/told")), "open")
		p.send("done", 1)
		s.wantClosed(t, p, "close 1000", wssecure.ReasonDone, wssecure.ByApp)
	})
	b.run(t, "another site is told nothing", func(t *testing.T) {
		evil := b.open(s.https("evil.test", "/"))
		s.wantRefused(t, evil.dial(s.wss("/told")), wssecure.ReasonOrigin, s.https("evil.test", ""))
		evil.close()
	})
}

// TestPagePolicyHoldsScriptsBack: what the headers of Pages do to a page into which somebody got a script.
func TestPagePolicyHoldsScriptsBack(t *testing.T) {
	s, b := startSite(t)
	p := b.open(s.https("app.test", "/login"))

	b.run(t, "it cannot dial another host", func(t *testing.T) {
		came := s.handshakes()
		url := "wss://evil.test:" + s.port + "/collect"
		if seen := p.dialInVain(url); slices.ContainsFunc(seen, isOpen) || !slices.Contains(seen, "error") {
			t.Errorf("the page saw %q", seen)
		}
		if s.handshakes() != came {
			t.Error("the handshake left the browser")
		}
		p.wantTrouble("connect-src 'self' wss://app.test:" + s.port)
	})
	b.run(t, "it can where there is no policy", func(t *testing.T) {
		came := s.handshakes()
		open := b.open(s.https("app.test", "/unprotected"))
		open.dial("wss://evil.test:" + s.port + "/collect")
		if s.handshakes() != came+1 {
			t.Error("no handshake came: the row above shows nothing")
		}
	})
	b.run(t, "its own socket is within the policy", func(t *testing.T) {
		s.wantOpen(t, p.dial(s.wss("/cookie")), "open")
		p.send("done", 1)
		s.wantClosed(t, p, "close 1000", wssecure.ReasonDone, wssecure.ByApp)
	})
	b.run(t, "a socket without TLS", func(t *testing.T) {
		if seen := p.dialInVain("ws://app.test:" + s.port + "/cookie"); slices.ContainsFunc(seen, isOpen) {
			t.Errorf("the page saw %q", seen)
		}
	})
}
