package wssecure_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// callers is a listener of made-up connections.
type callers struct {
	calls chan func() (net.Conn, error)
	once  sync.Once
}

func newCallers() *callers { return &callers{calls: make(chan func() (net.Conn, error))} }

func (c *callers) Accept() (net.Conn, error) {
	call, ok := <-c.calls
	if !ok {
		return nil, net.ErrClosed
	}
	return call()
}

func (c *callers) Close() error { c.once.Do(func() { close(c.calls) }); return nil }

func (c *callers) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 443} }

// caller is a connection from an address, which it may take its time to tell.
type caller struct {
	net.Conn
	from net.Addr
	wait <-chan struct{}
}

func (c caller) RemoteAddr() net.Addr {
	if c.wait != nil {
		<-c.wait
	}
	return c.from
}

func tcp(ip string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 4711))
}

// call connects from an address and gives the client's end.
func (c *callers) call(from net.Addr, wait <-chan struct{}) net.Conn {
	near, far := net.Pipe()
	c.calls <- func() (net.Conn, error) { return caller{far, from, wait}, nil }
	return near
}

// served reports whether the server read from a caller.
func (c *callers) served(from string) bool {
	near := c.call(tcp(from), nil)
	defer near.Close()
	_, err := near.Write([]byte("hello"))
	return err == nil
}

// reading accepts until the end and reads from whatever comes.
func reading(l net.Listener) {
	for {
		c, err := l.Accept()
		var temporary interface{ Temporary() bool }
		if errors.As(err, &temporary) && temporary.Temporary() {
			continue
		}
		if err != nil {
			return
		}
		go io.Copy(io.Discard, c)
	}
}

// inListener runs f against a Listener over made-up connections, in fake time.
func inListener(t *testing.T, f func(t *testing.T, g *gate, c *callers), more ...wssecure.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(t, quiet, more...), newCallers()
		l := g.guard.Listener(c)
		go reading(g.guard.Listener(l)) // twice is once
		f(t, g, c)
		if l.Addr().String() != "203.0.113.1:443" {
			t.Errorf("Addr %s", l.Addr())
		}
		l.Close()
	})
}

