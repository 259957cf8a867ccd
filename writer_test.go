package wssecure_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// startHandler starts Guard.Handler around next, with the fixture's policy.
func startHandler(t *testing.T, next http.HandlerFunc, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	return startRoutes(t, func(g *wssecure.Guard) http.Handler { return g.Handler(next) }, more...)
}

func startRoutes(t *testing.T, routes func(*wssecure.Guard) http.Handler, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()}, more...),
		Handler: routes,
	})
	s.Issuer = issuer
	return s
}

// wantNoSession checks that nothing is left of a handshake that became none.
func wantNoSession(t *testing.T, s *wssecuretest.Server) {
	t.Helper()
	for deadline := time.Now().Add(hang); s.Guard.Stats().Open != 0; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d places are still taken", s.Guard.Stats().Open)
		}
	}
	for _, e := range s.Events() {
		if e.Kind == wssecure.EventOpened {
			t.Errorf("a session was opened: %+v", e)
		}
	}
}

// chain is w and everything behind it.
func chain(w http.ResponseWriter) (all []http.ResponseWriter) {
	for w != nil {
		all = append(all, w)
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return all
		}
		w = u.Unwrap()
	}
	return all
}

// What a handler can try on a request that is no admitted upgrade: it gets no
// connection, and can still answer.
func TestRestrictedWriterHasNoConnection(t *testing.T) {
	for name, wrap := range map[string]func(g *wssecure.Guard, next http.Handler) http.Handler{
		"Handler": func(g *wssecure.Guard, next http.Handler) http.Handler { return g.Handler(next) },
		"Pages":   func(g *wssecure.Guard, next http.Handler) http.Handler { return g.Pages(next) },
		"both":    func(g *wssecure.Guard, next http.Handler) http.Handler { return g.Pages(g.Handler(next)) },
	} {
		t.Run("K-07 K-08 W11 "+name, func(t *testing.T) {
			next := func(w http.ResponseWriter, r *http.Request) {
				steps := chain(w)
				if len(steps) < 2 {
					t.Errorf("the chain has %d writers", len(steps))
				}
				for _, step := range steps {
					if h, ok := step.(http.Hijacker); ok {
						if conn, _, err := h.Hijack(); conn != nil || !errors.Is(err, http.ErrNotSupported) {
							t.Errorf("%T.Hijack: %v, %v", step, conn, err)
						}
					}
					if conn, _, err := http.NewResponseController(step).Hijack(); conn != nil || !errors.Is(err, http.ErrNotSupported) {
						t.Errorf("ResponseController of %T: %v, %v", step, conn, err)
					}
				}
				io.WriteString(w, "still answers")
			}
			s := startRoutes(t, func(g *wssecure.Guard) http.Handler { return wrap(g, http.HandlerFunc(next)) })
			if r, _ := ask(t, s, ordinary("GET", "/")); r.Status != 200 || string(r.Body) != "still answers" {
				t.Errorf("%s %q", r.StatusLine, r.Body)
			}
		})
		for depth := range 2 {
			t.Run("K-08 K-09 W11 101 by writer "+string(rune('0'+depth))+" "+name, func(t *testing.T) {
				next := func(w http.ResponseWriter, r *http.Request) {
					step := chain(w)[depth]
					step.Header().Set("Upgrade", "websocket")
					step.Header().Set("Connection", "Upgrade")
					step.Header().Set("Sec-WebSocket-Accept", probe.Accept(probe.Key))
					step.WriteHeader(http.StatusSwitchingProtocols)
					io.WriteString(step, "frames")
					http.NewResponseController(step).Flush()
				}
				s := startRoutes(t, func(g *wssecure.Guard) http.Handler { return wrap(g, http.HandlerFunc(next)) })
				r, _ := ask(t, s, ordinary("GET", "/"))
				if r.Status != 500 || bytes.Contains(r.Body, []byte("frames")) {
					t.Errorf("%s %q", r.StatusLine, r.Body)
				}
				for _, line := range []string{"Upgrade", "Sec-WebSocket-Accept"} {
					if r.Get(line) != "" {
						t.Errorf("%s: %q", line, r.Values(line))
					}
				}
				if r.Get("X-Frame-Options") != "DENY" {
					t.Error("the answer lacks the ordinary headers")
				}
				e := s.WaitEvent(wssecure.EventRefused)
				if e.Reason != wssecure.ReasonInternal || e.Status != 500 || e.Hint == "" {
					t.Errorf("%+v", e)
				}
				wantNoSession(t, s)
			})
		}
	}
}

