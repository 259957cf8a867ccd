package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutServer has sockets at /ws and takes logout tokens at /logout.
func logoutServer(t *testing.T, clientIDs []string, options ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	options = append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin)}, options...)
	return wssecuretest.Start(t, wssecuretest.Config{Options: options, Handler: func(g *wssecure.Guard) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/ws", g.ConnHandler(wssecuretest.Echo))
		mux.Handle("/logout", g.LogoutHandler(clientIDs...))
		return mux
	}})
}

func logoutFixture(t *testing.T) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := logoutServer(t, []string{"web", "app"}, issuer.Option())
	s.Issuer = issuer
	return s
}

// logoutClaims are those of a good logout token for alice's login "s1".
func logoutClaims(i *wssecuretest.Issuer, more members) members {
	return i.Claims("alice", members{"aud": "web", "sid": "s1", "events": members{logoutEvent: members{}}}, more)
}

func logoutToken(i *wssecuretest.Issuer, more members) string {
	return i.SignHeader(members{"typ": "logout+jwt"}, logoutClaims(i, more), "ES256")
}

func post(t *testing.T, s *wssecuretest.Server, contentType, body string) *http.Response {
	t.Helper()
	r, err := s.Client().Post("https://"+s.Addr+"/logout", contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const formType = "application/x-www-form-urlencoded"

func logOut(t *testing.T, s *wssecuretest.Server, text string) *http.Response {
	t.Helper()
	return post(t, s, formType, url.Values{"logout_token": {text}}.Encode())
}

// wantLogout wants a status, and what section 2.8 of Back-Channel Logout says of
// the answer.
func wantLogout(t *testing.T, r *http.Response, status int) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || r.StatusCode != status {
		t.Fatalf("status %d (%v), want %d: %s", r.StatusCode, err, status, body)
	}
	want := `{"error":"invalid_request"}` + "\n"
	if status == 200 {
		want = ""
	}
	if string(body) != want || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("body %q, Cache-Control %q", body, r.Header.Get("Cache-Control"))
	}
}

// session opens one more with these claims of alice's.
func session(t *testing.T, s *wssecuretest.Server, more members) *probe.Conn {
	t.Helper()
	_, c := wantAdmitted(t, s, freshHandshake(s.Issuer.Sign("ES256", s.Issuer.Claims("alice", more))))
	return c
}

// TestLogoutEndsSessions is S-07.
func TestLogoutEndsSessions(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	early := time.Now().Add(-time.Minute).Unix()
	for _, row := range []struct {
		name   string
		header members
		claims members
		others bool // by sid: the other login lives
	}{
		{"S-07 typ logout+jwt", members{"typ": "logout+jwt"}, nil, true},
		{"S-07 typ application/logout+jwt", members{"typ": "application/logout+jwt"}, nil, true},
		{"S-07 typ JWT", members{"typ": "JWT"}, nil, true},
		{"S-07 typ none", members{"typ": wssecuretest.Absent}, nil, true},
		{"S-07 for the other client", nil, members{"aud": []string{"x", "app"}}, true},
		{"S-07 sid alone", nil, members{"sub": wssecuretest.Absent}, true},
		{"S-07 sub alone", nil, members{"sid": wssecuretest.Absent}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := logoutServer(t, []string{"web", "app"}, i.Option())
			s.Issuer = i
			of, other := session(t, s, members{"sid": "s1", "iat": early}), session(t, s, members{"sid": "s2", "iat": early})
			_, bob := wantAdmitted(t, s, freshHandshake(i.Token("bob")))
			wantLogout(t, logOut(t, s, i.SignHeader(row.header, logoutClaims(i, row.claims), "ES256")), 200)
			wantClose(t, of, 3000, "revoked")
			if row.others {
				wantEcho(t, other, "still here")
			} else {
				wantClose(t, other, 3000, "revoked")
			}
			wantEcho(t, bob, "still here")
			e := s.WaitEvent(wssecure.EventRevoked)
			if e.Hint != "back-channel logout" {
				t.Errorf("event %+v", e)
			}
			again := freshHandshake(i.Sign("ES256", i.Claims("alice", members{"sid": "s1", "iat": early})))
			wantRefused(t, s, again, 401, wssecure.ReasonRevoked)
		})
	}
}

// TestLogoutLeavesAFreshLogin: the logout of a person that comes late ends what
// was issued before it, not the login that followed.
func TestLogoutLeavesAFreshLogin(t *testing.T) {
	s := logoutFixture(t)
	fresh := session(t, s, nil)
	wantLogout(t, logOut(t, s, logoutToken(s.Issuer, members{"sid": wssecuretest.Absent, "iat": ago(10 * time.Second)})), 200)
	wantEcho(t, fresh, "still here")
}

