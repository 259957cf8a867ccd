package wssecure_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// booth is a gate that sells tickets.
type booth struct {
	*gate
	tickets http.Handler
	token   string
}

func newBooth(t testing.TB, serve serveFunc, options ...wssecure.Option) *booth {
	t.Helper()
	b := &booth{gate: &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}}
	b.start(serve, append(options, b.issuer.Option(wssecure.FromBearer(), wssecure.FromTicket())))
	b.tickets = b.guard.TicketHandler()
	return b
}

// posting makes a handshake of the gate into what fetch sends.
func posting(form string) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = http.MethodPost
		for name := range r.Header {
			if strings.HasPrefix(name, "Sec-Websocket-") || name == "Upgrade" || name == "Connection" {
				delete(r.Header, name)
			}
		}
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
		if form != "" {
			r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
		}
	}
}

// swap gets a ticket for a fresh token of alice.
func (b *booth) swap(changes ...func(*http.Request)) string {
	b.t.Helper()
	all := append([]func(*http.Request){bearer(b.issuer.Token("alice")), posting("")}, changes...)
	return ticketOf(b.t, b.knockOn(b.tickets, "203.0.113.1", all...))
}

// ticketOf holds an answer to A-36.
func ticketOf(t testing.TB, a answer) string {
	t.Helper()
	var got struct {
		Ticket  string `json:"ticket"`
		Expires int    `json:"expires_in"`
	}
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); a.status != 200 || err != nil {
		t.Fatalf("A-36 status %d, %v: %s", a.status, err, a.body)
	}
	if len(got.Ticket) != 43 || strings.Trim(got.Ticket, base64url) != "" || got.Expires != 30 {
		t.Errorf("A-36 answer %s", a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("A-36 headers %v", a.header)
	}
	return got.Ticket
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func holding(ticket string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery = "ticket=" + url.QueryEscape(ticket) }
}

func noOrigin(r *http.Request) { delete(r.Header, "Origin") }

func (b *booth) show(ticket string, changes ...func(*http.Request)) answer {
	b.t.Helper()
	return b.knock("203.0.113.2", append([]func(*http.Request){holding(ticket)}, changes...)...)
}

func TestTicketIsGoodOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, stay)
		ticket := b.swap()
		t.Log("A-36 A-09 first, again")
		wantAnswer(t, b.show(ticket), 101, "")
		wantAnswer(t, b.show(ticket), 401, wssecure.ReasonTokenInvalid)
		t.Log("A-09 after 30 s")
		young, old := b.swap(), b.swap()
		time.Sleep(29 * time.Second)
		wantAnswer(t, b.show(young), 101, "")
		time.Sleep(time.Second)
		wantAnswer(t, b.show(old), 401, wssecure.ReasonTokenInvalid)
		t.Log("A-09 made up")
		wantAnswer(t, b.show(strings.Repeat("x", 43)), 401, wssecure.ReasonTokenInvalid)
		b.await(wssecure.EventRefused, 3)
		for _, e := range b.seen(wssecure.EventRefused) {
			if e.Reason != wssecure.ReasonTokenForged || e.Check != "token" {
				t.Errorf("A-09 event %s by %s, want %s", e.Reason, e.Check, wssecure.ReasonTokenForged)
			}
		}
	})
}

func TestTicketForm(t *testing.T) {
	b := newBooth(t, stay)
	good := b.swap()
	for _, row := range []struct {
		name, query string
		changes     []func(*http.Request)
		status      int
		reason      wssecure.Reason
	}{
		{"A-09 42 characters", "ticket=" + good[:42], nil, 401, wssecure.ReasonTokenInvalid},
		{"A-09 44 characters", "ticket=" + good + "A", nil, 401, wssecure.ReasonTokenInvalid},
		{"A-09 not base64url", "ticket=" + good[:42] + "%2B", nil, 401, wssecure.ReasonTokenInvalid},
		{"A-09 empty", "ticket=", nil, 401, wssecure.ReasonTokenInvalid},
		{"A-09 two", "ticket=" + good + "&ticket=" + good, nil, 400, wssecure.ReasonCredential},
		{"A-06 beside Authorization", "ticket=" + good, []func(*http.Request){bearer(b.issuer.Token("alice"))}, 400, wssecure.ReasonCredential},
		{"O-41 bad form without Origin", "ticket=x", []func(*http.Request){noOrigin}, 401, wssecure.ReasonTokenInvalid},
		{"O-41 two without Origin", "ticket=x&ticket=y", []func(*http.Request){noOrigin}, 400, wssecure.ReasonCredential},
		{"another parameter", "Ticket=" + good, nil, 401, wssecure.ReasonTokenMissing},
		{"A-09 still good, and percent-encoded", "a=1&t%69cket=%" + fmt.Sprintf("%02X", good[0]) + good[1:], nil, 101, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			query := func(r *http.Request) { r.URL.RawQuery = row.query }
			wantAnswer(t, b.knock("203.0.113.2", append(row.changes, query)...), row.status, row.reason)
		})
	}
}