// Pages judges nothing: an upgrade that no guard inside admits stays ordinary.
func TestPagesWithoutAGuardInside(t *testing.T) {
	s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
		return g.Pages(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Hijack: %v", err)
			}
			w.WriteHeader(http.StatusSwitchingProtocols)
		}))
	})
	r, _ := ask(t, s, s.Handshake(s.Issuer.Token("alice")))
	if r.Status != 500 {
		t.Errorf("K-23: %s", r.StatusLine)
	}
	wantNoSession(t, s)
}

func TestInterimAnswersPass(t *testing.T) {
	s := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusContinue)
		io.WriteString(w, "page")
	})
	c := s.Raw()
	if err := c.Send(ordinary("GET", "/").Bytes()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{103, 100, 200} {
		if r, err := c.Response(); err != nil || r.Status != want {
			t.Fatalf("K-09: %+v, %v; want %d", r, err, want)
		}
	}
}

// The optional interfaces of the writer that came in, and no other.
func TestRestrictedWriterKeepsInterfaces(t *testing.T) {
	g, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test"))
	if err != nil {
		t.Fatal(err)
	}
	type flusher struct{ http.Flusher }
	type readerFrom struct{ io.ReaderFrom }
	type pusher struct{ http.Pusher }
	base := &memoryWriter{header: http.Header{}}
	full := fullWriter{base}
	for name, w := range map[string]http.ResponseWriter{
		"none": base,
		"F": struct {
			http.ResponseWriter
			flusher
		}{base, flusher{full}},
		"R": struct {
			http.ResponseWriter
			readerFrom
		}{base, readerFrom{full}},
		"P": struct {
			http.ResponseWriter
			pusher
		}{base, pusher{full}},
		"FR": struct {
			http.ResponseWriter
			flusher
			readerFrom
		}{base, flusher{full}, readerFrom{full}},
		"FP": struct {
			http.ResponseWriter
			flusher
			pusher
		}{base, flusher{full}, pusher{full}},
		"RP": struct {
			http.ResponseWriter
			readerFrom
			pusher
		}{base, readerFrom{full}, pusher{full}},
		"FRP": struct {
			http.ResponseWriter
			flusher
			readerFrom
			pusher
		}{base, flusher{full}, readerFrom{full}, pusher{full}},
	} {
		t.Run("K-11 "+name, func(t *testing.T) {
			reached := false
			next := http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) {
				reached = true
				if have, want := interfaces(got), interfaces(w); have != want {
					t.Errorf("interfaces %q, want %q", have, want)
				}
				if f, ok := got.(http.Flusher); ok {
					f.Flush()
				}
				if rf, ok := got.(io.ReaderFrom); ok {
					if n, err := rf.ReadFrom(strings.NewReader("body")); n != 4 || err != nil {
						t.Errorf("ReadFrom: %d, %v", n, err)
					}
				}
				if p, ok := got.(http.Pusher); ok && p.Push("/x", nil) != errPushed {
					t.Error("Push did not arrive")
				}
			})
			r := requestOf([]byte("GET / HTTP/1.1\r\nHost: ws.example.com\r\n\r\n"), 1)
			clear(base.header)
			g.Handler(next).ServeHTTP(w, r)
			if !reached || base.header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("reached %v, headers %v", reached, base.header)
			}
		})
	}
}

