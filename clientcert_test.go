package wssecure_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// clientCA is an authority for client certificates.
type clientCA struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

func newClientCA(t *testing.T, name string) *clientCA {
	t.Helper()
	ca := &clientCA{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(24 * time.Hour),
	}
	ca.cert, ca.key = sign(t, template, template, nil)
	ca.pool.AddCert(ca.cert)
	return ca
}

// strangers vouch for nobody who connects.
func strangers() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(&x509.Certificate{Raw: []byte("nobody")})
	return pool
}

// issue makes a client certificate; change may spoil it.
func (ca *clientCA) issue(subject string, change ...func(*x509.Certificate)) tls.Certificate {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: subject, Organization: []string{"Acme"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotAfter: time.Now().Add(time.Hour),
	}
	for _, c := range change {
		c(template)
	}
	leaf, key := sign(ca.t, template, ca.cert, ca.key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// sign makes a certificate and its key; by is nil for a self-signed one.
func sign(t *testing.T, template, parent *x509.Certificate, by crypto.Signer) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	template.SerialNumber = new(big.Int).SetBytes([]byte(rand.Text())[:16])
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func expiredCert(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
func futureCert(c *x509.Certificate)  { c.NotBefore = time.Now().Add(time.Minute) }
func serverCert(c *x509.Certificate)  { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
func thumbprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// askWith is ask from a client with these certificates. A server that refuses in
// TLS gives an error, in TLS 1.3 not before the first read.
func askWith(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake, certs ...tls.Certificate) (*probe.Response, *probe.Conn, error) {
	return askTLS(t, s.Addr, &tls.Config{RootCAs: s.CertPool, ServerName: wssecuretest.Host, GetClientCertificate: showing(certs)}, hs)
}

// showing shows a certificate whether the server names its authority or not.
func showing(certs []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(certs) == 0 {
			return &tls.Certificate{}, nil
		}
		return &certs[0], nil
	}
}

func askTLS(t *testing.T, addr string, config *tls.Config, hs *probe.Handshake) (*probe.Response, *probe.Conn, error) {
	c, err := probe.Dial(context.Background(), addr, config, "")
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Send(hs.Bytes()); err != nil {
		return nil, nil, err
	}
	r, err := c.Response()
	return r, c, err
}

// TestClientCertAlone is: a certificate of the pool is needed, and
// is the identity.
func TestClientCertAlone(t *testing.T) {
	ours, theirs := newClientCA(t, "ours"), newClientCA(t, "theirs")
	got := make(chan *wssecure.Identity, 1)
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireClientCert(ours.pool)},
		Serve: func(ctx context.Context, c *wssecure.Conn) error {
			got <- c.Identity()
			return wssecuretest.Echo(ctx, c)
		},
	})
	good := ours.issue("device-1", func(c *x509.Certificate) {
		c.DNSNames, c.EmailAddresses, c.IPAddresses = []string{"d1.example"}, []string{"d1@example.com"}, []net.IP{net.IPv4(192, 0, 2, 1).To4()}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example", Path: "/d1"}}
	})
	r, _, err := askWith(t, s, s.Handshake(""), good)
	if err != nil || r.Status != 101 {
		t.Fatalf("A-47: %+v, %v", r, err)
	}
	id := <-got
	if id.Subject != "CN=device-1,O=Acme" || id.Issuer != "CN=ours" || !id.Expiry.Equal(good.Leaf.NotAfter) {
		t.Errorf("A-48: %+v", id)
	}
	if want := []any{"DNS:d1.example", "email:d1@example.com", "URI:spiffe://example/d1", "IP:192.0.2.1"}; !reflect.DeepEqual(id.Claims["san"], want) {
		t.Errorf("A-48: %v, want %v", id.Claims["san"], want)
	}
	if _, e := wantRefused(t, s, s.Handshake(""), 403, wssecure.ReasonForbidden); e.Check != "client-cert" {
		t.Errorf("A-47 none: check %q", e.Check)
	}
	for name, cert := range map[string]tls.Certificate{
		"foreign": theirs.issue("device-1"), "expired": ours.issue("device-1", expiredCert),
		"future": ours.issue("device-1", futureCert), "no clientAuth": ours.issue("device-1", serverCert),
	} {
		if r, _, err := askWith(t, s, s.Handshake(""), cert); err == nil {
			t.Errorf("A-47 %s: status %d, want TLS to refuse", name, r.Status)
		}
	}
	t.Run("STATE 6 revoked by Subject", func(t *testing.T) {
		if n, err := s.Guard.Revoke(t.Context(), wssecure.Subject(id.Issuer, id.Subject), "lost"); n != 1 || err != nil {
			t.Fatalf("closed %d, %v", n, err)
		}
		hs := s.Handshake("").Set("Sec-WebSocket-Key", freshKey())
		if r, _, err := askWith(t, s, hs, good); err != nil || r.Status != 401 {
			t.Errorf("%+v, %v", r, err)
		}
		if r, _, err := askWith(t, s, hs, ours.issue("device-2")); err != nil || r.Status != 101 {
			t.Errorf("another device: %+v, %v", r, err)
		}
	})
	<-got
	if admitted := s.Guard.Stats().Admitted; admitted != 2 {
		t.Errorf("%d admitted, want 2", admitted)
	}
}

