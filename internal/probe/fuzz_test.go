package probe_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// recorded is a peer that has sent everything already.
type recorded struct {
	net.Conn
	r *bytes.Reader
}

func (c recorded) Read(p []byte) (int, error)      { return c.r.Read(p) }
func (c recorded) SetReadDeadline(time.Time) error { return nil }

// A scanner reads what hostile servers send.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
		"HTTP/1.1 403 No\nA: b\n folded\n\nbody",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := probe.New(recorded{r: bytes.NewReader(wire)})
		r, err := c.Response()
		if err != nil {
			return
		}
		if len(r.Body) > len(wire) || len(r.Header) > len(wire) {
			t.Fatalf("%d bytes became %d", len(wire), len(r.Body))
		}
		for range len(wire) + 1 {
			if _, err := c.ReadFrame(); err != nil {
				return
			}
		}
		t.Fatal("more frames than bytes")
	})
}

// What AppendFrame writes with a true length, ReadFrame reads back.
func FuzzFrame(f *testing.F) {
	f.Add(true, byte(0), probe.Text, true, []byte("Hello"))
	f.Add(false, byte(7), byte(0xF), false, bytes.Repeat([]byte{1}, 126))
	f.Fuzz(func(t *testing.T, fin bool, rsv, opcode byte, masked bool, payload []byte) {
		sent := probe.Frame{FIN: fin, RSV: rsv & 7, Opcode: opcode & 0xF, Masked: masked, Payload: payload}
		c := probe.New(recorded{r: bytes.NewReader(probe.AppendFrame(nil, sent))})
		got, err := c.ReadFrame()
		if err != nil || got.FIN != fin || got.RSV != sent.RSV || got.Opcode != sent.Opcode || got.Masked != masked || !bytes.Equal(got.Payload, payload) {
			t.Fatalf("sent %+v, got %+v, %v", sent, got, err)
		}
	})
}
