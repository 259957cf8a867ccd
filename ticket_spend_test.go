package wssecure_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// whatever refuses a handshake leaves its ticket good.
func TestRefusedHandshakeLeavesTheTicket(t *testing.T) {
	fail := func(err error) wssecure.Option {
		return wssecure.RequireCheck("once", failFirst(err))
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = []string{value} }
	}
	for _, row := range []struct {
		name   string
		opts   []wssecure.Option
		before func(*booth)
		bad    []func(*http.Request)
		status int
		reason wssecure.Reason
	}{
		{name: "shape", bad: list(set("Sec-Websocket-Version", "12")), status: 426, reason: wssecure.ReasonVersion},
		{name: "host", bad: list(func(r *http.Request) { r.Host = "a b" }), status: 400, reason: wssecure.ReasonHost},
		{name: "origin", bad: list(from("https://evil.net")), status: 403, reason: wssecure.ReasonOrigin},
		{name: "fetch-metadata", bad: list(set("Sec-Fetch-Mode", "cors")), status: 403, reason: wssecure.ReasonOrigin},
		{name: "credential", bad: list(set("Authorization", "Bearer x")), status: 400, reason: wssecure.ReasonCredential},
		{name: "token", bad: list(noOrigin), status: 401, reason: wssecure.ReasonTokenInvalid},
		{name: "custom", opts: []wssecure.Option{fail(wssecure.ReasonForbidden)}, status: 403, reason: wssecure.ReasonForbidden},
		{name: "custom that cannot decide", opts: []wssecure.Option{fail(errors.New("down"))}, status: 503, reason: wssecure.ReasonUnavailable},
		{name: "SetContext", opts: []wssecure.Option{wssecure.SetContext(nilFirst())}, status: 500, reason: wssecure.ReasonInternal},
		{name: "cap", opts: []wssecure.Option{wssecure.LimitConns(wssecure.BySubject(), 1)}, status: 429, reason: wssecure.ReasonConnLimit,
			before: func(b *booth) { wantAnswer(b.t, b.knock(attacker, bearer(b.issuer.Token("alice"))), 101, "") }},
		{name: "key replay", bad: list(set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")), status: 400, reason: wssecure.ReasonKey,
			before: func(b *booth) { // with the same credential, which a ticket hands on
				wantAnswer(b.t, b.knock(attacker, bearer(b.token), set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")), 101, "")
			}},
	} {
		t.Run("A-39 "+row.name, func(t *testing.T) {
			b := newBooth(t, stay, row.opts...)
			b.token = b.issuer.Token("alice")
			ticket := b.ticketBefore(bearer(b.token))
			if row.before != nil {
				row.before(b)
			}
			wantAnswer(t, b.show(ticket, row.bad...), row.status, row.reason)
			b.hangUp()
			b.settled(0)
			wantAnswer(t, b.show(ticket), 101, "")
			wantAnswer(t, b.show(ticket), 401, wssecure.ReasonTokenInvalid)
		})
	}
}

// ticketBefore gets a ticket past checks of the application that fail their
// first call.
func (b *booth) ticketBefore(token func(*http.Request)) string {
	b.t.Helper()
	return b.swap(token, func(r *http.Request) { r.Header["X-Pass"] = []string{"yes"} })
}

// failFirst fails the first handshake that it sees.
func failFirst(err error) wssecure.Check {
	var seen atomic.Bool
	return func(_ context.Context, h *wssecure.Handshake) error {
		if h.Request.Header.Get("X-Pass") != "" || seen.Swap(true) {
			return nil
		}
		return err
	}
}

func nilFirst() func(context.Context, *wssecure.Handshake) context.Context {
	var seen atomic.Bool
	return func(ctx context.Context, _ *wssecure.Handshake) context.Context {
		if seen.Swap(true) {
			return ctx
		}
		return nil
	}
}

// A-39, L-09: a 101 that never comes leaves the ticket good too, and every way in
// and out leaves nothing else behind.
func TestLostHandshakeLeavesTheTicket(t *testing.T) {
	for _, row := range leavings {
		t.Run("A-39 L-09 "+row.name, func(t *testing.T) {
			if row.serve == nil {
				row.serve = quiet
			}
			b := newBooth(t, row.serve, append(row.options[:len(row.options):len(row.options)], fastHandshakes, wssecure.RequireCheck("path", checkPath),
				wssecure.LimitConns(wssecure.BySubject(), 2), wssecure.LimitConns(wssecure.ByFunc("full", isFull), 1))...)
			handler := b.gate.serve
			if row.next != nil {
				handler = b.guard.Handler(row.next)
			}
			holder := b.guard.ConnHandler(stay)
			wantAnswer(t, b.knockOn(holder, attacker, path("/full"), bearer(b.issuer.Token("holder"))), 101, "")
			for range 10 {
				ticket := b.swap()
				row.leave(b.gate, handler, holding(ticket))
				a := b.knockOn(holder, attacker, holding(ticket))
				if row.opened {
					wantAnswer(t, a, 401, wssecure.ReasonTokenInvalid)
					continue
				}
				wantAnswer(t, a, 101, "")
				a.conn.Close()
				b.settled(1)
			}
		})
	}
}

// What is put back lives for the rest of its time, and no longer.
func TestTicketPutBackKeepsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, stay, wssecure.LimitConns(wssecure.BySubject(), 1))
		wantAnswer(t, b.knock(attacker, bearer(b.issuer.Token("alice"))), 101, "")
		ticket := b.swap()
		for range 3 {
			time.Sleep(9 * time.Second)
			wantAnswer(t, b.show(ticket), 429, wssecure.ReasonConnLimit)
		}
		time.Sleep(3 * time.Second)
		wantAnswer(t, b.show(ticket), 401, wssecure.ReasonTokenInvalid)
	})
}

