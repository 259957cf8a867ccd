package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

const attacker = "203.0.113.9"

// fail makes one handshake that only an attacker sends.
func fail(t *testing.T, g *gate, client string, changes ...func(*http.Request)) {
	t.Helper()
	wantAnswer(t, g.knock(client, append(changes, bearer(g.forged()))...), 401, "token-invalid")
}

// banned makes a client fail until it is.
func banned(t *testing.T, g *gate, client string) {
	t.Helper()
	for range 21 {
		fail(t, g, client)
	}
	wantAnswer(t, g.knock(client), 403, wssecure.ReasonBanned)
}

// wantNoBan wants a client served, after what it has done.
func wantNoBan(t *testing.T, g *gate, client string) {
	t.Helper()
	wantAnswer(t, g.knock(client, bearer(g.issuer.Token("alice"))), 101, "")
	if n := len(g.seen(wssecure.EventBanned)); n != 0 {
		t.Fatalf("%d bans, want none", n)
	}
}

func banRow(t *testing.T, name string, run func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, run)
	})
}

func TestFailuresBan(t *testing.T) {
	banRow(t, "L-04 20 failures, the 21st begins a ban", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		for range 20 {
			fail(t, g, attacker)
		}
		wantAnswer(t, g.knock(attacker), 401, wssecure.ReasonTokenMissing)
		fail(t, g, attacker)
		a := g.knock(attacker, bearer(g.issuer.Token("alice")))
		wantAnswer(t, a, 403, wssecure.ReasonBanned)
		wantRetry(t, a, "60")
		time.Sleep(1500 * time.Millisecond)
		wantRetry(t, g.knock(attacker), "59")
		wantAnswer(t, g.knock("203.0.113.10", bearer(g.issuer.Token("bob"))), 101, "")
		synctest.Wait()
		e := g.seen(wssecure.EventBanned)
		if len(e) != 1 || e[0].ClientIP != netip.MustParseAddr(attacker) || e[0].Reason != wssecure.ReasonTokenForged || e[0].By != wssecure.ByGuard {
			t.Errorf("banned events %+v, want one of %s", e, attacker)
		}
	})
	banRow(t, "L-04 slower than the rate is no ban", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		for range 200 {
			fail(t, g, attacker)
			time.Sleep(3 * time.Second)
		}
		wantNoBan(t, g, attacker)
	})
	banRow(t, "L-21 twice as long each time, up to an hour", func(t *testing.T) {
		g := newTokenGate(t, stay)
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 101, "")
		for i, minutes := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			banned(t, g, attacker)
			wantRetry(t, g.knock(attacker), strconv.Itoa(60*minutes))
			if i == 0 && g.guard.Stats().Open != 1 {
				t.Error("a ban has ended an open session")
			}
			for range 50 { // attempts do not lengthen it
				wantAnswer(t, g.knock(attacker, bearer(g.forged())), 403, wssecure.ReasonBanned)
			}
			time.Sleep(time.Duration(minutes)*time.Minute - time.Nanosecond)
			wantRetry(t, g.knock(attacker), "1")
			time.Sleep(time.Nanosecond)
			wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("bob"))), 101, "") // clears nothing
		}
		time.Sleep(time.Hour)
		banned(t, g, attacker)
		wantRetry(t, g.knock(attacker), "60")
	})
	banRow(t, "L-04 IPv6 is banned by /64", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		for i := range 21 {
			fail(t, g, fmt.Sprintf("2001:db8::%x", i+1))
		}
		wantAnswer(t, g.knock("2001:db8::ffff"), 403, wssecure.ReasonBanned)
		wantAnswer(t, g.knock("2001:db8:0:1::1"), 401, wssecure.ReasonTokenMissing)
	})
}

// L-41: whoever shares an address with an attacker keeps its access.
func TestVerifiedTokenPassesABan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTokenGate(t, quiet, wssecure.RequireCheck("never", func(_ context.Context, h *wssecure.Handshake) error {
			if h.Request.URL.Path == "/denied" {
				return wssecure.ReasonForbidden
			}
			return nil
		}))
		known := bearer(g.issuer.Token("alice"))
		wantAnswer(t, g.knock("198.51.100.1", known), 101, "")
		banned(t, g, attacker)
		for range 50 {
			wantAnswer(t, g.knock(attacker, known), 101, "")
		}
		wantAnswer(t, g.knock(attacker, known, path("/denied")), 403, wssecure.ReasonForbidden)
		bob := bearer(g.issuer.Token("bob"))
		for range 3 { // had its signature been looked at, the token would be known by now
			wantAnswer(t, g.knock(attacker, bob), 403, wssecure.ReasonBanned)
		}
		wantAnswer(t, g.knock(attacker), 403, wssecure.ReasonBanned)
	})
}

