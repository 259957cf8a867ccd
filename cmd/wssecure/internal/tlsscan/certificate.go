package tlsscan

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/quote"
)

// Bounds of a sound chain.
const (
	mostCertificates = 10
	mostChainBytes   = 32 << 10
	longestNotice    = 14 * 24 * time.Hour
)

func certificateChecks() []endpoint.Check {
	look := func(r finding.Rule, judge func(e *endpoint.Endpoint) finding.Verdict) endpoint.Check {
		return endpoint.Check{Rule: r, Run: func(_ context.Context, e *endpoint.Endpoint) finding.Verdict { return judge(e) }}
	}
	return endpoint.Each(finding.Rule{
		Group: "certificate", Option: "SetCertificate(certFile, keyFile)", Refs: []string{"RFC 9325 4.5", "CWE-295"},
		Why: "clients that are told to look away take an attacker's certificate as well",
		Fix: "serve a certificate of an authority that clients know, with all intermediates, for this name",
	},
		look(finding.Rule{ID: "cert-untrusted", Title: "the authority behind the certificate", Severity: finding.High}, trusted),
		look(finding.Rule{ID: "cert-hostname", Title: "the name in the certificate", Severity: finding.High}, named),
		look(finding.Rule{ID: "cert-expired", Title: "the dates of the certificate", Severity: finding.High,
			Fix: "renew it, and renew by a machine from now on"}, dated),
		look(finding.Rule{ID: "cert-expiring", Title: "how long the certificate lasts yet", Severity: finding.Low,
			Why:    "clients go away on that day, or learn to look away",
			Fix:    "renew it: two weeks before its end, or a sixth of its life when that is shorter",
			Option: "SetCertificate reads renewed files within a minute; events warn 30, 14 and 3 days ahead"}, lasting),
		look(finding.Rule{ID: "cert-key-weak", Title: "the size of the chain's keys", Severity: finding.High,
			Why:    "whoever computes the private key stands for the server",
			Fix:    "ECDSA P-256, or RSA of 2,048 bits and more",
			Option: "SetCertificate refuses RSA keys below 2,048 bits"}, strongKeys),
		look(finding.Rule{ID: "cert-signature-weak", Title: "MD5 and SHA-1 in the chain's signatures", Severity: finding.High, Refs: []string{"RFC 9155"},
			Why: "certificates with a colliding hash can be forged",
			Fix: "have the chain issued anew with SHA-256"}, strongSignatures),
		look(finding.Rule{ID: "cert-chain-long", Title: "the size of the chain", Severity: finding.Low,
			Why: "each handshake carries it; clients bound what they take, and amplification grows with it",
			Fix: "serve the certificate and its intermediates, nothing else"}, soundSize),
	)
}

func trusted(e *endpoint.Endpoint) finding.Verdict {
	leaf := e.TLS.PeerCertificates[0]
	if e.AnyCA {
		return finding.Left("any authority is taken: --insecure-ca")
	}
	// Dates and name have checks of their own.
	err := e.Verify("", clamp(time.Now(), leaf.NotBefore, leaf.NotAfter))
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return finding.Held("issued by " + quote.Cut(leaf.Issuer.String(), quote.Value))
	case leaf.CheckSignatureFrom(leaf) == nil || leaf.Subject.String() == leaf.Issuer.String():
		return finding.Broken("self-signed: " + quote.Cut(leaf.Subject.String(), quote.Value))
	case errors.As(err, &unknown):
		return finding.Broken("unknown authority: " + quote.Cut(leaf.Issuer.String(), quote.Value))
	}
	return finding.Broken(quote.Cut(err.Error(), quote.Value))
}

func clamp(t, from, to time.Time) time.Time {
	switch {
	case t.Before(from):
		return from
	case t.After(to):
		return to
	}
	return t
}

func named(e *endpoint.Endpoint) finding.Verdict {
	if err := e.TLS.PeerCertificates[0].VerifyHostname(e.URL.Host); err != nil {
		return finding.Broken(quote.Cut(err.Error(), quote.Value))
	}
	return finding.Held(e.URL.Host)
}

func dated(e *endpoint.Endpoint) finding.Verdict {
	leaf, now := e.TLS.PeerCertificates[0], time.Now()
	switch {
	case now.After(leaf.NotAfter):
		return finding.Broken("ended on " + day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return finding.Broken("begins on " + day(leaf.NotBefore))
	}
	return finding.Held(day(leaf.NotBefore) + " to " + day(leaf.NotAfter))
}

func lasting(e *endpoint.Endpoint) finding.Verdict {
	leaf := e.TLS.PeerCertificates[0]
	left, life := time.Until(leaf.NotAfter), leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case left <= 0:
		return finding.Left("it has ended")
	case left < min(longestNotice, life/6):
		return finding.Broken(fmt.Sprintf("ends on %s, in %.0f hours", day(leaf.NotAfter), left.Hours()))
	}
	return finding.Held("ends on " + day(leaf.NotAfter))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func strongKeys(e *endpoint.Endpoint) finding.Verdict {
	for _, c := range e.TLS.PeerCertificates {
		if fault := keyFault(c); fault != "" {
			return finding.Broken(fault + " of " + quote.Cut(c.Subject.String(), quote.Value))
		}
	}
	return finding.Held(KeyName(e.TLS.PeerCertificates[0]))
}

func keyFault(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return KeyName(c)
		}
		if key.E < 65537 && key.E != 3 && key.E != 17 || key.E%2 == 0 {
			return fmt.Sprintf("%s with exponent %d", KeyName(c), key.E)
		}
		return ""
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 256 {
			return KeyName(c)
		}
		return ""
	case ed25519.PublicKey:
		return ""
	}
	return KeyName(c)
}

// KeyName says kind and size of a certificate's key.
func KeyName(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA of %d bits", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return c.PublicKeyAlgorithm.String() + " key"
}

// strongSignatures leaves out what signs itself: nobody looks at the signature of a root.
func strongSignatures(e *endpoint.Endpoint) finding.Verdict {
	for _, c := range e.TLS.PeerCertificates {
		if string(c.RawSubject) == string(c.RawIssuer) {
			continue
		}
		switch c.SignatureAlgorithm {
		case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.DSAWithSHA256, x509.ECDSAWithSHA1:
			return finding.Broken(c.SignatureAlgorithm.String() + " on " + quote.Cut(c.Subject.String(), quote.Value))
		}
	}
	return finding.Held(e.TLS.PeerCertificates[0].SignatureAlgorithm.String())
}

func soundSize(e *endpoint.Endpoint) finding.Verdict {
	bytes := 0
	for _, c := range e.TLS.PeerCertificates {
		bytes += len(c.Raw)
	}
	n := len(e.TLS.PeerCertificates)
	got := fmt.Sprintf("certificates: %d, bytes: %d", n, bytes)
	if n > mostCertificates || bytes > mostChainBytes {
		return finding.Broken(got)
	}
	return finding.Held(got)
}
