package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestPagesOfOtherOriginsCannotConnect: which cookies come with a page's handshake is the browser's affair (SameSite, the
// visitor's settings); that only pages of admitted origins get in is the guard's.
func TestPagesOfOtherOriginsCannotConnect(t *testing.T) {
	s, b := startSite(t)
	own := b.open(s.https("app.test", "/login"))
	all := []string{"__Host-sid", "lax", "none", "parted", "plain", "strict"}

	wantCame := func(t *testing.T, origin string, cookies ...string) {
		t.Helper()
		a := s.last(t)
		if !slices.Equal(a.origins, []string{origin}) || !slices.Equal(a.cookies, cookies) || a.fetch {
			t.Errorf("came with origins %q, cookies %q, Sec-Fetch %v; want %q, %q and none", a.origins, a.cookies, a.fetch, origin, cookies)
		}
	}
	admitted := func(t *testing.T, p *page, path string) {
		t.Helper()
		s.wantOpen(t, p.dial(s.wss(path)), "open")
		p.send("done", 1)
		s.wantClosed(t, p, "close 1000", wssecure.ReasonDone, wssecure.ByApp)
	}

	b.run(t, "the site's own page connects, under both policies", func(t *testing.T) {
		for _, path := range []string{"/cookie", "/listed"} {
			admitted(t, own, path)
			wantCame(t, s.https("app.test", ""), all...)
		}
	})
	b.run(t, "a sub-domain is of the same site and brings every cookie, Strict too", func(t *testing.T) {
		sub := b.open(s.https("sub.app.test", "/"))
		for _, path := range []string{"/cookie", "/listed"} {
			s.wantRefused(t, sub.dial(s.wss(path)), wssecure.ReasonOrigin, s.https("sub.app.test", ""))
			wantCame(t, s.https("sub.app.test", ""), all...)
		}
	})
	evil := b.open(s.https("evil.test", "/"))
	b.run(t, "another site does not bring the guard's own kind of cookie", func(t *testing.T) {
		s.wantRefused(t, evil.dial(s.wss("/cookie")), wssecure.ReasonOrigin, s.https("evil.test", ""))
		wantCame(t, s.https("evil.test", ""), "none")
	})

	own.goTo(s.https("app.test", "/login?none"))
	b.run(t, "another site brings a session cookie with SameSite=None, and connects where there is no guard", func(t *testing.T) {
		if seen := evil.dial(s.wss("/bare")); !slices.Equal(seen, []string{"open"}) {
			t.Fatalf("without a guard the page saw %q: the attack that this test is about does not work", seen)
		}
		if seen := evil.ended(); !slices.Contains(seen, "close 4000 __Host-sid none") {
			t.Errorf("without a guard the page saw %q", seen)
		}
		for _, path := range []string{"/cookie", "/listed"} {
			s.wantRefused(t, evil.dial(s.wss(path)), wssecure.ReasonOrigin, s.https("evil.test", ""))
			wantCame(t, s.https("evil.test", ""), "__Host-sid", "none")
		}
	})
	b.run(t, "nor does a good token help another site", func(t *testing.T) {
		s.wantRefused(t, evil.dial(s.wss("/token"), "bearer", s.issuer.Token("alice")), wssecure.ReasonOrigin, s.https("evil.test", ""))
	})
	b.run(t, "origin null, of whatever kind, is nobody", func(t *testing.T) {
		own.goTo(s.https("app.test", "/unprotected"))
		for name, attributes := range map[string]map[string]string{
			"a sandboxed frame of the site itself": {"sandbox": "allow-scripts", "src": s.https("app.test", "/unprotected")},
			"a sandboxed srcdoc frame":             {"sandbox": "allow-scripts", "srcdoc": "<p>hello"},
			"a data: frame":                        {"src": "data:text/html,<p>hello"},
			"a page with a CSP of its own":         {"src": s.https("evil.test", "/sandboxed")},
		} {
			b.run(t, name, func(t *testing.T) {
				inner := own.embed(attributes)
				for _, path := range []string{"/cookie", "/listed"} {
					s.wantRefused(t, inner.dial(s.wss(path)), wssecure.ReasonOrigin, "null")
					wantCame(t, "null", "__Host-sid", "none")
				}
				s.wantRefused(t, inner.dial(s.wss("/token"), "bearer", s.issuer.Token("alice")), wssecure.ReasonOrigin, "null")
			})
		}
		b.run(t, "a file", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "page.html")
			if err := os.WriteFile(file, []byte("<p>hello"), 0o600); err != nil {
				t.Fatal(err)
			}
			local := b.open("file://" + file)
			s.wantRefused(t, local.dial(s.wss("/cookie")), wssecure.ReasonOrigin, "null")
			local.close()
		})
	})
	b.run(t, "frames and workers of the page itself are the page", func(t *testing.T) {
		admitted(t, own.embed(map[string]string{"srcdoc": "<p>hello"}), "/cookie")
		var seen []string
		own.call("worker", map[string]any{"url": s.wss("/cookie")}, &seen)
		s.wantOpen(t, seen, "open")
		if e := s.event(t, wssecure.EventClosed); e.Reason != wssecure.ReasonPeer || e.PeerCode != 1000 {
			t.Errorf("the worker's session closed: %+v", e)
		}
	})
	b.run(t, "a page framed by another site passes for itself, so Pages lets nobody frame it", func(t *testing.T) {
		framed := evil.embed(map[string]string{"src": s.https("app.test", "/unprotected")})
		admitted(t, framed, "/cookie")
		wantCame(t, s.https("app.test", ""), "__Host-sid", "none")

		framed = evil.embed(map[string]string{"src": s.https("app.test", "/")})
		if url := framed.url(); !strings.HasPrefix(url, "chrome-error:") {
			t.Errorf("the frame shows %s", url)
		}
		evil.wantTrouble("frame-ancestors 'none'")
	})
}