// a ticket is bound to its origin, path and verifiers, and what
// does not fit leaves it good.
func TestTicketIsBound(t *testing.T) {
	b := newBooth(t, stay)
	other, err := b.guard.With(wssecure.RequireToken(wssecure.StaticKeys(b.issuer.JWKS(), b.issuer.URL, "other"), wssecure.FromTicket()))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := from("https://a.example.net")
	issued := func(origin, path string) string {
		ticket, err := b.guard.IssueTicket(t.Context(), b.alice(), wssecure.TicketFor{Origin: origin, Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	for _, row := range []struct {
		name      string
		ticket    string
		bad, good []func(*http.Request)
		at        http.Handler
	}{
		{name: "A-35 another Origin", ticket: b.swap(), bad: list(elsewhere)},
		{name: "A-35 no Origin", ticket: b.swap(), bad: list(noOrigin)},
		{name: "A-35 another path", ticket: b.swap(posting("path=%2Fws")), bad: list(path("/other"))},
		{name: "A-35 no path named", ticket: b.swap(posting("path=")), good: list(path("/other"))},
		{name: "A-35 other verifiers", ticket: b.swap(), at: other.ConnHandler(stay)},
		{name: "A-62 another Origin", ticket: issued(wssecuretest.Origin, ""), bad: list(elsewhere)},
		{name: "A-62 canonical Origin", ticket: issued("HTTPS://APP.example.com:443", ""), bad: list(elsewhere)},
		{name: "A-62 another path", ticket: issued(wssecuretest.Origin, "/ws"), bad: list(path("/ws/"))},
		{name: "A-62 Origin empty", ticket: issued("", ""), bad: list(), good: list(noOrigin)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.bad != nil {
				wantAnswer(t, b.show(row.ticket, row.bad...), 401, wssecure.ReasonTokenInvalid)
			}
			if row.at != nil {
				wantAnswer(t, b.knockOn(row.at, "203.0.113.2", holding(row.ticket)), 401, wssecure.ReasonTokenInvalid)
			}
			wantAnswer(t, b.show(row.ticket, row.good...), 101, "")
		})
	}
	b.until(func() bool { return len(b.seen(wssecure.EventRefused)) >= 7 }, "refusals are missing")
	for _, e := range b.seen(wssecure.EventRefused) {
		if e.Reason != wssecure.ReasonTokenInvalid {
			t.Errorf("event %s, want %s", e.Reason, wssecure.ReasonTokenInvalid)
		}
	}
}

func list(changes ...func(*http.Request)) []func(*http.Request) {
	return append([]func(*http.Request){}, changes...)
}

// alice is what a backend knows of its user.
func (b *booth) alice() *wssecure.Identity {
	return &wssecure.Identity{Issuer: b.issuer.URL, Subject: "alice", IssuedAt: time.Now().Add(-time.Minute)}
}

func TestTicketWithoutOrigin(t *testing.T) {
	for _, row := range []struct {
		name   string
		opts   []wssecure.Option
		status int
		reason wssecure.Reason
	}{
		{"O-28 ticket", nil, 101, ""},
		{"O-28 ticket, RequireOrigin", []wssecure.Option{wssecure.RequireOrigin()}, 403, wssecure.ReasonOriginMissing},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBooth(t, stay, row.opts...)
			ticket, err := b.guard.IssueTicket(t.Context(), b.alice(), wssecure.TicketFor{})
			if err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, b.show(ticket, noOrigin), row.status, row.reason)
		})
	}
}

