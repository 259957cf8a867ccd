package main_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// nasty is what a target says to get at whoever reads the report.
const nasty = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\u202e\u009b31m\r"

// Each target here is no WebSocket endpoint, or a broken one: a clear error and exit code 2, soon, and never a byte of
// theirs on the user's terminal.
func TestTargetsThatCannotBeGraded(t *testing.T) {
	t.Parallel()
	ca := testbed.NewAuthority(t)
	secure := func(tune func(c *tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}}
		if tune != nil {
			tune(c)
		}
		return c
	}
	plain := func(h http.HandlerFunc) func(t *testing.T) string {
		return func(t *testing.T) string { return "ws://" + testbed.Serve(t, &http.Server{Handler: h}) + "/" }
	}
	overTLS := func(c *tls.Config, h http.HandlerFunc) func(t *testing.T) string {
		return func(t *testing.T) string {
			return "wss://" + testbed.Serve(t, &http.Server{Handler: h, TLSConfig: c}) + "/"
		}
	}
	raw := func(scheme string, serve func(c net.Conn)) func(t *testing.T) string {
		return func(t *testing.T) string { return scheme + testbed.Listen(t, serve) + "/" }
	}
	says := func(text string) func(c net.Conn) {
		return func(c net.Conn) { io.WriteString(c, text); io.Copy(io.Discard, c) }
	}
	answers := func(text string) func(c net.Conn) {
		return func(c net.Conn) {
			for br := bufio.NewReader(c); ; {
				if _, err := http.ReadRequest(br); err != nil {
					return
				}
				io.WriteString(c, text)
			}
		}
	}
	hangs := func(c net.Conn) { io.Copy(io.Discard, c) }
	closes := func(net.Conn) {}
	hello := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }
	for _, row := range []struct {
		name   string
		target func(t *testing.T) string
		want   string // in the error
	}{
		{"nobody listens", func(*testing.T) string { return "wss://127.0.0.1:1/" }, "nobody listens"},
		{"no such name", func(*testing.T) string { return "wss://nobody.invalid/" }, "nobody.invalid"},
		{"hangs, TLS", raw("wss://", hangs), "no TLS handshake within"},
		{"hangs, plaintext", raw("ws://", hangs), "does not answer a handshake"},
		{"closes, TLS", raw("wss://", closes), "TLS"},
		{"closes, plaintext", raw("ws://", closes), "does not answer a handshake"},
		{"SSH, TLS", raw("wss://", says("SSH-2.0-OpenSSH_9.9"+nasty+"\n")), "speaks no TLS but SSH"},
		{"SSH, plaintext", raw("ws://", says("SSH-2.0-OpenSSH_9.9"+nasty+"\n")), "speaks SSH"},
		{"SMTP", raw("wss://", says("220 mail.example.com ESMTP\r\n")), "speaks no TLS but SMTP"},
		{"plain HTTP on a TLS port", raw("wss://", says("HTTP/1.1 400 Bad Request\r\n\r\n")), "plain HTTP; try ws://"},
		{"Go's plain HTTP", func(t *testing.T) string {
			return "wss://" + testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(hello)}) + "/"
		}, "speaks no TLS but plain HTTP"},
		{"TLS on a plain port", raw("ws://", says("\x15\x03\x01\x00\x02\x02\x46")), "TLS; try wss://"},
		{"Go's TLS on a plain port", func(t *testing.T) string {
			return "ws://" + testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(hello), TLSConfig: secure(nil)}) + "/"
		}, "try wss://"},
		{"HTTP/2 alone", raw("ws://", says("\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64")), "HTTP/2"},
		{"garbage", raw("ws://", says(nasty+strings.Repeat("\x00\xff", 500))), "something else"},
		{"garbage for TLS", raw("wss://", says(nasty+strings.Repeat("\x00\xff", 500))), "speaks no TLS"},
		{"a TLS record that never ends", raw("wss://", says("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")), "no TLS handshake within"},
		{"a ServerHello of nonsense", raw("wss://", says("\x16\x03\x03\x00\x08\x02\x00\x00\x04\xff\xff\xff\xff")), "TLS"},
		{"endless noise", raw("ws://", func(c net.Conn) {
			for {
				if _, err := c.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
					return
				}
			}
		}), "something else"},
		{"endless head", raw("ws://", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n")
			for {
				if _, err := c.Write([]byte("X-A: " + strings.Repeat("a", 4000) + "\r\n")); err != nil {
					return
				}
			}
		}), "64 KiB"},
		{"a head that drips", raw("ws://", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nX: ")
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := c.Write([]byte("a")); err != nil {
					return
				}
			}
		}), "does not answer a handshake"},
		{"nasty status line", raw("ws://", answers("HTTP/1.1 404 "+nasty+"\nContent-Length: 0\r\n\r\n")), "no WebSocket endpoint"},
		{"not found", plain(http.NotFound), "is the path right?"},
		{"an ordinary page", plain(hello), "no WebSocket endpoint: HTTP/1.1 200 OK"},
		{"redirected", plain(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusFound)
		}), "redirected"},
		{"426", plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(426) }), "drop the Upgrade header"},
		{"500", overTLS(secure(nil), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), "no WebSocket endpoint: HTTP/1.1 500"},
		{"client certificate wanted", overTLS(secure(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), hello), "give one with --cert FILE and --key FILE"},
		{"a chain above 256 KiB", overTLS(secure(func(c *tls.Config) { lengthen(&c.Certificates[0], 1000) }), hello), "TLS"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			target := row.target(t)
			testbed.Try(t, func(t *testbed.Trial) {
				o, d := scanJSON(t, "", "--timeout", "3s", "--insecure-ca", target)
				if got := d.Targets[0]; o.code != 2 || !strings.Contains(got.Error, row.want) || got.Grade != "" {
					t.Errorf("exit %d, grade %q, error %q, want %q", o.code, got.Grade, got.Error, row.want)
				}
				if o.took > 2*time.Minute {
					t.Errorf("took %v", o.took)
				}
				harmless(t, o)
				if o := run(t, "", "scan", "--timeout", "3s", "--insecure-ca", "--quiet", target); o.code != 2 || o.err != "" {
					t.Errorf("text: exit %d, %s", o.code, o.err)
				} else {
					harmless(t, o)
				}
			})
		})
	}
}

