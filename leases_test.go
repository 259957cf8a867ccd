package wssecure_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// L-08: who holds how many sessions.
func TestConnectionCaps(t *testing.T) {
	t.Run("L-08 257 without identity from one address", func(t *testing.T) {
		g := newGate(t, stay)
		for range 256 {
			wantAnswer(t, g.knock(attacker), 101, "")
		}
		wantAnswer(t, g.knock(attacker), 429, wssecure.ReasonConnLimit)
		wantAnswer(t, g.knock("203.0.113.10"), 101, "")
		g.hangUp()
		g.settled(0)
		wantAnswer(t, g.knock(attacker), 101, "")
	})
	t.Run("L-08 65 of one subject", func(t *testing.T) {
		g := newTokenGate(t, stay)
		for i := range 64 {
			wantAnswer(t, g.knock(fmt.Sprintf("203.0.113.%d", i), bearer(g.issuer.Token("alice"))), 101, "")
		}
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 429, wssecure.ReasonConnLimit)
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("bob"))), 101, "")
	})
	t.Run("L-08 one more than the total", func(t *testing.T) {
		g := newTokenGate(t, stay, wssecure.LimitConns(wssecure.ByTotal(), 3))
		for i := range 3 {
			wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token(fmt.Sprint(i)))), 101, "")
		}
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 503, wssecure.ReasonCapacity)
	})
	t.Run("L-08 1,000 with identity from one address", func(t *testing.T) {
		g := newTokenGate(t, stay)
		for i := range 1000 {
			wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token(fmt.Sprint(i)))), 101, "")
		}
		if n := g.guard.Stats().Open; n != 1000 {
			t.Errorf("%d open, want 1000", n)
		}
	})
	t.Run("L-08 a /48 has 16 times the places of a /64", func(t *testing.T) {
		for name, opts := range map[string][]wssecure.Option{
			"without identity": {wssecure.InsecureAllowAnonymous("test"), wssecure.LimitConns(wssecure.ByIP(), 4)},
			"late":             {wssecuretest.NewIssuer(t, "").Option(), wssecure.AllowLateToken(time.Minute)},
		} {
			g := &gate{t: t}
			g.start(stay, append(opts, fastHandshakes))
			most := 4
			if name == "late" {
				most = 64
			}
			for i := range 16 * most {
				wantAnswer(t, g.knock(fmt.Sprintf("2001:db8:7:%x::1", i%40)), 101, "")
			}
			wantAnswer(t, g.knock("2001:db8:7:ffff::1"), 429, wssecure.ReasonConnLimit)
			words := map[string]string{"without identity": "64 open sessions of one IPv6 /48", "late": "1024 open sessions of one IPv6 /48 without a token yet"}
			g.await(wssecure.EventRefused, 1)
			if e := g.seen(wssecure.EventRefused); e[0].Seen != words[name] {
				t.Errorf("seen %q, want %q", e[0].Seen, words[name])
			}
			wantAnswer(t, g.knock("2001:db8:8::1"), 101, "")
			wantAnswer(t, g.knock("203.0.113.10"), 101, "")
			g.hangUp()
			g.settled(0)
			wantAnswer(t, g.knock("2001:db8:7:ffff::1"), 101, "")
		}
	})
	t.Run("LimitSession's Conns is the subject's cap", func(t *testing.T) {
		g := newTokenGate(t, stay, wssecure.LimitSession(wssecure.Limits{Conns: 1}))
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 101, "")
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 429, wssecure.ReasonConnLimit)
	})
	t.Run("L-26 a cap holds at every moment", func(t *testing.T) {
		g := newGate(t, stay, wssecure.LimitConns(wssecure.ByIP(), 10))
		if n := admittedOf(g, 100, attacker); n != 10 {
			t.Errorf("%d of 100 admitted, want 10", n)
		}
		g = newGate(t, stay, wssecure.LimitConns(wssecure.ByTotal(), 10))
		if n := admittedOf(g, 100, attacker); n != 10 {
			t.Errorf("%d of 100 admitted by the total, want 10", n)
		}
	})
}

// unlucky is a writer whose connection is lost in one way or another.
type unlucky struct {
	*gateWriter
	hijack func() (net.Conn, *bufio.ReadWriter, error)
}

func (w unlucky) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

func losing(w *gateWriter) http.ResponseWriter {
	return unlucky{w, func() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errLost }}
}

// resetting is a connection that is gone when the 101 is written.
func resetting(w *gateWriter) http.ResponseWriter {
	c := &resetConn{memnet.NewSilentConn()}
	c.Close()
	return unlucky{w, func() (net.Conn, *bufio.ReadWriter, error) {
		return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
	}}
}

type resetConn struct{ *memnet.SilentConn }

func (resetConn) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// plain is a writer that cannot be hijacked at all.
type plain struct{ http.ResponseWriter }

