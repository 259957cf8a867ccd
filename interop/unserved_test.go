package interop_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	gorilla "github.com/gorilla/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// ordinaryNeverUpgrades: a request without any sign of an upgrade, to which the
// handler adds them all, so that the library's own checks pass.
func ordinaryNeverUpgrades(t *testing.T, st stack) {
	a := newApp()
	next := st.behind(t, a)
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ordinary" {
				for name, value := range map[string]string{
					"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": probe.Key,
				} {
					r.Header.Set(name, value)
				}
			}
			next.ServeHTTP(w, r)
		}))
	})
	c := r.Raw()
	for range 2 { // the connection stays net/http's: it takes a second request
		if err := c.Send([]byte("GET /ordinary HTTP/1.1\r\nHost: ws.example.com\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer, err := c.Response()
		if err != nil {
			t.Fatal(err)
		}
		// What the library answers is its own affair; gws answers nothing, which is 200.
		if answer.Status < 200 || st.name != "gws" && answer.Status < 400 {
			t.Fatalf("%s: an ordinary request got through", answer.StatusLine)
		}
		if got := answer.Get("Sec-WebSocket-Accept"); got != "" {
			t.Errorf("%s with Sec-WebSocket-Accept %s", answer.StatusLine, got)
		}
		if !st.proxy { // the backend has done its part; the proxy could not
			if err := <-a.served; !errors.Is(err, errNotUpgraded) {
				t.Errorf("the library believes that it has upgraded: %v", err)
			}
		}
	}
	if n := r.Guard.Stats().Admitted; n != 0 {
		t.Errorf("%d sessions", n)
	}
	r.wantAllBack(t)
}

// refusesItself: the guard has admitted, and the library's own check says no.
func refusesItself(t *testing.T, st stack) {
	a := newApp()
	a.refuses = true
	r := behind(t, st, a)
	h := r.handshake(user)
	for range 2 { // the same bytes: nothing of the first was remembered
		answer, c := r.ask(t, h.Bytes())
		if answer.Status < 400 || answer.Status > 499 {
			t.Fatalf("%s, want the library's own refusal", answer.StatusLine)
		}
		if got := answer.Get("Connection"); st.name == "gws" || st.name == "gobwas" || strings.EqualFold(got, "close") {
			if err := c.AwaitEOF(hang); err != nil {
				t.Errorf("behind %s: %v", answer.StatusLine, err)
			}
		}
		e := r.WaitEvent(wssecure.EventRefused)
		if e.Reason != wssecure.ReasonForbidden || e.Status != answer.Status || e.By != wssecure.ByApp {
			t.Errorf("event %s, status %d, by %s; want forbidden, %d, app", e.Reason, e.Status, e.By, answer.Status)
		}
		if (e.Hint != "") != (answer.Status == 403) {
			t.Errorf("status %d with the hint %q", answer.Status, e.Hint)
		}
		if n := r.Guard.Stats().Open; n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	}
	if n := r.count(wssecure.EventRefused); n != 2 || r.Guard.Stats().Admitted != 0 {
		t.Errorf("%d refused events and %d sessions, want 2 and none", n, r.Guard.Stats().Admitted)
	}
}

// The handlers of TestAdmittedAndNotServed use net/http alone.
func TestAdmittedAndNotServed(t *testing.T) {
	hijack := func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
		conn, brw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
		}
		return conn, brw
	}
	for _, row := range []struct {
		name   string
		serve  http.HandlerFunc
		status int // of the answer; 0: none comes
		reason wssecure.Reason
		ends   bool // the connection, without being asked to
	}{
		{"K-14 nothing", func(http.ResponseWriter, *http.Request) {}, 200, wssecure.ReasonDone, false},
		{"K-14 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, wssecure.ReasonDone, false},
		{"K-14 403", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, 403, wssecure.ReasonForbidden, false},
		{"K-14 502", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }, 502, wssecure.ReasonInternal, false},
		{"K-14 body alone", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, 200, wssecure.ReasonDone, false},
		{"K-15 403", func(w http.ResponseWriter, _ *http.Request) {
			conn, brw := hijack(w)
			defer conn.Close()
			brw.WriteString("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			brw.Flush()
		}, 403, wssecure.ReasonForbidden, true},
		{"K-15 hijacks and leaves", func(w http.ResponseWriter, _ *http.Request) {
			conn, _ := hijack(w)
			conn.Close()
		}, 0, wssecure.ReasonDone, true},
		{"K-16 writes 101, never hijacks", func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Upgrade", "websocket")
			h.Set("Connection", "Upgrade")
			h.Set("Sec-WebSocket-Accept", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
			w.WriteHeader(101)
		}, 101, wssecure.ReasonInternal, true},
		{"W-22 wrong Accept through net/http", func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Upgrade", "websocket")
			h.Set("Connection", "Upgrade")
			h.Set("Sec-WebSocket-Accept", "AAAA")
			w.WriteHeader(101)
		}, 500, wssecure.ReasonInternal, true},
		{"W-22 wrong Accept into the connection", func(w http.ResponseWriter, _ *http.Request) {
			conn, _ := hijack(w)
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n")
		}, 500, wssecure.ReasonInternal, true},
		{"W-22 no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			conn, _ := hijack(w)
			defer conn.Close()
			io.WriteString(conn, "hello\r\n\r\n")
		}, 500, wssecure.ReasonInternal, true},
		{"panic before Hijack", func(http.ResponseWriter, *http.Request) { panic("told to") }, 0, wssecure.ReasonInternal, true},
		{"panic behind Hijack", func(w http.ResponseWriter, _ *http.Request) { hijack(w); panic("told to") }, 0, wssecure.ReasonInternal, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			good := newApp()
			lib := libraries[1].handler(good)
			r := startRig(t, func(g *wssecure.Guard) http.Handler {
				return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/bad" {
						row.serve(w, r)
						return
					}
					lib.ServeHTTP(w, r)
				}))
			})
			h := r.handshake(user)
			h.Target = "/bad"
			for range 2 { // the nonce is free again
				c := r.Raw()
				if err := c.Send(h.Bytes()); err != nil {
					t.Fatal(err)
				}
				answer, err := c.Response()
				if row.status == 0 && err == nil || row.status != 0 && (err != nil || answer.Status != row.status) {
					t.Fatalf("answer %+v, error %v; want status %d", answer, err, row.status)
				}
				if row.ends {
					if err := c.AwaitEOF(hang); err != nil {
						t.Error(err)
					}
				}
				e := r.WaitEvent(wssecure.EventRefused)
				if e.Reason != row.reason || row.status > 101 && row.status != 500 && e.Status != row.status {
					t.Errorf("event %s, status %d, error %v; want %s", e.Reason, e.Status, e.Err, row.reason)
				}
				if (e.Hint != "") != (row.status == 403) {
					t.Errorf("K-29: hint %q", e.Hint)
				}
				c.Close()
			}
			r.wantAllBack(t)
			if n := r.count(wssecure.EventRefused); n != 2 {
				t.Errorf("%d refused events for two handshakes", n)
			}
		})
	}
}

