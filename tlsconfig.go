package wssecure

import (
	"cmp"
	"context"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/certs"
)

// TLSProfile says which clients TLS is for; see [SetTLS].
type TLSProfile uint8

const (
	// Intermediate is TLS 1.2 and 1.3, with the six AEAD suites with forward
	// secrecy (RFC 9325 section 4.2). It is the default.
	Intermediate TLSProfile = iota + 1
	// Modern is TLS 1.3 alone.
	Modern
)

// String gives the name of the constant.
func (p TLSProfile) String() string {
	if p == Modern {
		return "Modern"
	}
	return "Intermediate"
}

// The profiles' contents are reviewed at each Go release: a list of ours shuts
// out what Go adds later.
var (
	aeadSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	groups     = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
	fipsSuites = aeadSuites[:4:4]
	fipsGroups = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.CurveP256, tls.CurveP384}
)

// Harden's values where the server has none.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 120 * time.Second
	maxHeaderBytes = 64 << 10
)

// SetTLS chooses the profile for [Guard.Harden] and [Guard.TLSConfig];
// Intermediate unless given.
func SetTLS(profile TLSProfile) Option {
	return func(d *draft) {
		if !d.processWide("SetTLS") {
			return
		}
		if profile != Intermediate && profile != Modern {
			d.fault("SetTLS", "%d is no profile; use Intermediate or Modern", profile)
		}
		d.tls = profile
	}
}

// SetCertificate serves the certificate in certFile with the key in keyFile,
// both PEM, and looks for new ones each minute: a renewed pair is used from the
// next handshake on, and the old one as long as the new one is broken.
func SetCertificate(certFile, keyFile string) Option {
	return func(d *draft) {
		if !d.processWide("SetCertificate") {
			return
		}
		source, err := certs.Load(certFile, keyFile)
		if err != nil {
			d.fault("SetCertificate", "%s", err)
			return
		}
		d.certs = source
	}
}

// InsecureAllowPlaintext admits handshakes without TLS: credentials and messages
// can be read and changed by anybody on the way. For a proxy that ends TLS use
// [TrustProxies], for development [AllowLocalhost].
func InsecureAllowPlaintext(why string) Option {
	return func(d *draft) {
		if d.insecure("InsecureAllowPlaintext", why) {
			d.plaintext = true
		}
	}
}

func (d *draft) finishTLS() {
	if d.tls == 0 {
		d.tls = Intermediate
	}
}

// TLSConfig is the guard's TLS for a port that serves sockets alone: it offers
// http/1.1 only, and refuses a banned address at its ClientHello, for ports
// without [Guard.Listener]. The minimum version is set explicitly, so that no
// GODEBUG setting lowers it.
func (g *Guard) TLSConfig() *tls.Config {
	c := g.core.baseTLS(g.policy)
	c.GetConfigForClient = g.core.refuseHello(anyBan, nil)
	c.NextProtos = []string{"http/1.1"}
	return c
}

func (c *core) baseTLS(p *policy) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.tls == Modern {
		config.MinVersion = tls.VersionTLS13
	}
	config.CipherSuites, config.CurvePreferences = slices.Clone(suites()), slices.Clone(curves())
	if c.certs != nil {
		config.GetCertificate = c.certs.Certificate
	}
	c.askForClientCerts(config)
	return config
}

func suites() []uint16 {
	if fips140.Enabled() {
		return fipsSuites
	}
	return aeadSuites
}

func curves() []tls.CurveID {
	if fips140.Enabled() {
		return fipsGroups
	}
	return groups
}

// askForClientCerts asks for a certificate where any route wants one. With one
// pool TLS itself refuses a foreign one; with several the routes decide. Session
// tickets are off: a resumed session shows no certificate again.
func (c *core) askForClientCerts(config *tls.Config) {
	c.mu.Lock()
	pools := slices.Clone(c.clientPools)
	c.mu.Unlock()
	if len(pools) == 0 {
		return
	}
	config.SessionTicketsDisabled = true
	if len(pools) > 1 {
		config.ClientAuth = tls.RequestClientCert
		return
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.ClientCAs = pools[0]
	inner := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verifyState(state, pools[0]); err != nil {
			return err
		}
		if inner == nil {
			return nil
		}
		return inner(state)
	}
}

// verifyState decides about a client certificate on every connection, resumed
// ones too, which VerifyPeerCertificate never sees.
func verifyState(state tls.ConnectionState, pool *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	return verifyClient(state.PeerCertificates[0], state.PeerCertificates[1:], pool)
}

// Harden gives srv the guard's TLS, timeouts and header size where it has none
// of its own, and makes its Shutdown drain the guard. A TLS configuration of the
// caller is raised to the profile in a clone, never lowered; its certificates,
// callbacks and session ticket keys are kept. A network that [Guard.Ban] names is
// refused at its ClientHello. It returns srv.
func (g *Guard) Harden(srv *http.Server) *http.Server {
	srv.ReadHeaderTimeout = cmp.Or(srv.ReadHeaderTimeout, headerTimeout)
	srv.IdleTimeout = cmp.Or(srv.IdleTimeout, idleTimeout)
	srv.MaxHeaderBytes = cmp.Or(srv.MaxHeaderBytes, maxHeaderBytes)
	protocols := g.protocols(srv)
	base, own := g.core.baseTLS(g.policy), g.core.helloOf(srv.TLSConfig)
	if srv.TLSConfig == nil {
		srv.TLSConfig = base
	} else {
		srv.TLSConfig = g.raise(srv.TLSConfig.Clone(), base)
	}
	srv.TLSConfig.GetConfigForClient = g.core.refuseHello(networkBan, own)
	g.core.keepHello(srv.TLSConfig, own)
	for _, proto := range protocols {
		if !slices.Contains(srv.TLSConfig.NextProtos, proto) {
			srv.TLSConfig.NextProtos = append(slices.Clip(srv.TLSConfig.NextProtos), proto)
		}
	}
	srv.RegisterOnShutdown(func() {
		ctx, cancel := context.WithTimeout(context.Background(), defaultDrain)
		defer cancel()
		_ = g.Shutdown(ctx)
	})
	return srv
}

