package wssecure_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// What the library behind Handler gets to see of an offer, and so can pick from.
func TestOfferThatNextSees(t *testing.T) {
	chat := wssecure.AllowSubprotocols("chat", "log")
	for name, row := range map[string]struct {
		options              []wssecure.Option
		lines                []string
		protocol, extensions string
	}{
		"H-22 the chosen one":      {[]wssecure.Option{chat}, []string{"Sec-WebSocket-Protocol: x, log, chat"}, "chat", ""},
		"H-22 without the option":  {nil, []string{"Sec-WebSocket-Protocol: x, chat"}, "x, chat", ""},
		"H-22 two lines":           {nil, []string{"Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: chat"}, "x, chat", ""},
		"H-23 another case":        {[]wssecure.Option{chat}, []string{"Sec-WebSocket-Protocol: CHAT"}, "", ""},
		"H-24 none matches":        {[]wssecure.Option{chat}, []string{"Sec-WebSocket-Protocol: x"}, "", ""},
		"H-27 compression is off":  {nil, []string{"Sec-WebSocket-Extensions: permessage-deflate"}, "", ""},
		"H-27 broken, but is off":  {nil, []string{`Sec-WebSocket-Extensions: a;b="`}, "", ""},
		"H-28 one offer of ours":   {[]wssecure.Option{wssecure.AllowCompression()}, []string{"Sec-WebSocket-Extensions: x, permessage-deflate; client_max_window_bits"}, "", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
		"H-28 none that we accept": {[]wssecure.Option{wssecure.AllowCompression()}, []string{"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
				for name, want := range map[string]string{"Sec-Websocket-Protocol": row.protocol, "Sec-Websocket-Extensions": row.extensions} {
					if got := strings.Join(r.Header[name], "|"); got != want {
						t.Errorf("next sees %s: %q, want %q", name, got, want)
					}
				}
				io.WriteString(w, "seen")
			}, row.options...)
			hs := s.Handshake(s.Issuer.Token("alice"))
			hs.Lines = append(hs.Lines, row.lines...)
			if r, _ := ask(t, s, hs); string(r.Body) != "seen" {
				t.Errorf("%s %q", r.StatusLine, r.Body)
			}
		})
	}
}

// A library cannot negotiate beyond what was let through, by whichever way it
// answers.
func TestLibraryNamesOnlyWhatWasOffered(t *testing.T) {
	good := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: " + probe.Accept(probe.Key)}
	byHeader := func(lines []string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, line := range lines {
				name, value, _ := strings.Cut(line, ": ")
				w.Header()[name] = append(w.Header()[name], value) // in any spelling
			}
			w.WriteHeader(http.StatusSwitchingProtocols)
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		}
	}
	byHijack := func(lines []string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			switchByHijack(w, r, "101 Switching Protocols", lines...)
		}
	}
	for name, row := range map[string]struct {
		extra  string
		status int
	}{
		"nothing more":                    {"X-Own: x", 101},
		"H-22 the chosen subprotocol":     {"Sec-WebSocket-Protocol: chat", 101},
		"H-22 another that was offered":   {"Sec-WebSocket-Protocol: log", 500},
		"H-22 one that was never offered": {"Sec-WebSocket-Protocol: admin", 500},
		"H-22 two of them":                {"Sec-WebSocket-Protocol: chat, log", 500},
		"H-22 a second line":              {"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: admin", 500},
		"H-22 a second spelling":          {"Sec-WebSocket-Protocol: chat\r\nsec-websocket-protocol: admin", 500},
		"K-16 a second accept":            {"Sec-WebSocket-Accept: AAAA", 500},
		"K-16 a second upgrade":           {"Upgrade: h2c", 500},
		"H-27 an extension":               {"Sec-WebSocket-Extensions: permessage-deflate", 500},
		"H-34 its own HSTS":               {"Strict-Transport-Security: max-age=7", 101},
	} {
		for way, next := range map[string]func([]string) http.HandlerFunc{"WriteHeader": byHeader, "Hijack": byHijack} {
			t.Run(name+" by "+way, func(t *testing.T) {
				s := startHandler(t, next(append(good[:3:3], strings.Split(row.extra, "\r\n")...)), wssecure.AllowSubprotocols("chat", "log"))
				hs := s.Handshake(s.Issuer.Token("alice")).Add("Sec-WebSocket-Protocol: log, chat").Add("Sec-WebSocket-Extensions: permessage-deflate")
				r, _ := ask(t, s, hs)
				if r.Status != row.status {
					t.Fatalf("%s, want %d", r.StatusLine, row.status)
				}
				if r.Status != 101 {
					wantNoSession(t, s)
					return
				}
				hsts := "max-age=31536000"
				if name, value, _ := strings.Cut(row.extra, ": "); name == "Strict-Transport-Security" {
					hsts = value
				}
				if got := strings.Join(r.Values("Strict-Transport-Security"), "|"); got != hsts {
					t.Errorf("Strict-Transport-Security: %q, want %q", got, hsts)
				}
				for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "Referrer-Policy"} {
					if got := r.Values(name); len(got) > 0 {
						t.Errorf("H-34: a 101 has %s: %q", name, got)
					}
				}
			})
		}
	}
}

func TestConnTellsItsSubprotocol(t *testing.T) {
	for offered, want := range map[string]string{"log, chat": "chat", "log": "log", "x": "", "CHAT": ""} {
		t.Run("H-22 H-23 "+offered, func(t *testing.T) {
			told := make(chan string, 1)
			s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
				return g.ConnHandler(func(_ context.Context, c *wssecure.Conn) error { told <- c.Subprotocol(); return nil })
			}, wssecure.AllowSubprotocols("chat", "log"))
			r, _ := wantAdmitted(t, s, s.Handshake(s.Issuer.Token("alice")).Add("Sec-WebSocket-Protocol: "+offered))
			if got := <-told; got != want || r.Get("Sec-WebSocket-Protocol") != want {
				t.Errorf("told %q, answered %q, want %q", got, r.Get("Sec-WebSocket-Protocol"), want)
			}
		})
	}
}

// The marker of a token in the subprotocol list is the answer where no other was
// chosen, and the token never is.
func TestAnswerToATokenAmongSubprotocols(t *testing.T) {
	for name, row := range map[string]struct {
		options []wssecure.Option
		offer   func(token string) string
		want    string
	}{
		"alone":          {nil, func(token string) string { return "bearer, " + token }, "bearer"},
		"before another": {nil, func(token string) string { return "bearer, " + token + ", chat" }, "bearer"},
		"chat is spoken": {[]wssecure.Option{wssecure.AllowSubprotocols("chat")}, func(token string) string { return "bearer, " + token + ", chat" }, "chat"},
		"chat is first":  {[]wssecure.Option{wssecure.AllowSubprotocols("chat")}, func(token string) string { return "chat, bearer, " + token }, "chat"},
		"none is spoken": {[]wssecure.Option{wssecure.AllowSubprotocols("chat")}, func(token string) string { return "bearer, " + token + ", x" }, "bearer"},
	} {
		t.Run("A-08 "+name, func(t *testing.T) {
			s := wssecuretest.NewServer(t, row.options...)
			token := s.Issuer.Token("alice")
			r, _ := wantAdmitted(t, s, s.Handshake("").Add("Sec-WebSocket-Protocol: "+row.offer(token)))
			if got := strings.Join(r.Values("Sec-WebSocket-Protocol"), "|"); got != row.want {
				t.Errorf("answer %q, want %q", got, row.want)
			}
		})
	}
}
