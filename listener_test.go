package wssecure_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
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
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(hang))
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
		s := wssecuretest.NewServer(t, scarce)
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

// A connection has no route yet.
func TestLimitAcceptsBelongsToNew(t *testing.T) {
	g := newGate(t, quiet)
	want := "LimitAccepts: cannot differ between routes; move it from With to New"
	if _, err := g.guard.With(scarce); err == nil || err.Error() != want {
		t.Errorf("With: %v, want %s", err, want)
	}
}