// A ban must not free an attacker with an account from the rate of handshakes.
func TestKnownTokenUnderABanHasARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTokenGate(t, quiet, wssecure.RequireScopes("chat"))
		own := bearer(g.issuer.Token("mallory")) // without the scope
		wantAnswer(t, g.knock(attacker, own), 403, wssecure.ReasonScope)
		banned(t, g, attacker)
		for range 300 {
			wantAnswer(t, g.knock(attacker, own), 403, wssecure.ReasonScope)
		}
		a := g.knock(attacker, own)
		wantAnswer(t, a, 429, wssecure.ReasonRate)
		wantRetry(t, a, "1")
		good := bearer(g.issuer.Sign("ES256", g.issuer.Claims("alice", map[string]any{"scope": "chat"})))
		wantAnswer(t, g.knock("203.0.113.10", good), 101, "")
		wantAnswer(t, g.knock(attacker, good), 101, "") // another's budget is untouched
	})
}

// L-23: a session that ended for what only an attacker sends counts as a refused
// handshake of its address and Origin does.
func TestSessionFailuresBan(t *testing.T) {
	s := wssecuretest.NewServer(t, wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 5}, time.Hour))
	for i := range 6 {
		token := s.Issuer.Token(fmt.Sprint("mallory", i))
		_, c := wantAdmitted(t, s, s.Handshake(token))
		if err := c.Send([]byte{0x81, 0x01, 'x'}); err != nil { // not masked
			t.Fatal(err)
		}
		if _, _, err := c.AwaitClose(); err != nil {
			t.Fatal(err)
		}
		c.Close() // else the guard waits for the answer
		if e := s.WaitEvent(wssecure.EventClosed); e.Reason != wssecure.ReasonProtocol || e.CloseCode != 1002 {
			t.Fatalf("closed for %s with %d, want protocol with 1002", e.Reason, e.CloseCode)
		}
	}
	wantRefused(t, s, s.Handshake(s.Issuer.Token("alice")), 403, wssecure.ReasonBanned)
}

