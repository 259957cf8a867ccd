package wssecure_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// behindListener starts a server whose port is the guard's Listener.
func behindListener(t *testing.T, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options:  append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()}, more...),
		Listener: (*wssecure.Guard).Listener,
	})
	s.Issuer = issuer
	return s
}

// dialFrom connects from an address of loopback, and not over TLS yet.
func dialFrom(t *testing.T, addr, ip string) net.Conn {
	t.Helper()
	c, err := tryFrom(t, addr, ip)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryFrom(t *testing.T, addr, ip string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c, nil
}

// wantReset wants a connection cut by a reset before it has said or heard a
// word, which a quick kernel tells while it connects.
func wantReset(t *testing.T, addr, ip string) {
	t.Helper()
	c, err := tryFrom(t, addr, ip)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection gave %v, want a reset", err)
	}
}

func ban(t *testing.T, g *wssecure.Guard, network string) {
	t.Helper()
	if err := g.Ban(context.Background(), wssecure.Network(netip.MustParsePrefix(network)), time.Hour, "a test"); err != nil {
		t.Fatal(err)
	}
}

func wantAccepts(t *testing.T, g *wssecure.Guard, banned, rate uint64) {
	t.Helper()
	got := g.Stats().AcceptsRefused
	if got[wssecure.ReasonBanned] != banned || got[wssecure.ReasonRate] != rate {
		t.Errorf("Stats has %v, want %d banned and %d over the rate", got, banned, rate)
	}
}

const few = 3

// scarce admits few connections of an address, for the length of a test.
var scarce = wssecure.LimitAccepts(wssecure.Rate{N: 1, Per: time.Hour, Burst: few})

func TestListenerRefusesBeforeTLS(t *testing.T) {
	t.Run("L-31 L-48 a banned peer, a verified token in its hand", func(t *testing.T) {
		s := behindListener(t)
		token := s.Issuer.Token("alice")
		wantAdmitted(t, s, s.Handshake(token))
		ban(t, s.Guard, "127.0.0.1/32")
		for range 3 {
			wantReset(t, s.Addr, "127.0.0.1")
		}
		wantAccepts(t, s.Guard, 3, 0)
		e := s.WaitEvent(wssecure.EventRefused)
		if e.Reason != wssecure.ReasonBanned || e.Check != "accept" || e.Status != 0 || e.PeerIP.String() != "127.0.0.1" {
			t.Errorf("event %+v", e)
		}
		if n := s.Guard.Stats().Refused[wssecure.ReasonBanned]; n != 0 {
			t.Errorf("%d handshakes are counted, want connections alone", n)
		}
		c := s.RawFrom("127.0.0.2") // the neighbour
		if r := sendHandshake(t, c, freshHandshake(token)); r.Status != 101 {
			t.Errorf("the neighbour got %d", r.Status)
		}
		if err := s.Guard.Unban(context.Background(), wssecure.Network(netip.MustParsePrefix("127.0.0.1/32"))); err != nil {
			t.Fatal(err)
		}
		wantAdmitted(t, s, freshHandshake(token))
	})
	t.Run("L-31 banned for its failures", func(t *testing.T) {
		s := behindListener(t, wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}, time.Hour))
		for range 2 {
			r, _ := ask(t, s, freshHandshake(spoil(s.Issuer.Token("mallory"))))
			if r.Status != 401 {
				t.Fatalf("status %d", r.Status)
			}
		}
		s.WaitEvent(wssecure.EventBanned)
		wantReset(t, s.Addr, "127.0.0.1")
	})
	t.Run("L-31 over LimitAccepts", func(t *testing.T) {
		s := behindListener(t, scarce)
		for range few {
			wantAdmitted(t, s, freshHandshake(s.Issuer.Token("alice")))
		}
		for range 100 {
			wantReset(t, s.Addr, "127.0.0.1")
		}
		wantAccepts(t, s.Guard, 0, 100)
		e := s.WaitEvent(wssecure.EventRefused)
		if e.Reason != wssecure.ReasonRate || e.Hint == "" {
			t.Errorf("event %+v, want one with a hint: the address is private", e)
		}
		n := 0
		for _, e := range s.Events() {
			if e.Kind == wssecure.EventRefused {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d events, want one a minute", n)
		}
		if r := sendHandshake(t, s.RawFrom("127.0.0.2"), freshHandshake(s.Issuer.Token("alice"))); r.Status != 101 {
			t.Errorf("the neighbour got %d", r.Status)
		}
	})
	for name, exempt := range map[string]wssecure.Option{
		"L-31 TrustProxies":       wssecure.TrustProxies("X-Forwarded-For", "127.0.0.0/8"),
		"L-31 L-44 TrustNetworks": wssecure.TrustNetworks("probes", "127.0.0.0/8"),
	} {
		t.Run(name+" is exempt", func(t *testing.T) {
			s := behindListener(t, scarce, exempt)
			ban(t, s.Guard, "127.0.0.1/32")
			for range 4 * few {
				r, _ := ask(t, s, freshHandshake(""))
				if r.Status != 403 && r.Status != 401 {
					t.Errorf("status %d", r.Status)
				}
			}
			wantAccepts(t, s.Guard, 0, 0)
		})
	}
	t.Run("above TLS the connection stays a *tls.Conn", func(t *testing.T) {
		s := wssecuretest.NewFixture(t, scarce)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		above := s.Guard.Listener(tls.NewListener(l, &tls.Config{Certificates: ownCertificate(t)}))
		defer above.Close()
		for range few {
			dialFrom(t, l.Addr().String(), "127.0.0.1")
			c, err := above.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := c.(*tls.Conn); !ok {
				t.Errorf("Accept gave %T", c)
			}
			c.Close()
		}
		go above.Accept()
		wantReset(t, l.Addr().String(), "127.0.0.1")
	})
}

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

