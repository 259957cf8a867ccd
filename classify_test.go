package wssecure_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// startBoth starts a guard with Handler on /h, whose next tells whether it was
// reached with a session, and ConnHandler on /c.
func startBoth(t *testing.T) *wssecuretest.Server {
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
		Handler: func(g *wssecure.Guard) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/h", g.Handler(http.HandlerFunc(tellReached)))
			mux.Handle("/c", g.ConnHandler(wssecuretest.Echo))
			return mux
		},
	})
	s.Issuer = issuer
	return s
}

func tellReached(w http.ResponseWriter, r *http.Request) {
	reached := "as ordinary"
	if _, admitted := wssecure.SessionFrom(r.Context()); admitted {
		reached = "as admitted"
	}
	w.Header().Set("X-Reached", reached)
	io.WriteString(w, "page")
}

// ordinary is a request without a sign of WebSocket, nor of a credential.
func ordinary(method, target string) *probe.Handshake {
	return &probe.Handshake{Method: method, Target: target, Proto: "HTTP/1.1", Lines: []string{"Host: " + wssecuretest.Host}}
}

func TestOrdinaryRequests(t *testing.T) {
	s := startBoth(t)
	for name, lines := range map[string][]string{
		"K-01 no sign":                  nil,
		"K-01 Connection alone":         {"Connection: Upgrade"},
		"K-01 h2c":                      {"Connection: Upgrade", "Upgrade: h2c"},
		"K-01 TLS":                      {"Connection: Upgrade", "Upgrade: TLS/1.0"},
		"K-01 a name that only begins":  {"Sec-WebSocke: x"},
		"K-01 websocket in another one": {"X-Upgrade: websocket"},
		"K-25 with a hostile Origin":    {"Origin: https://evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			get := ordinary("GET", "/h")
			get.Lines = append(get.Lines, lines...)
			r, _ := ask(t, s, get)
			if r.Status != 200 || string(r.Body) != "page" || r.Get("X-Reached") != "as ordinary" {
				t.Errorf("%s, reached %q, body %q", r.StatusLine, r.Get("X-Reached"), r.Body)
			}
			if got := r.Get("Content-Security-Policy"); got != "frame-ancestors 'none'; base-uri 'self'; object-src 'none'" {
				t.Errorf("Content-Security-Policy %q", got)
			}
			get.Target = "/c"
			r, _ = wantRefused(t, s, get, 426, wssecure.ReasonUpgradeRequired)
			wantStatusHeaders(t, r, wssecure.ReasonUpgradeRequired)
		})
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"} {
		t.Run("H-09 "+method, func(t *testing.T) {
			r, _ := wantRefused(t, s, ordinary(method, "/c"), 426, wssecure.ReasonUpgradeRequired)
			wantStatusHeaders(t, r, wssecure.ReasonUpgradeRequired)
		})
	}
}

// A refusal of HEAD has no body, and so no id that would name its event.
func TestRefusedHEAD(t *testing.T) {
	s := wssecuretest.NewServer(t)
	for name, row := range map[string]struct {
		lines  []string
		status int
		reason wssecure.Reason
	}{
		"H-01 upgrade":  {s.Handshake("").Lines, 405, wssecure.ReasonMethod},
		"H-09 ordinary": {[]string{"Host: " + wssecuretest.Host}, 426, wssecure.ReasonUpgradeRequired},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.Raw()
			hs := &probe.Handshake{Method: "HEAD", Target: "/ws", Proto: "HTTP/1.1", Lines: row.lines}
			if err := c.Send(hs.Bytes()); err != nil {
				t.Fatal(err)
			}
			// probe takes the announced body for one that was cut short.
			r, err := c.Response()
			if r == nil || r.Status != row.status || err == nil || len(r.Body) == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			if strings.Trim(string(r.Body), "\x00") != "" || r.Get("Connection") != "close" {
				t.Errorf("body %q, Connection %q", r.Body, r.Values("Connection"))
			}
			if err := c.AwaitEOF(hang); err != nil {
				t.Error(err)
			}
			if e := s.WaitEvent(wssecure.EventRefused); e.Reason != row.reason || e.Status != row.status {
				t.Errorf("event %s %d", e.Reason, e.Status)
			}
		})
	}
}

