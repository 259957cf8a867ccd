package memnet

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"
)

// Pipes is a listener for fake time: its connections are pipes, so inside synctest.Test nothing but the bubble's clock moves
// them. A pipe holds no byte: a client that does not read blocks the server's Write at once.
type Pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewPipes makes a listener, which its server closes.
func NewPipes() *Pipes { return &Pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *Pipes) Addr() net.Addr { return pipeEnd{}.LocalAddr() }

// Dial connects from an IP address when the server accepts, and returns the client's end.
func (p *Pipes) Dial(ctx context.Context, from string) (net.Conn, error) {
	near, far := net.Pipe()
	c := &sender{Conn: near, queue: make(chan []byte, 4096), gone: make(chan struct{})}
	go c.run()
	select {
	case p.conns <- pipeEnd{far, from}:
		return c, nil
	case <-p.done:
		c.Close()
		return nil, net.ErrClosed
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
}

// pipeEnd is the server's end: a client is told by its address.
type pipeEnd struct {
	net.Conn
	client string
}

func (pipeEnd) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 80} }
func (e pipeEnd) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(e.client), Port: 4711}
}

// sender is a client's end that buffers what it sends, as a kernel would: two blocked writers of one pipe wait on a mutex,
// which stops a bubble's clock.
type sender struct {
	net.Conn
	queue chan []byte
	gone  chan struct{}
	once  sync.Once
}

func (s *sender) Write(b []byte) (int, error) {
	select {
	case s.queue <- bytes.Clone(b):
		return len(b), nil
	case <-s.gone:
		return 0, net.ErrClosed
	}
}

func (*sender) SetWriteDeadline(time.Time) error { return nil }

func (s *sender) run() {
	for {
		select {
		case b := <-s.queue:
			s.Conn.Write(b) // an error shows as the end
		case <-s.gone:
			return
		}
	}
}

func (s *sender) Close() error {
	s.once.Do(func() { close(s.gone) })
	return s.Conn.Close()
}
