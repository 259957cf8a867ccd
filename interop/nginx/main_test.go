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
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestMain leaves the package out on a machine without nginx, and says so; where
// one is required that is a failure.
func TestMain(m *testing.M) {
	// Debian keeps it where only root's PATH looks.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	if _, err := exec.LookPath("nginx"); err != nil {
		fmt.Fprint(os.Stderr, "\n*** The tests behind nginx are LEFT OUT: nginx is missing. `make test` installs it. ***\n\n")
		if os.Getenv("WSS_REQUIRE_NGINX") != "" {
			fmt.Fprintln(os.Stderr, "FAIL: WSS_REQUIRE_NGINX is set")
			os.Exit(1)
		}
		// go test then says "[no tests to run]", and does not keep that for a result.
		flag.Parse()
		flag.Set("test.run", "^$")
		flag.Set("test.testlogfile", "")
	}
	os.Exit(m.Run())
}

// front is a running nginx.
type front struct {
	t             testing.TB
	secure, plain string // its ports
	roots         *x509.CertPool
}

const config = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s ssl;
		listen %[3]s;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/key.pem;
		location / {
			proxy_pass http://%[4]s;
			proxy_bind 127.0.0.1;
			proxy_http_version 1.1;
			proxy_set_header Host $http_host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_set_header X-Forwarded-Proto $scheme;
			%[5]s
		}
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
	f := &front{t: t, roots: writeCertificate(t, dir), secure: freeAddr(t), plain: freeAddr(t)}
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, fmt.Appendf(nil, config, dir, f.secure, f.plain, s.Addr, headers), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-c", name, "-e", filepath.Join(dir, "error.log"))
	var says strings.Builder
	cmd.Stderr = &says
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			t.Error("nginx did not end")
		}
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", f.plain); err == nil {
			c.Close()
			return f
		}
		select {
		case err := <-ended:
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			ended <- err
			t.Fatalf("nginx ended: %v\n%s%s", err, says.String(), log)
		default:
		}
	}
	t.Fatal("nginx does not listen")
	return nil
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

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
