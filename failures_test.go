package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// L-22: what an honest client may do wrong, or be made to do by a page.
func TestWhatNeverBans(t *testing.T) {
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	for _, row := range []struct {
		name   string
		change func(g *gate) func(*http.Request)
	}{
		{"refused origin", func(*gate) func(*http.Request) { return from("https://evil.example") }},
		{"duplicate origin", func(*gate) func(*http.Request) {
			return header("Origin", "https://app.example.com", "https://a.example")
		}},
		{"replayed key", func(g *gate) func(*http.Request) {
			token := bearer(g.issuer.Sign("ES256", g.issuer.Claims("alice", map[string]any{"jti": "one"})))
			return func(r *http.Request) { token(r); r.Header["Sec-Websocket-Key"] = []string{"AAAAAAAAAAAAAAAAAAAAAA=="} }
		}},
		{"credential of bad form", func(*gate) func(*http.Request) { return header("Authorization", "Bearer", "Bearer") }},
		{"token missing", func(*gate) func(*http.Request) { return func(*http.Request) {} }},
		{"token unreadable", func(*gate) func(*http.Request) { return bearer("a.b.c") }},
		{"token expired", func(g *gate) func(*http.Request) {
			return bearer(g.issuer.Sign("ES256", g.issuer.Claims("alice", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})))
		}},
		{"token for others", func(g *gate) func(*http.Request) {
			return bearer(g.issuer.Sign("ES256", g.issuer.Claims("alice", map[string]any{"aud": "others"})))
		}},
		{"scope", func(g *gate) func(*http.Request) {
			return bearer(g.issuer.Sign("ES256", g.issuer.Claims("alice", map[string]any{"scope": "other"})))
		}},
		{"token revoked", func(g *gate) func(*http.Request) {
			token := g.issuer.Token("mallory")
			if _, err := g.guard.Revoke(t.Context(), wssecure.Subject(g.issuer.URL, "mallory"), "a test"); err != nil {
				t.Fatal(err)
			}
			return bearer(token)
		}},
		{"over its subject's rate", func(g *gate) func(*http.Request) {
			return bearer(g.issuer.Sign("ES256", g.issuer.Claims("often", map[string]any{"scope": "chat"})))
		}},
		{"key of bad form", func(*gate) func(*http.Request) { return header("Sec-Websocket-Key", "short") }},
		{"version", func(*gate) func(*http.Request) { return header("Sec-Websocket-Version", "8") }},
	} {
		t.Run("L-22 "+row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTokenGate(t, quiet, fastHandshakes, wssecure.RequireScopes("chat"),
					wssecure.LimitHandshakes(wssecure.BySubject(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}))
				change := row.change(g)
				for i := range 10_000 {
					if a := g.knock(attacker, change); a.status == 101 && i > 0 {
						t.Fatal("admitted")
					}
				}
				good := g.issuer.Sign("ES256", g.issuer.Claims("alice", map[string]any{"scope": "chat"}))
				wantAnswer(t, g.knock(attacker, bearer(good)), 101, "")
				if n := len(g.seen(wssecure.EventBanned)); n != 0 {
					t.Errorf("%d bans", n)
				}
			})
		})
	}
}

