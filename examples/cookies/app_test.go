package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

var alice = url.Values{"user": {"alice"}, "password": {"secret"}}

func start(t *testing.T) (*app, *wssecuretest.Server) {
	a := newApp(func(user, password string) bool { return user == "alice" && password == "secret" })
	opts := append(a.options(), wssecure.SetLogger(slog.New(slog.DiscardHandler)))
	return a, wssecuretest.Start(t, wssecuretest.Config{Options: opts, Handler: a.routes})
}

// post sends a form with a session's token, and returns the status and the cookie that the answer sets, if any.
func post(t *testing.T, s *wssecuretest.Server, path, token string, form url.Values, site string) (int, *http.Cookie) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", site)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: cookie, Value: token})
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.Name == cookie {
			return resp.StatusCode, c
		}
	}
	return resp.StatusCode, nil
}

func logIn(t *testing.T, s *wssecuretest.Server) *http.Cookie {
	t.Helper()
	status, c := post(t, s, "/login", "", alice, "same-origin")
	if status != http.StatusNoContent || c == nil || c.Value == "" {
		t.Fatalf("login: %d, cookie %v", status, c)
	}
	return c
}

// knock sends a handshake with a session's token from a page of that origin.
func knock(t *testing.T, s *wssecuretest.Server, token, page string) (*probe.Response, *probe.Conn) {
	t.Helper()
	hs := s.Handshake("").Set("Origin", page).Set("Sec-WebSocket-Key", rand.Text()[:21]+"A==")
	if token != "" {
		hs.Add("Cookie: " + cookie + "=" + token)
	}
	c := s.Raw()
	if err := c.Send(hs.Bytes()); err != nil {
		t.Fatal(err)
	}
	r, err := c.Response()
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

func TestSessionCookieAdmits(t *testing.T) {
	_, s := start(t)
	c := logIn(t, s)
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie %v", c)
	}
	r, conn := knock(t, s, c.Value, origin)
	if r.Status != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %s", r.StatusLine, r.Body)
	}
	if f, err := conn.ReadFrame(); err != nil || string(f.Payload) != "hello alice" {
		t.Errorf("%q, %v", f.Payload, err)
	}
	if e := s.WaitEvent(wssecure.EventOpened); e.Issuer != origin || e.Subject != "alice" {
		t.Errorf("identity %q of %q", e.Subject, e.Issuer)
	}
}

func TestOthersStayOut(t *testing.T) {
	a, s := start(t)
	token := logIn(t, s).Value
	nobody, err := a.sessions.Load(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	a.sessions.Put(nobody, "cart", "7")
	anonymous, _, err := a.sessions.Commit(nobody)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, token, page string
		status            int
		reason            wssecure.Reason
	}{
		{"no cookie", "", origin, 401, wssecure.ReasonTokenMissing},
		{"made up", "made-up", origin, 401, wssecure.ReasonTokenInvalid},
		{"a session without login", anonymous, origin, 401, wssecure.ReasonTokenInvalid},
		{"another page with the user's cookie", token, "https://evil.example", 403, wssecure.ReasonOrigin},
		{"a sibling page with the user's cookie", token, "https://blog.example.com", 403, wssecure.ReasonOrigin},
	} {
		t.Run(row.name, func(t *testing.T) {
			if r, _ := knock(t, s, row.token, row.page); r.Status != row.status {
				t.Errorf("%s, want %d", r.StatusLine, row.status)
			}
			if e := s.WaitEvent(wssecure.EventRefused); e.Reason != row.reason {
				t.Errorf("reason %s, want %s", e.Reason, row.reason)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	_, s := start(t)
	if status, c := post(t, s, "/login", "", url.Values{"user": {"alice"}, "password": {"guess"}}, "same-origin"); status != 401 || c != nil {
		t.Errorf("wrong password: %d, %v", status, c)
	}
	if status, c := post(t, s, "/login", "", alice, "cross-site"); status != 403 || c != nil {
		t.Errorf("from another site: %d, %v", status, c)
	}
	before := logIn(t, s).Value
	if _, c := post(t, s, "/login", before, alice, "same-origin"); c == nil || c.Value == before {
		t.Error("a token from before the login stays good")
	}
}

func TestLogoutEndsSockets(t *testing.T) {
	_, s := start(t)
	token, other := logIn(t, s).Value, logIn(t, s).Value
	_, conn := knock(t, s, token, origin)
	if status, _ := post(t, s, "/logout", token, nil, "same-origin"); status != http.StatusNoContent {
		t.Fatalf("logout: %d", status)
	}
	if code, _, err := conn.AwaitClose(); err != nil || code != 3000 {
		t.Errorf("close code %d, %v", code, err)
	}
	if r, _ := knock(t, s, token, origin); r.Status != http.StatusUnauthorized {
		t.Errorf("after the logout: %s", r.StatusLine)
	}
	if r, _ := knock(t, s, other, origin); r.Status != http.StatusSwitchingProtocols {
		t.Errorf("the user's other session: %s", r.StatusLine)
	}
}
