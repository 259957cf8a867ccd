package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/certs"
)

func TestLoadRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	ca := newAuthority(t)
	hourAgo, tomorrow := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	good, other := ca.pair(t, 1, 24*time.Hour), ca.pair(t, 2, 24*time.Hour)
	issued := func(key crypto.Signer, from, until time.Time) files {
		return files{ca.issue(t, 3, key, from, until), keyPEM(t, key)}
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, chain, _ := bytes.Cut(good.cert, []byte("-----END CERTIFICATE-----\n"))
	leaf = append(bytes.Clone(leaf), "-----END CERTIFICATE-----\n"...)
	damaged := block("CERTIFICATE", []byte("not a certificate"))
	expired := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later := time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC)

	rows := []struct {
		name string
		files
		want string
	}{
		{"G-52 T-20 key of another certificate", files{good.cert, other.key},
			`"cert.pem" and "key.pem" do not belong together; give the key of that certificate`},
		{"T-20 key of another kind", files{good.cert, keyPEM(t, newRSA(t, 2048))},
			`"cert.pem" and "key.pem" do not belong together; give the key of that certificate`},
		{"G-53 T-20 RSA below 2048 bits", issued(newRSA(t, 1024), hourAgo, tomorrow),
			`"key.pem" is RSA 1024; use RSA 2048 or P-256`},
		{"T-20 RSA one bit below", issued(newRSA(t, 2047), hourAgo, tomorrow),
			`"key.pem" is RSA 2047; use RSA 2048 or P-256`},
		{"T-20 P-224", issued(p224, hourAgo, tomorrow),
			`"key.pem" is P-224; use RSA 2048 or P-256`},
		{"T-20 expired leaf", issued(newP256(t), expired.AddDate(-1, 0, 0), expired),
			`"cert.pem" expired at 2026-01-02T03:04:05Z; renew it`},
		{"leaf of the future", issued(newP256(t), later, later.AddDate(1, 0, 0)),
			`"cert.pem" is not valid before 2126-01-02T03:04:05Z; set the clock, or wait with its use`},
		{"T-20 missing certificate", files{nil, good.key},
			`"cert.pem" is missing; give the path of your certificate chain`},
		{"T-20 missing key", files{good.cert, nil},
			`"key.pem" is missing; give the path of the certificate's key`},
		{"chain before the leaf", files{append(bytes.Clone(chain), leaf...), good.key},
			`"cert.pem" begins with another certificate than that of "key.pem"; put the server's own first`},
		{"paths swapped", files{good.key, good.cert},
			`"cert.pem" holds a key and no certificate; swap the two paths`},
		{"certificate twice", files{good.cert, good.cert},
			`"key.pem" holds a certificate and no key; give the path of the certificate's key`},
		{"empty certificate file", files{[]byte{}, good.key},
			`"cert.pem" has no PEM block CERTIFICATE; give the certificate chain in PEM form`},
		{"empty key file", files{good.cert, []byte{}},
			`"key.pem" has no PEM block PRIVATE KEY; give the key in PEM form`},
		{"DER instead of PEM", files{ca.cert.Raw, good.key},
			`"cert.pem" has no PEM block CERTIFICATE; give the certificate chain in PEM form`},
		{"half-written chain", files{good.cert[:len(good.cert)-40], good.key},
			`"cert.pem" has a damaged or unfinished PEM block; write it again`},
		{"half-written key", files{good.cert, good.key[:len(good.key)-40]},
			`"key.pem" has a damaged or unfinished PEM block; write it again`},
		{"damaged first block", files{append(bytes.Replace(leaf, []byte("\nM"), []byte("\n*"), 1), good.cert...), good.key},
			`"cert.pem" has a damaged or unfinished PEM block; write it again`},
		{"certificate of junk", files{damaged, good.key},
			`"cert.pem" holds a damaged certificate (x509: malformed certificate); write it again`},
		{"chain of junk", files{append(bytes.Clone(leaf), damaged...), good.key},
			`"cert.pem" holds a damaged certificate (x509: malformed certificate); write it again`},
		{"key of junk", files{good.cert, block("PRIVATE KEY", []byte("not a key"))},
			`"key.pem" holds a damaged or unknown key; use RSA 2048 or P-256`},
		{"key with a passphrase", files{good.cert, block("ENCRYPTED PRIVATE KEY", []byte("sealed"))},
			`"key.pem" is encrypted; write it without a passphrase, readable by this process only`},
		{"key with a passphrase, old form", files{good.cert, []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")},
			`"key.pem" is encrypted; write it without a passphrase, readable by this process only`},
		{"file without end", files{bytes.Repeat([]byte("#"), 1<<20+1), good.key},
			`"cert.pem" is longer than 1048576 bytes; give the path of your certificate chain`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if row.cert != nil {
				write(t, "cert.pem", row.cert)
			}
			if row.key != nil {
				write(t, "key.pem", row.key)
			}
			refused(t, "cert.pem", "key.pem", row.want)
		})
	}
	t.Run("no path", func(t *testing.T) {
		good.write(t, ".")
		refused(t, "", "key.pem", `"" is no file; give the path of your certificate chain`)
		refused(t, "cert.pem", "", `"" is no file; give the path of the certificate's key`)
	})
	t.Run("folder", func(t *testing.T) {
		refused(t, ".", "key.pem", `"." is not a regular file; give the path of your certificate chain`)
	})
	t.Run("path through a file", func(t *testing.T) {
		refused(t, "cert.pem/cert.pem", "key.pem", `"cert.pem/cert.pem" cannot be read (not a directory); let this process read it`)
	})
}