// TestPlaintextPages: pages without TLS are of another origin, and a host that has once been seen with HSTS is never
// asked in plaintext again.
func TestPlaintextPages(t *testing.T) {
	s, b := startSite(t)
	web := httptest.NewServer(http.HandlerFunc(blank))
	t.Cleanup(web.Close)
	webPort := web.URL[strings.LastIndex(web.URL, ":"):]
	dial := "://plain.app.test:" + s.port + "/cookie" // a name that no other test has shown to the browser

	b.run(t, "another site", func(t *testing.T) {
		evil := b.open("http://evil.test" + webPort)
		s.wantRefused(t, evil.dial("wss"+dial), wssecure.ReasonOrigin, "http://evil.test"+webPort)
		evil.close()
	})
	plain := "http://plain.app.test:" + s.port
	b.run(t, "a site of the same name but without TLS", func(t *testing.T) {
		if p := b.open(plain); p.status != http.StatusBadRequest {
			t.Errorf("before any HSTS: %d, want Go's 400 for plaintext on a port with TLS", p.status)
		}
		own := b.open("http://plain.app.test" + webPort)
		s.wantRefused(t, own.dial("wss"+dial), wssecure.ReasonOrigin, "http://plain.app.test"+webPort)
	})
	b.run(t, "HSTS turns http into https", func(t *testing.T) {
		b.open(s.https("plain.app.test", "/"))
		if p := b.open(plain + "/"); p.status != http.StatusOK || p.url() != s.https("plain.app.test", "/") {
			t.Errorf("%s: %d at %s", plain, p.status, p.url())
		}
	})
	b.run(t, "and ws into wss, without an origin to speak of", func(t *testing.T) {
		evil := b.open("http://evil.test" + webPort)
		s.wantRefused(t, evil.dial("ws"+dial), wssecure.ReasonOrigin, "null")
		if s.last(t).plaintext {
			t.Error("it came in plaintext")
		}
	})
}

// TestLocalServerIsNotOpenToTheWeb: browsers let every page of the web dial 127.0.0.1.
func TestLocalServerIsNotOpenToTheWeb(t *testing.T) {
	s, b := startSite(t)
	development := wssecuretest.Start(t, wssecuretest.Config{
		Plaintext: true,
		Options:   []wssecure.Option{wssecure.AllowLocalhost(), wssecure.InsecureAllowAnonymous("a developer's machine"), quiet},
		Handler: func(g *wssecure.Guard) http.Handler {
			mux := http.NewServeMux()
			mux.HandleFunc("/", blank)
			mux.Handle("/ws", g.ConnHandler(chatty))
			return mux
		},
	})
	evil := b.open(s.https("evil.test", "/"))
	if seen := evil.dial(development.URL); !slices.Equal(seen, []string{"error", "close 1006, not clean"}) {
		t.Errorf("a page of another site saw %q", seen)
	}
	e := development.WaitEvent(wssecure.EventRefused)
	if e.Reason != wssecure.ReasonTransport || e.Origin != s.https("evil.test", "") {
		t.Errorf("refused: %+v", e)
	}
	own := b.open("http://" + development.Addr)
	if seen := own.dial(development.URL); !slices.Equal(seen, []string{"open"}) {
		t.Errorf("the developer's own page saw %q", seen)
	}
}
