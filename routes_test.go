package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

func must(g *wssecure.Guard, err error) *wssecure.Guard {
	if err != nil {
		panic(err)
	}
	return g
}

// One handler gives the same verdict wherever it is mounted, and guards of
// several routes each give their own, also at the same time.
func TestVerdictBelongsToTheGuardNotThePath(t *testing.T) {
	s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
		h := g.ConnHandler(wssecuretest.Echo)
		scoped := must(g.With(wssecure.RequireScopes("admin"))).ConnHandler(wssecuretest.Echo)
		open := must(g.With(wssecure.InsecureAllowAnonymous("test"))).ConnHandler(wssecuretest.Echo)
		elsewhere := must(g.With(wssecure.AllowOrigins("https://other.example"))).ConnHandler(wssecuretest.Echo)
		sub := http.NewServeMux()
		sub.Handle("/deep/ws", h)
		mux := http.NewServeMux()
		mux.Handle("/a", h)
		mux.Handle("/b/", h)
		mux.Handle("/strip/", http.StripPrefix("/strip", h))
		mux.Handle("/sub/", http.StripPrefix("/sub", sub))
		mux.Handle("/rooms/{id}", h)
		mux.Handle("/scoped", scoped)
		mux.Handle("/open", open)
		mux.Handle("/elsewhere", elsewhere)
		return mux
	})
	good, none := s.Issuer.Token("alice"), ""
	rows := []struct {
		target, token string
		status        int
	}{
		{"/a", good, 101}, {"/a", none, 401}, {"/b/x/y?q=1", good, 101}, {"/b/x/y?q=1", none, 401},
		{"/strip/ws", good, 101}, {"/strip/ws", none, 401}, {"/sub/deep/ws", good, 101}, {"/sub/deep/ws", none, 401},
		{"/rooms/7", good, 101}, {"/rooms/7", none, 401}, {"/a?access_token=x", none, 401},
		{"/scoped", good, 403}, {"/scoped", none, 401}, {"/open", none, 101}, {"/elsewhere", good, 403}, {"/elsewhere", none, 403},
	}
	var all sync.WaitGroup
	for round := range 3 {
		for i, row := range rows {
			all.Go(func() {
				hs := s.Handshake(row.token).Set("Sec-WebSocket-Key", nonce(round, i))
				hs.Target = row.target
				c := s.Raw()
				if err := c.Send(hs.Bytes()); err != nil {
					t.Errorf("K-20 K-21 %s: %v", row.target, err)
					return
				}
				if r, err := c.Response(); err != nil || r.Status != row.status {
					t.Errorf("K-20 K-21 %s: %+v, %v; want %d", row.target, r, err, row.status)
				}
			})
		}
	}
	all.Wait()
}

// A route that lists its origins means them, whatever the guard it comes from
// lets in elsewhere.
func TestListOfARouteEndsAnyOrigin(t *testing.T) {
	set, err := wssecure.NewOriginSet("https://admin.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		opts   []wssecure.Option
		status int
	}{
		"nothing of its own":     {nil, 101},
		"a list":                 {[]wssecure.Option{wssecure.AllowOrigins("https://admin.example")}, 403},
		"a set":                  {[]wssecure.Option{wssecure.AllowOriginSet(set)}, 403},
		"a list, and any origin": {[]wssecure.Option{wssecure.AllowOrigins("https://admin.example"), wssecure.InsecureAllowAnyOrigin("here too")}, 101},
		"any origin, and a list": {[]wssecure.Option{wssecure.InsecureAllowAnyOrigin("here too"), wssecure.AllowOrigins("https://admin.example")}, 101},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := wssecuretest.NewIssuer(t, "")
			s := wssecuretest.Start(t, wssecuretest.Config{
				Options: []wssecure.Option{issuer.Option(), wssecure.InsecureAllowAnyOrigin("a public feed")},
				Handler: func(g *wssecure.Guard) http.Handler { return must(g.With(row.opts...)).ConnHandler(wssecuretest.Echo) },
			})
			s.Issuer = issuer
			if r, _ := ask(t, s, page(s, "https://evil.example")); r.Status != row.status {
				t.Errorf("status %d, want %d: %s", r.Status, row.status, r.Body)
			}
		})
	}
}

