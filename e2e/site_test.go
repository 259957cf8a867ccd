package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// site is a server of several names: app.test with a guard, its sub-domain and evil.test with pages of their own.
type site struct {
	*wssecuretest.Server
	port    string
	issuer  *wssecuretest.Issuer
	origins *wssecure.OriginSet // of the routes that have a list: app.test with the port

	heard           map[wssecure.EventKind]chan wssecure.Event
	opened, refused uint64 // handshakes the tests have accounted for

	mu      sync.Mutex
	arrived []arrival
}

// arrival is a handshake as the browser sent it, before any guard has seen it.
type arrival struct {
	origins   []string
	cookies   []string // names
	fetch     bool     // any Sec-Fetch header
	plaintext bool
}

// startSite starts the site and lends the browser. When the test ends each handshake must be accounted for, and nothing
// may be left of any.
func startSite(t *testing.T) (*site, *browser) {
	t.Helper()
	b := borrow(t) // before anything is counted
	wantNothingLeft(t)
	s := &site{issuer: wssecuretest.NewIssuer(t, ""), heard: map[wssecure.EventKind]chan wssecure.Event{}}
	for _, kind := range []wssecure.EventKind{wssecure.EventRefused, wssecure.EventOpened, wssecure.EventClosed} {
		s.heard[kind] = make(chan wssecure.Event, 256)
	}
	var err error
	if s.origins, err = wssecure.NewOriginSet("https://app.test"); err != nil {
		t.Fatal(err)
	}
	s.Server = wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{
			// The commonest guard of all: a session cookie, pages of the same origin.
			wssecure.RequireToken(wssecure.VerifierFunc(verifySession), wssecure.FromCookie("__Host-sid")),
			wssecure.OnMessage(noMarkup),
			wssecure.LimitSession(wssecure.Limits{
				MessageSize: 4 << 10, Messages: wssecure.Rate{N: 5, Per: time.Second, Burst: 10}, CloseOnRate: true,
			}),
			wssecure.OnEvent(func(e wssecure.Event) {
				if heard := s.heard[e.Kind]; heard != nil {
					heard <- e
				}
			}),
			quiet,
		},
		Handler: func(g *wssecure.Guard) http.Handler { return s.handler(t, g) },
	})
	_, s.port, err = net.SplitHostPort(s.Addr)
	if err == nil {
		err = s.origins.Replace("https://app.test:" + s.port)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.wantAllAccounted(t) })
	t.Cleanup(b.reset)
	return s, b
}

// quiet keeps the guards' log lines out of the tests' output.
var quiet = wssecure.SetLogger(slog.New(slog.DiscardHandler))

// verifySession stands for a look-up in a session store.
func verifySession(_ context.Context, sid string) (*wssecure.Identity, error) {
	switch sid {
	case "alice-4711":
		return &wssecure.Identity{Issuer: "app", Subject: "alice"}, nil
	case "brief-0815":
		return &wssecure.Identity{Issuer: "app", Subject: "brief", Expiry: time.Now().Add(3 * time.Second)}, nil
	}
	return nil, wssecure.ReasonTokenInvalid
}

func noMarkup(_ context.Context, _ *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
	if strings.Contains(string(p), "<script") {
		return nil, errors.New("markup")
	}
	return p, nil
}