// A-09, ATTACKS S1: of 1,000 handshakes with one ticket at once, from as many
// addresses, exactly one gets its 101. The losers hold nothing afterwards.
func TestTicketRace(t *testing.T) {
	for _, racers := range []int{100, 1000} {
		t.Run(fmt.Sprintf("A-09 S1 %d at once", racers), func(t *testing.T) {
			b := newBooth(t, stay, fastHandshakes, wssecure.LimitConns(wssecure.BySubject(), racers))
			ticket := b.swap()
			var won, lost atomic.Int64
			var all sync.WaitGroup
			start := make(chan struct{})
			addr := netip.MustParseAddr("198.18.0.1")
			for range racers {
				at := addr.String()
				addr = addr.Next()
				all.Go(func() {
					<-start
					switch a := b.knock(at, holding(ticket)); {
					case a.status == 101:
						won.Add(1)
					case a.status == 401 && a.reason() == string(wssecure.ReasonTokenInvalid):
						lost.Add(1)
					default:
						t.Errorf("status %d %s", a.status, a.reason())
					}
				})
			}
			close(start)
			all.Wait()
			if won.Load() != 1 || lost.Load() != int64(racers)-1 {
				t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
			}
			b.await(wssecure.EventRefused, racers-1)
			for _, e := range b.seen(wssecure.EventRefused) {
				if e.Reason != wssecure.ReasonTokenForged {
					t.Fatalf("event %s, want %s", e.Reason, wssecure.ReasonTokenForged)
				}
			}
			b.hangUp()
			b.settled(0)
			wantHeldByAlice(t, b, racers)
		})
	}
}

// wantHeldByAlice takes every place that alice may hold: no lease is left.
func wantHeldByAlice(t *testing.T, b *booth, places int) {
	t.Helper()
	token := bearer(b.issuer.Token("alice"))
	for range places {
		wantAnswer(t, b.knock(attacker, token), 101, "")
	}
	wantAnswer(t, b.knock(attacker, token), 429, wssecure.ReasonConnLimit)
}

