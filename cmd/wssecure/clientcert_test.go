package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// files writes a client certificate and its key as PEM.
func files(t testing.TB, c tls.Certificate, mode os.FileMode) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name string
		pem  pem.Block
		mode os.FileMode
	}{{cert, pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}, 0o644}, {key, pem.Block{Type: "PRIVATE KEY", Bytes: der}, mode}} {
		if err := os.WriteFile(f.name, pem.EncodeToMemory(&f.pem), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func forClients(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func TestMistakesAboutClientCertificates(t *testing.T) {
	t.Parallel()
	ca := testbed.NewAuthority(t)
	cert, key := files(t, ca.Issue(forClients), 0o600)
	_, other := files(t, ca.Issue(forClients), 0o600)
	encrypted := filepath.Join(t.TempDir(), "encrypted.key")
	if err := os.WriteFile(encrypted, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("canary")}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"--cert", cert}, "--cert: goes with --key"},
		{[]string{"--key", key}, "--key: goes with --cert"},
		{[]string{"--cert", "/nowhere.pem", "--key", key}, "--cert: open /nowhere.pem"},
		{[]string{"--cert", cert, "--key", "/nowhere.key"}, "--key: open /nowhere.key"},
		{[]string{"--cert", key, "--key", key}, "holds no PEM certificate"},
		{[]string{"--cert", cert, "--key", cert}, "holds no PEM private key"},
		{[]string{"--cert", cert, "--key", encrypted}, "is encrypted"},
		{[]string{"--cert", cert, "--key", other}, "is not the key of"},
	} {
		o := run(t, "", append([]string{"scan", "wss://127.0.0.1:1/"}, row.args...)...)
		if o.code != 2 || !strings.Contains(o.err, row.want) || strings.Count(o.err, "\n") != 1 {
			t.Errorf("%v: exit %d, %q", row.args, o.code, o.err)
		}
	}
}

// An endpoint behind client certificates says so, and with one is scanned as any other.
func TestEndpointsThatAskForAClientCertificate(t *testing.T) {
	t.Parallel()
	ca, other := testbed.NewAuthority(t), testbed.NewAuthority(t)
	cert, key := files(t, ca.Issue(forClients), 0o600)
	foreign, foreignKey := files(t, other.Issue(forClients), 0o600)
	const asks, refuses = "asks for a client certificate; give one with --cert FILE and --key FILE", "does not take the client certificate of --cert"
	for name, most := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		addr := testbed.Serve(t, &http.Server{
			Handler: http.HandlerFunc(bareCoder),
			TLSConfig: &tls.Config{
				Certificates: []tls.Certificate{ca.Issue(nil)}, MaxVersion: most, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
			},
		})
		for _, row := range []struct {
			name, want string // in the error
			flags      []string
		}{
			{"none", asks, nil},
			{"of another authority", refuses, []string{"--cert", foreign, "--key", foreignKey}},
			{"good", "", []string{"--cert", cert, "--key", key}},
		} {
			t.Run(name+", "+row.name, func(t *testing.T) {
				t.Parallel()
				testbed.Try(t, func(t *testbed.Trial) {
					o, d := scanJSON(t, "", append(slices.Concat(testbed.Unhurried, row.flags), "--rate", "500", "--ca", ca.File, "--connect", addr, url)...)
					got := d.Targets[0]
					if !strings.Contains(got.Error, row.want) || (got.Error == "") != (row.want == "") || got.Admitted != (row.want == "") {
						t.Errorf("exit %d, admitted %v, %q", o.code, got.Admitted, got.Error)
					}
					for _, f := range append(got.Findings, got.Others...) {
						if row.want == "" && strings.HasPrefix(f.ID, "client-cert-") && f.State != "held" {
							t.Errorf("%s: %s %s", f.ID, f.State, f.Detail)
						}
					}
				})
			})
		}
	}
}

// A guard asks, and refuses in HTTP; with the certificate it gets its grade.
func TestAGuardWithClientCertificates(t *testing.T) {
	t.Parallel()
	ca := testbed.NewAuthority(t)
	testbed.Try(t, func(t *testbed.Trial) {
		addr := guarded(t, ca, wssecure.RequireClientCert(ca.Pool()))
		args := append(testbed.Unhurried, "--rate", "500", "--ca", ca.File, "--connect", addr, "--origin", "https://"+testbed.Name, url)
		_, d := scanJSON(t, "", args...)
		if got := d.Targets[0]; got.Admitted || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "give one with --cert FILE and --key FILE") {
			t.Errorf("without: admitted %v, %q, %s", got.Admitted, got.Notes, got.Error)
		}
		cert, key := files(t, ca.Issue(forClients), 0o644)
		o, d := scanJSON(t, "", append(args, "--cert", cert, "--key", key)...)
		if got := d.Targets[0]; o.code != 0 || got.Grade != "A+" {
			t.Errorf("with: exit %d, %s because %s, %v", o.code, got.Grade, got.Because, got.Findings)
		}
		if !strings.Contains(o.err, "warning: --key: others may read "+key) {
			t.Errorf("a key that others may read passes in silence: %s", o.err)
		}
	})
}