// panicking is a slog handler with a bug.
type panicking struct{ slog.Handler }

func (panicking) Enabled(_ context.Context, l slog.Level) bool {
	if l == slog.LevelDebug {
		panic("logger")
	}
	return true
}

func (panicking) Handle(context.Context, slog.Record) error { panic("logger") }

// leaving is one way out of a handshake or session, and how it ends.
type leaving struct {
	name    string
	serve   func(context.Context, *wssecure.Conn) error
	next    http.HandlerFunc // of Guard.Handler, in place of serve
	options []wssecure.Option
	writer  func(*gateWriter) http.ResponseWriter
	feed    []byte // what the peer sends
	path    string
	reason  wssecure.Reason
	opened  bool
}

var errLost = errors.New("lost")

var leavings = []leaving{
	{name: "user code returns", serve: quiet, reason: wssecure.ReasonDone, opened: true},
	{name: "user code fails", serve: func(context.Context, *wssecure.Conn) error { return errLost }, reason: wssecure.ReasonInternal, opened: true},
	{name: "I5 panic in user code", serve: func(context.Context, *wssecure.Conn) error { panic("user code") }, reason: wssecure.ReasonInternal, opened: true},
	{name: "I5 panic in a filter", serve: stay, feed: memnet.Frames(5, 1), reason: wssecure.ReasonInternal, opened: true,
		options: []wssecure.Option{wssecure.OnMessage(func(context.Context, *wssecure.Conn, wssecure.MessageType, []byte) ([]byte, error) {
			panic("filter")
		})}},
	{name: "I5 panic in a check", path: "/panic", reason: wssecure.ReasonInternal},
	{name: "I5 panic in a hook", serve: quiet, reason: wssecure.ReasonDone, opened: true,
		options: []wssecure.Option{wssecure.OnEvent(func(wssecure.Event) { panic("hook") })}},
	{name: "I5 panic in a logger", serve: quiet, reason: wssecure.ReasonDone, opened: true,
		options: []wssecure.Option{wssecure.SetLogger(slog.New(panicking{}))}},
	{name: "I5 panic in SetContext", path: "/context", reason: wssecure.ReasonInternal,
		options: []wssecure.Option{wssecure.SetContext(func(ctx context.Context, h *wssecure.Handshake) context.Context {
			if h.Request.URL.Path == "/context" {
				panic("context")
			}
			return ctx
		})}},
	{name: "refused by a check", path: "/refused", reason: wssecure.ReasonForbidden},
	{name: "refused late, by the last cap", path: "/full", reason: wssecure.ReasonConnLimit},
	{name: "Hijack fails", writer: losing, reason: wssecure.ReasonInternal},
	{name: "no Hijack", writer: func(w *gateWriter) http.ResponseWriter { return plain{w} }, reason: wssecure.ReasonInternal},
	{name: "reset during the 101", writer: resetting, reason: wssecure.ReasonPeer},
	{name: "peer goes", serve: stay, feed: []byte{0x88, 0x80, 1, 2, 3, 4}, reason: wssecure.ReasonPeer, opened: true},
	{name: "broken frame", serve: stay, feed: []byte{0xff, 0x80, 1, 2, 3, 4}, reason: wssecure.ReasonProtocol, opened: true},
	{name: "the library refuses", next: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, reason: wssecure.ReasonForbidden},
	{name: "the library does nothing", next: func(http.ResponseWriter, *http.Request) {}, reason: wssecure.ReasonDone},
	{name: "the library writes 101 and stays", next: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(101) }, reason: wssecure.ReasonInternal},
	{name: "the library hijacks and closes", reason: wssecure.ReasonDone, next: func(w http.ResponseWriter, _ *http.Request) {
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			c.Close()
		}
	}},
	{name: "I5 the library panics", reason: wssecure.ReasonInternal, next: func(http.ResponseWriter, *http.Request) { panic("library") }},
	{name: "I5 the library hijacks and panics", reason: wssecure.ReasonInternal, next: func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := w.(http.Hijacker).Hijack(); err == nil {
			panic("library")
		}
	}},
}

