package interop_test

import (
	"bytes"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

const (
	hsts    = "Strict-Transport-Security"
	hstsOwn = "max-age=42"
)

func wantHead(t testing.TB, answer *probe.Response, key, protocol, wantHSTS string) {
	t.Helper()
	if answer.Status != 101 {
		t.Fatalf("status %d, want 101: %s", answer.Status, answer.Body)
	}
	one := func(name, want string) {
		if got := answer.Values(name); len(got) != 1 && want != "" || want == "" && len(got) > 0 || want != "" && !strings.EqualFold(got[0], want) {
			t.Errorf("%s: %q, want one line %q", name, got, want)
		}
	}
	one("Upgrade", "websocket")
	one("Connection", "Upgrade")
	one("Sec-WebSocket-Accept", probe.Accept(key))
	one("Sec-WebSocket-Protocol", protocol)
	one("Sec-WebSocket-Extensions", "")
	one(hsts, wantHSTS)
	for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"} {
		one(name, "") // of the security headers HSTS alone
	}
}

func hstsOnce(t *testing.T, st stack) {
	r := behind(t, st, newApp())
	answer, c := r.ask(t, r.Handshake(r.issuer.Token(user)).Bytes())
	wantHead(t, answer, probe.Key, "", "max-age=31536000")
	wantEcho(t, c, "the frames begin behind the head")

	// An address is no name that a browser could remember.
	answer, _ = r.ask(t, r.handshake("bob").Set("Host", r.Addr).Bytes())
	if got := answer.Values(hsts); answer.Status != 101 || len(got) > 0 {
		t.Errorf("Host %s: status %d, HSTS %q; want 101 without it", r.Addr, answer.Status, got)
	}
}

func hstsOfItsOwn(t *testing.T, st stack) {
	a := newApp()
	a.header = http.Header{hsts: {hstsOwn}, "X-Own": {"kept"}}
	r := behind(t, st, a)
	answer, c := r.ask(t, r.Handshake(r.issuer.Token(user)).Bytes())
	wantHead(t, answer, probe.Key, "", hstsOwn)
	if got := answer.Values("X-Own"); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("X-Own: %q", got)
	}
	wantEcho(t, c, "the frames begin behind the head")
}

// foreignHandshakeHeaders: what middleware outside has put into the writer can
// neither choose a subprotocol nor an extension.
func foreignHandshakeHeaders(t *testing.T, st stack) {
	next := st.behind(t, newApp())
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		guarded := g.Handler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Sec-WebSocket-Protocol", "evil")
			w.Header().Set("Sec-WebSocket-Extensions", "permessage-deflate")
			w.Header().Set("Sec-WebSocket-Accept", "AAAA")
			guarded.ServeHTTP(w, r)
		})
	})
	answer, c := r.ask(t, r.Handshake(r.issuer.Token(user)).Add("Sec-WebSocket-Protocol: evil, chat").Bytes())
	wantHead(t, answer, probe.Key, "", "max-age=31536000")
	wantEcho(t, c, "no deflate")
}

// markerInserted: a page that offers nothing but its token gets the marker
// back, since its browser wants one of its offers named.
func markerInserted(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	h := r.Handshake("").Add("Sec-WebSocket-Protocol: bearer, " + r.issuer.Token(user))
	answer, c := r.ask(t, h.Bytes())
	wantHead(t, answer, probe.Key, "bearer", "max-age=31536000")
	wantEcho(t, c, "through")
	if got := (<-a.saw).Header.Values("Sec-WebSocket-Protocol"); len(got) > 0 {
		t.Errorf("the handler saw the offer %q", got)
	}
}

func subprotocolChosen(t *testing.T, st stack) {
	a := newApp()
	a.protocols = []string{"other", "chat"}
	r := behind(t, st, a, wssecure.AllowSubprotocols("chat"))
	h := r.Handshake("").Add("Sec-WebSocket-Protocol: bearer, " + r.issuer.Token(user) + ", other, chat")
	answer, c := r.ask(t, h.Bytes())
	wantHead(t, answer, probe.Key, "chat", "max-age=31536000")
	wantEcho(t, c, "through")
	if got := (<-a.saw).Header.Values("Sec-WebSocket-Protocol"); !slices.Equal(got, []string{"chat"}) {
		t.Errorf("the handler saw the offer %q, want chat alone", got)
	}

	a = newApp()
	a.protocols = []string{"other", "chat"}
	r = behind(t, st, a)
	h = r.Handshake("").Add("Sec-WebSocket-Protocol: bearer, " + r.issuer.Token(user) + ", other, chat")
	answer, _ = r.ask(t, h.Bytes())
	wantHead(t, answer, probe.Key, "other", "max-age=31536000")
	if got := (<-a.saw).Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, ", ") != "other, chat" {
		t.Errorf("without the option the handler saw the offer %q, want all but the token", got)
	}
}

