package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// authority is a certificate authority that lives as long as the process. Its key is never written anywhere, and its
// name constraints keep it to this machine: a browser that is told to trust it trusts it for localhost and nothing else.
type authority struct {
	cert *x509.Certificate
	leaf tls.Certificate // for localhost and 127.0.0.1, with the authority behind it in the chain
}

const certLifetime = 24 * time.Hour

var loopback = net.IPNet{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}

func newAuthority() (*authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		Subject:                     pkix.Name{CommonName: "wssecure quickstart (gone when it stops)"},
		KeyUsage:                    x509.KeyUsageCertSign,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges:           []*net.IPNet{&loopback},
	}
	caDER, err := certify(ca, ca, caKey, caKey)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, err
	}

	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := certify(leaf, cert, leafKey, caKey)
	if err != nil {
		return nil, err
	}
	return &authority{
		cert: cert,
		leaf: tls.Certificate{Certificate: [][]byte{leafDER, caDER}, PrivateKey: leafKey},
	}, nil
}

func certify(cert, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	cert.SerialNumber = serial
	cert.BasicConstraintsValid = true
	cert.NotBefore = now.Add(-time.Minute) // clocks differ a little
	cert.NotAfter = now.Add(certLifetime)
	return x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
}

// pem is what a browser or a command-line client imports to trust this run of the quickstart.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// fingerprint is what a client compares instead of importing anything.
func (a *authority) fingerprint() string {
	return certFingerprint(a.cert)
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func certFingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// pinned is a client configuration that trusts exactly one authority, named by its SHA-256 fingerprint. The server sends
// that authority in its chain, so no file changes hands; chain, name and dates are verified as always.
func pinned(fingerprint string) (*tls.Config, error) {
	want, err := hex.DecodeString(fingerprint)
	if err != nil || len(want) != sha256.Size {
		return nil, fmt.Errorf("-pin %q is no SHA-256 fingerprint; copy the one the server printed", fingerprint)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true, // the system's roots do not know this authority; VerifyConnection decides instead
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, cert := range cs.PeerCertificates {
				sum := sha256.Sum256(cert.Raw)
				if !bytes.Equal(sum[:], want) {
					continue
				}
				roots := x509.NewCertPool()
				roots.AddCert(cert)
				_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: cs.ServerName, Roots: roots})
				return err
			}
			return errors.New("no certificate of the chain has the pinned fingerprint; is it another run of the server?")
		},
	}, nil
}