func (s *site) handler(t *testing.T, g *wssecure.Guard) http.Handler {
	with := func(opts ...wssecure.Option) *wssecure.Guard {
		child, err := g.With(opts...)
		if err != nil {
			t.Fatal(err)
		}
		return child
	}
	bearer := s.issuer.Option(wssecure.FromSubprotocol())
	guarded := http.NewServeMux()
	guarded.HandleFunc("/", blank)
	guarded.HandleFunc("/login", login)
	guarded.Handle("/cookie", g.ConnHandler(chatty))
	guarded.Handle("/listed", with(wssecure.AllowOriginSet(s.origins)).ConnHandler(chatty))
	guarded.Handle("/token", with(bearer, wssecure.AllowOriginSet(s.origins), wssecure.AllowSubprotocols("chat")).ConnHandler(chatty))
	guarded.Handle("/idle", with(wssecure.LimitSession(wssecure.Limits{Idle: time.Second})).ConnHandler(chatty))
	telling := wssecure.SetBrowserRefusals()
	guarded.Handle("/told", with(telling).ConnHandler(chatty))
	guarded.Handle("/told/token", with(telling, bearer, wssecure.AllowSubprotocols("chat")).ConnHandler(chatty))
	for _, reason := range []wssecure.Reason{wssecure.ReasonScope, wssecure.ReasonConnLimit, wssecure.ReasonUnavailable, wssecure.ReasonInternal} {
		refuses := wssecure.RequireCheck("says "+string(reason), func(context.Context, *wssecure.Handshake) error { return reason })
		guarded.Handle("/told/"+string(reason), with(telling, refuses).ConnHandler(chatty))
	}
	guarded.Handle("/brief", with(wssecure.LimitSession(wssecure.Limits{Lifetime: time.Second})).ConnHandler(chatty))

	mux := http.NewServeMux()
	for _, host := range []string{"app.test/", "plain.app.test/"} {
		mux.Handle(host, g.Pages(setsCookies(guarded)))
	}
	mux.HandleFunc("app.test/unprotected", blank) // a page that somebody forgot to put behind Pages
	mux.HandleFunc("app.test/bare", bare)
	mux.HandleFunc("/sandboxed", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "sandbox allow-scripts")
		blank(w, r)
	})
	mux.HandleFunc("/", blank)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		mux.ServeHTTP(w, r)
	})
}

func blank(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!doctype html><title>page</title>")
}

// login gives the browser one cookie of each kind that there is.
func login(w http.ResponseWriter, r *http.Request) {
	sid := wssecure.Cookie("sid", "alice-4711", time.Hour)
	switch r.URL.RawQuery {
	case "brief":
		sid.Value = "brief-0815"
	case "unknown":
		sid.Value = "guessed-1"
	case "none":
		sid.SameSite = http.SameSiteNoneMode // as many a site has it
	}
	http.SetCookie(w, sid)
	for _, c := range []http.Cookie{
		{Name: "lax", SameSite: http.SameSiteLaxMode},
		{Name: "none", SameSite: http.SameSiteNoneMode},
		{Name: "parted", SameSite: http.SameSiteNoneMode, Partitioned: true},
		{Name: "plain"},
		{Name: "strict", SameSite: http.SameSiteStrictMode},
	} {
		c.Value, c.Path, c.Secure = "1", "/", true
		http.SetCookie(w, &c)
	}
	blank(w, r)
}

// setsCookies is a middleware as sessions have it: where it is asked to it sets a cookie, before anybody has judged.
func setsCookies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("set-cookie") {
			http.SetCookie(w, &http.Cookie{Name: "by-middleware", Value: "1", Path: "/", Secure: true, SameSite: http.SameSiteNoneMode})
		}
		next.ServeHTTP(w, r)
	})
}

// bare is what the guard is there for: it admits everybody.
func bare(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	c.Close(4000, strings.Join(cookieNames(r), " "))
}

// chatty echoes, and ends the session as the page asks it to.
func chatty(ctx context.Context, c *wssecure.Conn) error {
	for {
		typ, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		switch string(p) {
		case "done":
			return nil
		case "fail":
			return errors.New("the database is on fire at 10.0.0.7")
		case "forbid":
			return wssecure.ReasonForbidden
		case "kick":
			return c.Close(4001, "kicked")
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return err
		}
	}
}

func cookieNames(r *http.Request) (names []string) {
	for _, c := range r.Cookies() {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

func (s *site) note(r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		return
	}
	a := arrival{origins: r.Header["Origin"], cookies: cookieNames(r), plaintext: r.TLS == nil}
	for name := range r.Header {
		a.fetch = a.fetch || strings.HasPrefix(name, "Sec-Fetch-")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived = append(s.arrived, a)
}

// last is the newest handshake that came.
func (s *site) last(t *testing.T) arrival {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.arrived) == 0 {
		t.Fatal("no handshake came")
	}
	return s.arrived[len(s.arrived)-1]
}

func (s *site) handshakes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrived)
}

func (s *site) https(host, path string) string { return "https://" + host + ":" + s.port + path }
func (s *site) wss(path string) string         { return "wss://app.test:" + s.port + path }

// pin is how Chromium names the key of every site: it is the same for all of this process.
func pin(t *testing.T) string {
	t.Helper()
	return pinOf(t, wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{wssecure.InsecureAllowAnonymous("shows its certificate"), quiet}}).Addr)
}

func pinOf(t *testing.T, addr string) string {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // to learn which key to pin
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