// What is opened again after it was closed is told again.
func TestHoleOpenedAgainIsTold(t *testing.T) {
	lines := make(told, 100)
	open := must(wssecure.New(wssecure.RequireToken(verifier()), wssecure.SetLogger(slog.New(lines)), wssecure.InsecureAllowAnyOrigin("public"), wssecure.InsecureAllowMissingOrigin("public")))
	closed := must(open.With(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireOrigin()))
	must(closed.With(wssecure.InsecureAllowAnyOrigin("public")))
	close(lines)
	var insecure []string
	for line := lines.await(wssecure.EventInsecure); line != ""; line = lines.await(wssecure.EventInsecure) {
		insecure = append(insecure, line)
	}
	if n := strings.Count(strings.Join(insecure, "\n"), "check=InsecureAllowAnyOrigin"); n != 2 || len(insecure) != 3 {
		t.Errorf("%d lines of InsecureAllowAnyOrigin, want 2 beside one of InsecureAllowMissingOrigin: %q", n, insecure)
	}
}

// Whoever has opened the door to clients that are no pages can close it for one
// route, and no route opens what the guard it comes from has closed.
func TestRouteMayRequireOrigin(t *testing.T) {
	lax := must(wssecure.New(anybody(wssecure.InsecureAllowMissingOrigin("devices"), wssecure.AllowOrigins(wssecuretest.Origin))...))
	strict, err := lax.With(wssecure.RequireOrigin())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://ws.example.com/ws", nil)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": nonce(1)} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	strict.ConnHandler(wssecuretest.Echo).ServeHTTP(w, r)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "#origin-missing") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if _, err := strict.With(wssecure.InsecureAllowMissingOrigin("devices")); err == nil || !strings.Contains(err.Error(), "RequireOrigin") {
		t.Errorf("a route below RequireOrigin: %v", err)
	}
}

// nonce is a key of its own.
func nonce(numbers ...int) string {
	text := fmt.Sprintf("%016d", 0)
	for _, n := range numbers {
		text += fmt.Sprintf(".%d", n)
	}
	return encodeNonce([]byte(text[len(text)-16:]))
}

func TestGuardsDoNotNest(t *testing.T) {
	inner := map[string]func(*testing.T, *wssecure.Guard) *wssecure.Guard{
		"With of the same": func(_ *testing.T, g *wssecure.Guard) *wssecure.Guard { return must(g.With()) },
		"the same":         func(_ *testing.T, g *wssecure.Guard) *wssecure.Guard { return g },
		"another": func(t *testing.T, g *wssecure.Guard) *wssecure.Guard {
			return must(wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test")))
		},
	}
	for name, make := range inner {
		for _, fresh := range []bool{false, true} {
			t.Run(fmt.Sprintf("K-22 %s, request of its own %v", name, fresh), func(t *testing.T) {
				var second *wssecure.Guard
				s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
					second = make(t, g)
					next := second.ConnHandler(wssecuretest.Echo)
					return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if fresh { // middleware that loses the context
							r = r.WithContext(context.Background())
						}
						next.ServeHTTP(w, r)
					}))
				})
				r, _ := ask(t, s, s.Handshake(s.Issuer.Token("alice")))
				if r.Status != 500 {
					t.Errorf("%s, want 500", r.StatusLine)
				}
				wantNoSession(t, s)
				if open := second.Stats().Open; open != 0 {
					t.Errorf("the inner guard keeps %d places", open)
				}
				if name == "another" {
					return // its events go elsewhere
				}
				e := s.WaitEvent(wssecure.EventRefused)
				if e.Reason != wssecure.ReasonInternal || e.Err == nil || !strings.Contains(e.Err.Error(), "nested") {
					t.Errorf("event %s, %v", e.Reason, e.Err)
				}
			})
		}
	}
}

func TestPagesAroundAGuard(t *testing.T) {
	s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/ws", g.ConnHandler(wssecuretest.Echo))
		mux.Handle("/own", g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switchByHijack(w, r, "101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: "+probe.Accept(probe.Key))
		})))
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })
		return g.Pages(mux)
	})
	for _, target := range []string{"/ws", "/own"} {
		hs := s.Handshake(s.Issuer.Token("of " + target))
		hs.Target = target
		r, _ := wantAdmitted(t, s, hs)
		wantSwitched(t, r, hs)
		refused := s.Handshake("")
		refused.Target = target
		r, _ = wantRefused(t, s, refused, 401, wssecure.ReasonTokenMissing)
		wantStatusHeaders(t, r, wssecure.ReasonTokenMissing)
	}
	for _, target := range []string{"/", "/own"} {
		r, _ := ask(t, s, ordinary("GET", target))
		for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "Cross-Origin-Opener-Policy", "Strict-Transport-Security"} {
			if len(r.Values(name)) != 1 {
				t.Errorf("D-28 %s: %s: %q, want it once", target, name, r.Values(name))
			}
		}
	}
}

