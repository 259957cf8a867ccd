package nginx_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/program"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestMain(m *testing.M) {
	program.Need("The tests behind nginx", "WSS_REQUIRE_NGINX", program.Missing([]string{"nginx"}))
	os.Exit(m.Run())
}

// front is a running nginx.
type front struct {
	t             testing.TB
	secure, plain string // its ports
	roots         *x509.CertPool
}

// server ends TLS at one port and takes plaintext at another, before a guard.
const server = `
	server {
		listen %s ssl;
		listen %s;
		ssl_certificate cert.pem;
		ssl_certificate_key key.pem;
		location / {
			proxy_pass http://%s;
			proxy_bind 127.0.0.1;
			proxy_http_version 1.1;
			proxy_set_header Host $http_host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_set_header X-Forwarded-Proto $scheme;
			%s
		}
	}
`

// What a site may have its nginx send beside X-Forwarded-Proto.
const (
	appended = `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`
	replaced = `proxy_set_header X-Real-IP $remote_addr;`
	standard = `proxy_set_header Forwarded "$http_forwarded, for=\"$remote_addr:$remote_port\";proto=$scheme";`
)

// startNginx puts an nginx before s and ends it with the test.
func startNginx(t *testing.T, s *wssecuretest.Server, headers string) *front {
	t.Helper()
	dir := t.TempDir()
	f := &front{t: t, roots: writeCertificate(t, dir), secure: program.FreeAddr(t), plain: program.FreeAddr(t)}
	program.StartNginx(t, dir, fmt.Sprintf(server, f.secure, f.plain, s.Addr, headers), f.plain)
	return f
}

// from connects to nginx over TLS from an address of loopback.
func (f *front) from(client string) *probe.Conn {
	f.t.Helper()
	return f.dial(f.secure, client, &tls.Config{RootCAs: f.roots, ServerName: wssecuretest.Host})
}

// inPlain connects to nginx without TLS.
func (f *front) inPlain(client string) *probe.Conn {
	f.t.Helper()
	return f.dial(f.plain, client, nil)
}

func (f *front) dial(addr, client string, config *tls.Config) *probe.Conn {
	f.t.Helper()
	c, err := probe.Dial(context.Background(), addr, config, client)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// writeCertificate leaves cert.pem and key.pem in dir.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nginx"}, DNSNames: []string{wssecuretest.Host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	must(os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}
