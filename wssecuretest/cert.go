package wssecuretest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"time"
)

// Names that the certificate of every Server is good for, beside 127.0.0.1 and ::1.
var certNames = []string{"localhost", "ws.example.com", "app.test", "*.app.test", "evil.test"}

// An authority is a certificate authority that lives in memory, and the one certificate it has issued.
type authority struct {
	pool *x509.CertPool
	leaf tls.Certificate
}

var processAuthority = sync.OnceValue(func() authority {
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "wssecuretest"},
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "ws.example.com"},
		DNSNames:     certNames,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range []*x509.Certificate{root, leaf} {
		// From before the year in which synctest's clock begins; the key never leaves the process.
		c.NotBefore = time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)
		c.NotAfter = time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	rootKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rootDER := must(x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey))
	leafKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	leafDER := must(x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey))

	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(rootDER)))
	return authority{pool: pool, leaf: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}}
})
