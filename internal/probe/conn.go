package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// DefaultTimeout bounds every single step of a Conn: against a peer that hangs, not one on a busy machine.
const DefaultTimeout = time.Minute

// A Conn is one raw connection. It is for one goroutine that reads and one that writes.
type Conn struct {
	Timeout time.Duration // of each step; set by Dial and New

	nc net.Conn
	br *bufio.Reader
}

// Dial connects to addr, over TLS unless tlsConfig is nil, from localAddr unless that is empty. localAddr is an IP
// address without a port: on loopback every 127.x.y.z is a client of its own.
func Dial(ctx context.Context, addr string, tlsConfig *tls.Config, localAddr string) (*Conn, error) {
	return DialTimeout(ctx, addr, tlsConfig, localAddr, DefaultTimeout)
}

// DialTimeout is Dial with another bound for connecting, TLS included, and for every step after it.
func DialTimeout(ctx context.Context, addr string, tlsConfig *tls.Config, localAddr string, timeout time.Duration) (*Conn, error) {
	c, err := dial(ctx, addr, tlsConfig, localAddr, timeout)
	if err != nil {
		return nil, err
	}
	c.Timeout = timeout
	return c, nil
}

func dial(ctx context.Context, addr string, tlsConfig *tls.Config, localAddr string, timeout time.Duration) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	if localAddr != "" {
		ip := net.ParseIP(localAddr)
		if ip == nil {
			return nil, fmt.Errorf("probe: local address %q is no IP address", localAddr)
		}
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if tlsConfig == nil {
		return New(nc), nil
	}
	if tlsConfig.ServerName == "" && !tlsConfig.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			nc.Close()
			return nil, err
		}
		tlsConfig = tlsConfig.Clone()
		tlsConfig.ServerName = host
	}
	tc := tls.Client(nc, tlsConfig)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return New(tc), nil
}

// New makes a Conn of a connection that is already there.
func New(nc net.Conn) *Conn {
	return &Conn{Timeout: DefaultTimeout, nc: nc, br: bufio.NewReader(nc)}
}

// NetConn is the connection below, for what a Conn does not do: half-closing, resetting, TLS state.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Close ends the connection without a close frame.
func (c *Conn) Close() error { return c.nc.Close() }

// Send writes b.
func (c *Conn) Send(b []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(b)
	return err
}

// SendSplit writes b in pieces of the given sizes, each with a Write of its own. The last size repeats until b is out,
// so a single 1 sends byte by byte; sizes below 1 are passed over.
func (c *Conn) SendSplit(b []byte, sizes ...int) error {
	last := len(b)
	for _, size := range sizes {
		if size < 1 {
			continue
		}
		last = size
		if len(b) == 0 {
			return nil
		}
		n := min(size, len(b))
		if err := c.Send(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	for len(b) > 0 {
		n := min(last, len(b))
		if err := c.Send(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// AwaitEOF discards what comes and returns nil once the peer has closed or reset the connection, or an error when d
// has passed first.
func (c *Conn) AwaitEOF(d time.Duration) error {
	if err := c.nc.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	for {
		_, err := c.br.Discard(1)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("probe: still open after %v", d)
		case errors.Is(err, net.ErrClosed):
			return err // ours, not the peer's
		default:
			return nil
		}
	}
}

// startRead sets the deadline of one step.
func (c *Conn) startRead() error { return c.nc.SetReadDeadline(time.Now().Add(c.Timeout)) }
