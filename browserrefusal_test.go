package wssecure_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// noServe is an application that must not be reached.
func noServe(t testing.TB) serveFunc {
	return func(context.Context, *wssecure.Conn) error {
		t.Error("user code of a refused handshake ran")
		return nil
	}
}

func refusedBy(name string, err error) wssecure.Option {
	return wssecure.RequireCheck(name, func(context.Context, *wssecure.Handshake) error { return err })
}

// wantFarewell wants 101 and a close frame, nothing opened, and one event.
func wantFarewell(t *testing.T, s *timed, c *probe.Conn, hs *probe.Handshake, code int, text string, status int, reason wssecure.Reason) *probe.Response {
	t.Helper()
	s.mu.Lock()
	s.events = nil
	s.mu.Unlock()
	r := sendHandshake(t, c, hs)
	if r.Status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d, want 101: %s", r.Status, r.Body)
	}
	wantClose(t, c, code, text)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := oneEvent(t, s.events, wssecure.EventRefused); e.Reason != reason || e.Status != status || e.SessionID != "" {
		t.Errorf("event %s %d of session %q, want %s %d", e.Reason, e.Status, e.SessionID, reason, status)
	}
	for _, e := range s.events {
		if e.Kind == wssecure.EventOpened || e.Kind == wssecure.EventClosed {
			t.Errorf("an event %s", e.Kind)
		}
	}
	if n := s.guard.Stats(); n.Open != 0 || n.Admitted != 0 {
		t.Errorf("%d places taken, %d admitted", n.Open, n.Admitted)
	}
	for range s.guard.Sessions() {
		t.Error("a session is listed")
	}
	return r
}

