// Package memnet is a server without a network, for tests and benchmarks: what is measured on it is what a guard and its
// library cost, and nothing of net/http or the kernel.
package memnet

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A Writer is a ResponseWriter whose answers cost nothing but their headers.
type Writer struct {
	Status int // 0 until one is written

	header http.Header
	conn   net.Conn
	brw    *bufio.ReadWriter
}

// NewWriter is one whose Hijack gives conn.
func NewWriter(conn net.Conn) *Writer {
	return &Writer{conn: conn, header: http.Header{}, brw: bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))}
}

func (w *Writer) Header() http.Header              { return w.header }
func (w *Writer) Write(b []byte) (int, error)      { return len(b), nil }
func (w *Writer) WriteHeader(status int)           { w.Status = status }
func (w *Writer) SetReadDeadline(time.Time) error  { return nil }
func (w *Writer) SetWriteDeadline(time.Time) error { return nil }

func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.conn, w.brw, nil }

// Again makes w the writer of a next request: a fresh header map, and the buffers that net/http would take from its pools.
func (w *Writer) Again() *Writer {
	w.header, w.Status = make(http.Header), 0
	w.brw.Reader.Reset(w.conn)
	w.brw.Writer.Reset(w.conn)
	return w
}

// Request is a browser's handshake with https://app.example.com, with a Bearer token unless it is empty.
func Request(token string) *http.Request {
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

// Claims are as many as a provider puts into a token, beside those that every token needs.
func Claims() map[string]any {
	return map[string]any{
		"sid": "f2a9e6d0c4f0c", "scope": "openid profile ws:read ws:write", "client_id": "web", "name": "Alice Example",
		"email": "alice@example.com", "roles": []string{"user", "editor"}, "acr": "mfa", "amr": []string{"pwd", "otp"},
	}
}

// Nonces gives each handshake a Sec-WebSocket-Key of its own.
type Nonces struct{ Last uint64 } // who starts far from another meets none of its keys

// Set puts the next key into r, which must have one.
func (n *Nonces) Set(r *http.Request) {
	var key [16]byte
	n.Last++
	binary.LittleEndian.PutUint64(key[:], n.Last)
	r.Header["Sec-Websocket-Key"][0] = base64.StdEncoding.EncodeToString(key[:])
}

// A DeafLog drops everything, and tells Ended when it is asked about a session's end: the last thing that the guard does
// for one.
type DeafLog struct {
	slog.Handler // nil: nothing is ever handled
	Ended        chan struct{}
}

// Enabled is never.
func (d DeafLog) Enabled(_ context.Context, level slog.Level) bool {
	if d.Ended != nil && level == slog.LevelDebug {
		d.Ended <- struct{}{}
	}
	return false
}
