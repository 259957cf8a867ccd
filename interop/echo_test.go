package interop_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	coder "github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// echoes: whole, empty and fragmented messages of both types, control frames
// between fragments, the same counts in the event.
func echoes(t *testing.T, st stack) {
	r := behind(t, st, newApp())
	c := r.open(t)
	wantEcho(t, c, "hello")
	wantEcho(t, c, "")
	medium := bytes.Repeat([]byte("0123456789"), 7_000)
	send(t, c, probe.Message(probe.Binary, medium))
	wantMessage(t, c, probe.Binary, medium)

	large := bytes.Repeat([]byte("abcdefghijklmnop"), 1<<16)
	sendFragments(t, c, large, 16<<10)
	wantMessage(t, c, probe.Text, large)
	wantEcho(t, c, "still here")

	if err := c.Send(probe.CloseFrame(1000, "enough")); err != nil {
		t.Fatal(err)
	}
	if code, _, err := c.AwaitClose(); err != nil || code != 1000 {
		t.Errorf("answer to the close frame: %d, %v", code, err)
	}
	e := r.wantClosedEvent(t, wssecure.ReasonPeer, 1000, wssecure.ByPeer)
	if e.PeerCode != 1000 || e.In.Messages != 5 || e.Out.Messages != 5 {
		t.Errorf("peer's code %d, %d messages in, %d out; want 1000, 5, 5", e.PeerCode, e.In.Messages, e.Out.Messages)
	}
	r.wantAllBack(t)
}

func send(t testing.TB, c *probe.Conn, f probe.Frame) {
	t.Helper()
	if err := c.SendFrame(f); err != nil {
		t.Fatalf("send: %v", err)
	}
}

// sendFragments sends a text in frames of size bytes, four pings among them.
func sendFragments(t testing.TB, c *probe.Conn, text []byte, size int) {
	t.Helper()
	op := probe.Text
	for n := 0; len(text) > 0; n++ {
		k := min(size, len(text))
		send(t, c, probe.Frame{FIN: k == len(text), Opcode: op, Masked: true, Payload: text[:k]})
		if n%16 == 8 {
			send(t, c, probe.Message(probe.Ping, []byte("?")))
		}
		text, op = text[k:], probe.Continuation
	}
}

func echoesToClient(t *testing.T, st stack) {
	r := behind(t, st, newApp())
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	c, _, err := r.Dial(ctx, r.issuer.Token(user))
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	for i := range 20 {
		want := bytes.Repeat([]byte{byte('a' + i)}, i*i*i*10)
		if err := c.Write(ctx, coder.MessageText, want); err != nil {
			t.Fatal(err)
		}
		typ, got, err := c.Read(ctx)
		if err != nil || typ != coder.MessageText || !bytes.Equal(got, want) {
			t.Fatalf("message %d: %v, %d bytes, %v", i, typ, len(got), err)
		}
	}
	if err := c.Close(coder.StatusNormalClosure, "done"); err != nil {
		t.Errorf("closing handshake: %v", err)
	}
	r.wantClosedEvent(t, wssecure.ReasonPeer, 1000, wssecure.ByPeer)
	r.wantAllBack(t)
}

// earlyBytes: two messages in the packet of the handshake, cut at every byte
// from the handshake's last line on. Each record of TLS is one Read of net/http.
func earlyBytes(t *testing.T, st stack) {
	r := behind(t, st, newApp())
	frames := probe.AppendFrame(nil, probe.Message(probe.Text, []byte("early")))
	frames = probe.AppendFrame(frames, probe.Message(probe.Binary, []byte("bird")))
	for cut := -4; cut <= len(frames); cut++ {
		// A subject of its own: the one before may still be closing.
		packet := r.handshake(fmt.Sprintf("early-%d", cut)).Bytes()
		at := len(packet) + cut
		packet = append(packet, frames...)
		c := r.Raw()
		if err := c.SendSplit(packet, at, len(packet)); err != nil {
			t.Fatal(err)
		}
		answer, err := c.Response()
		if err != nil || answer.Status != 101 {
			t.Fatalf("cut %d bytes behind the head: %v, %v", cut, answer, err)
		}
		wantMessage(t, c, probe.Text, []byte("early"))
		wantMessage(t, c, probe.Binary, []byte("bird"))
		wantEcho(t, c, "and later ones")
		c.Close()
	}
}

// refusedNeverReaches: the handler is not called, and nothing behind the refused
// handshake is read as frame or request.
func refusedNeverReaches(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a)
	for _, row := range []struct {
		name   string
		change func(*probe.Handshake) *probe.Handshake
		status int
	}{
		{"origin", func(h *probe.Handshake) *probe.Handshake { return h.Set("Origin", "https://evil.test") }, 403},
		{"no token", func(h *probe.Handshake) *probe.Handshake { return h.Del("Authorization") }, 401},
		{"bad token", func(h *probe.Handshake) *probe.Handshake { return h.Set("Authorization", "Bearer a.b.c") }, 401},
		{"shape", func(h *probe.Handshake) *probe.Handshake { return h.Set("Sec-WebSocket-Version", "8") }, 426},
		{"almost an upgrade", func(h *probe.Handshake) *probe.Handshake { return h.Set("Upgrade", "xwebsocketx") }, 426},
	} {
		behindIt := append(probe.AppendFrame(nil, probe.Message(probe.Text, []byte("early"))), "GET /admin HTTP/1.1\r\nHost: ws.example.com\r\n\r\n"...)
		answer, c := r.ask(t, append(row.change(r.handshake(user)).Bytes(), behindIt...))
		if answer.Status != row.status {
			t.Errorf("%s: status %d, want %d", row.name, answer.Status, row.status)
		}
		if second, err := c.Response(); err == nil {
			t.Errorf("%s: a second answer: %s", row.name, second.StatusLine)
		}
	}
	if len(a.saw) > 0 {
		t.Errorf("the handler was called: %v", (<-a.saw).Header)
	}
	r.wantAllBack(t)
}