func TestFiltersNeedConnHandler(t *testing.T) {
	pass := func(_ context.Context, _ *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
		return p, nil
	}
	for name, option := range map[string]wssecure.Option{"K-24 OnMessage": wssecure.OnMessage(pass), "K-24 OnSend": wssecure.OnSend(pass)} {
		t.Run(name, func(t *testing.T) {
			s := startHandler(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") }, option)
			_, e := wantRefused(t, s, s.Handshake(s.Issuer.Token("alice")), 500, wssecure.ReasonInternal)
			if e.Err == nil || !strings.Contains(e.Err.Error(), "ConnHandler") {
				t.Errorf("event's error %v", e.Err)
			}
			wantNoSession(t, s)
			if r, _ := ask(t, s, ordinary("GET", "/")); string(r.Body) != "page" {
				t.Errorf("ordinary request: %q", r.Body)
			}
		})
	}
	t.Run("K-24 AllowMessageTypes", func(t *testing.T) {
		s := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
			if err != nil {
				t.Error(err)
				return
			}
			c.Read(context.Background())
			c.CloseNow()
		}, wssecure.AllowMessageTypes(wssecure.MessageText))
		_, c := wantAdmitted(t, s, s.Handshake(s.Issuer.Token("alice")))
		if err := c.SendFrame(probe.Message(probe.Binary, []byte("x"))); err != nil {
			t.Fatal(err)
		}
		if code, _, err := c.AwaitClose(); err != nil || code != 1003 {
			t.Errorf("closed with %d, %v; want 1003", code, err)
		}
	})
}

type outerKey struct{}

// A session keeps nothing that a router may use for its next request.
func TestSessionContextHoldsGuardsValuesOnly(t *testing.T) {
	type seen struct {
		outer   any
		session bool
		info    wssecure.RequestInfo
	}
	found := make(chan seen, 1)
	s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/rooms/{id}", g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			_, ok := wssecure.SessionFrom(ctx)
			found <- seen{ctx.Value(outerKey{}), ok, c.Session().Request()}
			return nil
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), outerKey{}, "router's")))
		})
	})
	hs := s.Handshake(s.Issuer.Token("alice"))
	hs.Target = "/rooms/7?x=1"
	wantAdmitted(t, s, hs)
	got := <-found
	if got.outer != nil || !got.session {
		t.Errorf("K-26: outer value %v, session %v", got.outer, got.session)
	}
	if i := got.info; i.Method != "GET" || i.Host != wssecuretest.Host || i.URL.String() != "/rooms/7?x=1" || i.PathValue("id") != "7" {
		t.Errorf("K-26: %+v", i)
	}
}

// Many sessions, with requests of other rooms between, on a router that uses its
// contexts and requests again as soon as a handler has returned.
func TestSessionsKeepTheirOwnRoom(t *testing.T) {
	const rooms = 300
	leave := make(chan struct{})
	inside := make(chan error, rooms)
	var pool sync.Pool
	s := wssecuretest.Start(t, wssecuretest.Config{
		Plaintext: true,
		Options: []wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowPlaintext("test"),
			wssecure.RequireToken(wssecure.VerifierFunc(func(_ context.Context, token string) (*wssecure.Identity, error) {
				return &wssecure.Identity{Subject: token}, nil
			})),
		},
		Handler: func(g *wssecure.Guard) http.Handler {
			socket := g.ConnHandler(func(_ context.Context, c *wssecure.Conn) error {
				<-leave
				i := c.Session().Request()
				if id := c.Identity().Subject; i.PathValue("id") != id || i.URL.Path != "/rooms/"+id {
					inside <- fmt.Errorf("session of %s shows %s and %q", id, i.URL.Path, i.PathValue("id"))
				} else {
					inside <- nil
				}
				return nil
			})
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kept, _ := pool.Get().(*http.Request)
				if kept == nil {
					kept = new(http.Request)
				}
				*kept = *r
				kept.Pattern = "/rooms/{id}"
				kept.SetPathValue("id", strings.TrimPrefix(r.URL.Path, "/rooms/"))
				socket.ServeHTTP(w, kept)
				kept.SetPathValue("id", "recycled")
				kept.URL.Path = "/recycled"
				pool.Put(kept)
			})
		},
	})
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for room := range rooms {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c := s.Raw()
			hs := s.Handshake(fmt.Sprintf("r%d", room))
			hs.Target = fmt.Sprintf("/rooms/r%d", room)
			if room%4 == 0 {
				ask := s.Raw()
				if err := ask.Send(ordinary("GET", "/rooms/other").Bytes()); err == nil {
					_, _ = ask.Response()
				}
			}
			if err := c.Send(hs.Bytes()); err != nil {
				t.Error(err)
			} else if r, err := c.Response(); err != nil || r.Status != 101 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	all.Wait()
	close(leave)
	if t.Failed() {
		return
	}
	for range rooms {
		if err := <-inside; err != nil {
			t.Errorf("K-27: %v", err)
		}
	}
}