// the loser of a race keeps neither its lease nor its key. The winner comes
// in while the loser is between reading the ticket and spending it.
func TestLostRedeemGivesEverythingBack(t *testing.T) {
	var b *booth
	var ticket string
	late := wssecure.RequireCheck("late", func(_ context.Context, h *wssecure.Handshake) error {
		if h.Request.Header.Get("X-Late") != "" {
			wantAnswer(t, b.show(ticket), 101, "")
		}
		return nil
	})
	b = newBooth(t, stay, late, wssecure.LimitConns(wssecure.BySubject(), 2))
	b.token = b.issuer.Token("alice")
	ticket = b.swap(bearer(b.token))
	key := func(r *http.Request) { r.Header["Sec-Websocket-Key"] = []string{"dGhlIHNhbXBsZSBub25jZQ=="} }
	lost := b.show(ticket, key, func(r *http.Request) { r.Header["X-Late"] = []string{"yes"} })
	wantAnswer(t, lost, 401, wssecure.ReasonTokenInvalid)
	b.await(wssecure.EventRefused, 1)
	if e := b.seen(wssecure.EventRefused)[0]; e.Reason != wssecure.ReasonTokenForged || e.Check != "token" {
		t.Errorf("event %s by %s, want %s by token", e.Reason, e.Check, wssecure.ReasonTokenForged)
	}
	wantAnswer(t, b.knock(attacker, bearer(b.token), key), 101, "") // the second place, the same key
	wantAnswer(t, b.knock(attacker, bearer(b.token)), 429, wssecure.ReasonConnLimit)
}

// A ticket passes the ban of its address, as a token that was verified before
// does; a made-up one does not.
func TestTicketPassesABan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, stay, wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(1), time.Minute))
		ticket := b.swap()
		for range 3 {
			b.knock("203.0.113.2", bearer(b.forged()))
		}
		wantAnswer(t, b.show("A"+ticket[:42]), 403, wssecure.ReasonBanned)
		wantAnswer(t, b.show(ticket), 101, "")
	})
}

// The same made-up ticket counts once a minute: a page that tries again and again
// with a spent one is no attacker.
func TestSpentTicketCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, stay, wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(3), time.Minute))
		ticket := b.swap()
		wantAnswer(t, b.show(ticket), 101, "")
		for range 10 {
			wantAnswer(t, b.show(ticket), 401, wssecure.ReasonTokenInvalid)
		}
		for i := range 4 {
			b.show(fmt.Sprintf("%d%s", i, ticket[1:]))
		}
		wantAnswer(t, b.show(ticket), 403, wssecure.ReasonBanned)
	})
}

// A token that is bound to a certificate makes a ticket that is bound to it.
func TestTicketOfABoundToken(t *testing.T) {
	b := newBooth(t, stay)
	leaf := &x509.Certificate{Raw: []byte("leaf")}
	sum := sha256.Sum256(leaf.Raw)
	bound := b.issuer.Sign("ES256", b.issuer.Claims("alice", map[string]any{
		"cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
	}))
	shows := func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}} }
	wantAnswer(t, b.knockOn(b.tickets, attacker, bearer(bound), posting("")), 401, wssecure.ReasonTokenInvalid)
	ticket := b.swap(bearer(bound), shows)
	wantAnswer(t, b.show(ticket), 401, wssecure.ReasonTokenInvalid)
	wantAnswer(t, b.show(ticket, shows), 101, "")
}

// A guard that does not know the verifiers by name would let a ticket of one
// function's identities in by another's door.
func TestTicketOfTheApplicationsOwnVerifier(t *testing.T) {
	person := wssecure.VerifierFunc(personOf)
	twin := wssecure.VerifierFunc(func(ctx context.Context, token string) (*wssecure.Identity, error) { return personOf(ctx, token) })
	b := &booth{gate: &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}}
	b.start(stay, []wssecure.Option{wssecure.RequireToken(person, wssecure.FromBearer(), wssecure.FromTicket())})
	b.tickets = b.guard.TicketHandler()
	other := must(b.guard.With(wssecure.RequireToken(twin, wssecure.FromTicket()))).ConnHandler(stay)
	inherits := must(b.guard.With(wssecure.RequireCheck("any", func(context.Context, *wssecure.Handshake) error { return nil }))).ConnHandler(stay)
	ticket := b.swap(bearer("good"))
	wantAnswer(t, b.knockOn(other, attacker, holding(ticket)), 401, wssecure.ReasonTokenInvalid)
	wantAnswer(t, b.knockOn(inherits, attacker, holding(ticket)), 101, "")
}

