// Package endpoint is one target of a scan: how it is reached, and what it said at first sight. Everything it says is
// hostile: every wait has an end, every answer a bound, and what is shown is quoted and cut.
package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// An Endpoint is one target. Fill in the first block, then call Reach.
type Endpoint struct {
	URL     *URL
	Connect string           // host:port to dial in place of the URL's; empty means the URL's
	Roots   *x509.CertPool   // nil means the system's
	AnyCA   bool             // takes any chain; name and dates are still judged
	Cert    *tls.Certificate // of the client, for a target that asks for one; nil: none
	Timeout time.Duration    // of each step
	Pace    *Pace
	Agent   string // User-Agent: an operator shall be able to tell who scans
	Plain   string // port where the host may serve without TLS; empty means 80 beside 443, else none

	Origin string          // of the honest handshake; empty means the target's own
	Page   *probe.Response // to Get; nil when there was none
	Answer *probe.Response // to the honest handshake
	// Admitted reports that the answer was a 101, and not taken back at once.
	Admitted bool

	// AsksForCert reports that the target has asked for a client certificate.
	AsksForCert atomic.Bool

	at  netip.AddrPort       // where Reach found it
	TLS *tls.ConnectionState // of Reach; nil for ws://
	// Untrusted is why the chain does not verify; nil when it does, and for ws://.
	Untrusted error
}

// Addr is the target's, as it was named.
func (e *Endpoint) Addr() string { return cmp.Or(e.Connect, e.URL.Addr()) }

// At is what is dialled: once Reach has found the target, the address where it was found. A name that resolves to another
// address in the middle of a scan would lead the scan, and the token, to somebody else.
func (e *Endpoint) At() string {
	if e.at.IsValid() {
		return e.at.String()
	}
	return e.Addr()
}

// Dial opens a connection without TLS. Close gives its place back.
func (e *Endpoint) Dial(ctx context.Context) (net.Conn, error) { return e.DialAddr(ctx, e.At()) }

// DialAddr is Dial to another port of the same host.
func (e *Endpoint) DialAddr(ctx context.Context, addr string) (net.Conn, error) {
	leave, err := e.Pace.enter(ctx)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: e.Timeout}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		leave()
		return nil, err
	}
	return &seat{Conn: nc, leave: leave, stop: context.AfterFunc(ctx, func() { nc.Close() })}, nil
}

// clientTLS speaks to servers of every age: what is wrong with them is a finding, not the end of the scan. A chain that
// Reach has found good must be so on every connection: each may carry the token, and may end at somebody else.
func (e *Endpoint) clientTLS() *tls.Config {
	c := OldTLS()
	c.ServerName = e.URL.Host
	c.NextProtos = []string{"http/1.1"}
	c.RootCAs = e.Roots
	c.InsecureSkipVerify = e.TLS == nil || e.AnyCA || e.Untrusted != nil
	c.GetClientCertificate = e.ShowCert
	return c
}

// ShowCert is what the target is shown that asks for a client certificate, whatever authorities it names.
func (e *Endpoint) ShowCert(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	e.AsksForCert.Store(true)
	if e.Cert == nil {
		return &tls.Certificate{}, nil
	}
	return e.Cert, nil
}

// OldTLS offers every version and suite that crypto/tls has.
func OldTLS() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS10}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.CipherSuites = append(c.CipherSuites, s.ID)
	}
	return c
}

// Reach looks whether anybody is there and speaks TLS where the URL says so. Its error is for the user to read.
func (e *Endpoint) Reach(ctx context.Context) error {
	nc, err := e.Dial(ctx)
	if err != nil {
		return e.dialFault(err)
	}
	defer nc.Close()
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		e.at = tcp.AddrPort()
	}
	if !e.URL.Secure {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	seen := &witness{Conn: nc}
	tc := tls.Client(seen, e.clientTLS())
	if err := tc.HandshakeContext(ctx); err != nil {
		return e.tlsFault(err, seen.first)
	}
	state := tc.ConnectionState()
	e.TLS = &state
	if !e.AnyCA {
		e.Untrusted = e.Verify(e.URL.Host, time.Now())
	}
	return nil
}

// Verify is what a careful client would say to the chain, at that time and for that name; an empty one is any.
func (e *Endpoint) Verify(name string, at time.Time) error {
	leaf, rest := e.TLS.PeerCertificates[0], e.TLS.PeerCertificates[1:]
	if len(rest) > longestChain {
		return errors.New("too many certificates to look at")
	}
	pool := x509.NewCertPool()
	for _, c := range rest {
		pool.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: e.Roots, Intermediates: pool, CurrentTime: at})
	return err
}

