package attack_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
)

// This file is targets in fake time: what an attack judges by the clock is tested where no machine is slow.

// inFakeTime is a test in a bubble of its own.
func inFakeTime(test func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, test) }
}

// served is a target whose handler answers as a test wants; its connections are pipes.
func served(t *testing.T, handler http.HandlerFunc) *attack.Target {
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return &attack.Target{URL: "ws://127.0.0.1/ws", Origin: "https://app.example.com", Dial: l.dial}
}

// pipes is a listener.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (l *pipes) dial(ctx context.Context, local string) (net.Conn, error) {
	near, far := net.Pipe()
	c := &client{Conn: near, queue: make(chan []byte, 4096), gone: make(chan struct{})}
	go c.send()
	if local == "" {
		local = "127.0.0.1"
	}
	select {
	case l.conns <- from{far, local}:
		return c, nil
	case <-l.done:
		c.Close()
		return nil, net.ErrClosed
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
}

// from is the server's end, which tells clients by their addresses.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.addr), Port: 4711} }

// client is a client's end that buffers what it sends, as a kernel does: two writers of one pipe would wait for each other on
// a mutex, which stops the clock of a bubble.
type client struct {
	net.Conn
	queue chan []byte
	gone  chan struct{}
	once  sync.Once
}

func (c *client) Write(p []byte) (int, error) {
	select {
	case c.queue <- bytes.Clone(p):
		return len(p), nil
	case <-c.gone:
		return 0, net.ErrClosed
	}
}

func (*client) SetWriteDeadline(time.Time) error { return nil }

func (c *client) send() {
	for {
		select {
		case p := <-c.queue:
			c.Conn.Write(p) // an error shows as the end
		case <-c.gone:
			return
		}
	}
}

func (c *client) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}