// TestLogoutRefusals is S-19: nothing of these closes anything.
func TestLogoutRefusals(t *testing.T) {
	s := logoutFixture(t)
	i := s.Issuer
	live := session(t, s, members{"sid": "s1"})
	stranger := wssecuretest.NewIssuer(t, "https://other.example")
	stranger.Rotate("ES256")
	for name, text := range map[string]string{
		"S-19 typ at+jwt":         i.SignHeader(members{"typ": "at+jwt"}, logoutClaims(i, nil), "ES256"),
		"S-19 alg none":           i.SignHeader(nil, logoutClaims(i, nil), "none"),
		"S-19 other iss":          stranger.SignHeader(members{"typ": "logout+jwt"}, logoutClaims(stranger, nil), "ES256"),
		"S-19 other key":          stranger.SignHeader(members{"typ": "logout+jwt", "kid": i.KeyID("ES256")}, logoutClaims(i, nil), "ES256"),
		"S-19 the guard's aud":    logoutToken(i, members{"aud": wssecuretest.Audience}),
		"S-19 aud missing":        logoutToken(i, members{"aud": wssecuretest.Absent}),
		"S-19 iat missing":        logoutToken(i, members{"iat": wssecuretest.Absent}),
		"S-19 iat ahead":          logoutToken(i, members{"iat": ago(-5 * time.Minute)}),
		"S-19 exp missing":        logoutToken(i, members{"exp": wssecuretest.Absent}),
		"S-19 exp past":           logoutToken(i, members{"exp": ago(5 * time.Minute)}),
		"S-19 jti missing":        logoutToken(i, members{"jti": wssecuretest.Absent}),
		"S-19 events missing":     logoutToken(i, members{"events": wssecuretest.Absent}),
		"S-19 other event":        logoutToken(i, members{"events": members{"x": members{}}}),
		"S-19 event no object":    logoutToken(i, members{"events": members{logoutEvent: true}}),
		"S-19 sub and sid absent": logoutToken(i, members{"sub": wssecuretest.Absent, "sid": wssecuretest.Absent}),
		"S-19 nonce":              logoutToken(i, members{"nonce": "n"}),
		"S-19 an access token":    i.Token("alice"),
		"S-19 no token":           "junk",
		"S-19 empty":              "",
	} {
		t.Run(name, func(t *testing.T) { wantLogout(t, logOut(t, s, text), 400) })
	}
	good := func() string { return url.Values{"logout_token": {logoutToken(i, nil)}}.Encode() }
	t.Run("S-19 no form", func(t *testing.T) { wantLogout(t, post(t, s, "application/json", good()), 400) })
	t.Run("S-19 twice", func(t *testing.T) { wantLogout(t, post(t, s, formType, good()+"&"+good()), 400) })
	t.Run("S-19 in the query", func(t *testing.T) {
		r, err := s.Client().Post("https://"+s.Addr+"/logout?"+good(), formType, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantLogout(t, r, 400)
	})
	t.Run("S-19 GET", func(t *testing.T) {
		r, err := s.Client().Get("https://" + s.Addr + "/logout?" + good())
		if err != nil {
			t.Fatal(err)
		}
		if r.Header.Get("Allow") != "POST" {
			t.Errorf("Allow: %q", r.Header.Get("Allow"))
		}
		wantLogout(t, r, 405)
	})
	t.Run("S-19 over 64 KiB", func(t *testing.T) {
		form := good() + "&x=" + strings.Repeat("x", 64<<10)
		for _, length := range []int64{int64(len(form)), -1} {
			// In memory: a client that still sends may meet the reset behind a quick answer.
			r := httptest.NewRequest(http.MethodPost, "https://"+s.Addr+"/logout", strings.NewReader(form))
			r.ContentLength = length
			r.Header.Set("Content-Type", formType)
			w := httptest.NewRecorder()
			s.Guard.LogoutHandler("web", "app").ServeHTTP(w, r)
			wantLogout(t, w.Result(), 413)
		}
	})
	wantEcho(t, live, "nothing was closed")
	for _, e := range s.Events() {
		if e.Kind == wssecure.EventRevoked || e.Kind == wssecure.EventBanned {
			t.Errorf("event %s of a refused logout", e.Kind)
		}
		if e.Kind == wssecure.EventRefused && e.Reason == wssecure.ReasonTokenInvalid && e.Err == nil && e.Seen == "" {
			t.Errorf("an event without a cause: %+v", e)
		}
	}
	t.Run("S-19 replayed", func(t *testing.T) {
		text := logoutToken(i, members{"sid": "s9"})
		wantLogout(t, logOut(t, s, text), 200)
		wantLogout(t, logOut(t, s, text), 400)
		wantEcho(t, live, "and still here")
	})
}

// TestLogoutOfManyAndOfNobody is S-44.
func TestLogoutOfManyAndOfNobody(t *testing.T) {
	t.Run("S-44 a flood", func(t *testing.T) {
		i := wssecuretest.NewIssuer(t, "")
		s := logoutServer(t, []string{"web"}, i.Option(), wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 3, Per: time.Hour, Burst: 3}),
			wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 3, Per: time.Hour, Burst: 3}, time.Hour))
		s.Issuer = i
		forged := wssecuretest.NewIssuer(t, "")
		forged.Rotate("ES256")
		for n := range 100 {
			wantLogout(t, logOut(t, s, logoutToken(i, members{"sid": fmt.Sprint(n)})), 200)
			wantLogout(t, logOut(t, s, forged.SignHeader(members{"kid": i.KeyID("ES256")}, logoutClaims(i, nil), "ES256")), 400)
		}
		session(t, s, nil) // neither banned nor over its rate
	})
	for name, c := range map[string]struct {
		ids     []string
		require wssecure.Option
		names   string
	}{
		"S-44 no client ids":         {nil, wssecuretest.NewIssuer(t, "").Option(), "clientIDs"},
		"S-44 an empty client id":    {[]string{"web", ""}, wssecuretest.NewIssuer(t, "").Option(), "clientIDs"},
		"S-44 no keys of any issuer": {[]string{"web"}, wssecure.RequireToken(verifier()), "RequireToken"},
	} {
		t.Run(name, func(t *testing.T) {
			s := logoutServer(t, c.ids, c.require)
			r := logOut(t, s, logoutToken(wssecuretest.NewIssuer(t, ""), nil))
			r.Body.Close()
			e := s.WaitEvent(wssecure.EventRefused)
			if r.StatusCode != 500 || e.Reason != wssecure.ReasonInternal || e.Err == nil || !strings.Contains(e.Err.Error(), c.names) {
				t.Errorf("status %d, event %+v", r.StatusCode, e)
			}
		})
	}
}

