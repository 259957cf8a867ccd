package wssecure_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// handing starts a server whose guard hands upgrades on to what wrap makes.
func handing(t *testing.T, wrap func(g *wssecure.Guard) http.Handler) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
		Handler: wrap,
	})
	s.Issuer = issuer
	return s
}

// Connection names the headers that a proxy drops. A client must not name those
// that the application sets for its backend, nor have another protocol asked for.
func TestClientChoosesNoHopHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.WriteHeader(http.StatusTeapot)
	}))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := handing(t, func(g *wssecure.Guard) http.Handler {
		//lint:ignore SA1019 what Director sets, the client's Connection could name; with Rewrite it cannot
		return g.Handler(&httputil.ReverseProxy{Director: func(r *http.Request) {
			r.URL.Scheme, r.URL.Host = "http", target.Host
			id, _ := wssecure.IdentityFrom(r.Context())
			r.Header.Set("X-User", id.Subject)
		}})
	})
	hs := freshHandshake(s.Issuer.Token("alice")).Set("Connection", "Upgrade, X-User, Origin, Http2-Settings")
	hs.Set("Upgrade", "h2c").Add("Upgrade: websocket").Add("HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
	if r, _ := ask(t, s, hs); r.Status != http.StatusTeapot {
		t.Fatalf("status %d", r.Status)
	}
	h := next(t, seen)
	for name, want := range map[string]string{"X-User": "alice", "Origin": wssecuretest.Origin, "Upgrade": "websocket", "Connection": "Upgrade", "Http2-Settings": ""} {
		if got := strings.Join(h.Values(name), " | "); got != want {
			t.Errorf("the backend sees %s: %q, want %q", name, got, want)
		}
	}
}

// Flush sends a head: behind it there is no 101.
func TestFlushOfAdmittedIsAnAnswer(t *testing.T) {
	s := handing(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
				t.Error("hijacked behind an answer")
			}
		}))
	})
	r, _ := ask(t, s, freshHandshake(s.Issuer.Token("alice")))
	if r.Status != 200 || r.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("status %d with X-Content-Type-Options %q, want 200 with nosniff", r.Status, r.Get("X-Content-Type-Options"))
	}
	if e := s.WaitEvent(wssecure.EventRefused); e.Status != 200 || e.By != wssecure.ByApp {
		t.Errorf("refused %d by %s", e.Status, e.By)
	}
}

// A session that was given back when its handler returned must not come to life:
// nothing would find it to revoke it.
func TestWriterIsDeadBehindItsHandler(t *testing.T) {
	s := handing(t, func(g *wssecure.Guard) http.Handler {
		var kept http.ResponseWriter
		inner := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { kept = w }))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			conn, _, err := http.NewResponseController(kept).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
				probe.Accept(r.Header.Get("Sec-Websocket-Key"))+"\r\n\r\n")
		})
	})
	if r, _ := ask(t, s, freshHandshake(s.Issuer.Token("alice"))); r.Status == 101 {
		t.Error("101 for a session that was given back")
	}
	if n := s.Guard.Stats().Open; n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

// A handler that leaves the Hijack to another goroutine may return in the middle
// of it. The session is then not given back, or a socket would be open that no
// revocation finds.
func TestHijackDuringTheReturnOfItsHandler(t *testing.T) {
	s := handing(t, func(g *wssecure.Guard) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			taking, returned, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
			inner := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				go func() {
					defer close(over)
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Errorf("Hijack: %v", err)
						return
					}
					io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
						probe.Accept(r.Header.Get("Sec-Websocket-Key"))+"\r\n\r\n")
				}()
				<-taking
			}))
			inner.ServeHTTP(hijackHook{w, func() {
				close(taking)
				select {
				case <-returned:
				case <-time.After(50 * time.Millisecond): // it waits for us
				}
			}}, r)
			close(returned)
			<-over
		})
	})
	_, c := wantAdmitted(t, s, freshHandshake(s.Issuer.Token("alice")))
	if n, err := s.Guard.Revoke(t.Context(), wssecure.Everyone(), "test"); n != 1 || err != nil {
		t.Errorf("Revoke closed %d, %v", n, err)
	}
	if f, err := c.ReadFrame(); err != nil || f.Opcode != probe.Close {
		t.Errorf("after Revoke: %v, %v", f, err)
	}
	eventually(t, func() bool { return s.Guard.Stats().Open == 0 })
}
