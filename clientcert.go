package wssecure

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"time"
)

// This file judges client certificates in the guard itself, beside TLS: the
// ticket of another host name or configuration resumes a session without
// showing the certificate again, and routes may differ in their pool.

func (a *attempt) hasClientCert() bool {
	return a.r.TLS != nil && len(a.r.TLS.PeerCertificates) > 0
}

// checkClientCert verifies the chain against this route's own pool.
func (a *attempt) checkClientCert() error {
	pool := a.policy.clientCAs
	if pool == nil {
		return nil
	}
	if !a.hasClientCert() {
		return a.refuse(ReasonForbidden, "no client certificate", "one that RequireClientCert's pool vouches for")
	}
	leaf := a.r.TLS.PeerCertificates[0]
	if err := verifyClient(leaf, a.r.TLS.PeerCertificates[1:], pool); err != nil {
		a.finding.err = err
		return a.refuse(ReasonForbidden, "client certificate of "+leaf.Subject.String(), "one that RequireClientCert's pool vouches for")
	}
	if a.late {
		return nil // the token, when it comes, says who connects
	}
	if a.identity == nil {
		a.identity = identityOfCert(leaf)
		return nil
	}
	a.identity = a.identity.boundTo(leaf.NotAfter)
	return nil
}

func verifyClient(leaf *x509.Certificate, chain []*x509.Certificate, pool *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: between,
		CurrentTime:   time.Now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// identityOfCert is who a certificate alone says connects.
func identityOfCert(leaf *x509.Certificate) *Identity {
	var names []any
	for _, n := range leaf.DNSNames {
		names = append(names, "DNS:"+n)
	}
	for _, n := range leaf.EmailAddresses {
		names = append(names, "email:"+n)
	}
	for _, n := range leaf.URIs {
		names = append(names, "URI:"+n.String())
	}
	for _, n := range leaf.IPAddresses {
		names = append(names, "IP:"+n.String())
	}
	subject := leaf.Subject.String()
	if subject == "" && len(names) > 0 {
		// RFC 5280 section 4.2.1.6: the names may stand in the extension alone.
		subject = names[0].(string)
	}
	if subject == "" {
		subject = "serial:" + leaf.SerialNumber.String()
	}
	return &Identity{
		Issuer:  leaf.Issuer.String(),
		Subject: subject,
		Expiry:  leaf.NotAfter,
		Claims:  map[string]any{"san": names},
		content: "cert:" + thumbprint(leaf),
	}
}

// thumbprint is x5t#S256 of RFC 7515 section 4.1.8.
func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
