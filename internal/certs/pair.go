package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// fileSize bounds what is read of a file; long chains with their comments are below 64 KiB.
const fileSize = 1 << 20

// read gives the pair of the two files, or why it must not serve. The sighting is the same for the same state.
func read(certFile, keyFile string, now time.Time) (*pair, sighting, error) {
	certPEM, err := readFile(certFile, "your certificate chain")
	if err != nil {
		return nil, sighting{err: err.Error()}, err
	}
	keyPEM, err := readFile(keyFile, "the certificate's key")
	if err != nil {
		return nil, sighting{err: err.Error()}, err
	}
	sum := digest(certPEM, keyPEM)
	cert, err := parse(certFile, keyFile, certPEM, keyPEM, now)
	if err != nil {
		return nil, sighting{sum: sum, err: err.Error()}, err
	}
	return &pair{cert: cert, notAfter: cert.Leaf.NotAfter, sum: sum}, sighting{sum: sum}, nil
}

func readFile(name, what string) ([]byte, error) {
	if name == "" {
		return nil, fmt.Errorf(`"" is no file; give the path of %s`, what)
	}
	// Asked before it is opened: opening a pipe would wait for its writer.
	st, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q is missing; give the path of %s", name, what)
	}
	if err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file; give the path of %s", name, what)
	}
	var content []byte
	if err == nil {
		content, err = readBounded(name)
	}
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the name is already there
		}
		return nil, fmt.Errorf("%q cannot be read (%w); let this process read it", name, err)
	}
	if len(content) > fileSize {
		return nil, fmt.Errorf("%q is longer than %d bytes; give the path of %s", name, fileSize, what)
	}
	return content, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fileSize+1))
}

// digest tells two states of the files apart without keeping the key in memory a second time.
func digest(certPEM, keyPEM []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(certPEM))))
	h.Write(certPEM)
	h.Write(keyPEM)
	return [sha256.Size]byte(h.Sum(nil))
}

func parse(certFile, keyFile string, certPEM, keyPEM []byte, now time.Time) (tls.Certificate, error) {
	chain, err := parseChain(certFile, certPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := parseKey(keyFile, keyPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := chain[0]
	if !belongs(key, leaf) {
		for _, c := range chain[1:] {
			if belongs(key, c) {
				return tls.Certificate{}, fmt.Errorf("%q begins with another certificate than that of %q; put the server's own first", certFile, keyFile)
			}
		}
		return tls.Certificate{}, fmt.Errorf("%q and %q do not belong together; give the key of that certificate", certFile, keyFile)
	}
	if kind := weakness(leaf); kind != "" {
		return tls.Certificate{}, fmt.Errorf("%q is %s; use RSA 2048 or P-256", keyFile, kind)
	}
	if now.After(leaf.NotAfter) {
		return tls.Certificate{}, fmt.Errorf("%q expired at %s; renew it", certFile, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(leaf.NotBefore) {
		return tls.Certificate{}, fmt.Errorf("%q is not valid before %s; set the clock, or wait with its use", certFile, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

func parseChain(name string, content []byte) ([]*x509.Certificate, error) {
	blocks, err := decode(name, content)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	key := false
	for _, b := range blocks {
		key = key || strings.HasSuffix(b.Type, "PRIVATE KEY")
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%q holds a damaged certificate (%w); write it again", name, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 && key {
		return nil, fmt.Errorf("%q holds a key and no certificate; swap the two paths", name)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%q has no PEM block CERTIFICATE; give the certificate chain in PEM form", name)
	}
	return chain, nil
}

func parseKey(name string, content []byte) (crypto.Signer, error) {
	blocks, err := decode(name, content)
	if err != nil {
		return nil, err
	}
	certificate := false
	for _, b := range blocks {
		certificate = certificate || b.Type == "CERTIFICATE"
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, fmt.Errorf("%q is encrypted; write it without a passphrase, readable by this process only", name)
		}
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue // as EC PARAMETERS, which openssl puts first
		}
		key, err := parsePrivate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%q holds a damaged or unknown key; use RSA 2048 or P-256", name)
		}
		return key, nil
	}
	if certificate {
		return nil, fmt.Errorf("%q holds a certificate and no key; give the path of the certificate's key", name)
	}
	return nil, fmt.Errorf("%q has no PEM block PRIVATE KEY; give the key in PEM form", name)
}

// parsePrivate reads the three forms in use. It says nothing of the error: it would be about the form tried last.
func parsePrivate(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key that cannot sign")
	}
	return signer, nil
}

// decode gives all PEM blocks. One that was begun and not ended is an error, though pem.Decode would pass over it: a chain
// caught while it is written must not serve without its last certificates.
func decode(name string, content []byte) ([]*pem.Block, error) {
	var blocks []*pem.Block
	for rest := content; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	if bytes.Count(content, []byte("-----BEGIN ")) != len(blocks) {
		return nil, fmt.Errorf("%q has a damaged or unfinished PEM block; write it again", name)
	}
	return blocks, nil
}

func belongs(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// weakness names a key that RFC 9325 section 4.5 or the browsers rule out, and is empty for a good one.
func weakness(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return fmt.Sprintf("RSA %d", key.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return "P-224"
		}
	case ed25519.PublicKey:
	default:
		return leaf.PublicKeyAlgorithm.String()
	}
	return ""
}
