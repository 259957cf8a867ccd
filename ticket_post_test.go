package wssecure_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/wssecuretest"
)

// asking sends one POST to the booth's tickets.
func (b *booth) asking(token string, changes ...func(*http.Request)) answer {
	b.t.Helper()
	return b.knockOn(b.tickets, "203.0.113.1", append([]func(*http.Request){bearer(token), posting("")}, changes...)...)
}

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

func method(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }

// a POST is judged as the handshake would be.
func TestTicketHandlerJudgesAsAHandshake(t *testing.T) {
	never := wssecure.RequireCheck("never", func(context.Context, *wssecure.Handshake) error { return wssecure.ReasonForbidden })
	for _, row := range []struct {
		name    string
		opts    []wssecure.Option
		change  func(*http.Request)
		drained bool
		status  int
		reason  wssecure.Reason
	}{
		{name: "GET", change: method("GET"), status: 405, reason: wssecure.ReasonMethod},
		{name: "PUT", change: method("PUT"), status: 405, reason: wssecure.ReasonMethod},
		{name: "OPTIONS that is no preflight", change: method("OPTIONS"), status: 405, reason: wssecure.ReasonMethod},
		{name: "draining", drained: true, status: 503, reason: wssecure.ReasonDraining},
		{name: "host", change: func(r *http.Request) { r.Host = "evil.net" }, opts: []wssecure.Option{wssecure.AllowHosts(wssecuretest.Host)}, status: 421, reason: wssecure.ReasonHost},
		{name: "origin", change: from("https://evil.net"), status: 403, reason: wssecure.ReasonOrigin},
		{name: "two origins", change: header("Origin", wssecuretest.Origin, wssecuretest.Origin), status: 400, reason: wssecure.ReasonOrigin},
		{name: "RequireOrigin", change: noOrigin, opts: []wssecure.Option{wssecure.RequireOrigin()}, status: 403, reason: wssecure.ReasonOriginMissing},
		{name: "no Origin, explicit credential", change: noOrigin, status: 200},
		{name: "no Origin, no credential", change: func(r *http.Request) { noOrigin(r); delete(r.Header, "Authorization") }, status: 403, reason: wssecure.ReasonOriginMissing},
		{name: "Sec-Fetch-Mode cors", change: header("Sec-Fetch-Mode", "cors"), status: 200},
		{name: "Sec-Fetch-Mode same-origin", change: header("Sec-Fetch-Mode", "same-origin"), status: 200},
		{name: "Sec-Fetch-Mode no-cors", change: header("Sec-Fetch-Mode", "no-cors"), status: 403, reason: wssecure.ReasonOrigin},
		{name: "Sec-Fetch-Mode navigate", change: header("Sec-Fetch-Mode", "navigate"), status: 403, reason: wssecure.ReasonOrigin},
		{name: "Sec-Fetch-Mode websocket", change: header("Sec-Fetch-Mode", "websocket"), status: 403, reason: wssecure.ReasonOrigin},
		{name: "Sec-Fetch-Dest iframe", change: header("Sec-Fetch-Dest", "iframe"), status: 403, reason: wssecure.ReasonOrigin},
		{name: "rate", opts: []wssecure.Option{wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerHour(1))}, status: 429, reason: wssecure.ReasonRate},
		{name: "credential", change: header("Authorization", "Bearer a b"), status: 400, reason: wssecure.ReasonCredential},
		{name: "no token", change: func(r *http.Request) { delete(r.Header, "Authorization") }, status: 401, reason: wssecure.ReasonTokenMissing},
		{name: "bad token", change: header("Authorization", "Bearer a.b.c"), status: 401, reason: wssecure.ReasonTokenInvalid},
		{name: "client certificate", opts: []wssecure.Option{wssecure.RequireClientCert(strangers())}, status: 403, reason: wssecure.ReasonForbidden},
		{name: "scope", opts: []wssecure.Option{wssecure.RequireScopes("admin")}, status: 403, reason: wssecure.ReasonScope},
		{name: "claim", opts: []wssecure.Option{wssecure.RequireClaim("role", "x")}, status: 403, reason: wssecure.ReasonForbidden},
		{name: "custom", opts: []wssecure.Option{never}, status: 403, reason: wssecure.ReasonForbidden},
		{name: "a ticket is no credential here", change: func(r *http.Request) {
			delete(r.Header, "Authorization")
			r.URL.RawQuery = "ticket=" + strings.Repeat("a", 43)
		}, status: 401, reason: wssecure.ReasonTokenMissing},
		{name: "no shape of a handshake is asked for", change: func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 }, status: 200},
	} {
		t.Run("A-37 "+row.name, func(t *testing.T) {
			b := newBooth(t, stay, row.opts...)
			if row.drained {
				b.guard.Shutdown(t.Context())
			}
			if row.reason == wssecure.ReasonRate {
				b.asking(b.forged())
			}
			if row.change == nil {
				row.change = func(*http.Request) {}
			}
			a := b.asking(b.issuer.Token("alice"), row.change)
			if row.status == 200 {
				ticketOf(t, a)
				return
			}
			wantAnswer(t, a, row.status, row.reason)
			if got := a.header.Get("Allow"); row.status == 405 && got != "POST" {
				t.Errorf("Allow %q, want POST", got)
			}
			b.until(func() bool { return len(b.seen(wssecure.EventRefused)) > 0 }, "no event")
		})
	}
	t.Run("A-37 transport", func(t *testing.T) {
		s := wssecuretest.Start(t, wssecuretest.Config{Plaintext: true,
			Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecuretest.NewIssuer(t, "").Option(wssecure.FromTicket())},
			Handler: (*wssecure.Guard).TicketHandler})
		hs := s.Handshake("x")
		hs.Method = "POST"
		if r, _ := ask(t, s, hs); r.Status != 403 || !strings.Contains(string(r.Body), "#insecure-transport") {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
}

func TestTicketHandlerSources(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	token := issuer.Token("alice")
	cookie := header("Cookie", "__Host-sid="+token)
	for _, row := range []struct {
		name   string
		from   []wssecure.Source
		change func(*http.Request)
		status int
	}{
		{"A-36 none left: Authorization", []wssecure.Source{wssecure.FromTicket()}, bearer(token), 200},
		{"A-36 the subprotocol, which fetch cannot send, and Authorization", []wssecure.Source{wssecure.FromTicket(), wssecure.FromSubprotocol()}, bearer(token), 200},
		{"A-36 the subprotocol", []wssecure.Source{wssecure.FromTicket(), wssecure.FromSubprotocol()}, header("Sec-Websocket-Protocol", "bearer, "+token), 200},
		{"A-36 a cookie", []wssecure.Source{wssecure.FromTicket(), wssecure.FromCookie("__Host-sid")}, cookie, 200},
		{"A-36 Authorization is not asked for beside a cookie", []wssecure.Source{wssecure.FromTicket(), wssecure.FromCookie("__Host-sid")}, bearer(token), 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := &booth{gate: &gate{t: t, issuer: issuer}}
			b.start(stay, []wssecure.Option{issuer.Option(row.from...)})
			b.tickets = b.guard.TicketHandler()
			a := b.knockOn(b.tickets, attacker, posting(""), row.change)
			if row.status != 200 {
				wantAnswer(t, a, row.status, wssecure.ReasonTokenMissing)
				return
			}
			wantAnswer(t, b.show(ticketOf(t, a)), 101, "")
		})
	}
}

