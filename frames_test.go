package wssecure_test

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// The wire's own tables are internal/wire's; these rows are what a session makes
// of its verdicts.
func TestFrames(t *testing.T) {
	serve, got := readings()
	s := serving(t, serve)
	raw := func(f probe.Frame) []byte { return probe.AppendFrame(nil, f) }
	ctl := func(op byte, n int) []byte { return raw(probe.Message(op, make([]byte, n))) }
	for _, row := range []struct {
		name   string
		bytes  []byte
		code   int
		reason wssecure.Reason
	}{
		{"L-16 unmasked", raw(probe.Frame{FIN: true, Opcode: probe.Text, Payload: []byte("a")}), 1002, wssecure.ReasonProtocol},
		{"L-16 unmasked ping", raw(probe.Frame{FIN: true, Opcode: probe.Ping}), 1002, wssecure.ReasonProtocol},
		{"W-01 RSV1 without deflate", raw(probe.Frame{FIN: true, RSV: 4, Opcode: probe.Text, Masked: true}), 1002, wssecure.ReasonProtocol},
		{"W-01 RSV2", raw(probe.Frame{FIN: true, RSV: 2, Opcode: probe.Text, Masked: true}), 1002, wssecure.ReasonProtocol},
		{"W-02 opcode 3", raw(probe.Message(3, nil)), 1002, wssecure.ReasonProtocol},
		{"W-02 opcode 15", raw(probe.Message(15, nil)), 1002, wssecure.ReasonProtocol},
		{"W-02 continuation of nothing", raw(probe.Message(probe.Continuation, nil)), 1002, wssecure.ReasonProtocol},
		{"W-02 text inside text", append(raw(part(probe.Text, false, "a")), raw(text("b"))...), 1002, wssecure.ReasonProtocol},
		{"W-03 ping in fragments", raw(part(probe.Ping, false, "")), 1002, wssecure.ReasonProtocol},
		{"W-03 ping of 126", ctl(probe.Ping, 126), 1002, wssecure.ReasonProtocol},
		{"W-03 close of 1 byte", ctl(probe.Close, 1), 1002, wssecure.ReasonProtocol},
		{"L-15 close 1005", probe.CloseFrame(1005, ""), 1002, wssecure.ReasonProtocol},
		{"L-15 close 1015", probe.CloseFrame(1015, ""), 1002, wssecure.ReasonProtocol},
		{"L-15 close 2999", probe.CloseFrame(2999, ""), 1002, wssecure.ReasonProtocol},
		{"L-15 close 5000", probe.CloseFrame(5000, ""), 1002, wssecure.ReasonProtocol},
		{"W-04 a longer form", raw(probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, LengthForm: probe.Form64, Payload: []byte("a")}), 1002, wssecure.ReasonProtocol},
		{"W-04 the top bit", raw(probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Length: new(uint64(1 << 63))}), 1002, wssecure.ReasonProtocol},
		{"W-06 declared above the limit", raw(probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Length: new(uint64(65_537))}), 1009, wssecure.ReasonMessageSize},
		{"W-08 1,025 frames", fragments(1025, "a"), 1008, wssecure.ReasonFragments},
		{"W-09 129 empty frames", fragments(129, ""), 1008, wssecure.ReasonFragments},
		{"W-12 ping flood", bytes.Repeat(ctl(probe.Ping, 125), 30), 1008, wssecure.ReasonControlRate},
		{"W-12 unasked pongs", bytes.Repeat(ctl(probe.Pong, 0), 30), 1008, wssecure.ReasonControlRate},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := connect(t, s)
			send(t, c, text("before"))
			c.Send(row.bytes)
			wantDelivered(t, got, "before")
			wantEnded(t, s, c, got, row.code, row.reason)
		})
	}
	t.Run("L-15 close codes that peers send", func(t *testing.T) {
		for _, code := range []int{1000, 1001, 1003, 1007, 1014, 3000, 4999} {
			c := connect(t, s)
			c.Send(probe.CloseFrame(code, "why\x1b[2J\u202e"))
			if sent, _, err := c.AwaitClose(); err != nil || sent != code {
				t.Errorf("%d: answered %d, %v", code, sent, err)
			}
			c.Close()
			if h := next(t, got); !errors.Is(h.err, wssecure.ReasonPeer) {
				t.Errorf("%d: Read gave %v", code, h.err)
			}
			e := s.WaitEvent(wssecure.EventClosed)
			if e.Reason != wssecure.ReasonPeer || e.By != wssecure.ByPeer || int(e.PeerCode) != code || strings.ContainsAny(e.Seen, "\x1b\u202e") {
				t.Errorf("%d: %+v", code, e)
			}
		}
	})
}

