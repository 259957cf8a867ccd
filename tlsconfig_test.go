package wssecure_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/wssecuretest"
)

// dialTLS makes one TLS handshake with a server of the fixture.
func dialTLS(s *wssecuretest.Server, change func(*tls.Config)) (*tls.ConnectionState, error) {
	return dialAddr(s.Addr, &tls.Config{RootCAs: s.CertPool, ServerName: wssecuretest.Host}, change)
}

func dialAddr(addr string, config *tls.Config, change func(*tls.Config)) (*tls.ConnectionState, error) {
	if change != nil {
		change(config)
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: hang}, Config: config}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	return &state, nil
}

func wantAlert(t *testing.T, err error, alert string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), alert) {
		t.Errorf("the handshake gave %v, want alert %q", err, alert)
	}
}

// TestTLSProfiles are the rows that a client sees from outside.
func TestTLSProfiles(t *testing.T) {
	intermediate := wssecuretest.NewServer(t)
	modern := wssecuretest.NewServer(t, wssecure.SetTLS(wssecure.Modern))
	at := func(low, high uint16, suites ...uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = low, high, suites }
	}
	t.Run("T-02", func(t *testing.T) {
		for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
			_, err := dialTLS(intermediate, at(tls.VersionTLS10, v))
			wantAlert(t, err, "protocol version not supported")
		}
	})
	t.Run("T-03", func(t *testing.T) {
		_, err := dialTLS(modern, at(tls.VersionTLS12, tls.VersionTLS12))
		wantAlert(t, err, "protocol version not supported")
		if state, err := dialTLS(modern, nil); err != nil || state.Version != tls.VersionTLS13 {
			t.Errorf("a TLS 1.3 client: %v, %v", state, err)
		}
	})
	t.Run("T-04", func(t *testing.T) {
		for _, suite := range []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		} {
			state, err := dialTLS(intermediate, at(tls.VersionTLS12, tls.VersionTLS12, suite))
			if err != nil || state.CipherSuite != suite {
				t.Errorf("%s: %v", tls.CipherSuiteName(suite), err)
			}
		}
		if got := intermediate.Guard.TLSConfig().CipherSuites; len(got) != 6 {
			t.Errorf("%d suites, want 6", len(got))
		}
	})
	t.Run("T-05", func(t *testing.T) {
		for _, suite := range []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
		} {
			_, err := dialTLS(intermediate, at(tls.VersionTLS12, tls.VersionTLS12, suite))
			wantAlert(t, err, "handshake failure")
		}
	})
	t.Run("T-06", func(t *testing.T) {
		_, err := dialTLS(intermediate, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} })
		if err == nil {
			t.Error("a P-521 client got through")
		}
		if state, err := dialTLS(intermediate, nil); err != nil || state.CurveID != tls.X25519MLKEM768 {
			t.Errorf("TLS 1.3: %v, %v, want X25519MLKEM768", state, err)
		}
		if state, err := dialTLS(intermediate, at(tls.VersionTLS12, tls.VersionTLS12)); err != nil || state.CurveID != tls.X25519 {
			t.Errorf("TLS 1.2: %v, %v, want X25519", state, err)
		}
	})
}

// TestSocketPortOffersOneProtocol is T-11 on a port of TLSConfig, and T-12.
func TestSocketPortOffersOneProtocol(t *testing.T) {
	s := wssecuretest.NewServer(t)
	config := s.Guard.TLSConfig()
	config.Certificates = ownCertificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	wantNil(t, err)
	srv := &http.Server{Handler: s.Guard.ConnHandler(wssecuretest.Echo), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	offer := func(protos ...string) (*tls.ConnectionState, error) {
		return dialAddr(l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protos}, nil)
	}
	if _, err := offer("h2"); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("h2 alone: %v", err)
	}
	if state, err := offer("h2", "http/1.1"); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("both: %v %v", state, err)
	}
	if _, err := offer(); err != nil {
		t.Errorf("none: %v", err)
	}

	hardened := s.Guard.Harden(&http.Server{TLSConfig: &tls.Config{NextProtos: []string{"acme-tls/1"}}})
	if got := hardened.TLSConfig.NextProtos; !slices.Equal(got, []string{"acme-tls/1", "h2", "http/1.1"}) {
		t.Errorf("T-11 Harden: NextProtos %q", got)
	}
	buf := &logbook.Book{}
	g, err := wssecure.New(anybody(wssecure.SetLogger(buf.Logger()))...)
	wantNil(t, err)
	var p http.Protocols
	p.SetHTTP2(true)
	if got := g.Harden(&http.Server{Protocols: &p}).TLSConfig.NextProtos; !slices.Equal(got, []string{"h2"}) {
		t.Errorf("T-12: NextProtos %q", got)
	}
	if !strings.Contains(buf.String(), "lack HTTP1") {
		t.Errorf("T-12: no warning in %q", buf.String())
	}
}