func TestBrowserRefusalCodes(t *testing.T) {
	for _, row := range []struct {
		name    string
		options []wssecure.Option
		prepare func(t *testing.T, s *timed)
		token   func(s *timed) string
		code    int
		text    string
		status  int
		reason  wssecure.Reason
	}{
		{name: "no token", token: func(*timed) string { return "" }, code: 3000, text: "token-missing", status: 401, reason: wssecure.ReasonTokenMissing},
		{name: "no JWT", token: func(*timed) string { return "abc" }, code: 3000, text: "token-invalid", status: 401, reason: wssecure.ReasonTokenInvalid},
		{name: "a forged one is told the same", token: func(s *timed) string { return spoil(s.issuer.Token("alice")) }, code: 3000, text: "token-invalid", status: 401, reason: wssecure.ReasonTokenForged},
		{name: "revoked is told the same", options: []wssecure.Option{refusedBy("mine", wssecure.ReasonRevoked)}, code: 3000, text: "token-invalid", status: 401, reason: wssecure.ReasonRevoked},
		{name: "auth-level", options: []wssecure.Option{wssecure.RequireAuthLevel(time.Hour, "mfa")}, code: 3003, text: "auth-level", status: 401, reason: wssecure.ReasonAuthLevel},
		{name: "scope", options: []wssecure.Option{wssecure.RequireScopes("admin")}, code: 3003, text: "scope", status: 403, reason: wssecure.ReasonScope},
		{name: "a reason of the application's own", options: []wssecure.Option{refusedBy("mine", wssecure.Reason("too-young"))}, code: 3003, text: "forbidden", status: 403, reason: "too-young"},
		{name: "banned", prepare: func(t *testing.T, s *timed) {
			if err := s.guard.Ban(t.Context(), wssecure.Network(netip.MustParsePrefix("198.51.100.7/32")), time.Minute, "test"); err != nil {
				t.Fatal(err)
			}
		}, token: func(s *timed) string { return spoil(s.issuer.Token("alice")) }, code: 1008, text: "banned", status: 403, reason: wssecure.ReasonBanned},
		{name: "a broken credential", token: func(*timed) string { return "a b" }, code: 1008, text: "invalid-request", status: 400, reason: wssecure.ReasonCredential},
		{name: "rate-limited", options: []wssecure.Option{refusedBy("mine", wssecure.ReasonRate)}, code: 1008, text: "rate-limited", status: 429, reason: wssecure.ReasonRate},
		{name: "conn-limit", options: []wssecure.Option{refusedBy("mine", wssecure.ReasonConnLimit)}, code: 1008, text: "conn-limit", status: 429, reason: wssecure.ReasonConnLimit},
		{name: "could not decide", options: []wssecure.Option{refusedBy("mine", errors.New("the database is away"))}, code: 1013, text: "unavailable", status: 503, reason: wssecure.ReasonUnavailable},
	} {
		t.Run("K-31 "+row.name, func(t *testing.T) {
			inTime(t, noServe(t), func(t *testing.T, s *timed) {
				if row.prepare != nil {
					row.prepare(t, s)
				}
				token := s.issuer.Token("alice")
				if row.token != nil {
					token = row.token(s)
				}
				wantFarewell(t, s, s.dial(), freshHandshake(token), row.code, row.text, row.status, row.reason)
			}, append(row.options, wssecure.SetBrowserRefusals())...)
		})
	}
	t.Run("K-31 key-replay", func(t *testing.T) {
		inTime(t, quiet, func(t *testing.T, s *timed) {
			hs := freshHandshake(s.issuer.Token("alice"))
			if r := sendHandshake(t, s.dial(), hs); r.Status != 101 {
				t.Fatalf("status %d", r.Status)
			}
			c := s.dial()
			if r := sendHandshake(t, c, hs); r.Status != 101 {
				t.Fatalf("status %d", r.Status)
			}
			wantClose(t, c, 1008, "key")
		}, wssecure.SetBrowserRefusals())
	})
	t.Run("K-31 500 stays an HTTP answer", func(t *testing.T) {
		inTime(t, noServe(t), func(t *testing.T, s *timed) {
			if r := sendHandshake(t, s.dial(), freshHandshake(s.issuer.Token("alice"))); r.Status != 500 {
				t.Errorf("status %d", r.Status)
			}
		}, wssecure.SetBrowserRefusals(), wssecure.RequireCheck("mine", func(context.Context, *wssecure.Handshake) error { panic("boom") }))
	})
	t.Run("K-31 a reason of earlier checks stays an HTTP answer", func(t *testing.T) {
		inTime(t, noServe(t), func(t *testing.T, s *timed) {
			if r := sendHandshake(t, s.dial(), freshHandshake(s.issuer.Token("alice"))); r.Status != 426 {
				t.Errorf("status %d", r.Status)
			}
		}, wssecure.SetBrowserRefusals(), refusedBy("mine", wssecure.ReasonVersion))
	})
}

// unhijackable hides the Hijack of net/http's writer, and has no Unwrap.
type unhijackable struct{ http.ResponseWriter }