// TestClientCertPerRoute is A-47 with two pools: TLS takes either certificate, so
// each route must look for itself.
func TestClientCertPerRoute(t *testing.T) {
	a, b := newClientCA(t, "a"), newClientCA(t, "b")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireClientCert(a.pool)},
		Handler: func(g *wssecure.Guard) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/a", g.ConnHandler(wssecuretest.Echo))
			mux.Handle("/b", with(t, g, wssecure.RequireClientCert(b.pool)).ConnHandler(wssecuretest.Echo))
			return mux
		},
	})
	certs := map[string]tls.Certificate{"a": a.issue("x"), "b": b.issue("x"), "expired a": a.issue("x", expiredCert), "server of a": a.issue("x", serverCert)}
	for name, cert := range certs {
		for _, path := range []string{"a", "b"} {
			hs := s.Handshake("")
			hs.Target = "/" + path
			want := 403
			if name == path {
				want = 101
			}
			if r, _, err := askWith(t, s, hs, cert); err != nil || r.Status != want {
				t.Errorf("certificate %s on /%s: %v, %v, want %d", name, path, r, err, want)
			}
		}
	}
	for _, e := range s.Events() {
		if e.Kind == wssecure.EventRefused && (e.Reason != wssecure.ReasonForbidden || e.Check != "client-cert") {
			t.Errorf("event %s at %s", e.Reason, e.Check)
		}
	}
}

// TestClientCertWithToken is: both are needed, the token is the
// identity, and one that is bound to a certificate is good beside that one alone.
func TestClientCertWithToken(t *testing.T) {
	ca := newClientCA(t, "ca")
	issuer := wssecuretest.NewIssuer(t, "")
	got := make(chan *wssecure.Identity, 1)
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), wssecure.RequireClientCert(ca.pool)},
		Serve: func(ctx context.Context, c *wssecure.Conn) error {
			got <- c.Identity()
			return wssecuretest.Echo(ctx, c)
		},
	})
	mine, other := ca.issue("mine"), ca.issue("other")
	short := ca.issue("mine", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(10 * time.Minute) })
	bound := func(cert tls.Certificate) string {
		return issuer.Sign("ES256", issuer.Claims("alice", members{"cnf": members{"x5t#S256": thumbprint(cert)}, "exp": time.Now().Add(30 * time.Minute).Unix()}))
	}
	for _, row := range []struct {
		name, token string
		certs       []tls.Certificate
		status      int
		check       string
		expiry      time.Duration
	}{
		{"both", issuer.Token("alice"), []tls.Certificate{mine}, 101, "", time.Hour},
		{"A-48 the certificate ends first", issuer.Token("alice"), []tls.Certificate{short}, 101, "", 10 * time.Minute},
		{"A-48 the token ends first", bound(mine), []tls.Certificate{mine}, 101, "", 30 * time.Minute},
		{"no token", "", []tls.Certificate{mine}, 401, "token", 0},
		{"no certificate", issuer.Token("alice"), nil, 403, "client-cert", 0},
		{"A-26 bound to this one", bound(mine), []tls.Certificate{mine}, 101, "", 30 * time.Minute},
		{"A-26 bound to another", bound(mine), []tls.Certificate{other}, 401, "proof", 0},
		{"A-26 bound, none shown", bound(mine), nil, 401, "proof", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			hs := s.Handshake(row.token).Set("Sec-WebSocket-Key", freshKey())
			hs.Add("X-Client-Cert: " + base64.StdEncoding.EncodeToString(mine.Certificate[0])) // only the connection counts
			r, _, err := askWith(t, s, hs, row.certs...)
			if err != nil || r.Status != row.status {
				t.Fatalf("%+v, %v, want %d", r, err, row.status)
			}
			if row.status != 101 {
				if e := s.WaitEvent(wssecure.EventRefused); e.Check != row.check {
					t.Errorf("check %q, want %q", e.Check, row.check)
				}
				return
			}
			id := <-got
			if left := time.Until(id.Expiry); id.Subject != "alice" || left > row.expiry || left < row.expiry-5*time.Minute {
				t.Errorf("%s until %v, want about %v", id.Subject, left, row.expiry)
			}
		})
	}
}

