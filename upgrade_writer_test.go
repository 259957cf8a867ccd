package wssecure_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// switchByHijack does what most libraries do: hijack, then write the 101.
func switchByHijack(w http.ResponseWriter, r *http.Request, status string, lines ...string) error {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 %s\r\n%s\r\n\r\n", status, strings.Join(lines, "\r\n"))
	return rw.Flush()
}

// An admitted upgrade whose handler makes no session of it leaves its answer and
// one event, and gives everything back.
func TestAdmittedButUnserved(t *testing.T) {
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, "own answer")
		}
	}
	for name, row := range map[string]struct {
		next   http.HandlerFunc
		status int // on the wire; 0: none
		reason wssecure.Reason
		event  int
		hint   string
		plain  bool // net/http wrote the answer, so it has the ordinary headers
	}{
		"K-14 200":            {answer(200), 200, wssecure.ReasonDone, 200, "", true},
		"K-14 302":            {answer(302), 302, wssecure.ReasonDone, 302, "", true},
		"K-14 400":            {answer(400), 400, wssecure.ReasonForbidden, 400, "", true},
		"K-14 K-29 403":       {answer(403), 403, wssecure.ReasonForbidden, 403, "inner-refused", true},
		"K-14 500":            {answer(500), 500, wssecure.ReasonInternal, 500, "", true},
		"K-14 no WriteHeader": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "own answer") }, 200, wssecure.ReasonDone, 200, "", true},
		"K-14 nothing":        {func(http.ResponseWriter, *http.Request) {}, 200, wssecure.ReasonDone, 200, "", true},
		"K-14 panic":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, wssecure.ReasonInternal, 200, "", false},
		"K-15 400": {func(w http.ResponseWriter, r *http.Request) {
			switchByHijack(w, r, "400 Bad Request", "Content-Length: 0")
		}, 400, wssecure.ReasonForbidden, 400, "", false},
		"K-15 K-29 403": {func(w http.ResponseWriter, r *http.Request) {
			switchByHijack(w, r, "403 Forbidden", "Content-Length: 0")
		}, 403, wssecure.ReasonForbidden, 403, "inner-refused", false},
		"K-15 502": {func(w http.ResponseWriter, r *http.Request) {
			switchByHijack(w, r, "502 Bad Gateway", "Content-Length: 0")
		}, 502, wssecure.ReasonInternal, 502, "", false},
		"K-15 204": {func(w http.ResponseWriter, r *http.Request) {
			switchByHijack(w, r, "204 No Content", "X-Own: x")
		}, 204, wssecure.ReasonDone, 204, "", false},
		"K-16 101 by WriteHeader, never taken": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Accept", probe.Accept(probe.Key))
			w.WriteHeader(101)
		}, 101, wssecure.ReasonInternal, 101, "", false},
		"K-16 a wrong accept by WriteHeader": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Accept", "AAAA")
			w.WriteHeader(101)
		}, 500, wssecure.ReasonInternal, 500, "", false},
		"K-16 a wrong accept by Hijack": {func(w http.ResponseWriter, r *http.Request) {
			switchByHijack(w, r, "101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: AAAA")
		}, 500, wssecure.ReasonInternal, 500, "", false},
		"K-15 hijacked and dropped": {func(w http.ResponseWriter, r *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		}, 0, wssecure.ReasonDone, 0, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := startHandler(t, row.next)
			c := s.Raw()
			if err := c.Send(s.Handshake(s.Issuer.Token("alice")).Bytes()); err != nil {
				t.Fatal(err)
			}
			r, err := c.Response()
			switch {
			case row.status == 0:
				if err == nil {
					t.Errorf("answer %s, want none", r.StatusLine)
				}
			case err != nil:
				t.Fatal(err)
			case r.Status != row.status:
				t.Errorf("%s, want %d", r.StatusLine, row.status)
			case row.plain && r.Get("X-Frame-Options") != "DENY":
				t.Error("the answer lacks the ordinary headers")
			}
			if err := c.NetConn().(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Log("half-close:", err)
			}
			if err := c.AwaitEOF(hang); err != nil {
				t.Error(err)
			}
			e := s.WaitEvent(wssecure.EventRefused)
			if e.Reason != row.reason || row.event != 0 && e.Status != row.event || e.By != wssecure.ByApp && e.By != "" {
				t.Errorf("event %s %d by %q, want %s %d", e.Reason, e.Status, e.By, row.reason, row.event)
			}
			if !strings.Contains(e.Hint, row.hint) || row.hint == "" && e.Hint != "" {
				t.Errorf("hint %q, want %q", e.Hint, row.hint)
			}
			wantNoSession(t, s)
			if n := len(refusals(s)); n != 1 {
				t.Errorf("%d events, want 1", n)
			}
		})
	}
}

func refusals(s *wssecuretest.Server) (list []wssecure.Event) {
	for _, e := range s.Events() {
		if e.Kind == wssecure.EventRefused {
			list = append(list, e)
		}
	}
	return list
}