func TestIssueTicketFaults(t *testing.T) {
	b := newBooth(t, stay)
	bare := newTokenGate(t, stay)
	good := wssecure.TicketFor{Origin: wssecuretest.Origin, Path: "/ws"}
	for _, row := range []struct {
		name  string
		guard *wssecure.Guard
		id    *wssecure.Identity
		use   wssecure.TicketFor
		want  string
	}{
		{"A-74 nil id", b.guard, nil, good, "nil"},
		{"A-74 no Subject", b.guard, &wssecure.Identity{Issuer: "x"}, good, "no Subject"},
		{"A-74 Expiry past", b.guard, &wssecure.Identity{Subject: "a", Expiry: time.Now()}, good, "expired"},
		{"A-74 without FromTicket", bare.guard, b.alice(), good, "FromTicket"},
		{"A-74 Origin without scheme", b.guard, b.alice(), wssecure.TicketFor{Origin: "app.example.com"}, "Origin"},
		{"A-74 Origin null", b.guard, b.alice(), wssecure.TicketFor{Origin: "null"}, "Origin"},
		{"A-74 Origin with a path", b.guard, b.alice(), wssecure.TicketFor{Origin: "https://a.example/x"}, "Origin"},
		{"A-74 Path without slash", b.guard, b.alice(), wssecure.TicketFor{Path: "ws"}, "Path"},
		{"A-74 Path with a query", b.guard, b.alice(), wssecure.TicketFor{Path: "/ws?a"}, "Path"},
		{"A-74 Path with a host", b.guard, b.alice(), wssecure.TicketFor{Path: "//evil.net/ws"}, "Path"},
		{"A-74 Path with a URL", b.guard, b.alice(), wssecure.TicketFor{Path: "https://evil.net/ws"}, "Path"},
		{"A-74 Path with a control character", b.guard, b.alice(), wssecure.TicketFor{Path: "/a\n"}, "Path"},
		{"A-74 Path of 1,025 bytes", b.guard, b.alice(), wssecure.TicketFor{Path: "/" + strings.Repeat("a", 1024)}, "Path"},
		{"claims that are no JSON", b.guard, &wssecure.Identity{Subject: "a", Claims: map[string]any{"f": func() {}}}, good, "JSON"},
		{"Subject of other bytes than UTF-8", b.guard, &wssecure.Identity{Subject: "\xfe"}, good, "UTF-8"},
		{"jti of other bytes than UTF-8", b.guard, &wssecure.Identity{Subject: "a", TokenID: "\xfe"}, good, "UTF-8"},
		{"scope of other bytes than UTF-8", b.guard, &wssecure.Identity{Subject: "a", Scopes: []string{"b", "\xfe"}}, good, "UTF-8"},
		{"claims beyond the bound", b.guard, &wssecure.Identity{Subject: "a", Claims: map[string]any{"f": strings.Repeat("a", 16<<10)}}, good, "fits no ticket"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ticket, err := row.guard.IssueTicket(t.Context(), row.id, row.use)
			if err == nil || ticket != "" || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%q, %v; want an error with %q", ticket, err, row.want)
			}
		})
	}
}

// A ticket is as revocable as the credential it was swapped for.
func TestTicketOfARevokedCredential(t *testing.T) {
	for name, target := range map[string]func(iss string) wssecure.Target{
		"A-39 subject": func(iss string) wssecure.Target { return wssecure.Subject(iss, "alice") },
		"A-39 jti":     func(iss string) wssecure.Target { return wssecure.TokenID(iss, "the-jti") },
		"A-39 sid":     func(iss string) wssecure.Target { return wssecure.OIDCSession(iss, "the-sid") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooth(t, stay)
			claims := b.issuer.Claims("alice", map[string]any{"jti": "the-jti", "sid": "the-sid"})
			ticket := b.swap(bearer(b.issuer.Sign("ES256", claims)))
			if _, err := b.guard.Revoke(t.Context(), target(b.issuer.URL), "test"); err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, b.show(ticket), 401, wssecure.ReasonTokenInvalid)
			b.await(wssecure.EventRefused, 1)
			if e := b.seen(wssecure.EventRefused)[0]; e.Reason != wssecure.ReasonRevoked {
				t.Errorf("event %s, want %s", e.Reason, wssecure.ReasonRevoked)
			}
		})
	}
}

