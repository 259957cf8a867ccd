package wssecure_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestPlaintextAdvice is what whoever sets a server up reads after a first
// handshake without TLS: each line names what was left out.
func TestPlaintextAdvice(t *testing.T) {
	const proto, missing, notLocal = "proxy-without-proto: ", "localhost: ", "not-localhost: "
	behind := wssecure.TrustProxies("X-Forwarded-For", "private")
	for _, tc := range []struct {
		name  string
		peer  string
		more  []wssecure.Option
		lines []string
		want  string // what the event's hint begins with; empty for none
	}{
		{"a trusted proxy without X-Forwarded-Proto", private, opts(behind), []string{"X-Forwarded-For: 192.0.2.1"}, proto},
		{"a trusted proxy without any header", private, opts(behind), nil, proto},
		{"a trusted proxy whose client has no TLS", private, opts(behind), []string{"X-Forwarded-Proto: http"}, ""},
		{"a trusted proxy that writes Forwarded", private, opts(wssecure.TrustProxies("Forwarded", "private")), []string{"Forwarded: for=192.0.2.1;proto=http"}, ""},
		{"loopback", "127.0.0.1:4711", nil, nil, missing},
		{"loopback that forwards", "127.0.0.1:4711", nil, []string{"X-Real-IP: 192.0.2.1"}, ""},
		{"AllowLocalhost, and a page of another origin", "127.0.0.1:4711", opts(wssecure.AllowLocalhost()), nil, notLocal},
		{"AllowLocalhost, from elsewhere", private, opts(wssecure.AllowLocalhost()), nil, ""},
		{"a private peer", private, nil, nil, ""},
		{"a stranger", public, nil, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startSeated(t, seat{peer: tc.peer}, append(opts(wssecure.AllowOrigins(wssecuretest.Origin)), tc.more...)...)
			hs := page(s, wssecuretest.Origin)
			for _, l := range tc.lines {
				hs.Add(l)
			}
			_, e := wantRefused(t, s, hs, 403, wssecure.ReasonTransport)
			if tc.want == "" && e.Hint != "" || !strings.HasPrefix(e.Hint, tc.want) {
				t.Errorf("the hint is %q, want %q", e.Hint, tc.want)
			}
		})
	}
}

// TestUpgradeRemoved is a proxy in front that nobody told to pass Upgrade on:
// its refusals are logged at Debug, so that a hint has to say it, once.
func TestUpgradeRemoved(t *testing.T) {
	for _, tc := range []struct {
		name string
		peer string
		more []wssecure.Option
		line string // removed from the handshake
		hint string
	}{
		{"a private peer", private, nil, "Upgrade", "upgrade-removed"},
		{"a trusted public peer", public, opts(wssecure.TrustProxies("X-Real-IP", "203.0.113.9")), "Upgrade", "upgrade-removed"},
		{"a stranger", public, nil, "Upgrade", ""},
		{"Upgrade is there", private, nil, "Connection", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			book := &logbook.Book{}
			s := startSeated(t, seat{peer: tc.peer}, append(opts(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.SetLogger(book.Logger())), tc.more...)...)
			for range 3 {
				_, e := wantRefused(t, s, page(s, wssecuretest.Origin).Del(tc.line), 426, wssecure.ReasonUpgradeRequired)
				if e.Hint != tc.hint {
					t.Errorf("the event's hint is %q, want %q", e.Hint, tc.hint)
				}
			}
			lines, want := book.Hints(), 0
			if tc.hint != "" {
				want = 1
			}
			if len(lines) != want || want == 1 && !strings.Contains(lines[0], "let it pass Upgrade and Connection on over HTTP/1.1") {
				t.Errorf("logged %q, want %d line", lines, want)
			}
		})
	}
}

// TestHostAdvice: a refused Host is told beside those that are served.
func TestHostAdvice(t *testing.T) {
	const names = "a host of AllowHosts or SetPublicURL: "
	for _, tc := range []struct {
		name string
		more []wssecure.Option
		want string
	}{
		{"AllowHosts", opts(wssecure.AllowHosts("a.example.com", "*.b.example.com:8443")), names + "a.example.com *.b.example.com:8443"},
		{"SetPublicURL", opts(wssecure.SetPublicURL("https://a.example.com:8443")), names + "a.example.com:8443"},
		{"both", opts(wssecure.SetPublicURL("https://a.example.com"), wssecure.AllowHosts("b.example.com")), names + "b.example.com a.example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newIssued(t, append(opts(wssecure.AllowOrigins(wssecuretest.Origin)), tc.more...)...)
			if _, e := wantRefused(t, s, page(s, wssecuretest.Origin), 421, wssecure.ReasonHost); e.Wanted != tc.want || e.Seen != wssecuretest.Host {
				t.Errorf("seen %q, wanted %q, want %q", e.Seen, e.Wanted, tc.want)
			}
		})
	}
}

// TestDecidedUnavailable: who says so itself needs no advice.
func TestDecidedUnavailable(t *testing.T) {
	s := newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireCheck("tenant", func(context.Context, *wssecure.Handshake) error {
		return &wssecure.Rejection{Reason: wssecure.ReasonUnavailable, Err: errors.New("away")}
	}))
	if _, e := wantRefused(t, s, page(s, wssecuretest.Origin), 503, wssecure.ReasonUnavailable); e.Hint != "" {
		t.Errorf("the hint is %q", e.Hint)
	}
}

// TestForeignContext: whoever reads with the context of the request, which has
// ended, is told which one to take; the end of the session is no mistake.
func TestForeignContext(t *testing.T) {
	const advice = "use the one that user code is given"
	start := func(t *testing.T, serve func(ctx context.Context, asked *http.Request, c *wssecure.Conn) error) wssecure.Event {
		issuer := wssecuretest.NewIssuer(t, "")
		s := wssecuretest.Start(t, wssecuretest.Config{
			Options: opts(wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()),
			Handler: func(g *wssecure.Guard) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error { return serve(ctx, r, c) }).ServeHTTP(w, r)
				})
			},
		})
		_, c := wantAdmitted(t, s, s.Handshake(issuer.Token("alice")))
		defer c.Close()
		return s.WaitEvent(wssecure.EventClosed)
	}
	t.Run("the request's", func(t *testing.T) {
		e := start(t, func(_ context.Context, r *http.Request, c *wssecure.Conn) error {
			<-r.Context().Done()
			_, _, err := c.Read(r.Context())
			return err
		})
		if e.Reason != wssecure.ReasonInternal || !errors.Is(e.Err, context.Canceled) || !strings.HasSuffix(e.Err.Error(), advice) {
			t.Errorf("%s: %v", e.Reason, e.Err)
		}
	})
	t.Run("the session's", func(t *testing.T) {
		e := start(t, func(ctx context.Context, _ *http.Request, c *wssecure.Conn) error {
			c.Session().Close(4000, "")
			return ctx.Err()
		})
		if e.Reason != wssecure.ReasonDone || e.Err != nil {
			t.Errorf("%s: %v", e.Reason, e.Err)
		}
	})
}

// TestNilHandlers fails where the mistake is made, not at the first request.
func TestNilHandlers(t *testing.T) {
	g, err := wssecure.New(anybody()...)
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(){
		"wssecure: Handler: next is nil; pass the handler to guard":                       func() { g.Handler(nil) },
		"wssecure: ConnHandler: serve is nil; pass the function that serves a connection": func() { g.ConnHandler(nil) },
	} {
		func() {
			defer func() {
				if p := recover(); p != name {
					t.Errorf("panicked with %v, want %s", p, name)
				}
			}()
			make()
		}()
	}
}