func ownCertificate(t *testing.T) []tls.Certificate {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, writePair(t, dir, "own", 0, time.Hour))
	pair, err := tls.LoadX509KeyPair(name+".pem", name+".key.pem")
	wantNil(t, err)
	return []tls.Certificate{pair}
}

// TestHardenRaisesAndNeverLowers is T-01, T-09, T-10, T-16, T-24, T-26.
func TestHardenRaisesAndNeverLowers(t *testing.T) {
	buf := &logbook.Book{}
	g, err := wssecure.New(anybody(wssecure.SetLogger(buf.Logger()))...)
	wantNil(t, err)

	if c := g.TLSConfig(); c.MinVersion != tls.VersionTLS12 {
		t.Errorf("T-01: MinVersion %x", c.MinVersion)
	}
	weak := &tls.Config{
		MinVersion:       tls.VersionTLS11,
		CipherSuites:     []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		CurvePreferences: []tls.CurveID{tls.CurveP521, tls.CurveP256},
		Renegotiation:    tls.RenegotiateFreelyAsClient,
		KeyLogWriter:     io.Discard,
	}
	got := g.Harden(&http.Server{TLSConfig: weak}).TLSConfig
	if got.MinVersion != tls.VersionTLS12 || got.Renegotiation != tls.RenegotiateNever || got.KeyLogWriter != nil ||
		!slices.Equal(got.CipherSuites, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}) || !slices.Equal(got.CurvePreferences, []tls.CurveID{tls.CurveP256}) {
		t.Errorf("T-09: %+v", got)
	}
	if weak.MinVersion != tls.VersionTLS11 || weak.KeyLogWriter == nil || len(weak.CipherSuites) != 2 {
		t.Error("T-09: the caller's struct was changed")
	}
	for _, word := range []string{"level=WARN", "TLS 1.1", "CipherSuites", "CurvePreferences", "Renegotiation", "KeyLogWriter"} {
		if !strings.Contains(buf.String(), word) {
			t.Errorf("T-09: the record lacks %q: %s", word, buf)
		}
	}

	strict := &tls.Config{MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
	got = g.Harden(&http.Server{TLSConfig: strict}).TLSConfig
	if got.MinVersion != tls.VersionTLS13 || !slices.Equal(got.CurvePreferences, []tls.CurveID{tls.X25519}) {
		t.Errorf("T-10: weakened to %x %v", got.MinVersion, got.CurvePreferences)
	}

	failing := errors.New("no certificate today")
	acme := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, failing }}
	if c := g.Harden(&http.Server{TLSConfig: acme}).TLSConfig; c.GetCertificate == nil {
		t.Error("T-26: the caller's GetCertificate is gone")
	} else if _, err := c.GetCertificate(nil); err != failing {
		t.Errorf("T-26: GetCertificate gives %v", err)
	}
	if c := g.Harden(&http.Server{}).TLSConfig; c.GetCertificate != nil {
		t.Error("T-26: GetCertificate is set without SetCertificate")
	}

	srv := g.Harden(&http.Server{})
	if srv.ReadHeaderTimeout != 10*time.Second || srv.IdleTimeout != 120*time.Second || srv.MaxHeaderBytes != 64<<10 {
		t.Errorf("T-24: %v %v %d", srv.ReadHeaderTimeout, srv.IdleTimeout, srv.MaxHeaderBytes)
	}
	srv = g.Harden(&http.Server{ReadHeaderTimeout: time.Second, IdleTimeout: time.Second, MaxHeaderBytes: 1})
	if srv.ReadHeaderTimeout != time.Second || srv.IdleTimeout != time.Second || srv.MaxHeaderBytes != 1 {
		t.Error("T-24: own values are not kept")
	}
}

