package wssecure_test

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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// This file is a server without a network: what is measured on it is what the
// guard and the library cost, and nothing of net/http or the kernel.

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
// Without frames, or when it is over, the peer has gone.
type memConn struct {
	feed []byte
	at   int
	over atomic.Bool
}

func (c *memConn) Read(p []byte) (int, error) {
	if len(c.feed) == 0 || c.over.Load() {
		return 0, io.EOF
	}
	n := copy(p, c.feed[c.at:])
	if c.at += n; c.at == len(c.feed) {
		c.at = 0
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

// silentConn is a peer that says nothing until the connection is closed or its
// deadline is set.
type silentConn struct {
	memConn
	once sync.Once
	gone chan struct{}
}

func newSilentConn() *silentConn { return &silentConn{gone: make(chan struct{})} }

func (c *silentConn) Read([]byte) (int, error) {
	<-c.gone
	return 0, io.EOF
}

func (c *silentConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return nil
}

func (c *silentConn) SetReadDeadline(time.Time) error { return c.Close() }
func (c *silentConn) SetDeadline(time.Time) error     { return c.Close() }

// memFrame is one message of a client: binary, whole, masked.
func memFrame(size int) []byte {
	f := []byte{0x82}
	switch {
	case size < 126:
		f = append(f, 0x80|byte(size))
	case size < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(size))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(size))
	}
	f = append(f, 0x12, 0x34, 0x56, 0x78)
	return append(f, make([]byte, size)...)
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

// memLogger is a logger that drops everything, and tells when it is asked about a
// session's end: the last thing that the guard does for one.
type memLogger struct {
	slog.Handler
	ended chan struct{}
}

func (d memLogger) Enabled(_ context.Context, level slog.Level) bool {
	if d.ended != nil && level == slog.LevelDebug {
		d.ended <- struct{}{}
	}
	return false
}

// lots is a rate that does not hold up a benchmark.
var lots = wssecure.Rate{N: 1_000_000_000, Per: time.Millisecond, Burst: 1_000_000_000}

// fastHandshakes is for those that are not about the rate of handshakes.
var fastHandshakes = wssecure.LimitHandshakes(wssecure.ByIP(), lots)

// memGuard is a guard as in the package's first example, with the limits of its
// sessions raised, and a token that it has not seen yet.
func memGuard(tb testing.TB, log memLogger, more ...wssecure.Option) (*wssecure.Guard, string) {
	tb.Helper()
	issuer := wssecuretest.NewIssuer(tb, "https://id.example.com")
	options := append([]wssecure.Option{
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(issuer.JWKS(), "https://id.example.com", wssecuretest.Audience)),
		wssecure.InsecureAllowPlaintext("measured without a network"),
		wssecure.LimitConns(wssecure.BySubject(), 10_000),
		wssecure.LimitSession(wssecure.Limits{Messages: lots, Bytes: lots}),
		wssecure.SetLogger(slog.New(log)),
	}, more...)
	g, err := wssecure.New(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { // nothing of one test runs in the next
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = g.Shutdown(ctx)
	})
	claims := issuer.Claims("alice", map[string]any{
		"sid": "f2a9e6d0c4f0c", "scope": "openid profile ws:read ws:write", "client_id": "web", "name": "Alice Example",
		"email": "alice@example.com", "roles": []string{"user", "editor"}, "acr": "mfa", "amr": []string{"pwd", "otp"},
	})
	return g, issuer.Sign("RS256", claims)
}
