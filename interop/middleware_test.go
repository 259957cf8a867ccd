package interop_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A surrounding is what stands outside the guard.
type surrounding struct {
	name string
	wrap func(guarded http.Handler) http.Handler
}

var surroundings = []surrounding{
	{"net/http mux", func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/ws", h)
		return mux
	}},
	{"three wrappers with Unwrap", func(h http.Handler) http.Handler { return logged(logged(logged(h))) }},
	{"a compressing wrapper", compressed},
	{"chi", func(h http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.RequestID, chimiddleware.Recoverer, chimiddleware.Compress(5), chimiddleware.Timeout(time.Minute))
		r.Handle("/ws", h)
		return r
	}},
	{"chi Logger", func(h http.Handler) http.Handler {
		return chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: discard{}, NoColor: true})(h)
	}},
	{"gin", func(h http.Handler) http.Handler {
		e := gin.New()
		e.Use(gin.Recovery())
		e.GET("/ws", gin.WrapH(h))
		return e
	}},
	{"gin by c.Writer", func(h http.Handler) http.Handler {
		e := gin.New()
		e.GET("/ws", func(c *gin.Context) { h.ServeHTTP(c.Writer, c.Request) })
		return e
	}},
	{"echo", func(h http.Handler) http.Handler {
		e := echo.New()
		e.Use(echomiddleware.Recover())
		e.GET("/ws", echo.WrapHandler(h))
		return e
	}},
	{"echo Gzip", func(h http.Handler) http.Handler {
		e := echo.New()
		e.Use(echomiddleware.Gzip())
		e.GET("/ws", echo.WrapHandler(h))
		return e
	}},
	{"echo WrapMiddleware", func(h http.Handler) http.Handler {
		e := echo.New()
		e.Use(echo.WrapMiddleware(func(http.Handler) http.Handler { return h }))
		e.GET("/ws", func(c echo.Context) error { return nil })
		return e
	}},
}

type discard struct{}

func (discard) Print(...any) {}

// logged is the writer that most middleware of users is: it keeps the status and
// has Unwrap, and no Hijack.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&statusWriter{ResponseWriter: w}, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// compressed holds everything back, status and all, until the handler returns.
func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := &gzipWriter{ResponseWriter: w}
		next.ServeHTTP(g, r)
		g.finish()
	})
}

type gzipWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (g *gzipWriter) WriteHeader(status int) {
	if g.status == 0 {
		g.status = status
	}
}

func (g *gzipWriter) Write(b []byte) (int, error) {
	g.WriteHeader(200)
	return g.body.Write(b)
}

func (g *gzipWriter) Unwrap() http.ResponseWriter { return g.ResponseWriter }

func (g *gzipWriter) finish() {
	if g.status == 0 {
		return
	}
	g.Header().Set("Content-Encoding", "gzip")
	g.ResponseWriter.WriteHeader(g.status)
	z := gzip.NewWriter(g.ResponseWriter)
	defer z.Close()
	_, _ = z.Write(g.body.Bytes())
}

// TestSurroundings: sockets, refusals and ordinary requests through whatever
// stands outside.
func TestSurroundings(t *testing.T) {
	var mu sync.Mutex
	table := map[string]string{}
	inner := []struct {
		name  string
		guard func(t testing.TB, g *wssecure.Guard) http.Handler
	}{{"ConnHandler", func(_ testing.TB, g *wssecure.Guard) http.Handler { return g.ConnHandler(wssecuretest.Echo) }}}
	for _, st := range stacks {
		inner = append(inner, struct {
			name  string
			guard func(t testing.TB, g *wssecure.Guard) http.Handler
		}{st.name, func(t testing.TB, g *wssecure.Guard) http.Handler { return g.Handler(st.behind(t, newApp())) }})
	}
	t.Run("K-19", func(t *testing.T) {
		for _, around := range surroundings {
			for _, in := range inner {
				t.Run(around.name+"/"+in.name, func(t *testing.T) {
					t.Parallel()
					t.Cleanup(func() {
						mu.Lock()
						defer mu.Unlock()
						table[around.name+in.name] = map[bool]string{false: "holds", true: "FAILS"}[t.Failed()]
					})
					r := startRig(t, func(g *wssecure.Guard) http.Handler { return around.wrap(in.guard(t, g)) })
					throughSurrounding(t, r)
				})
			}
		}
	})
	var text strings.Builder
	fmt.Fprintf(&text, "\n%-30s", "K-19")
	for _, in := range inner {
		fmt.Fprintf(&text, "%-14s", in.name)
	}
	for _, around := range surroundings {
		fmt.Fprintf(&text, "\n%-30s", around.name)
		for _, in := range inner {
			fmt.Fprintf(&text, "%-14s", table[around.name+in.name])
		}
	}
	t.Log(text.String())
}

