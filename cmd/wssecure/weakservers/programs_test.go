package weakservers_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// A tool is a program that a target needs and a machine may lack.
type tool struct {
	name    string
	require string // the variable that makes its absence a failure
	missing func() string
}

var (
	node = tool{"Node", "WSS_REQUIRE_NODE", func() string {
		if _, err := exec.LookPath("node"); err != nil {
			return "node is missing"
		}
		for _, name := range []string{"ws", "socket.io"} {
			if _, err := os.Stat(filepath.Join("programs", "node_modules", name)); err != nil {
				return "programs/node_modules is missing: npm ci --ignore-scripts"
			}
		}
		return ""
	}}
	python = tool{"Python's websockets", "WSS_REQUIRE_PYTHON", func() string {
		if pythonPath() == "" {
			return "no python3 here has the module websockets"
		}
		return ""
	}}
	nginx = tool{"nginx", "WSS_REQUIRE_NGINX", func() string {
		if _, err := exec.LookPath("nginx"); err != nil {
			return "nginx is missing"
		}
		return ""
	}}
)

// pythonPath is the Python that has websockets: the distribution's, or one that is found first.
func pythonPath() string {
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import websockets").Run() == nil {
			return name
		}
	}
	return ""
}

// program starts a server of programs and ends it with the test. Its first line says the port.
func program(t *testing.T, path, interpreter, name string) target {
	t.Helper()
	if _, err := os.Stat(filepath.Join("programs", name)); err != nil { // go test then runs again when it changes
		t.Fatal(err)
	}
	cmd := exec.Command(interpreter, name)
	cmd.Dir = "programs"
	cmd.Stderr = io.Discard // servers complain of what they are sent
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		overdue := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		io.Copy(io.Discard, out)
		cmd.Wait()
		if !overdue.Stop() {
			t.Errorf("%s did not end with its input", name)
		}
	})
	var says struct {
		Port    int
		Version string
	}
	if err := json.NewDecoder(out).Decode(&says); err != nil {
		t.Fatalf("%s says no port: %v", name, err)
	}
	return target{version: says.Version, args: []string{fmt.Sprintf("ws://127.0.0.1:%d%s", says.Port, path)}}
}

// nginxConfig holds what Debian's nginx.conf says of TLS and compression, and the lines for WebSockets of nginx's own
// documentation. Everything else is as nginx is without being told: Host is the backend's name, and the version is shown.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 768; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
	ssl_prefer_server_ciphers on;
	gzip on;
	server {
		listen %[2]s ssl;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/key.pem;
		location / {
			proxy_pass http://%[3]s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
		}
	}
}
`

// behindNginx puts nginx with TLS before h.
func behindNginx(t *testing.T, ca *testbed.Authority, h http.Handler) target {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	writeCertificate(t, ca, dir)
	conf := filepath.Join(dir, "nginx.conf")
	backend := testbed.Serve(t, &http.Server{Handler: h})
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir, addr, backend), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
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
	if err := awaitListener(addr, ended); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		t.Fatalf("%v\n%s", err, log)
	}
	said, err := exec.Command("nginx", "-v").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(strings.TrimSpace(string(said)), "nginx/")
	return target{version: version, args: []string{"--ca", ca.File, "--connect", addr, secureURL}}
}

func awaitListener(addr string, ended chan error) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("nginx ended: %w", err)
		default:
		}
	}
	return fmt.Errorf("nothing listens at %s", addr)
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
func writeCertificate(t *testing.T, ca *testbed.Authority, dir string) {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048) // what most certificates are still made for
	if err != nil {
		t.Fatal(err)
	}
	pair := ca.IssueFor(rsaKey, &rsaKey.PublicKey, nil)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