// A-63 and what a ticket carries: everything that the token said.
func TestTicketCarriesTheIdentity(t *testing.T) {
	got := make(chan *wssecure.Identity, 2)
	serve := func(ctx context.Context, c *wssecure.Conn) error {
		id, _ := wssecure.IdentityFrom(ctx)
		got <- id
		return nil
	}
	b := newBooth(t, serve)
	claims := b.issuer.Claims("alice", map[string]any{
		"scope": "chat read", "sid": "s", "acr": "mfa", "amr": []string{"pwd", "otp"}, "auth_time": time.Now().Unix(),
		"tenant": map[string]any{"ids": []any{"a", "b"}, "n": json.Number("12345678901234567890")},
	})
	token := b.issuer.Sign("ES256", claims)
	ticket := b.swap(bearer(token))
	wantAnswer(t, b.show(ticket), 101, "")
	wantAnswer(t, b.knock("203.0.113.3", bearer(token)), 101, "")
	shown, told := next(t, got), next(t, got)
	if a, b := fmt.Sprintf("%+v", exported(shown)), fmt.Sprintf("%+v", exported(told)); a != b {
		t.Errorf("by ticket\n%s, by token\n%s", a, b)
	}

	roomy := must(b.guard.With(wssecure.RequireScopes("read"), wssecure.RequireClaim("/tenant/ids", "b"), wssecure.RequireAuthLevel(time.Hour, "mfa"))).ConnHandler(quiet)
	scoped := must(b.guard.With(wssecure.RequireScopes("admin"))).ConnHandler(quiet)
	claimed := must(b.guard.With(wssecure.RequireClaim("/tenant/ids", "c"))).ConnHandler(quiet)
	ticket = b.swap(bearer(token))
	level := must(b.guard.With(wssecure.RequireAuthLevel(time.Hour, "hardware"))).ConnHandler(quiet)
	t.Log("A-63 scopes, claims, level")
	wantAnswer(t, b.knockOn(level, "203.0.113.2", holding(ticket)), 401, wssecure.ReasonAuthLevel)
	wantAnswer(t, b.knockOn(scoped, "203.0.113.2", holding(ticket)), 403, wssecure.ReasonScope)
	wantAnswer(t, b.knockOn(claimed, "203.0.113.2", holding(ticket)), 403, wssecure.ReasonForbidden)
	wantAnswer(t, b.knockOn(roomy, "203.0.113.2", holding(ticket)), 101, "")
}

func exported(id *wssecure.Identity) []any {
	return []any{id.Issuer, id.Subject, id.TokenID, id.OIDCSession, id.Scopes, id.IssuedAt.Unix(), id.AuthTime.Unix(), id.Expiry.Unix(), id.ACR, id.AMR, id.Claims}
}

// The session of a ticket ends with the token's exp, and a ticket does not
// outlive it.
func TestTicketExpiresWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, stay)
		exp := time.Now().Add(-20 * time.Second).Unix() // within the skew of 30 s
		token := b.issuer.Sign("ES256", b.issuer.Claims("alice", map[string]any{"exp": exp}))
		first, second := b.swap(bearer(token)), b.swap(bearer(token))
		wantAnswer(t, b.show(first), 101, "")
		time.Sleep(11 * time.Second)
		wantAnswer(t, b.show(second), 401, wssecure.ReasonTokenInvalid)
		synctest.Wait()
		if e := b.seen(wssecure.EventClosed); len(e) != 1 || e[0].Reason != wssecure.ReasonTokenExpired {
			t.Errorf("the session of a ticket: %+v", e)
		}
		if e := b.seen(wssecure.EventRefused); len(e) != 1 || e[0].Reason != wssecure.ReasonTokenExpired {
			t.Errorf("the second ticket: %+v", e)
		}
	})
}