// TestNothingIsLeft is L-09, R6 and U-01: however it ends, a thousand times, the
// places, leases, sessions and goroutines are back to before, each had its one
// refused event or one opened and one closed, and a subject with a cap of one is
// served as if nothing had been.
func TestNothingIsLeft(t *testing.T) {
	for _, row := range leavings {
		t.Run("L-09 U-01 "+row.name, func(t *testing.T) {
			const times = 1000
			if row.serve == nil {
				row.serve = quiet
			}
			g := newTokenGate(t, row.serve, append(row.options[:len(row.options):len(row.options)], fastHandshakes,
				wssecure.LimitConns(wssecure.BySubject(), 1),
				wssecure.LimitConns(wssecure.ByFunc("full", isFull), 1),
				wssecure.RequireCheck("path", checkPath),
				wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(2*times), time.Minute))...)
			handler := g.serve
			if row.next != nil {
				handler = g.guard.Handler(row.next)
			}
			holder := g.guard.ConnHandler(stay)
			wantAnswer(t, g.knockOn(holder, attacker, path("/full"), bearer(g.issuer.Token("holder"))), 101, "")
			token := bearer(g.issuer.Token("alice"))
			row.leave(g, handler, token) // warms up pools
			goroutines := runtime.NumGoroutine()
			for range times {
				row.leave(g, handler, token)
			}
			wantNothingLeft(t, g, row, times+1)
			if n := goroutinesAtMost(goroutines); n > goroutines {
				t.Errorf("%d goroutines, %d before", n, goroutines)
			}
			stays := g.guard.ConnHandler(stay)
			wantAnswer(t, g.knockOn(stays, attacker, token), 101, "")
			wantAnswer(t, g.knockOn(stays, attacker, token), 429, wssecure.ReasonConnLimit)
		})
	}
}

// L-09: what comes while the guard drains leaves nothing either.
func TestNothingIsLeftOfADrain(t *testing.T) {
	g := newTokenGate(t, stay, fastHandshakes)
	for i := range 100 {
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token(fmt.Sprint(i)))), 101, "")
	}
	draining := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		close(draining)
		ended <- g.guard.Shutdown(ctx)
	}()
	<-draining
	refused := 1000 - admittedOf(g, 1000, attacker, bearer(g.issuer.Token("alice")))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for range 100 {
		wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 503, wssecure.ReasonDraining)
	}
	g.settled(0)
	for s := range g.guard.Sessions() {
		t.Errorf("session %s is left", s.ID)
	}
	stats := g.guard.Stats()
	var closed, turned uint64
	for _, n := range stats.Closed {
		closed += n
	}
	for _, n := range stats.Refused {
		turned += n
	}
	if closed != stats.Admitted || stats.Admitted+turned != 1200 || turned < uint64(refused) {
		t.Errorf("of 1200 handshakes %d admitted, %d closed, %d refused", stats.Admitted, closed, turned)
	}
}

func isFull(h *wssecure.Handshake) string {
	if h.Request.URL.Path == "/full" {
		return "yes"
	}
	return ""
}

func checkPath(_ context.Context, h *wssecure.Handshake) error {
	switch h.Request.URL.Path {
	case "/panic":
		panic("check")
	case "/refused":
		return wssecure.ReasonForbidden
	}
	return nil
}

// leave goes in and out once. What the handler panics with is net/http's.
func (row leaving) leave(g *gate, handler http.Handler, changes ...func(*http.Request)) {
	defer func() { _ = recover() }()
	defer g.settled(1)
	if !row.opened { // nothing remembers the key of a handshake that was refused
		changes = append(changes, func(r *http.Request) { r.Header["Sec-Websocket-Key"] = []string{"dGhlIHNhbXBsZSBub25jZQ=="} })
	}
	if row.path != "" {
		changes = append(changes, path(row.path))
	}
	g.knockThrough(handler, row.writer, row.feed, attacker, changes...)
}

func wantNothingLeft(t *testing.T, g *gate, row leaving, times int) {
	t.Helper()
	live := 0
	for range g.guard.Sessions() {
		live++
	}
	if live != 1 {
		t.Errorf("%d sessions, want the holder's alone", live)
	}
	kind, other := wssecure.EventRefused, wssecure.EventClosed
	if row.opened {
		kind, other = other, kind
	}
	g.await(kind, times)
	stats := g.guard.Stats()
	got := stats.Refused[row.reason] + stats.Closed[row.reason]
	if got != uint64(times) {
		t.Errorf("Stats has %d of %s, want %d: %v %v", got, row.reason, times, stats.Refused, stats.Closed)
	}
	if n := len(g.seen(kind)); n != times {
		t.Errorf("%d events %s, want %d", n, kind, times)
	}
	for _, e := range g.seen(kind) {
		if e.Reason != row.reason {
			t.Fatalf("event %s %s, want %s (%v)", e.Kind, e.Reason, row.reason, e.Err)
		}
	}
	if n := len(g.seen(other)); n != 0 {
		t.Errorf("%d events %s, want none", n, other)
	}
	opened := 1 // the holder's
	if row.opened {
		opened += times
	}
	if n := len(g.seen(wssecure.EventOpened)); n != opened {
		t.Errorf("%d opened events, want %d", n, opened)
	}
}

// goroutinesAtMost waits for those that are about to end.
func goroutinesAtMost(n int) int {
	for deadline := time.Now().Add(hang); runtime.NumGoroutine() > n && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	return runtime.NumGoroutine()
}
