package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// The load balancer of the tests, and somebody who is none.
const (
	upstream = "127.0.0.10"
	stranger = "127.0.0.66"
)

func start(t *testing.T, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: append([]wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), wssecure.SetLogger(slog.New(slog.DiscardHandler)),
		}, more...),
		Listener: func(g *wssecure.Guard, port net.Listener) net.Listener {
			l, err := listen(g, port, []string{upstream + "/32"})
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
	})
	s.Issuer = issuer
	return s
}

// header is what a load balancer sends before the client's bytes; version 0 is none.
func header(t *testing.T, version byte, client string) []byte {
	t.Helper()
	if version == 0 {
		return nil
	}
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(client), 4711))
	to := &net.TCPAddr{IP: net.ParseIP("203.0.113.1"), Port: 443}
	if from.IP.To4() == nil {
		to.IP = net.ParseIP("2001:db8::1")
	}
	b, err := proxyproto.HeaderProxyFromAddrs(version, from, to).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dial connects from an address, sends first and begins TLS behind it.
func dial(t *testing.T, s *wssecuretest.Server, from string, first []byte) (*tls.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Minute}
	c, err := d.Dial("tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(first); err != nil {
		return nil, err
	}
	secure := tls.Client(c, &tls.Config{RootCAs: s.CertPool, ServerName: wssecuretest.Host})
	return secure, secure.Handshake()
}

func knock(t *testing.T, s *wssecuretest.Server, from string, first []byte, lines ...string) (int, error) {
	t.Helper()
	secure, err := dial(t, s, from, first)
	if err != nil {
		return 0, err
	}
	c := probe.New(secure)
	hs := s.Handshake(s.Issuer.Token("alice")).Set("Sec-WebSocket-Key", rand.Text()[:21]+"A==")
	for _, line := range lines {
		hs.Add(line)
	}
	if err := c.Send(hs.Bytes()); err != nil {
		return 0, err
	}
	r, err := c.Response()
	if err != nil {
		return 0, err
	}
	return r.Status, nil
}

func TestClientIsWhoTheHeaderNames(t *testing.T) {
	for _, row := range []struct {
		name    string
		version byte
		client  string
	}{
		{"version 1, IPv4", 1, "198.51.100.7"},
		{"version 1, IPv6", 1, "2001:db8::7"},
		{"version 2, IPv4", 2, "198.51.100.7"},
		{"version 2, IPv6", 2, "2001:db8::7"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := start(t)
			// What HTTP says of the client is nobody's word.
			status, err := knock(t, s, upstream, header(t, row.version, row.client), "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1")
			if err != nil || status != 101 {
				t.Fatalf("status %d, %v", status, err)
			}
			if e := s.WaitEvent(wssecure.EventOpened); e.ClientIP.String() != row.client || e.PeerIP.String() != row.client {
				t.Errorf("client %s, peer %s; want %s", e.ClientIP, e.PeerIP, row.client)
			}
		})
	}
}

func TestRefusedBeforeTLS(t *testing.T) {
	s := start(t, wssecure.LimitAccepts(wssecure.Rate{N: 1, Per: time.Hour, Burst: 2}))
	refused := func(name, from string, first []byte) {
		t.Helper()
		if status, err := knock(t, s, from, first); err == nil {
			t.Errorf("%s: status %d, want no TLS", name, status)
		}
	}
	refused("a spoofed header, version 1", stranger, header(t, 1, "198.51.100.7"))
	refused("a spoofed header, version 2", stranger, header(t, 2, "198.51.100.7"))
	refused("no upstream and no header", stranger, nil)
	refused("an upstream without a header", upstream, nil)
	refused("half a header", upstream, []byte("PROXY TCP4 198.51.100.7\r\n"))
	for _, version := range []byte{1, 2} {
		if status, err := knock(t, s, upstream, header(t, version, "198.51.100.7")); status != 101 {
			t.Fatalf("status %d, %v", status, err)
		}
	}
	refused("a client over LimitAccepts", upstream, header(t, 2, "198.51.100.7"))
	if status, err := knock(t, s, upstream, header(t, 2, "198.51.100.8")); status != 101 {
		t.Errorf("another client of the same upstream: status %d, %v", status, err)
	}
	banned := wssecure.Network(netip.MustParsePrefix("198.51.100.9/32"))
	if err := s.Guard.Ban(context.Background(), banned, time.Hour, "a test"); err != nil {
		t.Fatal(err)
	}
	refused("a banned client", upstream, header(t, 1, "198.51.100.9"))
	got := s.Guard.Stats().AcceptsRefused
	if got[wssecure.ReasonRate] != 1 || got[wssecure.ReasonBanned] != 1 {
		t.Errorf("Stats has %v, want one for each reason", got)
	}
}

// Whoever connects and sends no header must not hold up the clients behind it.
func TestSilenceHoldsUpNobody(t *testing.T) {
	s := start(t)
	for range 20 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(upstream)}}
		c, err := d.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	began := time.Now()
	if status, err := knock(t, s, upstream, header(t, 2, "198.51.100.7")); status != 101 {
		t.Fatalf("status %d, %v", status, err)
	}
	if took := time.Since(began); took > time.Minute { // twenty silent ones, five seconds each
		t.Errorf("served after %s, behind silent peers", took)
	}
}