func (c *callers) Close() error   { c.once.Do(func() { close(c.calls) }); return nil }
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

// L-36: a unix socket passes the Listener, and the guard says what is missing.
func TestListenerOnAUnixSocket(t *testing.T) {
	g := newGate(t, quiet)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: g.serve}
	go srv.Serve(g.guard.Listener(l))
	defer srv.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r := sendHandshake(t, probe.New(c), freshHandshake("")); r.Status != 500 {
		t.Errorf("status %d, want 500", r.Status)
	}
}

// again is a listener that gives the same connection for ever.
type again struct{ net.Conn }

func (a again) Accept() (net.Conn, error) { return a.Conn, nil }
func (a again) Addr() net.Addr            { return nil }

// A refusal allocates nothing but what wraps a connection of an unknown kind.
func TestListenerRefusalAllocates(t *testing.T) {
	g := newGate(t, quiet)
	ban(t, g.guard, "203.0.113.0/24")
	l := g.guard.Listener(again{caller{&memConn{}, tcp("203.0.113.9"), nil}})
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

func TestServeUsesTheListenerOnRequest(t *testing.T) {
	for _, row := range []struct {
		name    string
		options []wssecure.Option
		refused uint64
	}{
		{"LimitAccepts", []wssecure.Option{scarce}, 1},
		{"nothing said", nil, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			guard, err := wssecure.New(append(row.options, wssecure.InsecureAllowAnonymous("a test"),
				wssecure.InsecureAllowPlaintext("a test"), wssecure.AllowOrigins(wssecuretest.Origin))...)
			if err != nil {
				t.Fatal(err)
			}
			addr := freeAddr(t)
			srv := &http.Server{Addr: addr, Handler: guard.ConnHandler(quiet)}
			guard.Harden(srv) // Serve does it again
			ended := make(chan error, 1)
			go func() { ended <- guard.Serve(t.Context(), srv) }()
			awaitPort(t, addr, "127.0.0.9")
			for range few {
				c := probe.New(dialFrom(t, addr, "127.0.0.1"))
				if r := sendHandshake(t, c, freshHandshake("")); r.Status != 101 {
					t.Fatalf("status %d", r.Status)
				}
			}
			if row.refused > 0 {
				wantReset(t, addr, "127.0.0.1")
			} else if r := sendHandshake(t, probe.New(dialFrom(t, addr, "127.0.0.1")), freshHandshake("")); r.Status != 101 {
				t.Errorf("the fourth connection: status %d", r.Status)
			}
			wantAccepts(t, guard, 0, row.refused)
			srv.Close()
			<-ended
		})
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitPort waits until a server listens.
func awaitPort(t *testing.T, addr, from string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if c, err := d.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	t.Fatal("no server on " + addr)
}

// A connection has no route yet.
func TestLimitAcceptsBelongsToNew(t *testing.T) {
	g := newGate(t, quiet)
	want := "LimitAccepts: cannot differ between routes; move it from With to New"
	if _, err := g.guard.With(scarce); err == nil || err.Error() != want {
		t.Errorf("With: %v, want %s", err, want)
	}
}
