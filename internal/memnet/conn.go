package memnet

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn feeds the same bytes again and again, and swallows what is written. Without any, after so many times, or when it
// is over, the peer has gone.
type Conn struct {
	Feed  []byte
	Times int // 0 has no end
	Over  atomic.Bool

	at, fed int
}

func (c *Conn) Read(p []byte) (int, error) {
	if len(c.Feed) == 0 || c.Times > 0 && c.fed == c.Times || c.Over.Load() {
		return 0, io.EOF
	}
	n := copy(p, c.Feed[c.at:])
	if c.at += n; c.at == len(c.Feed) {
		c.at = 0
		c.fed++
	}
	return n, nil
}

func (c *Conn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *Conn) Close() error                     { return nil }
func (c *Conn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *Conn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *Conn) SetDeadline(time.Time) error      { return nil }
func (c *Conn) SetReadDeadline(time.Time) error  { return nil }
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// A SilentConn is a peer that says nothing until the connection is closed or its deadline is set.
type SilentConn struct {
	Conn
	once sync.Once
	gone chan struct{}
}

// NewSilentConn is one that is open.
func NewSilentConn() *SilentConn { return &SilentConn{gone: make(chan struct{})} }

func (c *SilentConn) Read([]byte) (int, error) {
	<-c.gone
	return 0, io.EOF
}

func (c *SilentConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return nil
}

func (c *SilentConn) SetReadDeadline(time.Time) error { return c.Close() }
func (c *SilentConn) SetDeadline(time.Time) error     { return c.Close() }

// Frames is so many messages of a client: binary, whole, masked, of zeros.
func Frames(size, n int) (all []byte) {
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
