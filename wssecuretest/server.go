// Package wssecuretest helps to test servers behind a wssecure.Guard: an issuer of tokens, good and bad, a server on
// loopback with a real certificate, whose events a test can wait for, and attacks on any WebSocket server.
//
//	s := wssecuretest.NewServer(t)
//	c, _, err := s.Dial(ctx, s.Issuer.Token("alice"))
//	...
//	wssecuretest.Attack(t, s.URL, s.AttackOptions())
//
// Everything ends with the test; nothing is written to disk and nothing listens beyond loopback.
package wssecuretest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// Host and Origin are what Dial and Handshake send.
const (
	Host   = "ws.example.com"
	Origin = "https://app.example.com"
)

// patience bounds every wait for the server: only one that hangs meets it, not one on a busy machine.
const patience = time.Minute

// Config says what Start starts. Its zero value is an error of wssecure.New: nobody is said to be admitted.
type Config struct {
	Options []wssecure.Option

	// Serve is the application behind Guard.ConnHandler; nil means Echo.
	Serve func(ctx context.Context, c *wssecure.Conn) error

	// Handler, when set, makes the server's handler of the guard instead: for Guard.Handler, several routes, tickets.
	Handler func(g *wssecure.Guard) http.Handler

	// Plaintext leaves out TLS, as behind a proxy.
	Plaintext bool

	// Listener, when set, stands between the port and TLS: Guard.Listener, or one that speaks the PROXY protocol below it.
	Listener func(g *wssecure.Guard, l net.Listener) net.Listener
}

// Server is a guard on loopback.
type Server struct {
	URL      string // wss://127.0.0.1:port/ws; the server's handler serves every path
	Addr     string // 127.0.0.1:port
	Guard    *wssecure.Guard
	Issuer   *Issuer        // of NewServer; nil otherwise
	CertPool *x509.CertPool // trusts the server

	tb        testing.TB
	plaintext bool
	events    record
}

// NewServer starts an echo server over TLS that admits Origin and requires the tokens of an Issuer of its own, with these
// options beside. A configuration error ends the test, as does an option of those two given anew: a policy of other origins
// or other credentials goes to [Start], which takes exactly the options it is given.
func NewServer(tb testing.TB, opts ...wssecure.Option) *Server {
	tb.Helper()
	issuer := NewIssuer(tb, "")
	s := Start(tb, Config{Options: append([]wssecure.Option{wssecure.AllowOrigins(Origin), issuer.Option()}, opts...)})
	s.Issuer = issuer
	return s
}

// Start starts a server of exactly this policy. It ends with the test: sessions are shut down, then the server is closed. A
// configuration error ends the test.
func Start(tb testing.TB, c Config) *Server {
	tb.Helper()
	s := &Server{CertPool: processAuthority().pool, tb: tb, plaintext: c.Plaintext}
	guard, err := wssecure.New(append(c.Options[:len(c.Options):len(c.Options)], wssecure.OnEvent(s.events.add))...)
	if err != nil {
		tb.Fatalf("wssecuretest: %v", err)
	}
	s.Guard = guard
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("wssecuretest: %v", err)
	}
	s.Addr = listener.Addr().String()
	if c.Listener != nil {
		listener = c.Listener(guard, listener)
	}
	srv := &http.Server{
		Handler:   handler(guard, c),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{processAuthority().leaf}},
		ErrorLog:  log.New(io.Discard, "", 0), // handshakes that fail are what such tests are about
	}
	guard.Harden(srv)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c.Plaintext {
			srv.Serve(listener)
			return
		}
		srv.ServeTLS(listener, "", "")
	}()
	s.URL = "wss://" + s.Addr + "/ws"
	if c.Plaintext {
		s.URL = "ws://" + s.Addr + "/ws"
	}
	tb.Cleanup(func() {
		// A test that leaves sessions open does not wait for their turns.
		hurry, hurried := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer hurried()
		_ = guard.Shutdown(hurry)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := guard.Shutdown(ctx); err != nil {
			tb.Errorf("wssecuretest: Shutdown: %v", err)
		}
		srv.Close()
		<-served
	})
	return s
}

func handler(g *wssecure.Guard, c Config) http.Handler {
	switch {
	case c.Handler != nil:
		return c.Handler(g)
	case c.Serve != nil:
		return g.ConnHandler(c.Serve)
	}
	return g.ConnHandler(Echo)
}

// Echo sends every message back until the session ends.
func Echo(ctx context.Context, c *wssecure.Conn) error {
	for {
		typ, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return err
		}
	}
}

// Dial opens a socket as a page of Origin would that asks for Host, with token as a Bearer token; without one when it is
// empty. The response is there also when the handshake was refused. The socket is cut when the test ends.
func (s *Server) Dial(ctx context.Context, token string) (*websocket.Conn, *http.Response, error) {
	header := http.Header{"Origin": {Origin}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	target := "wss://" + Host + "/ws"
	if s.plaintext {
		target = "ws://" + Host + "/ws"
	}
	c, resp, err := websocket.Dial(ctx, target, &websocket.DialOptions{HTTPClient: s.Client(), HTTPHeader: header})
	if err == nil {
		s.tb.Cleanup(func() { c.CloseNow() })
	}
	return c, resp, err
}

// Client is an HTTP client that trusts the server and reaches it under every name. It follows no redirect.
func (s *Server) Client() *http.Client {
	dialer := &net.Dialer{Timeout: patience}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: s.CertPool},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", s.Addr)
		},
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Raw is a connection to send anything on, with SNI Host over TLS.
func (s *Server) Raw() *probe.Conn {
	s.tb.Helper()
	return s.RawFrom("")
}

// RawFrom is Raw from another client address on loopback, such as "127.0.0.9".
func (s *Server) RawFrom(localAddr string) *probe.Conn {
	s.tb.Helper()
	var config *tls.Config
	if !s.plaintext {
		config = &tls.Config{RootCAs: s.CertPool, ServerName: Host, NextProtos: []string{"http/1.1"}}
	}
	c, err := probe.Dial(context.Background(), s.Addr, config, localAddr)
	if err != nil {
		s.tb.Fatalf("wssecuretest: %v", err)
	}
	s.tb.Cleanup(func() { c.Close() })
	return c
}

// Handshake is what Dial sends, to change and to send through Raw.
func (s *Server) Handshake(token string) *probe.Handshake {
	h := probe.Fixture(Host, Origin)
	if token != "" {
		h.Add("Authorization: Bearer " + token)
	}
	return h
}

// Events is every event so far.
func (s *Server) Events() []wssecure.Event { return s.events.all() }

// WaitEvent returns the next event of that kind that it has not returned yet. The test ends when none comes within a
// minute.
func (s *Server) WaitEvent(kind wssecure.EventKind) wssecure.Event {
	s.tb.Helper()
	e, ok := s.events.wait(kind, patience)
	if !ok {
		s.tb.Fatalf("wssecuretest: no event %s within %v; there were %v", kind, patience, s.events.kinds())
	}
	return e
}
