package wssecure_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/wssecuretest"
)

// clientCertMutants know their clients by certificates, or think so.
func clientCertMutants() []mutant {
	// vouching is a server that asks for certificates and judges them as it likes.
	vouching := func(mode tls.ClientAuthType, known func(r *http.Request, ca *clientCA) bool) func(*testing.T) *catalogue.Target {
		return func(t *testing.T) *catalogue.Target {
			ca := newClientCA(t, "ours")
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !known(r, ca) {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				c, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: []string{"app.example.com"}})
				if err != nil {
					return
				}
				defer c.CloseNow()
				c.Read(r.Context())
			}))
			s.TLS = &tls.Config{ClientAuth: mode, ClientCAs: ca.pool}
			s.StartTLS()
			t.Cleanup(s.Close)
			config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			config.Certificates = []tls.Certificate{ca.issue("device-1")}
			return &catalogue.Target{URL: s.URL + "/ws", TLS: config, Host: "example.com", Origin: wssecuretest.Origin, Active: true, Timeout: hang}
		}
	}
	named := func(r *http.Request) bool {
		return len(r.TLS.PeerCertificates) > 0 && r.TLS.PeerCertificates[0].Subject.CommonName == "device-1"
	}
	return []mutant{
		{"certificates are asked for, and not needed", []string{"client-cert-none"}, vouching(tls.VerifyClientCertIfGiven, func(*http.Request, *clientCA) bool { return true })},
		{"certificates by their subject", []string{"client-cert-foreign", "client-cert-self-signed", "client-cert-behind"}, vouching(tls.RequireAnyClientCert, func(r *http.Request, _ *clientCA) bool { return named(r) })},
		{"certificates by their issuer's name", []string{"client-cert-foreign"}, vouching(tls.RequireAnyClientCert, func(r *http.Request, _ *clientCA) bool {
			return named(r) && r.TLS.PeerCertificates[0].Issuer.CommonName == "ours"
		})},
		{"any good certificate among those shown", []string{"client-cert-behind"}, vouching(tls.RequireAnyClientCert, func(r *http.Request, ca *clientCA) bool {
			for _, c := range r.TLS.PeerCertificates {
				if c.CheckSignatureFrom(ca.cert) == nil {
					return true
				}
			}
			return false
		})},
		{"certificates of a proxy that is not there", []string{"client-cert-header"}, vouching(tls.VerifyClientCertIfGiven, func(r *http.Request, _ *clientCA) bool {
			return named(r) || r.Header.Get("X-SSL-Client-Verify") == "SUCCESS" && strings.Contains(r.Header.Get("X-SSL-Client-S-DN"), "device-1")
		})},
	}
}

// certified is a guard that wants client certificates, alone or beside tokens.
func certified(t *testing.T, opts ...wssecure.Option) *catalogue.Target {
	ca := newClientCA(t, "ours")
	s := wssecuretest.Start(t, wssecuretest.Config{Options: append([]wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireClientCert(ca.pool),
	}, opts...)})
	target := targetOf(s)
	target.TLS.Certificates = []tls.Certificate{ca.issue("device-1")}
	return target
}
