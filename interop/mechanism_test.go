package interop_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A way is one way to serve sockets behind the guard.
type way struct {
	name  string
	serve func(t testing.TB, g *wssecure.Guard, atWork *atomic.Int64) http.Handler
	left  func(t testing.TB, n int) // for what stands behind the guard in another process
}

// ways are all libraries, ConnHandler, and a proxy with a backend in Go and one
// in JavaScript.
func ways(t *testing.T) (all []way) {
	for _, st := range stacks {
		all = append(all, behindHandler(st.name, func(t testing.TB) http.Handler { return st.behind(t, newApp()) }))
	}
	all = append(all, way{name: "ConnHandler", serve: func(_ testing.TB, g *wssecure.Guard, atWork *atomic.Int64) http.Handler {
		return g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			atWork.Add(1)
			defer atWork.Add(-1)
			return wssecuretest.Echo(ctx, c)
		})
	}})
	if len(missingNode) > 0 {
		t.Logf("LEFT OUT: a proxy before npm's ws: %s", strings.Join(missingNode, ", "))
		return all
	}
	backend := startNodeBackend(t)
	node := behindHandler("proxy, npm ws", backend.proxy)
	node.left = backend.wantLeft
	return append(all, node)
}

func behindHandler(name string, next func(t testing.TB) http.Handler) way {
	return way{name: name, serve: func(t testing.TB, g *wssecure.Guard, atWork *atomic.Int64) http.Handler {
		inner := next(t)
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			atWork.Add(1)
			defer atWork.Add(-1)
			inner.ServeHTTP(w, r)
		}))
	}}
}

// A misdeed is what a client does, or lets happen, and how its session ends for
// it, whatever library serves it.
type misdeed struct {
	name    string
	options func(r *rig) []wssecure.Option
	act     func(t *testing.T, r *rig, c *probe.Conn)
	silent  bool // the client neither answers the close frame nor hangs up

	code   int
	reason wssecure.Reason
	by     wssecure.By
	drains bool // the whole guard ends
}

var misdeeds = []misdeed{
	{name: "echo W-17", act: echoesAndLeaves, code: 1000, reason: wssecure.ReasonPeer, by: wssecure.ByPeer},
	{name: "revoke S-06", act: revokes, code: 3000, reason: wssecure.ReasonRevoked, by: wssecure.ByGuard},
	{name: "expiry S-01", options: expiresSoon, act: func(*testing.T, *rig, *probe.Conn) {},
		code: 3000, reason: wssecure.ReasonTokenExpired, by: wssecure.ByGuard},
	{name: "oversize W-06", act: func(t *testing.T, _ *rig, c *probe.Conn) {
		send(t, c, probe.Frame{FIN: true, Opcode: probe.Binary, Masked: true, Length: new(uint64(64<<10 + 1))}) // its header alone
	}, code: 1009, reason: wssecure.ReasonMessageSize, by: wssecure.ByGuard},
	{name: "ping flood W-12", act: floods(probe.Message(probe.Ping, make([]byte, 125)), 1000),
		code: 1008, reason: wssecure.ReasonControlRate, by: wssecure.ByGuard},
	{name: "empty fragments W-09", act: func(t *testing.T, r *rig, c *probe.Conn) {
		send(t, c, probe.Frame{Opcode: probe.Text, Masked: true})
		floods(probe.Frame{Masked: true}, 2000)(t, r, c)
	}, code: 1008, reason: wssecure.ReasonFragments, by: wssecure.ByGuard},
	{name: "drip W-10", options: func(*rig) []wssecure.Option { return limit(wssecure.Limits{MessageTime: time.Second}) }, act: drips, code: 1008, reason: wssecure.ReasonMessageTime, by: wssecure.ByGuard},
	{name: "stalled close W-32", act: func(t *testing.T, r *rig, c *probe.Conn) {
		frame := probe.AppendFrame(nil, probe.Message(probe.Text, make([]byte, 1000)))
		if err := c.Send(frame[:500]); err != nil { // and no more
			t.Fatal(err)
		}
		revokes(t, r, c)
	}, silent: true, code: 3000, reason: wssecure.ReasonRevoked, by: wssecure.ByGuard},
	{name: "drain S-11", act: drains, drains: true, code: 1012, reason: wssecure.ReasonRestart, by: wssecure.ByGuard},
}

// TestOneMechanism is the promise that the guard polices the wire alike under
// every library: the client sees the same close code, the operator the same
// reason, in one event; nothing is left of the session; and who shares the
// server with it is served all the while.
func TestOneMechanism(t *testing.T) {
	found := newTable()
	all := ways(t)
	var rows, columns []string
	for _, m := range misdeeds {
		rows = append(rows, m.name)
	}
	for _, w := range all {
		columns = append(columns, w.name)
	}
	t.Run("all", func(t *testing.T) {
		for _, w := range all {
			for _, m := range misdeeds {
				t.Run(w.name+"/"+m.name, func(t *testing.T) {
					t.Parallel()
					found.note(t, m.name, w.name, func() string { return fmt.Sprintf("%d %s", m.code, m.reason) })
					m.over(t, w)
				})
			}
		}
	})
	found.print(t, rows, columns)
}