func TestBrowserRefusalsStayHTTP(t *testing.T) {
	for _, row := range []struct {
		name    string
		options []wssecure.Option
		change  func(hs *probe.Handshake)
		status  int
	}{
		{name: "no Origin, an explicit token", change: func(hs *probe.Handshake) { hs.Del("Origin") }, status: 401},
		{name: "no Origin is asked for", options: []wssecure.Option{wssecure.InsecureAllowMissingOrigin("test")}, change: func(hs *probe.Handshake) { hs.Del("Origin").Del("Authorization") }, status: 401},
		{name: "another Origin", change: func(hs *probe.Handshake) { hs.Set("Origin", "https://evil.example") }, status: 403},
		{name: "two Origins", change: func(hs *probe.Handshake) { hs.Add("Origin: " + wssecuretest.Origin) }, status: 400},
		{name: "Fetch Metadata", change: func(hs *probe.Handshake) { hs.Add("Sec-Fetch-Mode: cors") }, status: 403},
		{name: "shape", change: func(hs *probe.Handshake) { hs.Set("Sec-WebSocket-Version", "8") }, status: 426},
		{name: "host", options: []wssecure.Option{wssecure.AllowHosts("other.example")}, change: func(*probe.Handshake) {}, status: 421},
	} {
		t.Run("K-33 "+row.name, func(t *testing.T) {
			inTime(t, noServe(t), func(t *testing.T, s *timed) {
				hs := freshHandshake("abc")
				row.change(hs)
				if r := sendHandshake(t, s.dial(), hs); r.Status != row.status || !strings.Contains(string(r.Body), `"instance"`) {
					t.Errorf("status %d, want %d: %s", r.Status, row.status, r.Body)
				}
			}, append(row.options, wssecure.SetBrowserRefusals())...)
		})
	}
	t.Run("K-33 draining", func(t *testing.T) {
		inTime(t, noServe(t), func(t *testing.T, s *timed) {
			s.guard.Shutdown(t.Context())
			if r := sendHandshake(t, s.dial(), freshHandshake("abc")); r.Status != 503 {
				t.Errorf("status %d", r.Status)
			}
		}, wssecure.SetBrowserRefusals())
	})
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"no Hijack":     func(w http.ResponseWriter) http.ResponseWriter { return unhijackable{w} },
		"Hijack fails":  func(w http.ResponseWriter) http.ResponseWriter { return failingHijack{w} },
		"not asked for": nil,
	} {
		t.Run("K-33 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTimed(t)
				inner := s.guard.ConnHandler(noServe(t))
				if wrap != nil {
					child := must(s.guard.With(wssecure.SetBrowserRefusals()))
					asking := child.ConnHandler(noServe(t))
					inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asking.ServeHTTP(wrap(w), r) })
				}
				s.pipeServer = newPipeServer(t, inner)
				if r := sendHandshake(t, s.dial(), freshHandshake("abc")); r.Status != 401 || r.Get("WWW-Authenticate") == "" {
					t.Errorf("status %d", r.Status)
				}
			})
		})
	}
	t.Run("K-33 the guard's POST endpoints", func(t *testing.T) {
		b := newBooth(t, quiet, wssecure.SetBrowserRefusals())
		wantAnswer(t, b.knockOn(b.tickets, attacker, posting(""), bearer("abc")), 401, wssecure.ReasonTokenInvalid)
	})
	t.Run("U-01 middleware's Hijack panics", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTimed(t, wssecure.SetBrowserRefusals())
			inner := s.guard.ConnHandler(noServe(t))
			s.pipeServer = newPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner.ServeHTTP(hijackHook{w, func() { panic(http.ErrAbortHandler) }}, r)
			}))
			c := s.dial()
			c.Send(freshHandshake("abc").Bytes())
			c.Response()
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			oneEvent(t, s.events, wssecure.EventRefused)
		})
	})
}

type failingHijack struct{ http.ResponseWriter }

func (failingHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

func TestBrowserRefusalSubprotocol(t *testing.T) {
	marked := []wssecure.Source{wssecure.FromSubprotocol()}
	for _, row := range []struct {
		name, offered, answer string
		options               []wssecure.Option
	}{
		{"none", "", "", nil},
		{"the chosen one", "bearer, abc, soap, chat", "chat", []wssecure.Option{wssecure.AllowSubprotocols("chat")}},
		{"else the first that is no credential", "bearer, abc, soap, wamp", "soap", []wssecure.Option{wssecure.AllowSubprotocols("chat")}},
		{"without a list", "soap, bearer, abc", "soap", nil},
		{"else the marker, never the token", "bearer, abc", "bearer", nil},
		{"the marker alone", "bearer", "bearer", nil},
	} {
		t.Run("K-32 "+row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTimed(t, wssecure.SetBrowserRefusals())
				guard := must(s.guard.With(append(row.options, s.issuer.Option(marked...))...))
				s.pipeServer = newPipeServer(t, guard.ConnHandler(noServe(t)))
				hs := freshHandshake("")
				_, key, _ := strings.Cut(string(hs.Bytes()), "Sec-WebSocket-Key: ")
				key, _, _ = strings.Cut(key, "\r\n")
				if row.offered != "" {
					hs.Add("Sec-WebSocket-Protocol: " + row.offered)
				}
				r := sendHandshake(t, s.dial(), hs)
				if got := strings.Join(r.Values("Sec-WebSocket-Protocol"), "|"); r.Status != 101 || got != row.answer {
					t.Errorf("status %d, subprotocol %q, want %q", r.Status, got, row.answer)
				}
				if r.Get("Sec-WebSocket-Accept") != probe.Accept(key) {
					t.Error("a wrong Sec-WebSocket-Accept")
				}
			})
		})
	}
}

