package wssecure_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// serveFunc is an application.
type serveFunc = func(ctx context.Context, c *wssecure.Conn) error

// serving starts a server with its own issuer and this application.
func serving(t *testing.T, serve serveFunc, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	options := append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()}, more...)
	s := wssecuretest.Start(t, wssecuretest.Config{Options: options, Serve: serve})
	s.Issuer = issuer
	return s
}

// connect opens one more session of alice.
func connect(t *testing.T, s *wssecuretest.Server) *probe.Conn {
	t.Helper()
	_, c := wantAdmitted(t, s, freshHandshake(s.Issuer.Token("alice")))
	return c
}

// heard is what one Read gave.
type heard struct {
	typ  wssecure.MessageType
	text string
	null bool
	err  error
}

// readings is an application that hands on all that Read gives, the error that
// ends it included.
func readings() (serveFunc, <-chan heard) {
	got := make(chan heard, 1024)
	return func(ctx context.Context, c *wssecure.Conn) error {
		for {
			typ, p, err := c.Read(ctx)
			got <- heard{typ, string(p), p == nil, err}
			if err != nil {
				return err
			}
		}
	}, got
}

// next is what comes on a channel.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(hang):
		t.Fatalf("nothing came within %v", hang)
		panic("unreachable")
	}
}

// wantDelivered wants these texts, and nothing else before them.
func wantDelivered(t *testing.T, got <-chan heard, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if h := next(t, got); h.err != nil || h.text != want {
			t.Fatalf("Read gave %.40q (%d bytes), %v; want %.40q (%d bytes)", h.text, len(h.text), h.err, want, len(want))
		}
	}
}

// wantEnded wants the session's end at the peer and at the application: code and
// reason on the wire, the Reason from Read, no byte with it, one closed event.
func wantEnded(t *testing.T, s *wssecuretest.Server, c *probe.Conn, got <-chan heard, code int, reason wssecure.Reason) wssecure.Event {
	t.Helper()
	wantClose(t, c, code, string(reason))
	c.Close() // instead of the second of grace
	if h := next(t, got); !errors.Is(h.err, reason) || h.text != "" || h.typ != 0 {
		t.Errorf("Read gave %d %.40q, %v; want %s", h.typ, h.text, h.err, reason)
	}
	e := s.WaitEvent(wssecure.EventClosed)
	if e.Reason != reason {
		t.Errorf("closed for %s (%v), want %s", e.Reason, e.Err, reason)
	}
	return e
}

func wantClose(t *testing.T, c *probe.Conn, code int, reason string) {
	t.Helper()
	if got, text, err := c.AwaitClose(); err != nil || got != code || text != reason {
		t.Errorf("close %d %q, %v; want %d %q", got, text, err, code, reason)
	}
}

func send(t *testing.T, c *probe.Conn, frames ...probe.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := c.SendFrame(f); err != nil {
			t.Fatalf("send: %v", err)
		}
	}
}

func text(s string) probe.Frame { return probe.Message(probe.Text, []byte(s)) }

// part is a frame of a message in fragments.
func part(opcode byte, fin bool, payload string) probe.Frame {
	return probe.Frame{FIN: fin, Opcode: opcode, Masked: true, Payload: []byte(payload)}
}

func oneEvent(t *testing.T, events []wssecure.Event, kind wssecure.EventKind) wssecure.Event {
	t.Helper()
	var found []wssecure.Event
	for _, e := range events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d events %s, want 1: %+v", len(found), kind, found)
	}
	return found[0]
}

// wantEcho shows that a session still works.
func wantEcho(t *testing.T, c *probe.Conn, s string) {
	t.Helper()
	send(t, c, text(s))
	wantText(t, c, s)
}

// wantText reads the next message and passes pings over.
func wantText(t *testing.T, c *probe.Conn, want string) {
	t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("no message: %v", err)
		}
		if f.Opcode == probe.Ping || f.Opcode == probe.Pong {
			continue
		}
		if f.Opcode == probe.Close || string(f.Payload) != want {
			t.Fatalf("opcode %d %q, want %q", f.Opcode, f.Payload, want)
		}
		return
	}
}

// obey answers messages that begin with the order, and echoes everything else.
func obey(ctx context.Context, c *wssecure.Conn, order string, answer func(rest string) string) error {
	for {
		_, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(string(p), order); ok {
			p = []byte(answer(rest))
		}
		if err := c.Write(ctx, wssecure.MessageText, p); err != nil {
			return err
		}
	}
}