func throughSurrounding(t *testing.T, r *rig) {
	answer, c := r.ask(t, r.Handshake(r.issuer.Token(user)).Add("Accept-Encoding: gzip").Bytes())
	wantHead101(t, answer)
	wantEcho(t, c, "hello")
	wantEcho(t, c, strings.Repeat("compressible ", 1000))
	r.WaitEvent(wssecure.EventOpened)
	if _, err := r.Guard.Revoke(t.Context(), wssecure.SessionID(r.Events()[len(r.Events())-1].SessionID), "test"); err != nil {
		t.Error(err)
	}
	wantClose(t, c, 3000, "revoked")
	r.wantClosedEvent(t, wssecure.ReasonRevoked, 3000, wssecure.ByGuard)

	answer, c = r.ask(t, r.handshake(user).Set("Origin", "https://evil.test").Add("Accept-Encoding: gzip").Bytes())
	if answer.Status != 403 {
		t.Errorf("a foreign origin: %s", answer.StatusLine)
	}
	if err := c.AwaitEOF(hang); err != nil {
		t.Errorf("behind a refusal: %v", err)
	}
	if e := r.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonOrigin {
		t.Errorf("event %s", e.Reason)
	}
	r.wantAllBack(t)
}

func wantHead101(t testing.TB, answer *probe.Response) {
	t.Helper()
	wantHead(t, answer, probe.Key, "", "max-age=31536000")
	if got := answer.Values("Content-Encoding"); len(got) > 0 {
		t.Errorf("Content-Encoding %q on the 101", got)
	}
}

// bare passes on what every writer has, and hides the rest.
type bare struct{ w http.ResponseWriter }

func (b bare) Header() http.Header         { return b.w.Header() }
func (b bare) WriteHeader(status int)      { b.w.WriteHeader(status) }
func (b bare) Write(p []byte) (int, error) { return b.w.Write(p) }

func TestWriterThatCannotBeHijacked(t *testing.T) {
	for _, row := range []struct {
		name     string
		wrap     func(http.Handler) http.Handler
		typeName string
	}{
		{"K-18 neither Hijack nor Unwrap", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(bare{w}, r) })
		}, "interop_test.bare"},
		{"K-18 TimeoutHandler", func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "late") }, "*http.timeoutWriter"},
		{"K-18 behind Unwrap", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { logged(h).ServeHTTP(bare{w}, r) })
		}, "interop_test.bare"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := newApp()
			lib := libraries[1].handler(a)
			r := startRig(t, func(g *wssecure.Guard) http.Handler {
				mux := http.NewServeMux()
				mux.Handle("/ws", row.wrap(g.Handler(lib)))
				mux.Handle("/conn", row.wrap(g.ConnHandler(wssecuretest.Echo)))
				mux.Handle("/page", row.wrap(g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("page")) }))))
				return mux
			})
			for _, target := range []string{"/ws", "/conn"} {
				h := r.handshake(user)
				h.Target = target
				answer, _ := r.ask(t, h.Bytes())
				if answer.Status != 500 {
					t.Fatalf("%s: %s", target, answer.StatusLine)
				}
				e := r.WaitEvent(wssecure.EventRefused)
				if e.Reason != wssecure.ReasonInternal || e.Err == nil || !strings.Contains(e.Err.Error(), row.typeName) {
					t.Errorf("%s: event %s, error %v; want internal and %s", target, e.Reason, e.Err, row.typeName)
				}
				if n := r.Guard.Stats().Open; n != 0 {
					t.Errorf("%d places are still taken", n)
				}
			}
			if len(a.saw) > 0 {
				t.Error("the handler was called")
			}
			answer, _ := r.ask(t, []byte("GET /page HTTP/1.1\r\nHost: ws.example.com\r\n\r\n"))
			if answer.Status != 200 || string(answer.Body) != "page" || answer.Get("X-Frame-Options") == "" {
				t.Errorf("an ordinary request: %s %q", answer.StatusLine, answer.Body)
			}
		})
	}
}