// fragments is a message that is not over after n frames.
func fragments(n int, payload string) []byte {
	b := probe.AppendFrame(nil, part(probe.Text, false, payload))
	return append(b, bytes.Repeat(probe.AppendFrame(nil, part(probe.Continuation, false, payload)), n-1)...)
}

// W-18: what a quick client sends with its handshake is metered and comes first.
func TestEarlyFrames(t *testing.T) {
	serve, got := readings()
	s := serving(t, serve)
	early := append(probe.AppendFrame(nil, text("early")), probe.AppendFrame(nil, text("bird"))...)
	for cut := 0; cut <= len(early); cut += 3 {
		c := s.Raw()
		c.Send(append(freshHandshake(s.Issuer.Token("alice")).Bytes(), early[:cut]...))
		if r, err := c.Response(); err != nil || r.Status != 101 {
			t.Fatalf("%+v, %v", r, err)
		}
		c.Send(early[cut:])
		wantDelivered(t, got, "early", "bird")
		c.Close()
		next(t, got)
		if e := s.WaitEvent(wssecure.EventClosed); e.In.Bytes != int64(len(early)) || e.In.Messages != 2 {
			t.Errorf("cut at %d: %+v on the wire, want %d bytes", cut, e.In, len(early))
		}
	}
	c := s.Raw()
	c.Send(append(freshHandshake("").Bytes(), early...))
	if r, err := c.Response(); err != nil || r.Status != 401 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := c.AwaitEOF(hang); err != nil {
		t.Error(err)
	}
}

func deflateServer(t *testing.T, serve serveFunc) *wssecuretest.Server {
	return serving(t, serve, wssecure.AllowCompression())
}

func deflated(t *testing.T, s *wssecuretest.Server) *probe.Conn {
	t.Helper()
	r, c := wantAdmitted(t, s, freshHandshake(s.Issuer.Token("alice")).Set("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"))
	if e := r.Get("Sec-WebSocket-Extensions"); !strings.Contains(e, "server_no_context_takeover") || !strings.Contains(e, "client_no_context_takeover") {
		t.Errorf("H-28: answered %q", e)
	}
	return c
}

// deflate is the payload of a compressed message (RFC 7692, section 7.2.1).
func deflate(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write(p)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xFF, 0xFF})
}

func compressed(opcode byte, payload []byte) probe.Frame {
	return probe.Frame{FIN: true, RSV: 4, Opcode: opcode, Masked: true, Payload: payload}
}