func interfaces(w http.ResponseWriter) (have string) {
	if _, ok := w.(http.Flusher); ok {
		have += "F"
	}
	if _, ok := w.(io.ReaderFrom); ok {
		have += "R"
	}
	if _, ok := w.(http.Pusher); ok {
		have += "P"
	}
	return have
}

var errPushed = errors.New("pushed")

type fullWriter struct{ *memoryWriter }

func (w fullWriter) Flush()                              { w.WriteHeader(http.StatusOK) }
func (w fullWriter) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.memoryWriter, r) }
func (fullWriter) Push(string, *http.PushOptions) error  { return errPushed }

// What neighbours of the socket do goes on as without the guard.
func TestOrdinaryServingIsUnchanged(t *testing.T) {
	file, err := os.ReadFile("wssecure.go")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "wssecure.txt", time.Unix(1_700_000_000, 0), bytes.NewReader(file))
	})
	mux.HandleFunc("/copy", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, bytes.NewReader(file)) })
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.SetReadDeadline(time.Now().Add(time.Minute)), rc.EnableFullDuplex()); err != nil {
			t.Errorf("K-11: %v", err)
		}
		for range 3 {
			io.WriteString(w, "data: x\n\n")
			if err := rc.Flush(); err != nil {
				t.Errorf("K-11: %v", err)
			}
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/none", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("/500", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "broken", 500) })
	bare := startRoutes(t, func(*wssecure.Guard) http.Handler { return mux })
	guarded := startRoutes(t, func(g *wssecure.Guard) http.Handler { return g.Handler(mux) })
	paged := startRoutes(t, func(g *wssecure.Guard) http.Handler { return g.Pages(g.Handler(mux)) })

	for name, row := range map[string]*probe.Handshake{
		"K-12 whole file": ordinary("GET", "/file"),
		"K-12 range":      ordinary("GET", "/file").Add("Range: bytes=100-299"),
		"K-12 ranges":     ordinary("GET", "/file").Add("Range: bytes=99999999-"),
		"K-12 304":        ordinary("GET", "/file").Add("If-Modified-Since: Wed, 15 Nov 2023 00:00:00 GMT"),
		"K-12 copy":       ordinary("GET", "/copy"),
		"K-12 SSE":        ordinary("GET", "/sse"),
		"K-12 no answer":  ordinary("GET", "/none"),
		"K-12 error":      ordinary("GET", "/500"),
		"K-12 not found":  ordinary("GET", "/nowhere"),
	} {
		t.Run(name, func(t *testing.T) {
			want, _ := ask(t, bare, row)
			for _, s := range []*wssecuretest.Server{guarded, paged} {
				got, _ := ask(t, s, row)
				if got.StatusLine != want.StatusLine || !bytes.Equal(got.Body, want.Body) {
					t.Errorf("%s with %d bytes, want %s with %d", got.StatusLine, len(got.Body), want.StatusLine, len(want.Body))
				}
				for _, f := range want.Header {
					if f.Name != "Date" && strings.Join(got.Values(f.Name), "|") != strings.Join(want.Values(f.Name), "|") {
						t.Errorf("%s: %q, want %q", f.Name, got.Values(f.Name), want.Values(f.Name))
					}
				}
				for _, name := range []string{"X-Frame-Options", "Content-Security-Policy", "Strict-Transport-Security", "Referrer-Policy"} {
					if len(got.Values(name)) != 1 {
						t.Errorf("%s: %q, want it once", name, got.Values(name))
					}
				}
			}
		})
	}
	t.Run("K-12 HEAD", func(t *testing.T) {
		for _, s := range []*wssecuretest.Server{bare, guarded, paged} {
			resp, err := s.Client().Head("https://" + wssecuretest.Host + "/file")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 || resp.ContentLength != int64(len(file)) {
				t.Errorf("%s, length %d, want %d", resp.Status, resp.ContentLength, len(file))
			}
		}
	})
}
