package wssecure_test

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// gate is a guard without a network, so that a client can have any address and
// thousands of handshakes are quick. Inside synctest its time is fake.
type gate struct {
	t      testing.TB
	guard  *wssecure.Guard
	issuer *wssecuretest.Issuer
	serve  http.Handler

	mu     sync.Mutex
	nonces memnet.Nonces
	peers  []net.Conn
	events []wssecure.Event
}

// quiet is a session's user code that returns at once, stay one that reads.
func quiet(context.Context, *wssecure.Conn) error { return nil }

func stay(ctx context.Context, c *wssecure.Conn) error {
	_, _, err := c.Read(ctx)
	return err
}

// newGate makes a gate for pages of wssecuretest.Origin that asks for no token.
func newGate(t testing.TB, serve func(context.Context, *wssecure.Conn) error, options ...wssecure.Option) *gate {
	t.Helper()
	g := &gate{t: t}
	g.start(serve, append(options, wssecure.InsecureAllowAnonymous("limits are judged alone")))
	return g
}

// newTokenGate is newGate with tokens of the gate's own issuer.
func newTokenGate(t testing.TB, serve func(context.Context, *wssecure.Conn) error, options ...wssecure.Option) *gate {
	t.Helper()
	g := &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}
	g.start(serve, append(options, g.issuer.Option()))
	return g
}

// start opens the gate; a nil serve is one that nobody reaches.
func (g *gate) start(serve func(context.Context, *wssecure.Conn) error, options []wssecure.Option) {
	g.t.Helper()
	guard, err := wssecure.New(append(options,
		wssecure.AllowOrigins(wssecuretest.Origin, "https://*.example.net"),
		wssecure.InsecureAllowPlaintext("no network"),
		wssecure.OnEvent(g.add),
	)...)
	if err != nil {
		g.t.Fatal(err)
	}
	if serve == nil {
		serve = noServe(g.t)
	}
	g.guard, g.serve = guard, guard.ConnHandler(serve)
	g.t.Cleanup(g.close)
}

func (g *gate) add(e wssecure.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

// all are the events so far, seen those of one kind.
func (g *gate) all() []wssecure.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.events)
}

func (g *gate) seen(kind wssecure.EventKind) []wssecure.Event {
	var found []wssecure.Event
	for _, e := range g.all() {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// answer is what a handshake got: 101, or a refusal. A cut connection has
// status 0.
type answer struct {
	status int
	header http.Header
	body   string
	conn   *headConn
}

func (a answer) reason() string {
	_, slug, _ := strings.Cut(a.body, "reasons.md#")
	slug, _, _ = strings.Cut(slug, `"`)
	return slug
}

// gateWriter is a memnet.Writer that keeps the answer.
type gateWriter struct {
	*memnet.Writer
	body strings.Builder
}

func (w *gateWriter) Write(b []byte) (int, error) { return w.body.Write(b) }

// headConn keeps whether a head was written through it: a cut connection has none.
type headConn struct {
	*memnet.SilentConn
	feed  []byte // what the peer sends before it falls silent
	mu    sync.Mutex
	wrote bool
}

func (c *headConn) Read(p []byte) (int, error) {
	if len(c.feed) == 0 {
		return c.SilentConn.Read(p)
	}
	n := copy(p, c.feed)
	c.feed = c.feed[n:]
	return n, nil
}

func (c *headConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote = true
	return len(p), nil
}

func (c *headConn) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrote
}

// knock sends one handshake from an address, as a page of wssecuretest.Origin
// does, and reads the answer.
func (g *gate) knock(from string, changes ...func(*http.Request)) answer {
	return g.knockOn(g.serve, from, changes...)
}

func (g *gate) knockOn(h http.Handler, from string, changes ...func(*http.Request)) answer {
	return g.knockThrough(h, nil, nil, from, changes...)
}

// knockThrough is knockOn with a writer around the gate's own and with what the
// peer sends after its handshake.
func (g *gate) knockThrough(h http.Handler, writer func(*gateWriter) http.ResponseWriter, feed []byte, from string, changes ...func(*http.Request)) answer {
	r := memnet.Request("")
	r.Host, r.RemoteAddr = wssecuretest.Host, net.JoinHostPort(from, "50123")
	c := &headConn{SilentConn: memnet.NewSilentConn(), feed: feed}
	g.mu.Lock()
	g.nonces.Set(r)
	g.peers = append(g.peers, c)
	g.mu.Unlock()
	for _, change := range changes {
		change(r)
	}
	w := &gateWriter{Writer: memnet.NewWriter(c)}
	if writer == nil {
		h.ServeHTTP(w, r)
	} else {
		h.ServeHTTP(writer(w), r)
	}
	a := answer{status: w.Status, header: w.Header(), body: w.body.String(), conn: c}
	if a.status == 0 && c.answered() {
		a.status = 101
	}
	return a
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token} }
}

func from(origin string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Origin"] = []string{origin} }
}

func path(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }

// forged is a good token of the gate's issuer with another signature.
func (g *gate) forged() string { return spoil(g.issuer.Token("mallory")) }

// wantAnswer checks an answer and, where the status asks for one, its
// Retry-After: always a positive integer.
func wantAnswer(t testing.TB, a answer, status int, reason wssecure.Reason) {
	t.Helper()
	if a.status != status || a.reason() != string(reason) {
		t.Fatalf("status %d %s, want %d %s", a.status, a.reason(), status, reason)
	}
	retry, given := a.header["Retry-After"]
	switch {
	case status == 429, status == 503, reason == wssecure.ReasonBanned:
		if n, err := strconv.Atoi(strings.Join(retry, "|")); err != nil || n < 1 {
			t.Fatalf("Retry-After %q, want an integer of 1 or more", retry)
		}
	case given:
		t.Fatalf("status %d has Retry-After %q", status, retry)
	}
}

func wantRetry(t testing.TB, a answer, seconds string) {
	t.Helper()
	if got := strings.Join(a.header["Retry-After"], "|"); got != seconds {
		t.Fatalf("Retry-After %q, want %q", got, seconds)
	}
}

// hangUp ends every session from the peer's side.
func (g *gate) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.peers {
		c.Close()
	}
	g.peers = nil
}

// settled waits until no more than n places are taken.
func (g *gate) settled(n int64) {
	g.t.Helper()
	g.until(func() bool { return g.guard.Stats().Open <= n }, "places are still taken")
}

// await waits for n events of a kind.
func (g *gate) await(kind wssecure.EventKind, n int) {
	g.t.Helper()
	g.until(func() bool { return len(g.seen(kind)) >= n }, "events are missing")
}

func (g *gate) until(done func() bool, otherwise string) {
	g.t.Helper()
	for deadline := time.Now().Add(hang); !done(); {
		if time.Now().After(deadline) {
			g.t.Fatal(otherwise)
		}
		runtime.Gosched()
	}
}

func (g *gate) close() {
	g.hangUp()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if err := g.guard.Shutdown(ctx); err != nil {
		g.t.Errorf("Shutdown: %v", err)
	}
}