func TestTicketHandlerForm(t *testing.T) {
	b := newBooth(t, stay)
	for _, row := range []struct {
		name, form, kind string
		ok               bool
	}{
		{"a path", "path=/ws", "", true},
		{"a path, charset named", "path=%2Fws", "application/x-www-form-urlencoded; charset=UTF-8", true},
		{"JSON", `{"path":"/ws"}`, "application/json", false},
		{"another type", "path=/ws", "text/plain", false},
		{"no type", "path=/ws", " ", false},
		{"two paths", "path=/ws&path=/x", "", false},
		{"another field", "path=/ws&ttl=3600", "", false},
		{"no path", "path=ws", "", false},
		{"a URL", "path=https://evil.net/", "", false},
		{"a broken escape", "path=%zz", "", false},
		{"4,097 bytes", "path=/" + strings.Repeat("a", 4091), "", false},
	} {
		t.Run("A-35 "+row.name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				a := b.asking(b.issuer.Token("alice"), posting(row.form), func(r *http.Request) {
					if row.kind != "" {
						r.Header["Content-Type"] = []string{row.kind}
					}
					if chunked {
						r.ContentLength = -1
					}
				})
				if row.ok {
					wantAnswer(t, b.show(ticketOf(t, a)), 101, "")
					continue
				}
				if len(row.form) > 4096 {
					wantAnswer(t, a, 413, wssecure.ReasonBody)
					continue
				}
				wantAnswer(t, a, 400, wssecure.ReasonBody)
			}
		})
	}
}

