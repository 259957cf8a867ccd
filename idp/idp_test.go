package idp

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

const (
	readable = "urn:chat:jwt"
	opaque   = "urn:chat:opaque"
)

func TestProvider(t *testing.T) {
	p := startProvider(t)
	saw(t, "oidc-provider %s on node %s at %s", p.Version, p.Node, p.Issuer)
	t.Run("access token", p.accessToken)
	t.Run("ID token", p.idToken)
	t.Run("introspection", p.introspection)
	t.Run("logout of a login", p.logoutOfLogin)
	t.Run("logout of a person", p.logoutOfPerson)
}

func (p *provider) accessToken(t *testing.T) {
	s := guarded(t, wssecure.OIDC(p.Issuer, "chat", wssecure.HTTPClient(p.client)))
	token := p.serviceToken(t, readable)
	header, payload := claims(t, token)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" {
		t.Fatalf("an access token with header %v", header)
	}
	t.Run("of a service", func(t *testing.T) {
		admitted(t, s, token, service)
		saw(t, "client_credentials, %s %s for %s: discovery, keys, 101, echo", header["alg"], header["typ"], payload["sub"])
	})
	if err := s.Guard.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
	t.Run("of a person", func(t *testing.T) {
		admitted(t, s, p.signIn(t, web, "alice", readable).AccessToken, "alice")
		saw(t, "authorization code with PKCE for alice: 101, echo")
	})
	t.Run("with more scope than was given", func(t *testing.T) {
		e := refused(t, s, rewritten(t, token, "chat:read", "chat:write"), wssecure.ReasonTokenForged)
		saw(t, "scope rewritten: %d %s", e.Status, e.Reason)
	})
	t.Run("for another API", func(t *testing.T) {
		other := guarded(t, wssecure.OIDC(p.Issuer, "billing", wssecure.HTTPClient(p.client)))
		e := refused(t, other, token, wssecure.ReasonTokenInvalid)
		saw(t, "the same token at another API: %d %s", e.Status, e.Reason)
	})
	t.Run("that is opaque", func(t *testing.T) {
		e := refused(t, s, p.serviceToken(t, opaque), wssecure.ReasonTokenInvalid)
		saw(t, "an opaque token: %d %s", e.Status, e.Reason)
	})
}

// An ID token says who signed in, to the application that asked. It opens nothing unless the guard is that application's.
func (p *provider) idToken(t *testing.T) {
	alice := p.signIn(t, web, "alice", readable)
	strict := guarded(t, wssecure.OIDC(p.Issuer, web, wssecure.HTTPClient(p.client)))
	e := refused(t, strict, alice.IDToken, wssecure.ReasonTokenInvalid)
	saw(t, "ID token: %d %s", e.Status, e.Reason)
	lenient := guarded(t, wssecure.OIDC(p.Issuer, web, wssecure.HTTPClient(p.client), wssecure.AllowIDToken()))
	admitted(t, lenient, alice.IDToken, "alice")
	saw(t, "ID token with AllowIDToken: 101, echo")
}

func (p *provider) introspection(t *testing.T) {
	asking := func(secret string) *wssecuretest.Server {
		return guarded(t, wssecure.Introspection(p.Issuer+"/token/introspection", api, secret, "chat", wssecure.HTTPClient(p.client)))
	}
	s := asking(secret)
	token, alice := p.serviceToken(t, opaque), p.signIn(t, web, "alice", opaque)
	t.Run("active", func(t *testing.T) {
		admitted(t, s, token, service)
		admitted(t, s, alice.AccessToken, "alice")
		saw(t, "opaque tokens of %s and alice: 101, echo", service)
	})
	t.Run("unknown", func(t *testing.T) {
		e := refused(t, s, token[1:]+"A", wssecure.ReasonTokenInvalid)
		saw(t, "an opaque token that the provider does not know: %d %s", e.Status, e.Reason)
	})
	t.Run("asked by nobody the provider knows", func(t *testing.T) {
		e := refused(t, asking("guessed"), token, wssecure.ReasonUnavailable)
		saw(t, "a guard with a wrong client secret: %d %s", e.Status, e.Reason)
	})
	t.Run("revoked", func(t *testing.T) {
		p.ask(t, "/token/revocation", service, url.Values{"token": {token}}, nil)
		// The guard that asked a moment ago does not ask again within the minute; one that has not asked learns of it.
		admitted(t, s, token, service)
		e := refused(t, asking(secret), token, wssecure.ReasonTokenInvalid)
		saw(t, "revoked at the provider: %d %s by a guard that had not asked yet", e.Status, e.Reason)
	})
}