// longestChain is how many certificates are followed: path building is costly, and a target chooses what it sends.
const longestChain = 16

// Trusts reports whether a credential may be sent: over a verified chain, or on this machine.
func (e *Endpoint) Trusts() bool {
	if e.URL.Secure {
		return e.Untrusted == nil
	}
	return e.URL.IsLoopback() && e.at.Addr().Unmap().IsLoopback()
}

// Open connects, with TLS where the URL says so, for one exchange of HTTP.
func (e *Endpoint) Open(ctx context.Context) (*probe.Conn, error) {
	nc, err := e.Dial(ctx)
	if err != nil {
		return nil, e.dialFault(err)
	}
	if e.URL.Secure {
		bounded, cancel := context.WithTimeout(ctx, e.Timeout)
		defer cancel()
		tc := tls.Client(nc, e.clientTLS())
		if err := tc.HandshakeContext(bounded); err != nil {
			nc.Close()
			return nil, err
		}
		nc = &secured{Conn: tc, below: nc}
	}
	c := probe.New(nc)
	c.Timeout = e.Timeout
	return c, nil
}

// Ask sends one request over a connection of its own. When an answer came, a fault in its body is none of ours.
func (e *Endpoint) Ask(ctx context.Context, request *probe.Handshake) (*probe.Response, error) {
	c, err := e.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return Exchange(c, request)
}

// Hear makes an ordinary request and keeps the answer as Page. Where none comes, it says what came instead; empty where
// that was nothing, as at servers that know handshakes only.
func (e *Endpoint) Hear(ctx context.Context) (tongue string, err error) {
	c, err := e.Open(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	seen := &witness{Conn: c.NetConn()}
	heard := probe.New(seen)
	heard.Timeout = e.Timeout
	e.Page, err = Exchange(heard, e.Get())
	if err != nil && len(seen.first) > 0 && !bytes.HasPrefix(seen.first, []byte("HTTP/")) {
		return Tongue(seen.first), err
	}
	return "", err
}

// Exchange is Ask over a connection that is there.
func Exchange(c *probe.Conn, request *probe.Handshake) (*probe.Response, error) {
	sent := c.Send(request.Bytes())
	r, err := c.Answer()
	if r != nil {
		return r, nil
	}
	if sent != nil {
		return nil, sent
	}
	return nil, err
}

// Get is an ordinary request for the same path, as a browser's address line makes it.
func (e *Endpoint) Get() *probe.Handshake {
	return &probe.Handshake{Method: "GET", Target: e.URL.Path, Proto: "HTTP/1.1", Lines: []string{
		"Host: " + e.URL.Authority(), "User-Agent: " + e.Agent, "Accept: text/html, */*", "Connection: close",
	}}
}

// Anonymous is an honest handshake without a credential, which goes where nobody is verified.
func (e *Endpoint) Anonymous() *probe.Handshake {
	h := probe.Fixture(e.URL.Authority(), cmp.Or(e.Origin, e.URL.Origin()))
	h.Target = e.URL.Path
	var nonce [16]byte
	rand.Read(nonce[:])
	return h.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(nonce[:])).Add("User-Agent: " + e.Agent)
}

// PlainAddr is where the host may serve without TLS; empty when nothing says so.
func (e *Endpoint) PlainAddr() string {
	host, _, err := net.SplitHostPort(e.At())
	switch {
	case err != nil:
		return ""
	case e.Plain != "":
		return net.JoinHostPort(host, e.Plain)
	case e.URL.Port == "443" && e.Connect == "":
		return net.JoinHostPort(host, "80")
	}
	return ""
}

// seat is a connection that gives its place back.
type seat struct {
	net.Conn
	stop  func() bool
	leave func()
}

func (s *seat) Close() error {
	s.stop()
	err := s.Conn.Close()
	s.leave()
	return err
}

// secured cuts TCP itself: crypto/tls may wait for a peer that does not read.
type secured struct {
	*tls.Conn
	below net.Conn
}

func (s *secured) Close() error { return s.below.Close() }

// witness keeps the first bytes that came, to say what a target speaks that speaks no TLS.
type witness struct {
	net.Conn
	first []byte
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if room := 64 - len(w.first); room > 0 {
		w.first = append(w.first, p[:min(n, room)]...)
	}
	return n, err
}