// A page that posts a wrong form does so in every browser of an office.
func TestWrongFormsOfTheAdmittedBanNobody(t *testing.T) {
	b := newBooth(t, stay)
	token := b.issuer.Token("alice")
	for range 30 {
		wantAnswer(t, b.asking(token, posting("ttl=3600")), 400, wssecure.ReasonBody)
	}
	// A colleague, whose token has not been seen: alice's would pass a ban.
	wantAnswer(t, b.show(ticketOf(t, b.asking(b.issuer.Token("bob")))), 101, "")
}

// pages of listed origins may read what they are told, and no
// others.
func TestTicketHandlerCORS(t *testing.T) {
	const listed, any = wssecuretest.Origin, "https://any.example.org"
	preflight := func(r *http.Request) {
		r.Method = http.MethodOptions
		delete(r.Header, "Authorization")
		r.Header["Access-Control-Request-Method"] = []string{"POST"}
		r.Header["Access-Control-Request-Headers"] = []string{"authorization"}
	}
	bad := header("Authorization", "Bearer x")
	cookie := wssecure.FromCookie("__Host-sid")
	for _, row := range []struct {
		name        string
		from        []wssecure.Source
		opts        []wssecure.Option
		origin      string
		change      func(*http.Request)
		status      int
		reason      wssecure.Reason
		allowed     bool
		credentials bool
	}{
		{name: "A-60 preflight", origin: listed, change: preflight, status: 204, allowed: true},
		{name: "A-60 preflight of a starred Origin", origin: "https://x.example.net", change: preflight, status: 204, allowed: true},
		{name: "A-72 preflight with a cookie source", from: []wssecure.Source{cookie}, origin: listed, change: preflight, status: 204, allowed: true, credentials: true},
		{name: "A-55 preflight of another", origin: any, change: preflight, status: 403, reason: wssecure.ReasonOrigin},
		{name: "A-55 preflight of null", origin: "null", change: preflight, status: 403, reason: wssecure.ReasonOrigin},
		{name: "A-72 success", origin: listed, status: 200, allowed: true},
		{name: "A-72 refusal", origin: listed, change: bad, status: 401, reason: wssecure.ReasonTokenInvalid, allowed: true},
		{name: "A-72 405", origin: listed, change: method("PUT"), status: 405, reason: wssecure.ReasonMethod, allowed: true},
		{name: "A-72 refusal with a cookie source", from: []wssecure.Source{cookie, wssecure.FromBearer()}, origin: listed, change: bad, status: 401, reason: wssecure.ReasonTokenInvalid, allowed: true, credentials: true},
		{name: "A-55 another", origin: any, status: 403, reason: wssecure.ReasonOrigin},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := &booth{gate: &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}}
			b.start(stay, append(row.opts, b.issuer.Option(append(row.from, wssecure.FromTicket())...)))
			b.tickets = b.guard.TicketHandler()
			if row.change == nil {
				row.change = func(*http.Request) {}
			}
			a := b.asking(b.issuer.Token("alice"), from(row.origin), row.change)
			if a.status != row.status || a.reason() != string(row.reason) {
				t.Fatalf("status %d %s, want %d %s", a.status, a.reason(), row.status, row.reason)
			}
			wantCORS(t, a.header, row.origin, row.allowed, row.credentials, row.status == 204)
		})
	}
	t.Run("A-55 InsecureAllowAnyOrigin", func(t *testing.T) {
		issuer := wssecuretest.NewIssuer(t, "")
		s := wssecuretest.Start(t, wssecuretest.Config{Handler: (*wssecure.Guard).TicketHandler,
			Options: []wssecure.Option{wssecure.InsecureAllowAnyOrigin("test"), issuer.Option(wssecure.FromTicket())}})
		for m, status := range map[string]int{"POST": 200, "OPTIONS": 204} {
			hs := ordinary(m, "/ticket").Add("Origin: " + any).Add("Access-Control-Request-Method: POST").Add("Authorization: Bearer " + issuer.Token("alice"))
			r, _ := ask(t, s, hs)
			if r.Status != status {
				t.Errorf("%s: %d %s", m, r.Status, r.Body)
			}
			h := http.Header{}
			for _, f := range r.Header {
				h.Add(f.Name, f.Value)
			}
			wantCORS(t, h, any, false, false, false)
		}
	})
	t.Run("A-37 a handshake's refusal has none", func(t *testing.T) {
		b := newBooth(t, stay)
		wantCORS(t, b.knock(attacker, bad).header, listed, false, false, false)
	})
}

