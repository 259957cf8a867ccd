package benchmarks

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// This file is a server without a network: what is measured on it is what a
// library costs, and nothing of net/http or the kernel.

// memWriter is a ResponseWriter whose answers cost nothing but their headers.
type memWriter struct {
	header http.Header
	conn   net.Conn
	brw    *bufio.ReadWriter
	status int
}

func newMemWriter(conn net.Conn) *memWriter {
	return &memWriter{conn: conn, header: http.Header{}, brw: bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))}
}

func (w *memWriter) Header() http.Header              { return w.header }
func (w *memWriter) Write(b []byte) (int, error)      { return len(b), nil }
func (w *memWriter) WriteHeader(status int)           { w.status = status }
func (w *memWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *memWriter) SetWriteDeadline(time.Time) error { return nil }

func (w *memWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.conn, w.brw, nil }

// again makes w the writer of a next request: a fresh header map, and the
// buffers that net/http would take from its pools.
func (w *memWriter) again() *memWriter {
	w.header, w.status = make(http.Header), 0
	w.brw.Reader.Reset(w.conn)
	w.brw.Writer.Reset(w.conn)
	return w
}

// memConn feeds the same frames again and again, and swallows what is written.
// After so many times, at once without frames, and when it is over, the peer has
// gone.
type memConn struct {
	feed  []byte
	at    int
	times int
	over  atomic.Bool
}

func (c *memConn) Read(p []byte) (int, error) {
	if len(c.feed) == 0 || c.times == 0 || c.over.Load() {
		return 0, io.EOF
	}
	n := copy(p, c.feed[c.at:])
	if c.at += n; c.at == len(c.feed) {
		c.at = 0
		c.times--
	}
	return n, nil
}

func (c *memConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *memConn) Close() error                     { return nil }
func (c *memConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memConn) SetDeadline(time.Time) error      { return nil }
func (c *memConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

// sizes of messages.
var sizes = []struct {
	name string
	n    int
}{{"64 B", 64}, {"1 KiB", 1 << 10}, {"64 KiB", 64 << 10}}

// frames is so many messages of a client: binary, whole, masked.
func frames(size, n int) []byte {
	var all []byte
	for range n {
		all = append(all, 0x82)
		switch {
		case size < 126:
			all = append(all, 0x80|byte(size))
		case size < 1<<16:
			all = binary.BigEndian.AppendUint16(append(all, 0x80|126), uint16(size))
		default:
			all = binary.BigEndian.AppendUint64(append(all, 0x80|127), uint64(size))
		}
		all = append(all, 0x12, 0x34, 0x56, 0x78)
		all = append(all, make([]byte, size)...)
	}
	return all
}

// memRequest is a browser's handshake, with a token of a provider's usual size.
func memRequest(token string) *http.Request {
	h := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"keep-alive, Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
		"Origin": {"https://app.example.com"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"Accept-Language": {"en"}, "Cache-Control": {"no-cache"}, "Pragma": {"no-cache"},
	}
	if token != "" {
		h["Authorization"] = []string{"Bearer " + token}
	}
	return &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/ws"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Host: "app.example.com", RemoteAddr: "203.0.113.9:50123",
	}
}

// memNonces gives each handshake a Sec-WebSocket-Key of its own.
type memNonces struct{ n uint64 }

func (n *memNonces) set(r *http.Request) {
	var key [16]byte
	n.n++
	binary.LittleEndian.PutUint64(key[:], n.n)
	r.Header["Sec-Websocket-Key"][0] = base64.StdEncoding.EncodeToString(key[:])
}

// deafLog drops everything, and tells when it is asked about a session's end:
// the last thing that the guard does for one.
type deafLog struct {
	slog.Handler
	ended chan struct{}
}

func (d deafLog) Enabled(_ context.Context, level slog.Level) bool {
	if d.ended != nil && level == slog.LevelDebug {
		d.ended <- struct{}{}
	}
	return false
}
