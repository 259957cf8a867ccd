package weakservers_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/internal/program"
)

// A tool is a program that a target needs and a machine may lack.
type tool struct {
	name    string
	require string // the variable that makes its absence a failure
	missing []string
}

// tools are looked for once, by TestMain.
var tools struct{ node, python, nginx tool }

func lookForTools() {
	tools.node = tool{"Node", "WSS_REQUIRE_NODE", program.Missing([]string{"node"}, "programs/node_modules/ws", "programs/node_modules/socket.io")}
	tools.nginx = tool{"nginx", "WSS_REQUIRE_NGINX", program.Missing([]string{"nginx"})}
	tools.python = tool{name: "Python's websockets", require: "WSS_REQUIRE_PYTHON"}
	if pythonPath() == "" {
		tools.python.missing = []string{"no python3 here has the module websockets"}
	}
}

// pythonPath is the Python that has websockets: the distribution's, or one that is found first.
func pythonPath() string {
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import websockets").Run() == nil {
			return name
		}
	}
	return ""
}

// script starts a server of programs and ends it with the test. Its first line says the port.
func script(t *testing.T, path, interpreter, name string) target {
	t.Helper()
	var says struct {
		Port    int
		Version string
	}
	program.StartScript(t, "programs", interpreter, name).Line(&says)
	return target{version: says.Version, args: []string{fmt.Sprintf("ws://127.0.0.1:%d%s", says.Port, path)}}
}

// nginxConfig holds what Debian's nginx.conf says of TLS and compression, and the lines for WebSockets of nginx's own
// documentation. Everything else is as nginx is without being told: Host is the backend's name, and the version is shown.
const nginxConfig = `
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
	ssl_prefer_server_ciphers on;
	gzip on;
	server {
		listen %s ssl;
		ssl_certificate cert.pem;
		ssl_certificate_key key.pem;
		location / {
			proxy_pass http://%s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
		}
	}
`

// behindNginx puts nginx with TLS before h.
func behindNginx(t *testing.T, ca *testbed.Authority, h http.Handler) target {
	t.Helper()
	dir, addr := t.TempDir(), program.FreeAddr(t)
	writeCertificate(t, ca, dir)
	backend := testbed.Serve(t, &http.Server{Handler: h})
	program.StartNginx(t, dir, fmt.Sprintf(nginxConfig, addr, backend), addr)
	return target{version: program.NginxVersion(t), args: []string{"--ca", ca.File, "--connect", addr, secureURL}}
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