func TestWhichFailuresCount(t *testing.T) {
	banRow(t, "L-40 R9 the same token counts once a minute", func(t *testing.T) {
		g := newTokenGate(t, quiet, fastHandshakes)
		same := bearer(g.forged())
		for range 1000 {
			wantAnswer(t, g.knock(attacker, same), 401, "token-invalid")
		}
		wantNoBan(t, g, attacker)
		for range 19 {
			fail(t, g, attacker)
		}
		wantNoBan(t, g, attacker)
		fail(t, g, attacker)
		wantAnswer(t, g.knock(attacker), 403, wssecure.ReasonBanned)
	})
	banRow(t, "L-40 R9 an Origin of a star never counts", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		for range 100 {
			fail(t, g, attacker, from("https://user-pages.example.net"))
		}
		wantNoBan(t, g, attacker)
	})
	banRow(t, "L-40 any Origin admitted never counts", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		child, err := g.guard.With(wssecure.InsecureAllowAnyOrigin("a test"))
		if err != nil {
			t.Fatal(err)
		}
		g.serve = child.ConnHandler(quiet)
		for range 100 {
			fail(t, g, attacker, from("https://anywhere.example"))
		}
		wantNoBan(t, g, attacker)
	})
	banRow(t, "L-40 under the same origin each counts", func(t *testing.T) {
		issuer := wssecuretest.NewIssuer(t, "")
		guard, err := wssecure.New(issuer.Option(), wssecure.AllowHosts(wssecuretest.Host), wssecure.InsecureAllowPlaintext("no network"))
		if err != nil {
			t.Fatal(err)
		}
		g := &gate{t: t, guard: guard, issuer: issuer, serve: guard.ConnHandler(quiet)}
		t.Cleanup(g.close)
		for range 21 {
			fail(t, g, attacker, from("http://"+wssecuretest.Host))
		}
		wantAnswer(t, g.knock(attacker, from("http://"+wssecuretest.Host)), 403, wssecure.ReasonBanned)
	})
	banRow(t, "L-40 without an Origin each counts", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		for range 21 {
			fail(t, g, attacker, func(r *http.Request) { delete(r.Header, "Origin") })
		}
		wantAnswer(t, g.knock(attacker), 403, wssecure.ReasonBanned)
	})
	banRow(t, "L-40 a body and malformed headers count", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		for range 21 {
			wantAnswer(t, g.knock(attacker, func(r *http.Request) { delete(r.Header, "Origin"); r.ContentLength = 3 }), 400, wssecure.ReasonBody)
		}
		wantAnswer(t, g.knock(attacker), 403, wssecure.ReasonBanned)
	})
	banRow(t, "L-40 R9 a body under an Origin that is not listed never counts", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		for _, lines := range [][]string{{"https://evil.example"}, {"https://user-pages.example.net"}, {"null"}, {wssecuretest.Origin, wssecuretest.Origin}} {
			for range 30 {
				wantAnswer(t, g.knock(attacker, func(r *http.Request) { r.Header["Origin"] = lines; r.ContentLength = 3 }), 400, wssecure.ReasonBody)
			}
		}
		wantNoBan(t, g, attacker)
		for range 21 {
			wantAnswer(t, g.knock(attacker, func(r *http.Request) { r.ContentLength = 3 }), 400, wssecure.ReasonBody)
		}
		wantAnswer(t, g.knock(attacker), 403, wssecure.ReasonBanned)
	})
	for _, client := range []string{"10.1.2.3", "127.0.0.1", "::1", "fd00::1", "169.254.1.1", "198.51.100.7"} {
		banRow(t, "L-42 never "+client, func(t *testing.T) {
			proxies := wssecure.TrustProxies("X-Forwarded-For", "198.51.100.0/24")
			g := newTokenGate(t, quiet, proxies, wssecure.LimitHandshakes(wssecure.ByIP(), lots))
			for range 1000 {
				fail(t, g, client)
			}
			wantNoBan(t, g, client)
			if client == "198.51.100.7" {
				return
			}
			named := newTokenGate(t, quiet, wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(20), time.Minute))
			banned(t, named, client)
		})
	}
	banRow(t, "L-44 trusted networks know no limit by address", func(t *testing.T) {
		const probe = "198.51.100.7"
		trust := wssecure.TrustNetworks("probes", "198.51.100.0/24")
		g := newTokenGate(t, stay, trust, wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(20), time.Minute), wssecure.LimitConns(wssecure.BySubject(), 2))
		for range 1000 { // each is signature work
			fail(t, g, probe)
		}
		for range 2 {
			wantNoBan(t, g, probe)
		}
		wantAnswer(t, g.knock(probe, bearer(g.issuer.Token("alice"))), 429, wssecure.ReasonConnLimit)
		for range 10_000 { // none is cut either
			wantAnswer(t, g.knock(probe, from("https://evil.example")), 403, wssecure.ReasonOrigin)
		}
		anonymous := newGate(t, quiet, trust)
		for range 10_000 {
			wantAnswer(t, anonymous.knock(probe), 101, "")
		}
		open := newGate(t, stay, trust)
		for range 1000 {
			wantAnswer(t, open.knock(probe), 101, "")
		}
		total := newGate(t, quiet, trust, wssecure.LimitHandshakes(wssecure.ByTotal(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 2}))
		for range 2 {
			wantAnswer(t, total.knock(probe), 101, "")
		}
		wantAnswer(t, total.knock(probe), 503, wssecure.ReasonCapacity)
	})
	banRow(t, "L-04 by function", func(t *testing.T) {
		tenant := func(h *wssecure.Handshake) string { return strings.TrimPrefix(h.Request.URL.Path, "/") }
		g := newTokenGate(t, quiet, wssecure.LimitFailures(wssecure.ByFunc("tenant", tenant), wssecure.PerMinute(5), time.Minute))
		for i := range 6 {
			fail(t, g, fmt.Sprintf("203.0.113.%d", i), path("/acme"))
		}
		wantAnswer(t, g.knock("198.51.100.1", path("/acme"), bearer(g.issuer.Token("alice"))), 403, wssecure.ReasonBanned)
		wantAnswer(t, g.knock("198.51.100.1", path("/other"), bearer(g.issuer.Token("alice"))), 101, "")
		wantAnswer(t, g.knock("198.51.100.1", path("/"), bearer(g.issuer.Token("alice"))), 101, "")
	})
}