// protocols are the ones that srv serves over TLS; browsers open sockets over
// http/1.1 alone.
func (g *Guard) protocols(srv *http.Server) []string {
	if srv.Protocols == nil {
		return []string{"h2", "http/1.1"}
	}
	var names []string
	if srv.Protocols.HTTP2() {
		names = append(names, "h2")
	}
	if srv.Protocols.HTTP1() {
		names = append(names, "http/1.1")
	} else {
		g.core.warn("wssecure: the server's Protocols lack HTTP1; browsers need it for WebSockets")
	}
	return names
}

// raise lifts a caller's configuration to the profile and tells what it changed.
func (g *Guard) raise(c, base *tls.Config) *tls.Config {
	var raised []string
	if c.MinVersion != 0 && c.MinVersion < base.MinVersion {
		raised = append(raised, "MinVersion "+tls.VersionName(c.MinVersion))
	}
	c.MinVersion = max(c.MinVersion, base.MinVersion)
	if c.MaxVersion != 0 && c.MaxVersion < c.MinVersion {
		raised = append(raised, "MaxVersion "+tls.VersionName(c.MaxVersion))
		c.MaxVersion = 0
	}
	var dropped bool
	c.CipherSuites, dropped = within(c.CipherSuites, base.CipherSuites)
	if dropped {
		raised = append(raised, "CipherSuites without AEAD or forward secrecy")
	}
	c.CurvePreferences, dropped = within(c.CurvePreferences, base.CurvePreferences)
	if dropped {
		raised = append(raised, "CurvePreferences outside the profile")
	}
	if c.Renegotiation != tls.RenegotiateNever {
		raised = append(raised, "Renegotiation")
		c.Renegotiation = tls.RenegotiateNever
	}
	if c.KeyLogWriter != nil {
		raised = append(raised, "KeyLogWriter")
		c.KeyLogWriter = nil
	}
	if base.GetCertificate != nil && c.GetCertificate == nil && len(c.Certificates) == 0 {
		c.GetCertificate = base.GetCertificate
	}
	if base.ClientAuth != tls.NoClientCert && c.ClientAuth == tls.NoClientCert {
		c.ClientAuth, c.ClientCAs, c.SessionTicketsDisabled = base.ClientAuth, base.ClientCAs, true
		own, ours := c.VerifyConnection, base.VerifyConnection
		c.VerifyConnection = both(ours, own)
	}
	if len(raised) > 0 {
		g.core.warn("wssecure: Harden raised the server's TLS", slog.String("tls.raised", strings.Join(raised, ", ")))
	}
	return c
}

func both(first, second func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(s tls.ConnectionState) error {
		if err := first(s); err != nil {
			return err
		}
		return second(s)
	}
}

// within keeps of the caller's choice what the profile has; an empty choice, or
// one without any of it, becomes the profile's.
func within[T comparable](own, profile []T) (kept []T, dropped bool) {
	for _, x := range own {
		if slices.Contains(profile, x) {
			kept = append(kept, x)
		} else {
			dropped = true
		}
	}
	if len(kept) == 0 {
		return slices.Clone(profile), dropped
	}
	return kept, dropped
}

// listen hardens srv and opens its port, with TLS if anybody has a certificate.
func (g *Guard) listen(srv *http.Server) (net.Listener, error) {
	g.Harden(srv)
	c := srv.TLSConfig
	secure := c.GetCertificate != nil || g.core.helloOf(c) != nil || len(c.Certificates) > 0
	addr := srv.Addr
	if addr == "" {
		addr = ":http"
		if secure {
			addr = ":https"
		}
	}
	var how net.ListenConfig
	refuses := g.policy.accepts.N > 0
	if refuses {
		how.KeepAlive = -1 // see listener.keepsAlive
	}
	l, err := how.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	if refuses {
		l = &listener{Listener: l, core: g.core, keepsAlive: true}
	}
	if secure {
		l = tls.NewListener(l, c)
	}
	return l, nil
}

// tlsFacts are what events tell of a TLS connection, small enough to keep for
// each session.
type tlsFacts struct {
	version, suite uint16
	curve          tls.CurveID
}

func (t tlsFacts) names() (version, suite, curve string) {
	version, suite = tls.VersionName(t.version), tls.CipherSuiteName(t.suite)
	if t.curve != 0 {
		curve = t.curve.String()
	}
	return version, suite, curve
}

// certNotice reports what happens to the certificate files.
func (c *core) certNotice(n certs.Notice) {
	e := Event{Time: time.Now().UTC(), Err: n.Err}
	switch n.Kind {
	case certs.Reloaded:
		e.Kind = EventCertReloaded
	case certs.ReloadFailed:
		e.Kind = EventCertFailed
	default:
		e.Kind = EventCertExpiring
		e.Hint = fmt.Sprintf("the certificate ends in %d days, on %s", n.Days, n.NotAfter.UTC().Format(time.DateOnly))
	}
	c.audit.emit(e, c.hooks)
}