// K-34: what the retry needs is not spent.
func TestBrowserRefusalSpendsNothing(t *testing.T) {
	first := true
	once := wssecure.RequireCheck("once", func(context.Context, *wssecure.Handshake) error {
		if first {
			first = false
			return wssecure.ReasonForbidden
		}
		return nil
	})
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(wssecure.FromBearer(), wssecure.FromTicket()),
			wssecure.LimitConns(wssecure.BySubject(), 1), wssecure.SetBrowserRefusals(), once,
		},
		Handler: func(g *wssecure.Guard) http.Handler {
			h := g.Pages(g.ConnHandler(wssecuretest.Echo))
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "by-middleware", Value: "1"})
				h.ServeHTTP(w, r)
			})
		},
	})
	ticket, err := s.Guard.IssueTicket(t.Context(), &wssecure.Identity{Issuer: "app", Subject: "alice", Expiry: time.Now().Add(time.Hour)}, wssecure.TicketFor{Origin: wssecuretest.Origin})
	if err != nil {
		t.Fatal(err)
	}
	hs := freshHandshake("")
	hs.Target = "/ws?ticket=" + ticket
	r, c := ask(t, s, hs)
	if r.Status != 101 || r.Get("Strict-Transport-Security") == "" || len(r.Values("Set-Cookie"))+len(r.Values("Content-Security-Policy")) > 0 {
		t.Errorf("status %d, headers %v", r.Status, r)
	}
	wantClose(t, c, 3003, "forbidden")
	send(t, c, text("discarded"), probe.Message(probe.Ping, nil))
	c.Send(probe.CloseFrame(3003, ""))
	if err := c.AwaitEOF(hang); err != nil {
		t.Errorf("after the peer's close frame: %v", err)
	}
	_, c = wantAdmitted(t, s, hs) // the same nonce, the same ticket
	wantEcho(t, c, "welcome")
}