// TestOneHandlerManyPaths: the verdict does not depend on the way to the guard.
func TestOneHandlerManyPaths(t *testing.T) {
	for _, st := range stacks {
		t.Run("K-20 "+st.name, func(t *testing.T) {
			t.Parallel()
			next := st.behind(t, newApp())
			r := startRig(t, func(g *wssecure.Guard) http.Handler {
				guarded := g.Handler(next)
				sub := http.NewServeMux()
				sub.Handle("/{room}/ws", guarded)
				routes := chi.NewRouter()
				routes.Handle("/ws", guarded)
				mux := http.NewServeMux()
				mux.Handle("/ws", guarded)
				mux.Handle("/second", guarded)
				mux.Handle("/strip/", http.StripPrefix("/strip", guarded))
				mux.Handle("/sub/", http.StripPrefix("/sub", sub))
				mux.Handle("/chi/", http.StripPrefix("/chi", routes))
				return mux
			})
			for i, path := range []string{"/ws", "/second", "/strip/ws", "/sub/lobby/ws", "/chi/ws"} {
				h := r.handshake(fmt.Sprintf("user-%d", i))
				h.Target = path
				answer, c := r.ask(t, h.Bytes())
				if answer.Status != 101 {
					t.Errorf("%s: %s", path, answer.StatusLine)
					continue
				}
				wantEcho(t, c, path)
				if answer, _ := r.ask(t, h.Clone().Del("Authorization").Bytes()); answer.Status != 401 {
					t.Errorf("%s without a token: %s", path, answer.StatusLine)
				}
				if answer, _ := r.ask(t, h.Clone().Set("Origin", "https://evil.test").Bytes()); answer.Status != 403 {
					t.Errorf("%s from a foreign origin: %s", path, answer.StatusLine)
				}
			}
		})
	}
}

// TestGuardsSideBySide: two guards and a With() route, asked at the same time.
func TestGuardsSideBySide(t *testing.T) {
	const otherOrigin = "https://admin.example.com"
	issuer := wssecuretest.NewIssuer(t, "https://other.example.com")
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		other, err := wssecure.New(wssecure.AllowOrigins(otherOrigin), issuer.Option())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Shutdown(context.Background()) })
		route, err := g.With(wssecure.AllowOrigins(otherOrigin), wssecure.RequireScopes("admin"))
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("/first", g.ConnHandler(wssecuretest.Echo))
		mux.Handle("/second", other.Handler(libraries[1].handler(newApp())))
		mux.Handle("/route", route.Handler(libraries[2].handler(newApp())))
		return mux
	})
	rows := []struct {
		path, origin string
		token        func(i int) string
		status       int
	}{
		{"/first", wssecuretest.Origin, func(i int) string { return r.issuer.Token(fmt.Sprintf("first-%d", i)) }, 101},
		{"/first", otherOrigin, func(i int) string { return r.issuer.Token("x") }, 403},
		{"/first", wssecuretest.Origin, func(i int) string { return issuer.Token("x") }, 401},
		{"/second", otherOrigin, func(i int) string { return issuer.Token(fmt.Sprintf("second-%d", i)) }, 101},
		{"/second", wssecuretest.Origin, func(i int) string { return issuer.Token("x") }, 403},
		{"/second", otherOrigin, func(i int) string { return r.issuer.Token("x") }, 401},
		{"/route", otherOrigin, func(i int) string { return r.issuer.Token("x") }, 403}, // no scope
		{"/route", otherOrigin, func(i int) string {
			return r.issuer.Sign("ES256", r.issuer.Claims(fmt.Sprintf("route-%d", i), map[string]any{"scope": "admin"}))
		}, 101},
	}
	for _, row := range rows {
		t.Run(fmt.Sprintf("K-21 %s %s %d", row.path, row.origin, row.status), func(t *testing.T) {
			t.Parallel()
			for i := range 8 {
				h := r.Handshake(row.token(i)).Set("Origin", row.origin).Set("Sec-WebSocket-Key", freshKey())
				h.Target = row.path
				answer, c := r.ask(t, h.Bytes())
				if answer.Status != row.status {
					t.Errorf("%s, want %d", answer.StatusLine, row.status)
				}
				if answer.Status == 101 {
					wantEcho(t, c, row.path)
				}
				c.Close()
			}
		})
	}
}
