package attack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is clients that a server should know by their certificate.

func clientCertAttacks() []Attack {
	return each(Attack{
		Group: "token", Refs: []string{"CWE-295", "RFC 8446 4.4.2"}, Severity: Critical, Needs: NeedClientCert,
		Why:    "anybody passes for a client that was given a certificate",
		Fix:    "require a client certificate and verify its chain, in TLS or at each handshake",
		Option: "RequireClientCert",
	},
		Attack{ID: "client-cert-none", Title: "no client certificate", Refs: []string{"CWE-306"}, Run: func(ctx context.Context, t *Target) Verdict {
			return t.refusal("no client certificate", t.askShowing(ctx, t.Honest(), nil))
		}},
		impersonated("client-cert-foreign", "a certificate of another authority with the name of the good one", func(good *x509.Certificate, _ [][]byte) *tls.Certificate {
			issuer := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: good.RawIssuer, SubjectKeyId: good.AuthorityKeyId, IsCA: true, BasicConstraintsValid: true}
			ca := certify(issuer, nil, nil)
			leaf := certify(copied(good), ca.Leaf, ca.PrivateKey)
			leaf.Certificate = append(leaf.Certificate, ca.Certificate[0])
			return leaf
		}),
		impersonated("client-cert-self-signed", "a certificate that the client has signed itself", func(good *x509.Certificate, _ [][]byte) *tls.Certificate {
			return certify(copied(good), nil, nil)
		}),
		impersonated("client-cert-behind", "the good certificate, which is no secret, behind one of the client's own", func(good *x509.Certificate, chain [][]byte) *tls.Certificate {
			own := certify(copied(good), nil, nil)
			own.Certificate = append(own.Certificate, chain...)
			return own
		}),
		Attack{
			ID: "client-cert-header", Title: "the good certificate in the headers of a proxy, and none in TLS", Refs: []string{"CWE-348", "RFC 9440 3"},
			Fix: "remove such headers from what comes from outside, and believe them from the proxy alone", Option: "RequireClientCert looks at TLS alone",
			Run: claimedCertificate,
		},
	)
}

// impersonated is an attack with a certificate whose key is the attacker's.
func impersonated(id, title string, forge func(good *x509.Certificate, chain [][]byte) *tls.Certificate) Attack {
	return Attack{ID: id, Title: title, Run: func(ctx context.Context, t *Target) Verdict {
		shown := t.shown.Load()
		good, err := x509.ParseCertificate(shown.Certificate[0])
		if err != nil {
			return left("the client certificate cannot be read")
		}
		if a := t.askShowing(ctx, t.Honest(), nil); a.admitted() {
			return left("none is needed: see client-cert-none")
		}
		return t.refusal(title, t.askShowing(ctx, t.Honest(), forge(good, shown.Certificate)))
	}}
}

func claimedCertificate(ctx context.Context, t *Target) Verdict {
	if a := t.askShowing(ctx, t.Honest(), nil); a.admitted() {
		return left("none is needed: see client-cert-none")
	}
	der := t.shown.Load().Certificate[0]
	good, err := x509.ParseCertificate(der)
	if err != nil {
		return left("the client certificate cannot be read")
	}
	escaped := url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	subject := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, good.Subject.String())
	h := t.Honest()
	for _, l := range []string{
		"X-SSL-Client-Verify: SUCCESS", "SSL-Client-Verify: SUCCESS", "X-Client-Verify: SUCCESS", "X-SSL-Client-S-DN: " + subject, "SSL-Client-Subject-DN: " + subject,
		"X-SSL-Client-Cert: " + escaped, "SSL-Client-Cert: " + escaped, "X-Client-Cert: " + escaped,
		"X-Forwarded-Client-Cert: Cert=\"" + escaped + "\";Subject=\"" + strings.ReplaceAll(subject, `"`, "") + "\"",
		"X-ARR-ClientCert: " + pemBody(der), "Client-Cert: :" + pemBody(der) + ":",
	} {
		h.Add(l)
	}
	return t.refusal("X-SSL-Client-Verify, X-Forwarded-Client-Cert, Client-Cert and their kin, and no certificate in TLS", t.askShowing(ctx, h, nil))
}

// pemBody is the base64 of PEM without its lines.
func pemBody(der []byte) string {
	lines := strings.Split(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: der}))), "\n")
	return strings.Join(lines[1:len(lines)-1], "")
}

// askShowing is ask with another client certificate; nil shows none.
func (t *Target) askShowing(ctx context.Context, h *probe.Handshake, c *tls.Certificate) answer {
	if c == nil {
		c = &tls.Certificate{}
	}
	config := t.endpoint.tls.Clone()
	config.ClientSessionCache = nil // a resumed session would bring the good one along
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	l, err := t.dialBy(ctx, t.LocalAddr, config)
	if err != nil {
		return answer{err: err}
	}
	l, a := l.handshake(h)
	if l != nil {
		a = l.farewell(a)
		l.Close()
	}
	return a
}

// witnessed is a configuration that notes whether the server asks for a client certificate, and what it is shown.
func (t *Target) witnessed(c *tls.Config) *tls.Config {
	own, certificates := c.GetClientCertificate, c.Certificates
	c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		t.asksForCert.Store(true)
		chosen, err := &tls.Certificate{}, error(nil)
		if own != nil {
			chosen, err = own(info)
		} else {
			for i := range certificates {
				if info.SupportsCertificate(&certificates[i]) == nil {
					chosen = &certificates[i]
					break
				}
			}
		}
		if err == nil && chosen != nil && len(chosen.Certificate) > 0 {
			t.shown.Store(chosen)
		}
		return chosen, err
	}
	return c
}

// copied is what a good certificate says of its owner.
func copied(good *x509.Certificate) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: good.SerialNumber, RawSubject: good.RawSubject, DNSNames: good.DNSNames, EmailAddresses: good.EmailAddresses,
		IPAddresses: good.IPAddresses, URIs: good.URIs, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

// certify makes a certificate with a new key, by an issuer or by itself.
func certify(template, issuer *x509.Certificate, by any) *tls.Certificate {
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if template.IsCA {
		template.KeyUsage = x509.KeyUsageCertSign
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	if issuer == nil {
		issuer, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, by)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