func (m misdeed) over(t *testing.T, w way) {
	atWork := new(atomic.Int64)
	r, own := newRig(t), limit(wssecure.Limits{}) // the defaults
	if m.options != nil {
		own = m.options(r)
	}
	r.startWith(t, own, func(g *wssecure.Guard) http.Handler { return w.serve(t, g, atWork) })
	beside := r.neighbour(t)
	c := r.open(t)
	wantEcho(t, c, "before")

	m.act(t, r, c)
	if code, reason, err := c.AwaitClose(); code != m.code || err != nil || m.by == wssecure.ByGuard && reason != string(m.reason) {
		t.Errorf("close frame %d %q, %v; want %d %q", code, reason, err, m.code, m.reason)
	}
	if m.drains {
		m.wantDrained(t, r, beside)
	} else {
		beside.wantServed(t)
	}
	if !m.silent {
		_ = c.Send(probe.CloseFrame(m.code, "")) // may meet a connection that is cut
	}
	if err := c.AwaitEOF(hang); err != nil {
		t.Errorf("behind the close frame: %v", err)
	}
	m.wantOneEnd(t, r)
	if m.drains {
		wantAtWork(t, w, atWork, 0)
		return
	}
	wantAtWork(t, w, atWork, 1)
	beside.wantServed(t)
	beside.leave(t)
	r.WaitEvent(wssecure.EventClosed)
	wantAtWork(t, w, atWork, 0)
	r.wantAllBack(t)
}

// wantOneEnd wants the event of user's end, and no second one.
func (m misdeed) wantOneEnd(t *testing.T, r *rig) {
	t.Helper()
	var e wssecure.Event
	for e.Subject != user {
		e = r.WaitEvent(wssecure.EventClosed) // the neighbour's of a drain may come first
	}
	if e.Reason != m.reason || e.CloseCode != wssecure.StatusCode(m.code) || e.By != m.by {
		t.Errorf("closed: %s, code %d, by %s; want %s, %d, %s (error %v)", e.Reason, e.CloseCode, e.By, m.reason, m.code, m.by, e.Err)
	}
	ends := 0
	for _, e := range r.Events() {
		if e.Kind == wssecure.EventClosed && e.Subject == user {
			ends++
		}
	}
	if ends != 1 {
		t.Errorf("%d closed events", ends)
	}
}

// wantAtWork waits until no more than n handlers, or user code, are at work.
func wantAtWork(t *testing.T, w way, atWork *atomic.Int64, n int64) {
	t.Helper()
	for deadline := time.Now().Add(hang); atWork.Load() > n; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d handlers are at work, want %d", atWork.Load(), n)
		}
	}
	if w.left != nil {
		w.left(t, int(n))
	}
}

func echoesAndLeaves(t *testing.T, _ *rig, c *probe.Conn) {
	send(t, c, probe.Message(probe.Binary, []byte{0, 1, 2}))
	wantMessage(t, c, probe.Binary, []byte{0, 1, 2})
	sendFragments(t, c, []byte("in many parts"), 3)
	wantMessage(t, c, probe.Text, []byte("in many parts"))
	if err := c.Send(probe.CloseFrame(1000, "done")); err != nil {
		t.Fatal(err)
	}
}

func revokes(t *testing.T, r *rig, _ *probe.Conn) {
	t.Helper()
	// A client may have its 101 a moment before Sessions lists it.
	for start := time.Now(); time.Since(start) < hang; runtime.Gosched() {
		for info := range r.Guard.Sessions() {
			if info.Subject != user {
				continue
			}
			if n, err := r.Guard.Revoke(t.Context(), wssecure.SessionID(info.ID), "kicked"); n != 1 || err != nil {
				t.Errorf("Revoke closed %d sessions, error %v", n, err)
			}
			return
		}
	}
	t.Error("nobody to revoke")
}

// expiresSoon lets user's sessions end some seconds from now, when they have long been opened, and nobody else's.
func expiresSoon(r *rig) []wssecure.Option {
	real := wssecure.StaticKeys(r.issuer.JWKS(), r.issuer.URL, wssecuretest.Audience)
	short := func(ctx context.Context, token string) (*wssecure.Identity, error) {
		id, err := real.Verify(ctx, token)
		if err != nil || id.Subject != user {
			return id, err
		}
		return &wssecure.Identity{Issuer: id.Issuer, Subject: id.Subject, Expiry: time.Now().Add(5 * time.Second)}, nil
	}
	return []wssecure.Option{wssecure.RequireToken(wssecure.VerifierFunc(short))}
}

// floods sends one frame again and again; the guard may hang up before it is done.
func floods(f probe.Frame, times int) func(*testing.T, *rig, *probe.Conn) {
	return func(_ *testing.T, _ *rig, c *probe.Conn) {
		var packet []byte
		for range times {
			packet = probe.AppendFrame(packet, f)
		}
		_ = c.Send(packet)
	}
}

// drips begins a message and sends a byte of it now and then, with pings between.
func drips(t *testing.T, _ *rig, c *probe.Conn) {
	send(t, c, probe.Frame{FIN: true, Opcode: probe.Binary, Masked: true, Length: new(uint64(32 << 10))})
	go func() {
		for c.Send([]byte{'x'}) == nil {
			<-time.After(50 * time.Millisecond)
		}
	}()
}

// drains shuts the guard down in good time: only who never closes is cut.
func drains(t *testing.T, r *rig, _ *probe.Conn) {
	down := make(chan error, 1)
	go func() {
		// Two sessions: the second is told when two fifths are over, and has its second to answer.
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		down <- r.Guard.Shutdown(ctx)
	}()
	t.Cleanup(func() {
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// wantDrained: the neighbour too is told to come again, and a newcomer to go
// elsewhere.
func (m misdeed) wantDrained(t *testing.T, r *rig, beside *neighbour) {
	t.Helper()
	beside.wantClosed(t, m.code, string(m.reason))
	if answer, _ := r.ask(t, r.handshake("mallory").Bytes()); answer.Status != 503 {
		t.Errorf("a handshake during the drain: status %d, want 503", answer.Status)
	}
}
