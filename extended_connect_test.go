package wssecure_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// extendedConnect marks the second run of this test, in a process where net/http
// offers extended CONNECT: it looks at GODEBUG once, at its start.
const extendedConnect = "WSSECURE_TEST_EXTENDED_CONNECT"

func TestExtendedConnect(t *testing.T) {
	s := startBoth(t)
	if os.Getenv(extendedConnect) == "" {
		t.Run("H-29", func(t *testing.T) {
			c := dialHTTP2(t, s)
			if c.offered {
				t.Error("SETTINGS offers extended CONNECT")
			}
			if f := c.connect("/h", "websocket"); f.kind != rstStream {
				t.Errorf("frame of type %d, want RST_STREAM", f.kind)
			}
		})
		t.Run("H-30 in a process of its own", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			again := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestExtendedConnect$", "-test.v")
			again.Env = append(os.Environ(), "GODEBUG=http2xconnect=1", extendedConnect+"=1")
			out, err := again.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: TestExtendedConnect/H-30_websocket_/h")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
		return
	}
	for _, protocol := range []string{"websocket", "connect-udp"} {
		for _, path := range []string{"/h", "/c"} {
			t.Run("H-30 "+protocol+" "+path, func(t *testing.T) {
				c := dialHTTP2(t, s)
				if !c.offered {
					t.Fatal("SETTINGS does not offer extended CONNECT")
				}
				f := c.connect(path, protocol)
				// ":status" by one of its indices, 8 to 14, then "501" in Huffman code: RFC 7541.
				if f.kind != headersFrame || f.payload[0]&^7 != 0x48 || !bytes.HasPrefix(f.payload[1:], []byte{0x82, 0x6c, 0x01}) {
					t.Errorf("frame of type %d, %x; want HEADERS with status 501", f.kind, f.payload)
				}
				e := s.WaitEvent(wssecure.EventRefused)
				if e.Reason != wssecure.ReasonHTTPVersion || e.Status != 501 {
					t.Errorf("event %s %d", e.Reason, e.Status)
				}
			})
		}
	}
}

// Frame types of RFC 9113 section 6.
const (
	headersFrame  = 1
	rstStream     = 3
	settingsFrame = 4
)

type frame2 struct {
	kind    byte
	stream  uint32
	payload []byte
}

// conn2 is the least HTTP/2 client that can send an extended CONNECT: net/http's
// own does so only when the server has offered it.
type conn2 struct {
	t       *testing.T
	nc      net.Conn
	offered bool // SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441
}

func dialHTTP2(t *testing.T, s *wssecuretest.Server) *conn2 {
	t.Helper()
	nc, err := tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: s.CertPool, ServerName: wssecuretest.Host, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &conn2{t: t, nc: nc}
	c.write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	c.writeFrame(settingsFrame, 0, 0, nil)
	f := c.until(settingsFrame)
	for p := f.payload; len(p) >= 6; p = p[6:] {
		if binary.BigEndian.Uint16(p) == 8 && binary.BigEndian.Uint32(p[2:]) == 1 {
			c.offered = true
		}
	}
	return c
}

// connect opens stream 1 and returns what the server says of it.
func (c *conn2) connect(path, protocol string) frame2 {
	c.t.Helper()
	var block []byte
	for _, field := range [][2]string{
		{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "https"}, {":path", path}, {":authority", wssecuretest.Host},
		{"origin", wssecuretest.Origin}, {"sec-websocket-version", "13"},
	} {
		// A literal without indexing and without Huffman code.
		block = append(block, 0, byte(len(field[0])))
		block = append(block, field[0]...)
		block = append(block, byte(len(field[1])))
		block = append(block, field[1]...)
	}
	const endHeaders = 4
	c.writeFrame(headersFrame, endHeaders, 1, block)
	return c.until(headersFrame, rstStream)
}

func (c *conn2) write(p []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(p); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conn2) writeFrame(kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	head := []byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	head = binary.BigEndian.AppendUint32(head, stream)
	c.write(append(head, payload...))
}

// until reads up to the first frame of one of the kinds.
func (c *conn2) until(kinds ...byte) frame2 {
	c.t.Helper()
	for range 100 {
		var head [9]byte
		if _, err := io.ReadFull(c.nc, head[:]); err != nil {
			c.t.Fatalf("before a frame of %v: %v", kinds, err)
		}
		f := frame2{kind: head[3], stream: binary.BigEndian.Uint32(head[5:])}
		f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c.nc, f.payload); err != nil {
			c.t.Fatal(err)
		}
		if bytes.IndexByte(kinds, f.kind) >= 0 {
			return f
		}
	}
	c.t.Fatal(errors.New("a hundred frames of other kinds"))
	return frame2{}
}