func TestSetContext(t *testing.T) {
	type key struct{}
	t.Run("K-28 a value", func(t *testing.T) {
		found := make(chan any, 1)
		s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
			return g.ConnHandler(func(ctx context.Context, _ *wssecure.Conn) error { found <- ctx.Value(key{}); return nil })
		}, wssecure.SetContext(func(ctx context.Context, h *wssecure.Handshake) context.Context {
			return context.WithValue(ctx, key{}, h.Identity.Subject+" at "+h.Host)
		}))
		wantAdmitted(t, s, s.Handshake(s.Issuer.Token("alice")))
		if got := <-found; got != "alice at "+wssecuretest.Host {
			t.Errorf("value %v", got)
		}
	})
	for name, fn := range map[string]func(context.Context, *wssecure.Handshake) context.Context{
		"K-28 nil":    func(context.Context, *wssecure.Handshake) context.Context { return nil },
		"K-28 panics": func(context.Context, *wssecure.Handshake) context.Context { panic("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			for kind, route := range map[string]func(*wssecure.Guard) http.Handler{
				"Handler":     func(g *wssecure.Guard) http.Handler { return g.Handler(http.HandlerFunc(tellReached)) },
				"ConnHandler": func(g *wssecure.Guard) http.Handler { return g.ConnHandler(wssecuretest.Echo) },
			} {
				s := startRoutes(t, route, wssecure.SetContext(fn))
				_, e := wantRefused(t, s, s.Handshake(s.Issuer.Token("alice")), 500, wssecure.ReasonInternal)
				if e.Err == nil || !strings.Contains(e.Err.Error(), "SetContext") {
					t.Errorf("%s: event's error %v", kind, e.Err)
				}
				wantNoSession(t, s)
			}
		})
	}
	t.Run("K-28 before ServeHTTP returns", func(t *testing.T) {
		begun, finish, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
		s := startRoutes(t, func(g *wssecure.Guard) http.Handler {
			h := g.ConnHandler(wssecuretest.Echo)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r); close(returned) })
		}, wssecure.SetContext(func(ctx context.Context, _ *wssecure.Handshake) context.Context {
			close(begun)
			<-finish
			return ctx
		}))
		c := s.Raw()
		if err := c.Send(s.Handshake(s.Issuer.Token("alice")).Bytes()); err != nil {
			t.Fatal(err)
		}
		<-begun
		select {
		case <-returned:
			t.Error("ServeHTTP has returned already")
		default:
		}
		close(finish)
		if r, err := c.Response(); err != nil || r.Status != 101 {
			t.Errorf("%+v, %v", r, err)
		}
		<-returned
	})
}

// A check's verdict that carries both a cause and a reason is told to the
// operator in full.
func TestCheckVerdicts(t *testing.T) {
	own := errors.New("tenant is asleep")
	for name, row := range map[string]struct {
		err    error
		panics bool
		status int
		reason wssecure.Reason
	}{
		"Reason":           {err: wssecure.ReasonForbidden, status: 403, reason: wssecure.ReasonForbidden},
		"own Reason":       {err: wssecure.Reason("tenant-asleep"), status: 403, reason: "tenant-asleep"},
		"wrapped Reason":   {err: fmt.Errorf("%w: %w", own, wssecure.ReasonScope), status: 403, reason: wssecure.ReasonScope},
		"Rejection":        {err: &wssecure.Rejection{Reason: wssecure.ReasonRate, Err: own}, status: 429, reason: wssecure.ReasonRate},
		"another error":    {err: own, status: 503, reason: wssecure.ReasonUnavailable},
		"a session's":      {err: wssecure.ReasonLifetime, status: 500, reason: wssecure.ReasonInternal},
		"empty Reason":     {err: wssecure.Reason(""), status: 503, reason: wssecure.ReasonUnavailable},
		"empty Rejection":  {err: &wssecure.Rejection{Err: own}, status: 503, reason: wssecure.ReasonUnavailable},
		"nil in interface": {err: (*wssecure.Rejection)(nil), status: 503, reason: wssecure.ReasonUnavailable},
		"panic":            {panics: true, status: 500, reason: wssecure.ReasonInternal},
	} {
		t.Run("section 0 "+name, func(t *testing.T) {
			s := wssecuretest.NewServer(t, wssecure.RequireCheck("tenant", func(context.Context, *wssecure.Handshake) error {
				if row.panics {
					panic("broken")
				}
				return row.err
			}))
			_, e := wantRefused(t, s, s.Handshake(s.Issuer.Token("alice")), row.status, row.reason)
			if e.Check != "tenant" {
				t.Errorf("event's check %q, want tenant", e.Check)
			}
			wantNoSession(t, s)
		})
	}
}