func TestListenerInTime(t *testing.T) {
	const client = "203.0.113.9"
	t.Run("L-31 50 a second, 500 at once, one event a minute", func(t *testing.T) {
		inListener(t, func(t *testing.T, g *gate, c *callers) {
			for i := range 500 {
				if !c.served(client) {
					t.Fatalf("connection %d is refused", i+1)
				}
			}
			for range 100 {
				if c.served(client) {
					t.Fatal("a connection over the burst is served")
				}
			}
			if !c.served("203.0.113.10") {
				t.Error("the neighbour is refused")
			}
			synctest.Wait()
			if n := len(g.seen(wssecure.EventRefused)); n != 1 {
				t.Errorf("%d events of 100 refusals, want 1", n)
			}
			for i := range 100 {
				time.Sleep(20 * time.Millisecond)
				if !c.served(client) || c.served(client) {
					t.Fatalf("not 50 a second, step %d", i)
				}
			}
			time.Sleep(58 * time.Second)
			for range 500 {
				c.served(client)
			}
			c.served(client)
			synctest.Wait()
			seen := g.seen(wssecure.EventRefused)
			if len(seen) != 2 || seen[1].Count != 199 {
				t.Errorf("after a minute %+v, want a second event for 199 others", seen)
			}
			wantAccepts(t, g.guard, 0, 201)
			wantAnswer(t, g.knock(client), 101, "") // the budget of handshakes is another
		})
	})
	t.Run("L-31 IPv6 by /64, and by /48 with 16 times the rate", func(t *testing.T) {
		inListener(t, func(t *testing.T, g *gate, c *callers) {
			for network := range 16 {
				for host := range few {
					ip := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: byte(network), 15: byte(host)}).String()
					if !c.served(ip) {
						t.Fatalf("%s is refused", ip)
					}
				}
			}
			if c.served("2001:db8::ffff") {
				t.Error("a /64 has more than its budget")
			}
			for range few {
				if c.served("2001:db8:0:99::1") {
					t.Error("a /48 has more than 16 times the budget of a /64")
				}
			}
			time.Sleep(time.Hour) // what its /48 refused has cost the /64 nothing
			for range few {
				if !c.served("2001:db8:0:99::1") {
					t.Error("a /64 has paid for what its /48 refused")
				}
			}
			if !c.served("2001:db8:1::1") {
				t.Error("another /48 is refused")
			}
		}, scarce)
	})
	t.Run("L-31 zones, mapped and translated addresses are one client", func(t *testing.T) {
		inListener(t, func(t *testing.T, g *gate, c *callers) {
			for _, ip := range []string{client, "::ffff:" + client, "64:ff9b::cb00:7109"} {
				if !c.served(ip) {
					t.Fatalf("%s is refused", ip)
				}
			}
			if c.served(client) {
				t.Error("one client in three spellings has three budgets")
			}
		}, scarce)
	})
	t.Run("no address that takes its time holds up the next", func(t *testing.T) {
		inListener(t, func(t *testing.T, g *gate, c *callers) {
			ban(t, g.guard, client+"/32")
			known := make(chan struct{})
			slow := c.call(tcp(client), known)
			defer slow.Close()
			if !c.served("203.0.113.10") {
				t.Error("the next is not served")
			}
			close(known)
			if _, err := slow.Write([]byte("x")); err == nil {
				t.Error("a banned address is served once it is known")
			}
		})
	})
	t.Run("10,000 refusals and failing accepts end nothing", func(t *testing.T) {
		inListener(t, func(t *testing.T, g *gate, c *callers) {
			ban(t, g.guard, client+"/32")
			for i := range 10_000 {
				if c.served(client) {
					t.Fatal("a banned address is served")
				}
				if i%100 == 0 {
					c.calls <- func() (net.Conn, error) { return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE} }
				}
			}
			if !c.served("203.0.113.10") {
				t.Error("the next is not served")
			}
			wantAccepts(t, g.guard, 10_000, 0)
		})
	})
	t.Run("a peer without an IP address is handed on", func(t *testing.T) {
		inListener(t, func(t *testing.T, g *gate, c *callers) {
			for _, from := range []net.Addr{&net.UnixAddr{Name: "@", Net: "unix"}, nil, (*net.TCPAddr)(nil), &net.TCPAddr{}} {
				near := c.call(from, nil)
				if _, err := near.Write([]byte("x")); err != nil {
					t.Errorf("%v: %v", from, err)
				}
				near.Close()
			}
		}, scarce)
	})
}

// Errors of Accept and the end of the listener reach who accepts, as they are.
func TestListenerHandsErrorsOn(t *testing.T) {
	g, c := newGate(t, quiet), newCallers()
	l := g.guard.Listener(c)
	lost := errors.New("lost")
	go func() {
		c.calls <- func() (net.Conn, error) { return nil, lost }
		c.call(tcp("203.0.113.9"), nil).Close()
		l.Close()
	}()
	if _, err := l.Accept(); err != lost {
		t.Errorf("Accept gave %v, want the listener's own error", err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("after an error: %v", err)
	}
	if _, ok := conn.(interface{ NetConn() net.Conn }).NetConn().(caller); !ok {
		t.Errorf("NetConn is not what the listener gave")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// again is a listener that gives the same connection for ever.
type again struct{ net.Conn }

func (a again) Accept() (net.Conn, error) { return a.Conn, nil }

func (a again) Addr() net.Addr { return nil }

// A refusal allocates nothing but what wraps a connection of an unknown kind.
func TestListenerRefusalAllocates(t *testing.T) {
	g := newGate(t, quiet)
	ban(t, g.guard, "203.0.113.0/24")
	l := g.guard.Listener(again{caller{&memnet.Conn{}, tcp("203.0.113.9"), nil}})
	refuse := func() {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(nil); err == nil || err == io.EOF {
			t.Fatalf("not refused: %v", err)
		}
	}
	refuse() // the event of this minute
	if n := testing.AllocsPerRun(200, refuse); n > 1 {
		t.Errorf("a refusal costs %v allocations, want 1", n)
	}
}