func wantCORS(t *testing.T, h http.Header, origin string, allowed, credentials, preflight bool) {
	t.Helper()
	want := map[string]string{}
	if allowed {
		want["Access-Control-Allow-Origin"] = origin
		if preflight {
			want["Access-Control-Allow-Methods"], want["Access-Control-Allow-Headers"] = "POST", "authorization, content-type"
		} else {
			want["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
		}
	}
	if credentials {
		want["Access-Control-Allow-Credentials"] = "true"
	}
	for name, values := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			if len(values) != 1 || values[0] != want[name] {
				t.Errorf("%s: %q, want %q", name, values, want[name])
			}
			delete(want, name)
		}
		if name == "Vary" || name == "Set-Cookie" {
			t.Errorf("%s: %q", name, values)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing %v in %v", want, h)
	}
	if got := h.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestTicketHandlerWithoutFromTicket(t *testing.T) {
	g := newTokenGate(t, stay)
	handler := g.guard.TicketHandler()
	for _, m := range []string{"GET", "POST", "OPTIONS", "DELETE"} {
		a := g.knockOn(handler, attacker, bearer(g.issuer.Token("alice")), posting(""), method(m), header("Access-Control-Request-Method", "POST"))
		if a.status != 404 {
			t.Errorf("A-61 %s: %d", m, a.status)
		}
	}
}

// Over the wire, HTTP/2 included, as a page does it: fetch, then connect.
func TestTicketOverTheWire(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	seen := make(chan string, 4)
	log := &logbook.Book{}
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(wssecure.FromTicket()),
			wssecure.SetLogger(log.Logger()),
		},
		Handler: func(g *wssecure.Guard) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/ticket", g.Pages(g.TicketHandler()))
			mux.Handle("/own", g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				session, _ := wssecure.SessionFrom(r.Context())
				seen <- fmt.Sprint(r.URL, r.RequestURI, r.Form, r.Header, session.Request().URL)
				w.WriteHeader(http.StatusForbidden)
			})))
			mux.Handle("/ws", g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
				seen <- fmt.Sprint(c.Session().Request().URL)
				return nil
			}))
			return mux
		},
	})
	var secrets []string
	for _, h2 := range []bool{false, true} {
		client := s.Client()
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = h2
		post, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+wssecuretest.Host+"/ticket", strings.NewReader("path=/ws"))
		post.Header = http.Header{"Origin": {wssecuretest.Origin}, "Authorization": {"Bearer " + issuer.Token("alice")}, "Content-Type": {"application/x-www-form-urlencoded"}}
		resp, err := client.Do(post)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if (resp.ProtoMajor == 2) != h2 {
			t.Errorf("%s, want HTTP/2 %v", resp.Proto, h2)
		}
		ticket := ticketOf(t, answer{status: resp.StatusCode, header: resp.Header, body: string(body)})
		secrets = append(secrets, ticket)
		if got := resp.Header.Get("Strict-Transport-Security"); got == "" {
			t.Error("no HSTS")
		}
		other := s.Handshake("").Set("Sec-WebSocket-Key", freshKey())
		other.Target = "/own?a=1&ticket=" + ticket
		wantDenied(t, s, other, 401, wssecure.ReasonTokenInvalid)
		hs := s.Handshake("").Set("Sec-WebSocket-Key", freshKey())
		hs.Target = "/ws?a=1&ticket=" + ticket + "&b=2"
		wantAdmitted(t, s, hs)
		if got := next(t, seen); got != "/ws?a=1&b=2" {
			t.Errorf("Session.Request: %s", got)
		}
		s.WaitEvent(wssecure.EventClosed)
	}
	ticket, err := s.Guard.IssueTicket(t.Context(), &wssecure.Identity{Issuer: issuer.URL, Subject: "bob"}, wssecure.TicketFor{Origin: wssecuretest.Origin})
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, ticket)
	hs := s.Handshake("").Set("Sec-WebSocket-Key", freshKey())
	hs.Target = "/own?ticket=" + ticket
	if r, _ := ask(t, s, hs); r.Status != 403 {
		t.Errorf("status %d", r.Status)
	}
	handed := next(t, seen)
	for range 2 { // refused by the application: still good, then really refused
		hs.Set("Sec-WebSocket-Key", freshKey()).Add("Authorization: Bearer x")
		ask(t, s, hs)
	}
	for _, secret := range secrets {
		for what, text := range map[string]string{
			"the handler's request": handed, "log": log.String(), "events": fmt.Sprintf("%+v", s.Events()), "Stats": fmt.Sprintf("%+v", s.Guard.Stats()),
		} {
			if strings.Contains(text, secret) || text == "" {
				t.Errorf("U-04 S2 %s has a ticket: %s", what, text)
			}
		}
	}
}