// TestTicketKeysAreKept is T-16: a session of one server resumes at another with
// the caller's keys.
func TestTicketKeysAreKept(t *testing.T) {
	g, err := wssecure.New(anybody()...)
	wantNil(t, err)
	cache := tls.NewLRUClientSessionCache(1)
	certificate := ownCertificate(t)
	resumed := false
	for range 2 {
		own := &tls.Config{Certificates: certificate}
		own.SetSessionTicketKeys([][32]byte{{1, 2, 3}})
		config := g.Harden(&http.Server{TLSConfig: own}).TLSConfig
		config.MaxVersion = tls.VersionTLS12 // its ticket comes within the handshake
		client, server := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(server, config).Handshake() }()
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache, ServerName: "a"})
		wantNil(t, c.Handshake())
		wantNil(t, <-done)
		resumed = c.ConnectionState().DidResume
		client.Close()
		server.Close()
	}
	if !resumed {
		t.Error("the second server did not know the first one's ticket")
	}
}

// TestOversizeHeaders is the last of T-24, over a real connection.
func TestOversizeHeaders(t *testing.T) {
	s := wssecuretest.NewServer(t)
	hs := s.Handshake(s.Issuer.Token("alice")).Add("X-Pad: " + strings.Repeat("x", 128<<10))
	r, _ := ask(t, s, hs)
	if r.Status != 431 {
		t.Errorf("T-24: status %d, want 431", r.Status)
	}
}

// TestCertificateReload is T-13 under load: files are replaced, broken and mended
// while clients connect, and no handshake fails.
func TestCertificateReload(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "live", 0, time.Hour)
	cert, key := filepath.Join(dir, "live.pem"), filepath.Join(dir, "live.key.pem")
	var failed atomic.Int64
	g, err := wssecure.New(anybody(wssecure.SetCertificate(cert, key), wssecure.OnEvent(func(e wssecure.Event) {
		if e.Kind == wssecure.EventCertFailed {
			failed.Add(1)
		}
	}))...)
	wantNil(t, err)
	if days := g.Stats().CertificateDays; days != 0 {
		t.Errorf("CertificateDays %d for a leaf of one hour", days)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", g.TLSConfig())
	wantNil(t, err)
	srv := &http.Server{Handler: http.NotFoundHandler()}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	wantNil(t, os.WriteFile(cert, []byte("half-written"), 0o600))
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			state, err := dialAddr(l.Addr().String(), &tls.Config{InsecureSkipVerify: true}, nil)
			if err != nil || state.PeerCertificates[0].Subject.CommonName != "live" {
				t.Errorf("T-13: %v", err)
			}
		})
	}
	clients.Wait()
}

// TestFIPS is T-18: in FIPS mode, which is the process's, the test runs itself.
func TestFIPS(t *testing.T) {
	if os.Getenv("WSS_TEST_FIPS") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "WSS_TEST_FIPS=1", "GODEBUG=fips140=on")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "in FIPS mode") {
			t.Fatalf("T-18: %v\n%s", err, out)
		}
		return
	}
	buf := &logbook.Book{}
	s := wssecuretest.NewServer(t, wssecure.SetLogger(buf.Logger()))
	if !strings.Contains(buf.String(), "FIPS") {
		t.Errorf("the start event says nothing of FIPS: %s", buf)
	}
	config := s.Guard.TLSConfig()
	for _, id := range config.CipherSuites {
		if !strings.Contains(tls.CipherSuiteName(id), "_GCM_") {
			t.Errorf("suite %s", tls.CipherSuiteName(id))
		}
	}
	if slices.Contains(config.CurvePreferences, tls.X25519) || !slices.Contains(config.CurvePreferences, tls.CurveP256) {
		t.Errorf("groups %v", config.CurvePreferences)
	}
	if _, err := dialTLS(s, nil); err != nil {
		t.Errorf("a FIPS client: %v", err)
	}
	t.Log("in FIPS mode")
}