// TestBackendDown: the proxy answers for the backend that it does not reach.
func TestBackendDown(t *testing.T) {
	gone := httptest.NewServer(nil)
	target, err := url.Parse(gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(&httputil.ReverseProxy{
			Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
			ErrorLog: noLog,
		})
	})
	h := r.handshake(user)
	for range 2 { // the lease and the nonce are free again
		answer, _ := r.ask(t, h.Bytes())
		if answer.Status != 502 {
			t.Errorf("%s, want 502", answer.StatusLine)
		}
		if e := r.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonInternal || e.Status != 502 || e.By != wssecure.ByApp {
			t.Errorf("event %s, status %d, by %s", e.Reason, e.Status, e.By)
		}
		if n := r.Guard.Stats().Open; n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	}
}

// TestHijackOfAdmitted: every way to the connection gives the metered one, once.
func TestHijackOfAdmitted(t *testing.T) {
	ways := map[string]func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error){
		"assertion": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() },
		"ResponseController": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		},
		"end of Unwrap": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return endOf(w).(http.Hijacker).Hijack()
		},
	}
	for name, hijack := range ways {
		t.Run("K-13 "+name, func(t *testing.T) {
			t.Parallel()
			r := startRig(t, func(g *wssecure.Guard) http.Handler {
				return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, brw, err := hijack(w)
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					if n := brw.Reader.Buffered(); n != 0 {
						t.Errorf("%d bytes wait in the reader", n)
					}
					for again, hijack := range ways {
						if _, _, err := hijack(w); !errors.Is(err, http.ErrHijacked) {
							t.Errorf("a second Hijack by %s: %v", again, err)
						}
					}
					if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
						t.Errorf("Write behind Hijack: %v", err)
					}
					io.WriteString(brw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
						probe.Accept(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
					brw.Write([]byte("\x81\x02hi"))
					brw.Flush()
					_, _ = io.Copy(io.Discard, brw) // until the guard ends it
				}))
			})
			answer, c := r.ask(t, r.Handshake(r.issuer.Token(user)).Bytes())
			if answer.Status != 101 || answer.Get(hsts) == "" {
				t.Fatalf("%s, HSTS %q", answer.StatusLine, answer.Get(hsts))
			}
			wantMessage(t, c, probe.Text, []byte("hi"))
			send(t, c, probe.Frame{FIN: true, Opcode: 3, Masked: true})
			wantClose(t, c, 1002, "protocol")
			if e := r.wantClosedEvent(t, wssecure.ReasonProtocol, 1002, wssecure.ByGuard); e.Out.Messages != 1 {
				t.Errorf("%d messages out, want 1: the writer goes round the meter", e.Out.Messages)
			}
		})
	}
}