// subprotocolNotLetThrough: the handler restores the offer that the guard has
// cut, and the library picks of it.
func subprotocolNotLetThrough(t *testing.T, st stack) {
	a := newApp()
	a.protocols = []string{"secret", "chat"}
	next := st.behind(t, a)
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/bad" {
				r.Header.Set("Sec-WebSocket-Protocol", "secret")
			}
			next.ServeHTTP(w, r)
		}))
	}, wssecure.AllowSubprotocols("chat"))
	h := r.handshake(user).Add("Sec-WebSocket-Protocol: secret, chat")
	h.Target = "/bad"
	answer, c := r.ask(t, h.Bytes())
	if answer.Status != 500 || bytes.Contains(answer.Body, []byte("Internal Server Error\n")) {
		t.Fatalf("status %d, want 500 and nothing of the library's own: %s", answer.Status, answer.Body)
	}
	if err := c.AwaitEOF(hang); err != nil {
		t.Error(err)
	}
	if e := r.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonInternal || e.Err == nil {
		t.Errorf("event %s, error %v; want internal and what is wrong with the head", e.Reason, e.Err)
	}
	answer, _ = r.ask(t, r.handshake(user).Add("Sec-WebSocket-Protocol: secret, chat").Bytes())
	if answer.Status != 101 || answer.Get("Sec-WebSocket-Protocol") != "chat" {
		t.Errorf("the next handshake: %s, subprotocol %q", answer.StatusLine, answer.Get("Sec-WebSocket-Protocol"))
	}
}

// credentialsStripped: a token in each enabled source, in the one that counts
// and in those that are ignored.
func credentialsStripped(t *testing.T, st stack) {
	for _, row := range []struct {
		name  string
		carry func(h *probe.Handshake, token string)
	}{
		{"Authorization", func(h *probe.Handshake, token string) { h.Add("Authorization: Bearer " + token) }},
		{"subprotocol", func(h *probe.Handshake, token string) { h.Add("Sec-WebSocket-Protocol: bearer, " + token + ", chat") }},
		{"query", func(h *probe.Handshake, token string) { h.Target = "/ws?room=7&token=" + token }},
		{"cookie", func(h *probe.Handshake, token string) { h.Add("Cookie: theme=dark; __Host-session=" + token) }},
	} {
		a := newApp()
		next := st.behind(t, a)
		issuer := wssecuretest.NewIssuer(t, "")
		r := startRig(t, func(g *wssecure.Guard) http.Handler {
			child, err := g.With(issuer.Option(wssecure.FromBearer(), wssecure.FromSubprotocol(), wssecure.FromCookie("__Host-session"),
				wssecure.InsecureFromQuery("token", "this test")))
			if err != nil {
				t.Fatal(err)
			}
			return child.Handler(next)
		})
		token := issuer.Token(user)
		ignored := "an-ignored-cookie"
		h := r.Handshake("")
		row.carry(h, token)
		if row.name != "cookie" {
			h.Add("Cookie: theme=dark; __Host-session=" + ignored)
		}
		answer, c := r.ask(t, h.Bytes())
		if answer.Status != 101 {
			t.Errorf("%s: status %d: %s", row.name, answer.Status, answer.Body)
			continue
		}
		dump, err := httputil.DumpRequest(<-a.saw, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{token, ignored, "__Host-session", "Bearer", "bearer"} {
			if strings.Contains(string(dump), secret) {
				t.Errorf("%s: the handler saw %.20q:\n%s", row.name, secret, dump)
			}
		}
		if !strings.Contains(string(dump), "theme=dark") || row.name == "query" && !strings.Contains(string(dump), "room=7") {
			t.Errorf("%s: the handler no longer saw what is no credential:\n%s", row.name, dump)
		}
		if c.Close(); strings.Contains(string(answer.Body), token) {
			t.Errorf("%s: the token came back", row.name)
		}
	}
}

// extensionsStripped: without AllowCompression no library can negotiate what
// the meter does not expect.
func extensionsStripped(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	h := r.Handshake(r.issuer.Token(user)).Add("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
	answer, c := r.ask(t, h.Bytes())
	wantHead(t, answer, probe.Key, "", "max-age=31536000")
	if got := (<-a.saw).Header.Values("Sec-WebSocket-Extensions"); len(got) > 0 {
		t.Errorf("the handler saw the offer %q", got)
	}
	wantEcho(t, c, "plain")
}