// other keys make another verifier, though issuer and audience are the same.
func TestTicketOfOtherKeys(t *testing.T) {
	issuer, stranger := wssecuretest.NewIssuer(t, ""), wssecuretest.NewIssuer(t, "")
	stranger.Rotate("ES256")
	verifiers := []wssecure.Verifier{
		wssecure.Secrets("https://a.example", "ws", []byte(strings.Repeat("a", 32))),
		wssecure.Secrets("https://a.example", "ws", []byte(strings.Repeat("b", 32))),
		wssecure.StaticKeys(issuer.JWKS(), "https://a.example", "ws"),
		wssecure.StaticKeys(stranger.JWKS(), "https://a.example", "ws"),
		wssecure.JWKS("https://a.example/one", "https://a.example", "ws"),
		wssecure.JWKS("https://a.example/two", "https://a.example", "ws"),
		wssecure.Introspection("https://a.example/ask", "one", "secret", "ws"),
		wssecure.Introspection("https://a.example/ask", "two", "secret", "ws"),
	}
	for i, v := range verifiers {
		b := &booth{gate: &gate{t: t, issuer: issuer}}
		b.start(stay, []wssecure.Option{wssecure.RequireToken(v, wssecure.FromBearer(), wssecure.FromTicket())})
		use := wssecure.TicketFor{Origin: wssecuretest.Origin}
		ticket, err := b.guard.IssueTicket(t.Context(), &wssecure.Identity{Issuer: "https://a.example", Subject: "alice"}, use)
		if err != nil {
			t.Fatal(err)
		}
		other := must(b.guard.With(wssecure.RequireToken(verifiers[i^1], wssecure.FromTicket()))).ConnHandler(stay)
		wantAnswer(t, b.knockOn(other, attacker, holding(ticket)), 401, wssecure.ReasonTokenInvalid)
		same := must(b.guard.With(wssecure.RequireToken(v, wssecure.FromTicket()))).ConnHandler(stay)
		wantAnswer(t, b.knockOn(same, attacker, holding(ticket)), 101, "")
	}
}

// AllowLateToken waits for no token at the ticket's door, and a bad ticket is a bad
// credential.
func TestTicketBesideALateToken(t *testing.T) {
	b := newBooth(t, stay, wssecure.AllowLateToken(time.Minute))
	anonymous := func(r *http.Request) { delete(r.Header, "Authorization") }
	wantAnswer(t, b.asking("", anonymous), 401, wssecure.ReasonTokenMissing)
	wantAnswer(t, b.show(""), 401, wssecure.ReasonTokenInvalid)
	wantAnswer(t, b.show(b.swap()), 101, "")
	wantAnswer(t, b.knock(attacker), 101, "")
}

// The session of an introspected token is asked about again, also when it
// came by ticket; and the application cannot lose that by IssueTicket.
func TestTicketOfAnIntrospectedToken(t *testing.T) {
	const every = 5 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		b := &booth{gate: &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}}
		client := &http.Client{Transport: &network{handler: b.issuer.Handler()}}
		got := make(chan *wssecure.Identity, 1)
		b.start(func(ctx context.Context, c *wssecure.Conn) error {
			id, _ := wssecure.IdentityFrom(ctx)
			got <- id
			return stay(ctx, c)
		}, []wssecure.Option{wssecure.RequireToken(introspecting(b.issuer, client), wssecure.FromTicket()),
			wssecure.LimitSession(wssecure.Limits{Pong: time.Hour})}) // its peers answer no ping
		b.tickets = b.guard.TicketHandler()
		token := b.issuer.Opaque("alice", lasting())
		first, second := b.swap(bearer(token)), b.swap(bearer(token))
		wantAnswer(t, b.show(first), 101, "")
		id := <-got
		if _, err := b.guard.IssueTicket(t.Context(), id, wssecure.TicketFor{}); err == nil {
			t.Error("IssueTicket took an identity of Introspection")
		}
		b.issuer.SetActive(token, nil)
		wantAnswer(t, b.show(second), 101, "") // by what is cached for a minute
		<-got
		time.Sleep(every + every/10)
		synctest.Wait()
		ended := b.seen(wssecure.EventClosed)
		if len(ended) != 2 || ended[0].Reason != wssecure.ReasonRevoked || ended[1].Reason != wssecure.ReasonRevoked {
			t.Errorf("ended: %+v", ended)
		}
		if err := b.guard.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