// TestLogoutOfEachIssuer: under AnyOf a logout token is judged by the keys of its
// own issuer, and ends its sessions alone.
func TestLogoutOfEachIssuer(t *testing.T) {
	a, b := wssecuretest.NewIssuer(t, "https://a.example"), wssecuretest.NewIssuer(t, "https://b.example")
	b.Rotate("ES256")
	static := func(i *wssecuretest.Issuer) wssecure.Verifier {
		return wssecure.StaticKeys(i.JWKS(), i.URL, wssecuretest.Audience)
	}
	s := logoutServer(t, []string{"web"}, wssecure.RequireToken(wssecure.AnyOf(static(a), static(b))))
	s.Issuer = a
	ofA := session(t, s, members{"sid": "s1"})
	s.Issuer = b
	ofB := session(t, s, members{"sid": "s1"})
	claims := logoutClaims(a, nil)
	wantLogout(t, logOut(t, s, b.SignHeader(nil, claims, "ES256")), 400) // b's key under a's name
	wantLogout(t, logOut(t, s, a.SignHeader(nil, claims, "ES256")), 200)
	wantClose(t, ofA, 3000, "revoked")
	wantEcho(t, ofB, "still here")
}

// TestLogoutIssuerDown: what could not be judged is no bad request; the issuer
// shall come again.
func TestLogoutIssuerDown(t *testing.T) {
	i := wssecuretest.NewIssuer(t, "")
	s := logoutServer(t, []string{"web"}, wssecure.RequireToken(wssecure.JWKS("https://127.0.0.1:1/jwks", i.URL, wssecuretest.Audience)))
	r := logOut(t, s, logoutToken(i, nil))
	r.Body.Close()
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
}

// forgetful fails every mark while down is set.
type forgetful struct {
	store.Store
	down atomic.Bool
}

var errMark = errors.New("no marks today")

func (f *forgetful) Do(ctx context.Context, ops ...store.Op) error {
	err := f.Store.Do(ctx, ops...)
	for _, op := range ops {
		if m, ok := op.(*store.Mark); ok && f.down.Load() {
			m.Err = errMark
		}
	}
	return err
}

// TestLogoutThatFailedMayComeAgain: a jti is spent by a logout that was done, not
// by one that the store could not keep.
func TestLogoutThatFailedMayComeAgain(t *testing.T) {
	s := logoutFixture(t)
	var f *forgetful
	wssecure.WrapStore(s.Guard, func(own store.Store) store.Store {
		f = &forgetful{Store: own}
		return f
	})
	text := logoutToken(s.Issuer, nil)
	f.down.Store(true)
	r := logOut(t, s, text)
	r.Body.Close()
	if r.StatusCode != 503 {
		t.Errorf("status %d while no mark is kept, want 503", r.StatusCode)
	}
	f.down.Store(false)
	wantLogout(t, logOut(t, s, text), 200)
	wantLogout(t, logOut(t, s, text), 400)
}