func TestCompression(t *testing.T) {
	serve, got := readings()
	s := deflateServer(t, serve)
	// In 16 pieces: with the race detector it takes seconds to deflate all of it.
	piece := append(deflate(make([]byte, 4<<20)), 0, 0, 0xFF, 0xFF)
	bomb := bytes.TrimSuffix(bytes.Repeat(piece, 16), []byte{0, 0, 0xFF, 0xFF})
	if len(bomb) > 66_000 {
		t.Fatalf("the bomb is %d bytes", len(bomb))
	}
	t.Run("L-12 the limit, inflated", func(t *testing.T) {
		c := deflated(t, s)
		full := strings.Repeat("a", 65_536)
		send(t, c, compressed(probe.Text, deflate([]byte(full))), text("plain"))
		wantDelivered(t, got, full, "plain")
		send(t, c, compressed(probe.Text, deflate([]byte(full+"b"))))
		wantEnded(t, s, c, got, 1009, wssecure.ReasonMessageSize)
	})
	t.Run("L-12 a bomb", func(t *testing.T) {
		c := deflated(t, s)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		send(t, c, compressed(probe.Binary, bomb))
		wantEnded(t, s, c, got, 1009, wssecure.ReasonMessageSize)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%d KiB allocated", grown>>10)
		}
	})
	t.Run("L-12 a bomb in fragments", func(t *testing.T) {
		c := deflated(t, s)
		first := compressed(probe.Binary, bomb[:1000])
		first.FIN = false
		c.SendFrame(first)
		c.SendFrame(part(probe.Continuation, true, string(bomb[1000:])))
		wantEnded(t, s, c, got, 1009, wssecure.ReasonMessageSize)
	})
	// Each part is within all bounds, and none inflates to anything.
	t.Run("W7 blocks that inflate to nothing", func(t *testing.T) {
		c := deflated(t, s)
		empty := bytes.Repeat([]byte{0, 0, 0, 0xFF, 0xFF}, 200) // stored blocks of no bytes
		first := compressed(probe.Binary, empty)
		first.FIN = false
		frames := []probe.Frame{first}
		for range 70 {
			frames = append(frames, part(probe.Continuation, false, string(empty)))
		}
		send(t, c, frames...)
		wantEnded(t, s, c, got, 1009, wssecure.ReasonMessageSize)
	})
	t.Run("L-14 compressed text is checked inflated", func(t *testing.T) {
		c := deflated(t, s)
		send(t, c, compressed(probe.Text, deflate([]byte("a\xffb"))))
		wantEnded(t, s, c, got, 1007, wssecure.ReasonUTF8)
	})
	t.Run("W-36 declared wire bytes over the slack", func(t *testing.T) {
		c := deflated(t, s)
		send(t, c, probe.Frame{FIN: true, RSV: 4, Opcode: probe.Text, Masked: true, Length: new(uint64(65_536 + 1024 + 65))})
		wantEnded(t, s, c, got, 1009, wssecure.ReasonMessageSize)
	})
	t.Run("W-36 bytes that do not inflate", func(t *testing.T) {
		c := deflated(t, s)
		send(t, c, compressed(probe.Text, []byte{0xFF, 0xFF, 0xFF, 0xFF}))
		wantEnded(t, s, c, got, 1002, wssecure.ReasonProtocol)
	})
	t.Run("W-01 RSV1 on a continuation", func(t *testing.T) {
		c := deflated(t, s)
		send(t, c, part(probe.Text, false, "a"), compressed(probe.Continuation, nil))
		wantEnded(t, s, c, got, 1002, wssecure.ReasonProtocol)
	})
}

// A real client with compression, both ways.
func TestCompressionWithClient(t *testing.T) {
	s := deflateServer(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	header := http.Header{"Origin": {wssecuretest.Origin}, "Authorization": {"Bearer " + s.Issuer.Token("alice")}}
	c, r, err := websocket.Dial(ctx, "wss://"+wssecuretest.Host+"/ws", &websocket.DialOptions{
		HTTPClient: s.Client(), HTTPHeader: header, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil || r.Header.Get("Sec-WebSocket-Extensions") == "" {
		t.Fatalf("%v, %v", r, err)
	}
	defer c.CloseNow()
	message := []byte(strings.Repeat("compressible ", 3000))
	for range 3 {
		if err := c.Write(ctx, websocket.MessageText, message); err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(1 << 20)
		if _, p, err := c.Read(ctx); err != nil || !bytes.Equal(p, message) {
			t.Fatalf("%d bytes, %v", len(p), err)
		}
	}
	c.Close(websocket.StatusNormalClosure, "")
	if e := s.WaitEvent(wssecure.EventClosed); e.In.Bytes > int64(len(message)) || e.Out.Bytes > int64(len(message)) {
		t.Errorf("%d bytes in, %d out for 3 messages of %d: nothing was compressed", e.In.Bytes, e.Out.Bytes, len(message))
	}
}
