package interop_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

func messageTypes(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a, wssecure.AllowMessageTypes(wssecure.MessageText))
	c := r.open(t)
	wantEcho(t, c, "text")
	send(t, c, probe.Message(probe.Binary, []byte("binary")))
	wantClose(t, c, 1003, "message-type")
	r.wantClosedEvent(t, wssecure.ReasonMessageType, 1003, wssecure.ByGuard)
	wantServed(t, a)
	r.wantAllBack(t)
}

// deflated: the library's own head says whether frames may be compressed.
func deflated(t *testing.T, st stack) {
	a := newApp()
	a.compress = true
	r := behind(t, st, a, wssecure.AllowCompression())
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	c, answer, err := coder.Dial(ctx, "wss://"+wssecuretest.Host+"/ws", &coder.DialOptions{
		HTTPClient:      r.Client(),
		HTTPHeader:      http.Header{"Origin": {wssecuretest.Origin}, "Authorization": {"Bearer " + r.issuer.Token(user)}},
		CompressionMode: coder.CompressionNoContextTakeover, CompressionThreshold: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	extension := answer.Header.Get("Sec-WebSocket-Extensions")
	if st.name == "gobwas" { // whose compression is the application's to program
		if extension != "" {
			t.Errorf("extension %q", extension)
		}
	} else if !strings.Contains(extension, "server_no_context_takeover") || !strings.Contains(extension, "client_no_context_takeover") {
		t.Errorf("extension %q, want permessage-deflate without context takeover", extension)
	}
	c.SetReadLimit(1 << 20)
	want := bytes.Repeat([]byte("compressible "), 8_000)
	for range 3 {
		if err := c.Write(ctx, coder.MessageText, want); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if err := c.Close(coder.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	e := r.wantClosedEvent(t, wssecure.ReasonPeer, 1000, wssecure.ByPeer)
	if small := e.In.Bytes < 10_000 && e.Out.Bytes < 10_000; small != (extension != "") {
		t.Errorf("%d bytes in, %d out, extension %q", e.In.Bytes, e.Out.Bytes, extension)
	}
	if e.In.Messages != 3 || e.Out.Messages != 3 {
		t.Errorf("%d messages in, %d out; want 3 and 3", e.In.Messages, e.Out.Messages)
	}
	r.wantAllBack(t)
}

// endsAmidFlood: the wire's own frames stand between frames of the library, not
// in them, while it writes without pause.
func endsAmidFlood(t *testing.T, st stack) {
	a := newApp()
	r := behind(t, st, a, wssecure.SetPing(time.Second))
	c := r.open(t)
	sendText(t, c, wordFlood)
	id := r.WaitEvent(wssecure.EventOpened).SessionID
	ended := make(chan error, 1)
	messages := 0
	for pinged := false; ; {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("behind %d messages: %v", messages, err)
		}
		switch f.Opcode {
		case probe.Ping:
			if send(t, c, probe.Message(probe.Pong, f.Payload)); !pinged {
				pinged = true
				go func() {
					_, err := r.Guard.Revoke(context.Background(), wssecure.SessionID(id), "enough")
					ended <- err
				}()
			}
			continue
		case probe.Close:
			if !pinged || string(f.Payload) != "\x0b\xb8revoked" {
				t.Errorf("close frame %q, pinged %v", f.Payload, pinged)
			}
		case probe.Binary:
			if !f.FIN || f.Masked || !bytes.Equal(f.Payload, floodMessage) {
				t.Fatalf("message %d is torn: %d bytes %.40q", messages, len(f.Payload), f.Payload)
			}
			messages++
			continue
		default:
			t.Fatalf("opcode %d behind %d messages", f.Opcode, messages)
		}
		break
	}
	if err := <-ended; err != nil || messages == 0 {
		t.Errorf("Revoke: %v, %d messages", err, messages)
	}
	_ = c.Send(probe.CloseFrame(3000, "")) // may meet a connection that is cut
	if err := c.AwaitEOF(hang); err != nil {
		t.Error(err)
	}
	e := r.wantClosedEvent(t, wssecure.ReasonRevoked, 3000, wssecure.ByGuard)
	if e.Out.Messages != int64(messages) {
		t.Errorf("%d messages in the event, %d received", e.Out.Messages, messages)
	}
	wantServed(t, a)
	r.wantAllBack(t)
}

// TestHandlerThatReturns: as in gorilla's own chat, the handler starts goroutines
// and returns; the session goes on.
func TestHandlerThatReturns(t *testing.T) {
	returned := make(chan *wssecure.Session, 10)
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := gorilla.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
			c, err := u.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				defer c.Close()
				for {
					op, b, err := c.ReadMessage()
					if err != nil {
						return
					}
					if err := c.WriteMessage(op, b); err != nil {
						return
					}
				}
			}()
			s, _ := wssecure.SessionFrom(r.Context())
			returned <- s
		}))
	})
	c := r.open(t)
	s := <-returned
	for range 3 {
		wantEcho(t, c, "still here")
	}
	if s.Context().Err() != nil {
		t.Error("the session's context ended with the handler")
	}
	if n, err := r.Guard.Revoke(t.Context(), wssecure.SessionID(s.ID()), "test"); n != 1 || err != nil {
		t.Errorf("Revoke: %d, %v", n, err)
	}
	if s.Context().Err() == nil {
		t.Error("the session's context has not ended with it")
	}
	wantClose(t, c, 3000, "revoked")
	r.wantClosedEvent(t, wssecure.ReasonRevoked, 3000, wssecure.ByGuard)
	r.wantAllBack(t)
}