// L-43, L-47: bans that the operator sets.
func TestBanAndUnban(t *testing.T) {
	ctx := context.Background()
	good := func(g *gate, sub string) func(*http.Request) { return bearer(g.issuer.Token(sub)) }
	banRow(t, "L-43 address", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		one := wssecure.Network(netip.MustParsePrefix(attacker + "/32"))
		if err := g.guard.Ban(ctx, one, 90*time.Second, "abuse report 7"); err != nil {
			t.Fatal(err)
		}
		a := g.knock(attacker, good(g, "alice"))
		wantAnswer(t, a, 403, wssecure.ReasonBanned)
		wantRetry(t, a, "90")
		wantAnswer(t, g.knock("203.0.113.10", good(g, "alice")), 101, "")
		if err := g.guard.Unban(ctx, one); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knock(attacker, good(g, "alice")), 101, "")
		synctest.Wait()
		set, lifted := g.seen(wssecure.EventBanned), g.seen(wssecure.EventUnbanned)
		if len(set) != 1 || len(lifted) != 1 || set[0].Hint != "abuse report 7" || set[0].By != wssecure.ByApp {
			t.Errorf("events %+v and %+v, want one each, the first with its reason", set, lifted)
		}
	})
	for _, row := range []struct{ name, network, in, out string }{
		{"L-43 network", "203.0.113.0/24", attacker, "198.51.100.1"},
		{"L-43 IPv6 /64", "2001:db8::/64", "2001:db8::9", "2001:db8:0:1::9"},
		{"L-43 IPv6 /40", "2001:db8::/40", "2001:db8:1::9", "2001:db9::9"},
		{"L-43 IPv4 in a mapped prefix", "::ffff:203.0.113.0/120", attacker, "198.51.100.1"},
		{"L-43 private address", "10.0.0.0/8", "10.0.0.7", "11.0.0.7"},
	} {
		banRow(t, row.name, func(t *testing.T) {
			g := newTokenGate(t, quiet)
			if err := g.guard.Ban(ctx, wssecure.Network(netip.MustParsePrefix(row.network)), time.Minute, "why"); err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, g.knock(row.in, good(g, "alice")), 403, wssecure.ReasonBanned)
			wantAnswer(t, g.knock(row.out, good(g, "alice")), 101, "")
			time.Sleep(time.Minute)
			wantAnswer(t, g.knock(row.in, good(g, "alice")), 101, "")
		})
	}
	banRow(t, "L-43 without L-41: a verified token does not help", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		known := good(g, "alice")
		wantAnswer(t, g.knock(attacker, known), 101, "")
		for _, network := range []string{attacker + "/32", "203.0.113.0/24"} {
			target := wssecure.Network(netip.MustParsePrefix(network))
			if err := g.guard.Ban(ctx, target, time.Minute, "why"); err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, g.knock(attacker, known), 403, wssecure.ReasonBanned)
			if err := g.guard.Unban(ctx, target); err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, g.knock(attacker, known), 101, "")
		}
	})
	banRow(t, "L-43 L-44 a trusted network is spared, but not of a revocation", func(t *testing.T) {
		g := newTokenGate(t, quiet, wssecure.TrustNetworks("the office", "203.0.113.0/24"))
		all := wssecure.Network(netip.MustParsePrefix("203.0.113.0/24"))
		old := good(g, "alice")
		if err := g.guard.Ban(ctx, all, time.Hour, "why"); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knock(attacker, old), 101, "")
		time.Sleep(time.Second)
		if _, err := g.guard.Revoke(ctx, all, "why"); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knock(attacker, old), 401, "token-invalid")
	})
	banRow(t, "L-43 L-47 subject: after its token, on every route, open sessions live on", func(t *testing.T) {
		g := newTokenGate(t, stay)
		child, err := g.guard.With(wssecure.LimitConns(wssecure.BySubject(), 5))
		if err != nil {
			t.Fatal(err)
		}
		token := good(g, "alice")
		wantAnswer(t, g.knock(attacker, token), 101, "")
		alice := wssecure.Subject(g.issuer.URL, "alice")
		if err := g.guard.Ban(ctx, alice, time.Hour, "chargeback"); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knock(attacker, token), 403, wssecure.ReasonBanned)
		wantAnswer(t, g.knockOn(child.ConnHandler(stay), "198.51.100.1", good(g, "alice")), 403, wssecure.ReasonBanned)
		wantAnswer(t, g.knock(attacker, bearer(g.forged())), 401, "token-invalid")
		wantAnswer(t, g.knock(attacker, good(g, "bob")), 101, "")
		if n := g.guard.Stats().Open; n != 2 {
			t.Errorf("%d sessions open, want alice's first and bob's", n)
		}
		if err := child.Unban(ctx, alice); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knock(attacker, good(g, "alice")), 101, "")
	})
	banRow(t, "L-43 L-47 network: on every route and node, open sessions live on", func(t *testing.T) {
		g, other := newTokenGate(t, stay), newTokenGate(t, stay)
		var shared store.Store
		wssecure.WrapStore(g.guard, func(s store.Store) store.Store { shared = s; return s })
		wssecure.WrapStore(other.guard, func(store.Store) store.Store { return shared })
		child, err := g.guard.With(wssecure.LimitConns(wssecure.BySubject(), 5))
		if err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knock(attacker, good(g, "alice")), 101, "")
		ban(t, child, "203.0.113.0/24")
		wantAnswer(t, g.knock(attacker, good(g, "alice")), 403, wssecure.ReasonBanned)
		wantAnswer(t, g.knockOn(child.ConnHandler(stay), attacker, good(g, "alice")), 403, wssecure.ReasonBanned)
		wantAnswer(t, other.knock(attacker, good(other, "alice")), 403, wssecure.ReasonBanned)
		synctest.Wait()
		if n := g.guard.Stats().Open; n != 1 || len(g.seen(wssecure.EventClosed)) != 0 {
			t.Errorf("%d sessions open, want the one before the ban", n)
		}
	})
	banRow(t, "L-43 Unban lifts what failures began, level and all", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		banned(t, g, attacker)
		if err := g.guard.Unban(ctx, wssecure.Network(netip.MustParsePrefix(attacker+"/32"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		banned(t, g, attacker)
		wantRetry(t, g.knock(attacker), "60")
	})
	t.Run("L-43 what cannot be banned", func(t *testing.T) {
		g := newTokenGate(t, quiet)
		network := wssecure.Network(netip.MustParsePrefix("0.0.0.0/0"))
		for _, row := range []struct {
			target wssecure.Target
			d      time.Duration
			why    string
			says   string
		}{
			{wssecure.Target{}, time.Hour, "why", "target is empty"},
			{wssecure.Subject("", ""), time.Hour, "why", "target is empty"},
			{wssecure.Network(netip.Prefix{}), time.Hour, "why", "target is empty"},
			{wssecure.SessionID("x"), time.Hour, "why", "Revoke"},
			{wssecure.TokenID("i", "x"), time.Hour, "why", "Revoke"},
			{wssecure.OIDCSession("i", "x"), time.Hour, "why", "Revoke"},
			{wssecure.Everyone(), time.Hour, "why", "Revoke"},
			{network, 0, "why", "0s"},
			{network, -time.Second, "why", "-1s"},
			{network, time.Hour, "", "reason"},
		} {
			if err := g.guard.Ban(ctx, row.target, row.d, row.why); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("Ban(%+v, %s, %q): %v, want an error with %q", row.target, row.d, row.why, err, row.says)
			}
		}
		if err := g.guard.Unban(ctx, wssecure.Everyone()); err == nil {
			t.Error("Unban(Everyone()) is no error")
		}
		wantNoBan(t, g, attacker)
	})
}