// A body that never ends does not hold the answer of a stranger, nor that of a
// user beyond the time of a handshake.
func TestTicketHandlerWithheldBody(t *testing.T) {
	for name, row := range map[string]struct {
		token  func(issuer *wssecuretest.Issuer) string
		status int
		after  time.Duration
	}{
		"H-19 a stranger": {func(*wssecuretest.Issuer) string { return "x.y.z" }, 401, 0},
		"H-19 a user":     {func(issuer *wssecuretest.Issuer) string { return issuer.Token("alice") }, 400, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := wssecuretest.NewIssuer(t, "")
				s := newTimed(t, issuer.Option(wssecure.FromTicket()), wssecure.LimitHandshakeTime(2*time.Second))
				hs := ordinary("POST", "/ticket").Add("Origin: " + wssecuretest.Origin).Add("Authorization: Bearer " + row.token(issuer)).
					Add("Content-Type: application/x-www-form-urlencoded").Add("Content-Length: 100")
				hs.Body = []byte("path=/")
				c := newPipeServer(t, s.guard.TicketHandler()).dial()
				began := time.Now()
				if r := sendHandshake(t, c, hs); r.Status != row.status {
					t.Errorf("status %d, want %d", r.Status, row.status)
				}
				if took := time.Since(began); took != row.after {
					t.Errorf("answered after %v, want %v", took, row.after)
				}
				if err := c.AwaitEOF(time.Minute); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