// lengthen adds copies of the certificate to its own chain.
func lengthen(c *tls.Certificate, n int) {
	for range n {
		c.Certificate = append(c.Certificate, c.Certificate[0])
	}
}

// What is wrong with TLS is a finding, where there is an endpoint behind it.
func TestCertificateFindings(t *testing.T) {
	t.Parallel()
	ca, other := testbed.NewAuthority(t), testbed.NewAuthority(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	dates := func(from, to time.Duration) func(c *x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	const day = 24 * time.Hour
	for _, row := range []struct {
		name string
		cert tls.Certificate
		long int
		want []string
	}{
		{"good", ca.Issue(nil), 0, nil},
		{"short-lived", ca.Issue(dates(-time.Hour, 23*time.Hour)), 0, nil},
		{"of an unknown authority", other.Issue(nil), 0, []string{"cert-untrusted"}},
		{"expired", ca.Issue(dates(-90*day, -day)), 0, []string{"cert-expired"}},
		{"not yet", ca.Issue(dates(day, 90*day)), 0, []string{"cert-expired"}},
		{"expiring", ca.Issue(dates(-85*day, 5*day)), 0, []string{"cert-expiring"}},
		{"another name", ca.Issue(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"other.example"}, nil }), 0, []string{"cert-hostname"}},
		{"nasty subject", other.Issue(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: nasty} }), 0, []string{"cert-untrusted"}},
		{"RSA 1024", ca.IssueFor(short, &short.PublicKey, nil), 0, []string{"cert-key-weak"}},
		{"for clients only", ca.Issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), 0, []string{"cert-untrusted"}},
		{"long chain", ca.Issue(nil), 12, []string{"cert-chain-long"}},
		{"longer than is followed", ca.Issue(nil), 100, []string{"cert-chain-long", "cert-untrusted"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			lengthen(&row.cert, row.long)
			addr := testbed.Serve(t, &http.Server{
				Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }),
				TLSConfig: &tls.Config{Certificates: []tls.Certificate{row.cert}},
			})
			testbed.Try(t, func(t *testbed.Trial) {
				o, d := scanJSON(t, "canary-token-canary", "--rate", "1000", "--ca", ca.File, "--connect", addr, url)
				var got []string
				for _, f := range d.Targets[0].Findings {
					if strings.HasPrefix(f.ID, "cert-") {
						got = append(got, f.ID)
					}
				}
				slices.Sort(got)
				if !slices.Equal(got, row.want) {
					t.Errorf("found %v, want %v; %s", got, row.want, d.Targets[0].Error)
				}
				harmless(t, o)
			})
		})
	}
}