// logoutOfLogin: the provider says which login has ended. The same person's other login stays.
func (p *provider) logoutOfLogin(t *testing.T) {
	s := guarded(t, wssecure.OIDC(p.Issuer, "chat", wssecure.HTTPClient(p.client)))
	p.backChannel(t, s.Guard.LogoutHandler(webSessions))
	desk, phone := p.signIn(t, webSessions, "alice", readable), p.signIn(t, webSessions, "alice", readable)
	atDesk, atPhone := admitted(t, s, desk.AccessToken, "alice"), admitted(t, s, phone.AccessToken, "alice")

	desk.signOut()
	call := p.delivered(t)
	_, token := claims(t, call.token)
	if call.status != http.StatusOK || token["sid"] == nil {
		t.Fatalf("the guard answered %d to %v", call.status, token)
	}
	saw(t, "logout token for sub %s, sid %s: %d", token["sub"], token["sid"], call.status)
	ended(t, s, atDesk)
	echoes(t, atPhone)
	e := refused(t, s, desk.AccessToken, wssecure.ReasonRevoked)
	saw(t, "session of that login closed, its token %d %s, the other login's session still echoes", e.Status, e.Reason)
	admitted(t, s, p.signIn(t, webSessions, "alice", readable).AccessToken, "alice")

	t.Run("again", func(t *testing.T) {
		e := p.refusedLogout(t, s, call.token, webSessions)
		saw(t, "the same logout token again: %d %s, %s", e.Status, e.Reason, e.Seen)
	})
	t.Run("for another application", func(t *testing.T) {
		other := guarded(t, wssecure.OIDC(p.Issuer, "chat", wssecure.HTTPClient(p.client)))
		e := p.refusedLogout(t, other, call.token, "billing-web")
		saw(t, "a logout token for another application: %d %s, %v", e.Status, e.Reason, e.Err)
	})
	t.Run("as an access token", func(t *testing.T) {
		lenient := guarded(t, wssecure.OIDC(p.Issuer, webSessions, wssecure.HTTPClient(p.client), wssecure.AllowIDToken()))
		e := refused(t, lenient, call.token, wssecure.ReasonTokenInvalid)
		saw(t, "the logout token as a credential: %d %s", e.Status, e.Reason)
	})
}

// logoutOfPerson: without a sid every login of the person ends, and nobody else's.
func (p *provider) logoutOfPerson(t *testing.T) {
	s := guarded(t, wssecure.OIDC(p.Issuer, "chat", wssecure.HTTPClient(p.client)))
	p.backChannel(t, s.Guard.LogoutHandler(web))
	desk, phone := p.signIn(t, web, "alice", readable), p.signIn(t, web, "alice", readable)
	bob := admitted(t, s, p.signIn(t, web, "bob", readable).AccessToken, "bob")
	atDesk, atPhone := admitted(t, s, desk.AccessToken, "alice"), admitted(t, s, phone.AccessToken, "alice")

	desk.signOut()
	call := p.delivered(t)
	_, token := claims(t, call.token)
	if call.status != http.StatusOK || token["sid"] != nil || token["sub"] != "alice" {
		t.Fatalf("the guard answered %d to %v", call.status, token)
	}
	ended(t, s, atDesk)
	ended(t, s, atPhone)
	echoes(t, bob)
	e := refused(t, s, phone.AccessToken, wssecure.ReasonRevoked)
	saw(t, "logout token for sub %s: %d, both sessions closed, tokens %d %s, bob's session still echoes", token["sub"], call.status, e.Status, e.Reason)
}

// guarded is an echo server behind a guard of the verifier.
func guarded(t *testing.T, v wssecure.Verifier) *wssecuretest.Server {
	t.Helper()
	return wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(v),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)),
	}})
}

// admitted opens a socket with token and sends a message back and forth.
func admitted(t *testing.T, s *wssecuretest.Server, token, subject string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, resp, err := s.Dial(ctx, token)
	if err != nil {
		e := s.WaitEvent(wssecure.EventRefused)
		t.Fatalf("%v; event %s: %v", err, e.Reason, e.Err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if e := s.WaitEvent(wssecure.EventOpened); e.Subject != subject {
		t.Errorf("the session is of %q, want %q", e.Subject, subject)
	}
	echoes(t, c)
	return c
}

func echoes(t *testing.T, c *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := []byte(time.Now().String())
	if err := c.Write(ctx, websocket.MessageText, want); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("sent %q, came back %q, %v", want, got, err)
	}
}

// refused wants a refusal for the reason and returns its event.
func refused(t *testing.T, s *wssecuretest.Server, token string, reason wssecure.Reason) wssecure.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, resp, err := s.Dial(ctx, token)
	if err == nil {
		t.Fatal("admitted")
	}
	e := s.WaitEvent(wssecure.EventRefused)
	if resp == nil || resp.StatusCode != reason.Status() || e.Reason != reason {
		t.Fatalf("%v; event %s: %v", err, e.Reason, e.Err)
	}
	return e
}

// ended wants the session closed as one whose token is good no longer.
func ended(t *testing.T, s *wssecuretest.Server, c *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 3000 {
		t.Errorf("the session ended with %v, want 3000", err)
	}
	if e := s.WaitEvent(wssecure.EventClosed); e.Reason != wssecure.ReasonRevoked {
		t.Errorf("the event says %s", e.Reason)
	}
}

// backChannel has the provider's logout tokens come to h until the test ends.
func (p *provider) backChannel(t *testing.T, h http.Handler) {
	p.logout.Store(&h)
	t.Cleanup(func() { p.logout.Store(nil) })
}

// refusedLogout delivers a logout token as the provider does, to a guard that must refuse it, and returns the event.
func (p *provider) refusedLogout(t *testing.T, s *wssecuretest.Server, token string, clientIDs ...string) wssecure.Event {
	t.Helper()
	p.backChannel(t, s.Guard.LogoutHandler(clientIDs...))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.backURL, strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, _, err := answered(p.client.Do(r))
	if err != nil {
		t.Fatal(err)
	}
	if call := p.delivered(t); call.status != http.StatusBadRequest || status != call.status {
		t.Fatalf("the guard answered %d, %d arrived", call.status, status)
	}
	e := s.WaitEvent(wssecure.EventRefused)
	for e.Status != status { // refused handshakes come before
		e = s.WaitEvent(wssecure.EventRefused)
	}
	return e
}

// rewritten is token with another payload under its signature.
func rewritten(t *testing.T, token, old, changed string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !bytes.Contains(payload, []byte(old)) {
		t.Fatalf("payload %q: %v", payload, err)
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(bytes.ReplaceAll(payload, []byte(old), []byte(changed)))
	return strings.Join(parts, ".")
}