// K-34, S-36: whatever the peer does, its connection is over after a second.
func TestBrowserRefusalEndsInTime(t *testing.T) {
	long := string(make([]byte, 100))
	for _, row := range []struct {
		name string
		act  func(t *testing.T, s *timed, c *probe.Conn)
		most time.Duration
	}{
		{"it answers", func(t *testing.T, s *timed, c *probe.Conn) {
			wantFarewell(t, s, c, freshHandshake("abc"), 3000, "token-invalid", 401, wssecure.ReasonTokenInvalid)
			c.Send(probe.CloseFrame(3000, ""))
		}, 0},
		{"it never closes", func(t *testing.T, s *timed, c *probe.Conn) {
			wantFarewell(t, s, c, freshHandshake("abc"), 3000, "token-invalid", 401, wssecure.ReasonTokenInvalid)
		}, time.Second},
		{"it had closed with its handshake", func(t *testing.T, s *timed, c *probe.Conn) {
			c.Send(append(freshHandshake("abc").Bytes(), probe.CloseFrame(1000, "")...))
			if r, err := c.Response(); err != nil || r.Status != 101 {
				t.Errorf("%+v, %v", r, err)
			}
			wantClose(t, c, 3000, "token-invalid")
		}, 0},
		{"it sends on and on, early bytes too", func(t *testing.T, s *timed, c *probe.Conn) {
			c.Send(append(freshHandshake("abc").Bytes(), memnet.Frames(3, 1)...))
			for range 1000 {
				c.SendFrame(text(long))
				c.SendFrame(probe.Message(probe.Ping, nil))
			}
			if r, err := c.Response(); err != nil || r.Status != 101 {
				t.Errorf("%+v, %v", r, err)
			}
			wantClose(t, c, 3000, "token-invalid")
		}, time.Second},
		{"it breaks the protocol", func(t *testing.T, s *timed, c *probe.Conn) {
			wantFarewell(t, s, c, freshHandshake("abc"), 3000, "token-invalid", 401, wssecure.ReasonTokenInvalid)
			c.Send([]byte{0xFF, 0x00, 0xFF, 0x00})
		}, time.Second},
		{"it reads the head and no more", func(t *testing.T, s *timed, c *probe.Conn) {
			if r := sendHandshake(t, c, freshHandshake("abc")); r.Status != 101 {
				t.Errorf("status %d", r.Status)
			}
			time.Sleep(time.Second + time.Millisecond)
		}, time.Second + time.Millisecond},
		{"it never reads", func(t *testing.T, s *timed, c *probe.Conn) {
			c.Send(freshHandshake("abc").Bytes())
			time.Sleep(time.Second + time.Millisecond)
		}, time.Second + time.Millisecond},
	} {
		t.Run("S-36 "+row.name, func(t *testing.T) {
			inTime(t, noServe(t), func(t *testing.T, s *timed) {
				start, c := time.Now(), s.dial()
				row.act(t, s, c)
				if n, err := io.Copy(io.Discard, c.NetConn()); n > 0 || err != nil {
					t.Errorf("%d bytes more, %v", n, err)
				}
				if took := time.Since(start); took > row.most {
					t.Errorf("it was open for %v", took)
				}
				drained(t, s, context.Background(), nil)
			}, wssecure.SetBrowserRefusals())
		})
	}
}

// S-36: ten thousand at once are told why, without a place among the sessions;
// who comes on top of them gets the HTTP refusal.
func TestBrowserRefusalsAreBounded(t *testing.T) {
	const most = 10_000
	synctest.Test(t, func(t *testing.T) {
		g := must(wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireToken(wssecure.VerifierFunc(personOf)),
			wssecure.InsecureAllowPlaintext("pipes"), wssecure.SetBrowserRefusals(), wssecure.LimitConns(wssecure.ByTotal(), 5), fastHandshakes))
		h := g.ConnHandler(noServe(t))
		knock := func() int {
			near, far := net.Pipe()
			t.Cleanup(func() { near.Close() })
			go io.Copy(io.Discard, near) // it reads all and never answers
			r := memnet.Request("bad")
			r.Host = wssecuretest.Host
			w := memnet.NewWriter(far)
			h.ServeHTTP(w, r)
			if w.Status != 0 {
				far.Close()
				return w.Status
			}
			return 101
		}
		for range most + 1 { // whose connections cannot be taken, and which hold no place
			r := memnet.Request("bad")
			r.Host = wssecuretest.Host
			w := memnet.NewWriter(nil)
			if h.ServeHTTP(failingHijack{w}, r); w.Status != 401 {
				t.Fatalf("no Hijack: %d", w.Status)
			}
		}
		for i := range most {
			if status := knock(); status != 101 {
				t.Fatalf("knock %d: %d", i, status)
			}
		}
		if status := knock(); status != 401 {
			t.Errorf("one more: %d, want 401", status)
		}
		if n := g.Stats(); n.Open != 0 || n.Refused[wssecure.ReasonTokenInvalid] != 2*(most+1) {
			t.Errorf("%d places, %d refusals", n.Open, n.Refused[wssecure.ReasonTokenInvalid])
		}
		time.Sleep(time.Second + 250*time.Millisecond)
		synctest.Wait()
		if status := knock(); status != 101 {
			t.Errorf("when they are over: %d, want 101", status)
		}
		if err := g.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
	})
}