// promiscuous gives the ticket of any server to every other, as a hostile client
// does.
type promiscuous struct{ state *tls.ClientSessionState }

func (p *promiscuous) Get(string) (*tls.ClientSessionState, bool)  { return p.state, p.state != nil }
func (p *promiscuous) Put(_ string, state *tls.ClientSessionState) { p.state = state }

// TestResumption is T-15 with A-47: a session ticket shows no certificate again,
// and one of another configuration or host name is no way in.
func TestResumption(t *testing.T) {
	ours, theirs := newClientCA(t, "ours"), newClientCA(t, "theirs")
	guard, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireClientCert(ours.pool))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guard.Shutdown(context.Background()) })
	resumed := make(chan bool, 1)
	handler := guard.ConnHandler(wssecuretest.Echo)
	serve := func(config *tls.Config, harden bool) *httptest.Server {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resumed <- r.TLS.DidResume
			handler.ServeHTTP(w, r)
		}))
		srv.Config.ErrorLog, srv.TLS = log.New(io.Discard, "", 0), config
		if harden {
			srv.Config.TLSConfig = config
			srv.TLS = guard.Harden(srv.Config).TLSConfig
		}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	try := func(srv *httptest.Server, name string, cache tls.ClientSessionCache, certs ...tls.Certificate) string {
		t.Helper()
		hs := probe.Fixture(wssecuretest.Host, wssecuretest.Origin).Set("Sec-WebSocket-Key", freshKey())
		config := &tls.Config{InsecureSkipVerify: true, ServerName: name, ClientSessionCache: cache, GetClientCertificate: showing(certs), NextProtos: []string{"http/1.1"}}
		r, _, err := askTLS(t, strings.TrimPrefix(srv.URL, "https://"), config, hs)
		if err != nil {
			return "TLS"
		}
		return fmt.Sprint(r.Status, " ", <-resumed)
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("T-15 %s: %s, want %s", what, got, want)
		}
	}
	plain := serve(&tls.Config{}, true)
	cache := new(promiscuous)
	want("first", try(plain, "ws.example.com", cache, ours.issue("x")), "101 false")
	want("no tickets are given", try(plain, "ws.example.com", cache, ours.issue("x")), "101 false")

	// The caller's own ClientAuth is kept, and its tickets with it.
	lax := serve(&tls.Config{ClientAuth: tls.RequireAnyClientCert}, true)
	cache = new(promiscuous)
	want("foreign", try(lax, "ws.example.com", cache, theirs.issue("x")), "403 false")
	want("foreign, resumed", try(lax, "ws.example.com", cache, theirs.issue("x")), "403 true")
	cache = new(promiscuous)
	want("ours", try(lax, "ws.example.com", cache, ours.issue("x")), "101 false")
	want("ours, resumed", try(lax, "ws.example.com", cache, ours.issue("x")), "101 true")

	// Two host names of one port share ticket keys.
	strict := guard.TLSConfig()
	open := &tls.Config{ClientAuth: tls.RequestClientCert}
	two := serve(&tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := open
		if hello.ServerName == "ws.example.com" {
			c = strict
		}
		c = c.Clone()
		c.Certificates = plain.TLS.Certificates
		return c, nil
	}}, false)
	cache = new(promiscuous)
	want("no certificate at the open name", try(two, "open.example.com", cache), "403 false")
	want("its ticket at the open name", try(two, "open.example.com", cache), "403 true")
	want("its ticket at ours", try(two, "ws.example.com", cache), "403 false")
	cache = new(promiscuous)
	try(two, "open.example.com", cache, theirs.issue("x"))
	want("a ticket with a foreign certificate", try(two, "ws.example.com", cache), "403 false")
	want("a foreign certificate at ours", try(two, "ws.example.com", cache, theirs.issue("x")), "TLS")
	want("ours at ours", try(two, "ws.example.com", cache, ours.issue("x")), "101 false")
}