// Middleware outside cannot choose what the handshake negotiates.
func TestForeignLinesOfTheHandshake(t *testing.T) {
	foreign := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept"} {
				w.Header().Set(name, "foreign")
			}
			w.Header().Set("X-Outer", "kept")
			next.ServeHTTP(w, r)
		})
	}
	t.Run("K-17 ConnHandler", func(t *testing.T) {
		s := startRoutes(t, func(g *wssecure.Guard) http.Handler { return foreign(g.ConnHandler(wssecuretest.Echo)) })
		hs := s.Handshake(s.Issuer.Token("alice"))
		r, _ := wantAdmitted(t, s, hs)
		wantSwitched(t, r, hs)
		if r.Get("Sec-WebSocket-Protocol") != "" || r.Get("Sec-WebSocket-Extensions") != "" || r.Get("X-Outer") != "kept" {
			t.Errorf("%v", r.Header)
		}
	})
	t.Run("K-17 Handler", func(t *testing.T) {
		s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
			return foreign(g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for name := range w.Header() {
					if strings.HasPrefix(name, "Sec-Websocket-") {
						t.Errorf("next finds %s: %q", name, w.Header()[name])
					}
				}
			})))
		})
		ask(t, s, s.Handshake(s.Issuer.Token("alice")))
	})
	t.Run("K-17 D-14 a refusal", func(t *testing.T) {
		s := startRoutes(t, func(g *wssecure.Guard) http.Handler { return foreign(g.ConnHandler(wssecuretest.Echo)) })
		r, _ := wantRefused(t, s, s.Handshake(""), 401, wssecure.ReasonTokenMissing)
		for _, name := range []string{"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept"} {
			if got := r.Values(name); len(got) > 0 {
				t.Errorf("%s: %q", name, got)
			}
		}
	})
}

type bareWriter struct{ inner http.ResponseWriter }

func (w bareWriter) Header() http.Header         { return w.inner.Header() }
func (w bareWriter) WriteHeader(status int)      { w.inner.WriteHeader(status) }
func (w bareWriter) Write(p []byte) (int, error) { return w.inner.Write(p) }

// A writer that cannot be hijacked is the operator's mistake, and named to him.
func TestWriterThatCannotSwitch(t *testing.T) {
	for name, outer := range map[string]struct {
		wrap func(http.Handler) http.Handler
		typ  string
	}{
		"K-18 neither Hijack nor Unwrap": {func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(bareWriter{w}, r) })
		}, "wssecure_test.bareWriter"},
		"K-18 TimeoutHandler": {func(next http.Handler) http.Handler {
			return http.TimeoutHandler(next, time.Minute, "late")
		}, "*http.timeoutWriter"},
	} {
		for kind, inner := range map[string]func(*wssecure.Guard) http.Handler{
			"Handler": func(g *wssecure.Guard) http.Handler {
				return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, admitted := wssecure.SessionFrom(r.Context()); admitted {
						t.Error("next was reached")
					}
					io.WriteString(w, "page")
				}))
			},
			"ConnHandler": func(g *wssecure.Guard) http.Handler { return g.ConnHandler(wssecuretest.Echo) },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				s := startRoutes(t, func(g *wssecure.Guard) http.Handler { return outer.wrap(inner(g)) })
				_, e := wantRefused(t, s, s.Handshake(s.Issuer.Token("alice")), 500, wssecure.ReasonInternal)
				if e.Err == nil || !strings.Contains(e.Err.Error(), outer.typ) {
					t.Errorf("event's error %v does not name %s", e.Err, outer.typ)
				}
				wantNoSession(t, s)
				if kind == "Handler" {
					if r, _ := ask(t, s, ordinary("GET", "/")); string(r.Body) != "page" {
						t.Errorf("ordinary request: %s %q", r.StatusLine, r.Body)
					}
				}
			})
		}
	}
}

// A second Hijack, and what comes after the first.
func TestHijackHappensOnce(t *testing.T) {
	failed := make(chan error, 1)
	s := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		var errs []error
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			failed <- err
			return
		}
		defer conn.Close()
		if n := rw.Reader.Buffered(); n != 0 {
			errs = append(errs, fmt.Errorf("the reader holds %d bytes", n))
		}
		for _, step := range chain(w) {
			if _, _, err := http.NewResponseController(step).Hijack(); !errors.Is(err, http.ErrHijacked) {
				errs = append(errs, fmt.Errorf("second Hijack by %T: %v", step, err))
			}
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			errs = append(errs, fmt.Errorf("Write: %v", err))
		}
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(probe.Key))
		errs = append(errs, rw.Flush())
		if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
			errs = append(errs, errors.New("a byte that nobody sent"))
		}
		failed <- errors.Join(errs...)
	})
	hs := s.Handshake(s.Issuer.Token("alice"))
	r, c := wantAdmitted(t, s, hs)
	wantSwitched(t, r, hs)
	c.Close()
	if err := <-failed; err != nil {
		t.Errorf("K-13: %v", err)
	}
}