func refused(t *testing.T, certFile, keyFile, want string) {
	t.Helper()
	s, err := certs.Load(certFile, keyFile)
	if err == nil || s != nil {
		t.Fatalf("loaded, want %s", want)
	}
	if err.Error() != want {
		t.Errorf("error\n     %s\nwant %s", err, want)
	}
}

func TestLoadAdmits(t *testing.T) {
	ca := newAuthority(t)
	from, until := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, rsa2048 := newP256(t), newRSA(t, 2048)
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	withKey := func(key crypto.Signer, pem []byte) files { return files{ca.issue(t, 7, key, from, until), pem} }
	p := withKey(p256, keyPEM(t, p256))
	rows := []struct {
		name string
		files
	}{
		{"P-256, PKCS 8", p},
		{"P-256, SEC 1 behind its parameters", withKey(p256, append(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), block("EC PRIVATE KEY", sec1)...))},
		{"RSA 2048, PKCS 1", withKey(rsa2048, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048)))},
		{"Ed25519", withKey(edwards, keyPEM(t, edwards))},
		{"text between the blocks", files{[]byte("subject=localhost\n" + strings.ReplaceAll(string(p.cert), "-----BEGIN", "issuer=test\n-----BEGIN")), p.key}},
		{"both in one file", files{append(bytes.Clone(p.cert), p.key...), append(bytes.Clone(p.key), p.cert...)}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			row.write(t, dir)
			s, err := certs.Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
			if err != nil {
				t.Fatal(err)
			}
			cert, err := s.Certificate(nil)
			if err != nil || len(cert.Certificate) != 2 || cert.Leaf.SerialNumber.Int64() != 7 {
				t.Errorf("serves %d certificates, error %v", len(cert.Certificate), err)
			}
			if !s.NotAfter().Equal(until.Truncate(time.Second)) || s.Leaf() != cert.Leaf {
				t.Errorf("NotAfter %v, want %v", s.NotAfter(), until)
			}
		})
	}
}

// TestHalfWrittenNeverServes cuts the chain file at every byte, as a look in the middle of a slow copy would see it.
func TestHalfWrittenNeverServes(t *testing.T) {
	dir := t.TempDir()
	pair := newAuthority(t).pair(t, 1, time.Hour)
	pair.write(t, dir)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	const end = "-----END CERTIFICATE-----"
	border := bytes.Index(pair.cert, []byte(end)) + len(end)
	for cut := range len(pair.cert) {
		write(t, certFile, pair.cert[:cut])
		s, err := certs.Load(certFile, keyFile)
		switch {
		case cut >= len(pair.cert)-1: // only the last line feed is missing
			if err != nil {
				t.Errorf("cut at %d of %d: %v", cut, len(pair.cert), err)
			}
		case cut >= border && cut < border+len("\n-----BEGIN "):
			// Cut between two certificates a chain looks whole. The next look, a second later, finds it grown.
		case err == nil:
			t.Errorf("cut at %d of %d: serves %v", cut, len(pair.cert), s.Leaf().Subject)
		}
	}
}

// FuzzLoad wants every content of the two files served or refused with an error that names one of them and says what to do.
func FuzzLoad(f *testing.F) {
	pair := newAuthority(f).pair(f, 1, 24*time.Hour)
	f.Add(pair.cert, pair.key)
	f.Add(pair.key, pair.cert)
	f.Add(pair.cert[:len(pair.cert)/2], pair.key)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		files{cert, key}.write(t, dir)
		s, err := certs.Load(certFile, keyFile)
		if err == nil {
			if c, _ := s.Certificate(nil); c.Leaf == nil || c.PrivateKey == nil {
				t.Error("serves half a pair")
			}
			return
		}
		if text := err.Error(); !strings.HasPrefix(text, `"`+dir+string(os.PathSeparator)) || !strings.Contains(text, "; ") {
			t.Errorf("error %q names no file or no cure", text)
		}
	})
}