// Every sign makes a request an upgrade, which next sees admitted or not at all.
func TestUpgradesNeverPassUnjudged(t *testing.T) {
	s := startBoth(t)
	for _, line := range []string{
		"Upgrade: websocket", "Upgrade: WebSocket", "Upgrade: h2c, websocket", "Upgrade: websocket/13", "Upgrade: websockets",
		"Upgrade: xwebsocketx", "upgrade: WEBSOCKET", "Upgrade: h2c\r\nUpgrade: websocket",
		"Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Accept: x",
		"Sec-WebSocket-Foo: x", "sec-websocket-foo:", "SEC-WEBSOCKET-:",
	} {
		t.Run("K-02 K-03 W10 "+line, func(t *testing.T) {
			for _, target := range []string{"/h", "/c"} {
				get := ordinary("GET", target).Add(line)
				wantRefused(t, s, get, 426, wssecure.ReasonUpgradeRequired)
				post := ordinary("POST", target).Add(line)
				wantRefused(t, s, post, 405, wssecure.ReasonMethod)
			}
		})
	}
	// In full, but without a token: refused by the last check that can.
	for _, upgrade := range []string{"websocket", "WebSocket", "h2c, websocket", "h2c\r\nUpgrade: websocket"} {
		t.Run("K-02 W10 complete "+upgrade, func(t *testing.T) {
			hs := s.Handshake("").Set("Upgrade", upgrade)
			hs.Target = "/h"
			wantRefused(t, s, hs, 401, wssecure.ReasonTokenMissing)
		})
	}
	t.Run("K-02 admitted", func(t *testing.T) {
		hs := s.Handshake(s.Issuer.Token("alice"))
		hs.Target = "/h"
		if r, _ := ask(t, s, hs); r.Get("X-Reached") != "as admitted" {
			t.Errorf("%s, reached %q", r.StatusLine, r.Get("X-Reached"))
		}
	})
}

// net/http always spells keys in its own way; middleware need not.
func TestUnusualKeysOfTheMap(t *testing.T) {
	g, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test"))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"upgrade": "websocket", "UPGRADE": "websocket", "sec-websocket-key": "x", "SEC-WEBSOCKET-FOO": "", ":protocol": "websocket",
	} {
		t.Run("K-04 "+key, func(t *testing.T) {
			for method, status := range map[string]int{"GET": 426, "POST": 405} {
				if key == ":protocol" {
					status = 501 // H-30
				}
				for name, h := range map[string]http.Handler{
					"Handler":     g.Handler(http.HandlerFunc(tellReached)),
					"ConnHandler": g.ConnHandler(wssecuretest.Echo),
				} {
					r := requestOf([]byte(method+" /ws HTTP/1.1\r\nHost: ws.example.com\r\n\r\n"), 1)
					r.Header[key] = []string{value}
					if w := serveInMemory(h, r); w.status != status || w.header["X-Reached"] != nil {
						t.Errorf("%s %s: status %d, want %d", name, method, w.status, status)
					}
				}
			}
		})
	}
}

func TestHTTP2(t *testing.T) {
	s := startBoth(t)
	client := s.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	for name, row := range map[string]struct {
		target, header string
		status         int
	}{
		"K-05 Handler with a sign":      {"/h", "Sec-WebSocket-Key", 505},
		"K-05 ConnHandler with a sign":  {"/c", "Sec-WebSocket-Foo", 505},
		"H-09 ConnHandler":              {"/c", "X-Other", 505},
		"K-01 Handler passes it on":     {"/h", "X-Other", 200},
		"K-05 before every other check": {"/h", "Sec-WebSocket-Version", 505},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest("GET", "https://"+wssecuretest.Host+row.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(row.header, "13")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != row.status {
				t.Fatalf("%s %s, %v; want %d over HTTP/2", resp.Proto, resp.Status, err, row.status)
			}
			if row.status == 505 && !strings.Contains(string(body), "#http-version") {
				t.Errorf("body %s", body)
			}
		})
	}
}
