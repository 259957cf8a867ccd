package wssecuretest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

var t *testing.T // of a test

// A server with TLS, an issuer and a listed origin, a session of alice, and all attacks.
func ExampleNewServer() {
	s := wssecuretest.NewServer(t, wssecure.AllowSubprotocols("chat"))
	c, _, err := s.Dial(t.Context(), s.Issuer.Token("alice"))
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	wssecuretest.Attack(t, s.URL, s.AttackOptions())
}

// A handshake of your own making, byte by byte, and the event that tells why it was
// refused.
func ExampleServer_Raw() {
	s := wssecuretest.NewServer(t)
	hs := s.Handshake(s.Issuer.Token("alice")).Set("Origin", "https://evil.example")
	c := s.Raw()
	if err := c.Send(hs.Bytes()); err != nil {
		t.Fatal(err)
	}
	answer, err := c.Response()
	if err != nil || answer.Status != 403 {
		t.Fatal(answer, err)
	}
	if e := s.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonOrigin {
		t.Errorf("refused for %s: saw %s, wanted %s", e.Reason, e.Seen, e.Wanted)
	}
}

// Any server, of any library.
func ExampleAttack() {
	s := httptest.NewTLSServer(nil) // the handler under test
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	wssecuretest.Attack(t, s.URL, wssecuretest.AttackOptions{
		TLS:    &tls.Config{RootCAs: roots},
		Origin: "https://app.example.com",
		Token:  func() string { return "a good token" },
	})
}