// L-23: an ended session counts by the Origin of its handshake (L-40).
func TestSessionFailuresCountByOrigin(t *testing.T) {
	broken := []byte{0xff, 0x80, 1, 2, 3, 4}
	flood := make([]byte, 0, 200)
	for range 33 { // pings, over the rate of control frames
		flood = append(flood, 0x89, 0x80, 1, 2, 3, 4)
	}
	for _, row := range []struct {
		name   string
		origin string
		feed   []byte
		reason wssecure.Reason
		banned bool
	}{
		{"L-23 broken frames", wssecuretest.Origin, broken, wssecure.ReasonProtocol, true},
		{"L-23 a flood", wssecuretest.Origin, flood, wssecure.ReasonControlRate, true},
		{"L-23 L-40 under an Origin of a star", "https://user-pages.example.net", broken, wssecure.ReasonProtocol, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newTokenGate(t, stay)
				known := bearer(g.issuer.Token("alice"))
				for i := range 21 {
					wantAnswer(t, g.knockThrough(g.serve, nil, row.feed, attacker, known, from(row.origin)), 101, "")
					g.await(wssecure.EventClosed, i+1)
				}
				g.settled(0)
				for _, e := range g.seen(wssecure.EventClosed) {
					if e.Reason != row.reason {
						t.Fatalf("closed for %s, want %s", e.Reason, row.reason)
					}
				}
				g.hangUp()
				if got := g.knock(attacker).status; (got == 403) != row.banned {
					t.Errorf("status %d, banned: want %t", got, row.banned)
				}
			})
		})
	}
}

// L-23: an ended session counts by the application's own keys too.
func TestSessionFailuresCountByFunction(t *testing.T) {
	tenant := func(h *wssecure.Handshake) string { return strings.TrimPrefix(h.Request.URL.Path, "/") }
	rule := wssecure.LimitFailures(wssecure.ByFunc("tenant", tenant), wssecure.Rate{N: 1, Per: time.Hour, Burst: 5}, time.Hour)
	for _, name := range []string{"admitted", "late"} {
		t.Run("L-23 "+name, func(t *testing.T) {
			g := newTokenGate(t, stay, rule, wssecure.AllowLateToken(time.Minute))
			if name == "late" {
				g.serve = g.guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
					_ = c.Session().Authenticate(ctx, g.issuer.Token("alice")) // bob has come with his
					return stay(ctx, c)
				})
			}
			for i := range 6 {
				who := []func(*http.Request){path("/acme")}
				if name == "admitted" {
					who = append(who, bearer(g.issuer.Token("alice")))
				}
				a := g.knockThrough(g.serve, nil, []byte{0xff, 0x80, 1, 2, 3, 4}, fmt.Sprintf("203.0.113.%d", i), who...)
				wantAnswer(t, a, 101, "")
				g.await(wssecure.EventClosed, i+1)
			}
			g.until(func() bool { return len(g.seen(wssecure.EventBanned)) > 0 }, "no ban began")
			known := bearer(g.issuer.Token("bob"))
			wantAnswer(t, g.knock("198.51.100.1", path("/acme"), known), 403, wssecure.ReasonBanned)
			wantAnswer(t, g.knock("198.51.100.1", path("/other"), known), 101, "")
		})
	}
}

// L-04: one ban is one event, however many failures begin it together.
func TestOneBanIsOneEvent(t *testing.T) {
	const attackers = 64
	for round := range 20 {
		var arrived sync.WaitGroup
		arrived.Add(attackers)
		g := &gate{t: t}
		g.start(quiet, []wssecure.Option{
			wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}, time.Minute),
			wssecure.RequireToken(wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
				arrived.Done()
				arrived.Wait() // none is banned before all have been let in
				return nil, wssecure.ReasonTokenForged
			})),
		})
		var all sync.WaitGroup
		for i := range attackers {
			all.Go(func() { g.knock(attacker, bearer(fmt.Sprint("forged", i))) })
		}
		all.Wait()
		wantAnswer(t, g.knock(attacker, bearer("another")), 403, wssecure.ReasonBanned)
		g.await(wssecure.EventRefused, attackers+1) // the last behind every other event
		if n := len(g.seen(wssecure.EventBanned)); n != 1 {
			t.Fatalf("round %d: %d banned events, want 1", round, n)
		}
	}
}
