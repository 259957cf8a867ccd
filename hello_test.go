package wssecure_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A server without Listener refuses the banned at their ClientHello.
func TestBannedClientHello(t *testing.T) {
	everybody := wssecure.Network(netip.MustParsePrefix("127.0.0.0/8"))
	failing := wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}, time.Hour)
	fail := func(s *wssecuretest.Server) {
		for range 2 {
			ask(t, s, freshHandshake(spoil(s.Issuer.Token("mallory"))))
		}
		s.WaitEvent(wssecure.EventBanned)
	}
	t.Run("Harden, by the operator", func(t *testing.T) {
		s := wssecuretest.NewServer(t, scarce)
		for range 4 * few { // no accept is counted here
			if _, err := dialTLS(s, nil); err != nil {
				t.Fatal(err)
			}
		}
		ban(t, s.Guard, "127.0.0.0/8")
		for range 2 {
			_, err := dialTLS(s, nil)
			wantAlert(t, err, "internal error")
		}
		wantAccepts(t, s.Guard, 2, 0)
		if e := s.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonBanned || e.Check != "accept" {
			t.Errorf("event %+v", e)
		}
		if err := s.Guard.Unban(context.Background(), everybody); err != nil {
			t.Fatal(err)
		}
		wantAdmitted(t, s, freshHandshake(s.Issuer.Token("alice")))
	})
	t.Run("Harden, with a shared store", func(t *testing.T) {
		s := wssecuretest.NewServer(t, wssecure.SetStore(storetest.NewFaulty(store.NewMemory())))
		ban(t, s.Guard, "127.0.0.0/8")
		for range 2 {
			_, err := dialTLS(s, nil)
			wantAlert(t, err, "internal error")
		}
		wantAccepts(t, s.Guard, 2, 0)
	})
	t.Run("Harden, of a network that is revoked as well", func(t *testing.T) {
		s := wssecuretest.NewServer(t)
		ban(t, s.Guard, "127.0.0.0/8")
		if _, err := s.Guard.Revoke(context.Background(), everybody, "an incident"); err != nil {
			t.Fatal(err)
		}
		_, err := dialTLS(s, nil)
		wantAlert(t, err, "internal error")
	})
	t.Run("L-41 Harden leaves to the guard what failures began", func(t *testing.T) {
		s := wssecuretest.NewServer(t, failing)
		known := s.Issuer.Token("alice")
		wantAdmitted(t, s, freshHandshake(known))
		fail(s)
		wantRefused(t, s, freshHandshake(s.Issuer.Token("bob")), 403, wssecure.ReasonBanned)
		wantAdmitted(t, s, freshHandshake(known))
		wantAccepts(t, s.Guard, 0, 0)
	})
	t.Run("TLSConfig, for failures too", func(t *testing.T) {
		s := wssecuretest.NewServer(t, failing)
		config := s.Guard.TLSConfig()
		config.Certificates = ownCertificate(t)
		addr := serveTLS(t, config)
		trusting := &tls.Config{InsecureSkipVerify: true}
		if _, err := dialAddr(addr, trusting, nil); err != nil {
			t.Fatal(err)
		}
		fail(s)
		_, err := dialAddr(addr, trusting, nil)
		wantAlert(t, err, "internal error")
	})
	for _, row := range []struct {
		name   string
		exempt wssecure.Option
	}{
		{"TrustNetworks", wssecure.TrustNetworks("probes", "127.0.0.0/8")},
		{"TrustProxies", wssecure.TrustProxies("X-Forwarded-For", "127.0.0.0/8")},
	} {
		t.Run("L-44 "+row.name+" is exempt", func(t *testing.T) {
			s := wssecuretest.NewServer(t, row.exempt)
			ban(t, s.Guard, "127.0.0.0/8")
			if _, err := dialTLS(s, nil); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("the caller's own GetConfigForClient is asked, once, after ours", func(t *testing.T) {
		s := wssecuretest.NewServer(t)
		asked := 0
		srv := &http.Server{TLSConfig: &tls.Config{
			Certificates:       ownCertificate(t),
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { asked++; return nil, nil },
		}}
		addr := serveTLS(t, s.Guard.Harden(s.Guard.Harden(srv)).TLSConfig)
		trusting := &tls.Config{InsecureSkipVerify: true}
		if _, err := dialAddr(addr, trusting, nil); err != nil || asked != 1 {
			t.Errorf("asked %d times, %v", asked, err)
		}
		ban(t, s.Guard, "127.0.0.0/8")
		if _, err := dialAddr(addr, trusting, nil); err == nil || asked != 1 {
			t.Errorf("a banned address: asked %d times, %v", asked, err)
		}
		wantAccepts(t, s.Guard, 1, 0)
	})
}

// serveTLS makes handshakes with whoever comes.
func serveTLS(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tls.Server(c, config).Handshake()
			c.Close()
		}
	}()
	return l.Addr().String()
}
