package interop_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// wantServed says that the library's loop has come to its end with an error.
func wantServed(t testing.TB, a *app) {
	t.Helper()
	select {
	case err := <-a.served:
		if errors.Is(err, errNotUpgraded) {
			t.Errorf("the library did not upgrade: %v", err)
		}
	case <-time.After(hang):
		t.Fatal("the handler has not returned")
	}
}

func badFrame(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	for _, row := range []struct {
		name string
		f    probe.Frame
	}{
		{"W-01 RSV1 without deflate", probe.Frame{FIN: true, RSV: 4, Opcode: probe.Text, Masked: true}},
		{"W-02 reserved opcode", probe.Frame{FIN: true, Opcode: 3, Masked: true}},
		{"unmasked", probe.Frame{FIN: true, Opcode: probe.Text, Payload: []byte("x")}},
	} {
		c := r.open(t)
		if st.proxy { // its echo goes round by the backend
			wantEcho(t, c, "delivered first")
			send(t, c, row.f)
		} else {
			packet := probe.AppendFrame(nil, probe.Message(probe.Text, []byte("delivered first")))
			if err := c.Send(probe.AppendFrame(packet, row.f)); err != nil {
				t.Fatal(err)
			}
			wantMessage(t, c, probe.Text, []byte("delivered first"))
		}
		if code, reason, err := c.AwaitClose(); code != 1002 || reason != "protocol" || err != nil {
			t.Errorf("%s: close frame %d %q, %v", row.name, code, reason, err)
		}
		c.Close() // spares the second of grace, which TestOneMechanism waits for
		e := r.wantClosedEvent(t, wssecure.ReasonProtocol, 1002, wssecure.ByGuard)
		if e.In.Messages != 1 {
			t.Errorf("%s: %d messages in, want 1", row.name, e.In.Messages)
		}
		wantServed(t, a)
	}
	r.wantAllBack(t)
}

func sessionClose(t *testing.T, st stack) {
	a := newApp()
	next := st.behind(t, a)
	found := make(chan *wssecure.Session, 1)
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := wssecure.SessionFrom(r.Context()); ok {
				select {
				case found <- s:
				default: // of wantAllBack
				}
			}
			next.ServeHTTP(w, r)
		}))
	})
	c := r.open(t)
	wantEcho(t, c, "before")
	s := <-found
	if id := s.Identity(); id == nil || id.Subject != user || s.ID() != r.WaitEvent(wssecure.EventOpened).SessionID {
		t.Errorf("session %s of %v in the inner handler's context", s.ID(), id)
	}
	if err := s.Close(4001, "see you"); err != nil {
		t.Error(err)
	}
	wantClose(t, c, 4001, "see you")
	r.wantClosedEvent(t, wssecure.ReasonDone, 4001, wssecure.ByApp)
	wantServed(t, a)
	r.wantAllBack(t)
}

// libraryCloses: the code of the library's own frame is the one of the event,
// and no second close frame follows.
func libraryCloses(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	c := r.open(t)
	wantEcho(t, c, "before")
	sendText(t, c, wordClose)
	wantClose(t, c, appCode, appReason)
	r.wantClosedEvent(t, wssecure.ReasonDone, appCode, wssecure.ByApp)
	wantServed(t, a)
	r.wantAllBack(t)
}

func libraryDrops(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	c := r.open(t)
	wantEcho(t, c, "before")
	sendText(t, c, wordDrop)
	if f, err := c.ReadFrame(); err == nil {
		t.Errorf("a frame %d %q although the library has just closed", f.Opcode, f.Payload)
	}
	r.wantClosedEvent(t, wssecure.ReasonDone, 1006, wssecure.ByApp)
	wantServed(t, a)
	r.wantAllBack(t)
}

func peerCloses(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	c := r.open(t)
	wantEcho(t, c, "before")
	if err := c.Send(probe.CloseFrame(4000, "leaving")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.AwaitClose(); err != nil {
		t.Errorf("no answer to the close frame: %v", err)
	}
	if err := c.AwaitEOF(hang); err != nil {
		t.Error(err)
	}
	e := r.WaitEvent(wssecure.EventClosed)
	if e.Reason != wssecure.ReasonPeer || e.PeerCode != 4000 || e.By != wssecure.ByPeer {
		t.Errorf("closed: %s, peer's code %d, by %s", e.Reason, e.PeerCode, e.By)
	}
	wantServed(t, a)
	r.wantAllBack(t)
}

func peerGone(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	for _, leave := range []func(c net.Conn){
		func(c net.Conn) { c.Close() },
		func(c net.Conn) { // a reset
			tcp := c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn)
			_ = tcp.SetLinger(0)
			tcp.Close()
		},
		func(c net.Conn) { // in the middle of a frame
			_, _ = io.WriteString(c, "\x81\x85abcdH")
			c.Close()
		},
	} {
		c := r.open(t)
		wantEcho(t, c, "before")
		leave(c.NetConn())
		r.wantClosedEvent(t, wssecure.ReasonPeer, 1006, wssecure.ByPeer)
		wantServed(t, a)
	}
	r.wantAllBack(t)
}

// panics: most libraries' users defer a Close, and that runs first: the guard
// sees the connection dropped. Behind a proxy it is the backend that panics.
// Without a deferred Close, as with gws, a close frame says what happened.
func panics(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	c := r.open(t)
	wantEcho(t, c, "before")
	sendText(t, c, wordPanic)
	if st.name == "gws" {
		wantClose(t, c, 1011, "internal")
		r.wantClosedEvent(t, wssecure.ReasonInternal, 1011, wssecure.ByApp)
	} else {
		if f, err := c.ReadFrame(); err == nil {
			t.Errorf("a frame %d %q", f.Opcode, f.Payload)
		}
		r.wantClosedEvent(t, wssecure.ReasonDone, 1006, wssecure.ByApp)
	}
	wantServed(t, a)
	r.wantAllBack(t)
}