// TestEndBetween101AndHijack: coder writes its 101 through net/http and takes
// the connection afterwards. Who has the 101 is told of the end.
func TestEndBetween101AndHijack(t *testing.T) {
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Upgrade", "websocket")
			h.Set("Connection", "Upgrade")
			h.Set("Sec-WebSocket-Accept", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
			w.WriteHeader(101)
			s, _ := wssecure.SessionFrom(r.Context())
			if n, err := g.Revoke(r.Context(), wssecure.SessionID(s.ID()), "test"); n != 1 || err != nil {
				t.Errorf("Revoke: %d, %v", n, err)
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			defer conn.Close()
			if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, wssecure.ReasonRevoked) {
				t.Errorf("Read: %d bytes, %v", n, err)
			}
		}))
	})
	c := r.open(t)
	wantClose(t, c, 3000, "revoked")
	r.wantClosedEvent(t, wssecure.ReasonRevoked, 3000, wssecure.ByGuard)
}

// TestPanicBehind101: the panic of a handler that has not deferred a Close.
func TestPanicBehind101(t *testing.T) {
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := gorilla.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
			c, err := u.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_, _, _ = c.ReadMessage()
			panic("told to")
		}))
	})
	c := r.open(t)
	sendText(t, c, "now")
	wantClose(t, c, 1011, "internal")
	if e := r.wantClosedEvent(t, wssecure.ReasonInternal, 1011, wssecure.ByApp); e.Err == nil {
		t.Error("the event does not say that the handler panicked")
	}
	r.wantAllBack(t)
}

// endOf follows Unwrap to the end.
func endOf(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// TestRestrictedWriter tries every door of an ordinary request's writer.
func TestRestrictedWriter(t *testing.T) {
	chain := func(w http.ResponseWriter) (all []http.ResponseWriter) {
		for {
			all = append(all, w)
			u, ok := w.(interface{ Unwrap() http.ResponseWriter })
			if !ok {
				return all
			}
			w = u.Unwrap()
		}
	}
	for _, row := range []struct {
		name   string
		serve  http.HandlerFunc
		status int
	}{
		{"K-07 Hijack", func(w http.ResponseWriter, _ *http.Request) {
			if _, ok := w.(http.Hijacker); ok {
				t.Error("the writer is a Hijacker")
			}
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("ResponseController: %v", err)
			}
			w.WriteHeader(418)
		}, 418},
		{"K-08 Hijack along Unwrap", func(w http.ResponseWriter, _ *http.Request) {
			for _, step := range chain(w) {
				if h, ok := step.(http.Hijacker); ok {
					if conn, _, err := h.Hijack(); err == nil {
						conn.Close()
						t.Errorf("%T gave the connection", step)
					}
				}
			}
			w.WriteHeader(418)
		}, 418},
		{"K-08 101 at the end of Unwrap", func(w http.ResponseWriter, _ *http.Request) {
			endOf(w).Header().Set("Upgrade", "websocket")
			endOf(w).WriteHeader(101)
			io.WriteString(w, "\x81\x02hi")
		}, 500},
		{"K-09 101", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(101) }, 500},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := startRig(t, func(g *wssecure.Guard) http.Handler { return g.Handler(row.serve) })
			c := r.Raw()
			if err := c.Send([]byte("GET / HTTP/1.1\r\nHost: ws.example.com\r\nConnection: close\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			answer, err := c.Response()
			if err != nil || answer.Status != row.status || strings.Contains(string(answer.Body), "\x81\x02hi") || answer.Get("Upgrade") != "" {
				t.Fatalf("%+v, %v; want status %d", answer, err, row.status)
			}
			if row.status == 500 {
				if e := r.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonInternal {
					t.Errorf("event %s", e.Reason)
				}
			}
		})
	}
}
