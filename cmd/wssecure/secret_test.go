package main_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// weak serves the hand-written server.
func weak() *http.Server { return &http.Server{Handler: http.HandlerFunc(handWritten)} }

// canary is a token in three segments, as targets would like to have it shown in a report.
const canary = "eyJjYW5hcnki.eyJjYW5hcnktcGF5bG9hZCI.Y2FuYXJ5LXNpZ25hdHVyZQ"

// parrot repeats what it was sent wherever a report might show it.
func parrot(w http.ResponseWriter, r *http.Request) {
	secret := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.URL.Query().Get("ticket") + r.URL.Query().Get("access")
	if secret == "" {
		w.WriteHeader(401)
		return
	}
	w.Header().Set("Strict-Transport-Security", "max-age=1; "+strings.Repeat("x", 200)+secret)
	w.Header().Set("Set-Cookie", secret+"=1")
	w.Header().Set("Server", secret+"/1")
	w.Header().Set("Location", "http://x/"+secret)
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(403)
	io.WriteString(w, secret)
}

// admitting takes every handshake, whatever its method, and says to anybody else where he came from.
func admitting(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Sec-WebSocket-Key") == "" {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(403)
		io.WriteString(w, r.RequestURI+" "+r.URL.Query().Get("access"))
		return
	}
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Connection", "Upgrade")
	w.WriteHeader(101)
}

func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	ca := testbed.NewAuthority(t)
	addr := testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(parrot), TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}}})
	for _, row := range []struct {
		format string
		args   []string
	}{
		{"json", []string{url + "?ticket=canary-ticket-canary"}},
		{"html", []string{url}},
		{"text", []string{"--token-in", "query:access", url}},
	} {
		t.Run(row.format+strings.Join(row.args, " "), func(t *testing.T) {
			t.Parallel()
			o := run(t, canary, append([]string{"scan", "--rate", "1000", "--ca", ca.File, "--connect", addr, "--format", row.format}, row.args...)...)
			for _, secret := range []string{canary, "eyJjYW5hcnki.ey", "canary-ticket", "Y2FuYXJ5LXNpZ25hdHVyZQ"} {
				if i := strings.Index(o.out+o.err, secret); i >= 0 {
					t.Errorf("%q is shown: %s", secret, (o.out + o.err)[max(0, i-80):i+20])
				}
			}
		})
	}
}

// A token that has to be escaped where it goes is as secret in that spelling, and so is whatever the URL's query holds,
// however short and however it was escaped.
func TestNoSecretIsShownInAnotherSpelling(t *testing.T) {
	t.Parallel()
	const opaque = `a"b+c/d\e=f+sparrow/of"an\opaque+token==`
	ca := testbed.NewAuthority(t)
	addr := testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(admitting), TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}}})
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			o := run(t, opaque, "scan", "--rate", "1000", "--ca", ca.File, "--connect", addr, "--format", format,
				"--token-in", "query:access", url+"?pin=12345&ticket=sparr%6fw%2fticket%2bsparrow")
			for _, secret := range []string{"sparrow", "sparr%6fw", "opaque", "of%22an", "pin=1"} {
				if i := strings.Index(o.out+o.err, secret); i >= 0 {
					t.Errorf("%q is shown: %s", secret, (o.out + o.err)[max(0, i-80):i+20])
				}
			}
		})
	}
}

// Where anybody could stand behind the connection, no token is sent, and the report says so.
func TestATokenGoesToTrustedTargetsOnly(t *testing.T) {
	t.Parallel()
	ca, other := testbed.NewAuthority(t), testbed.NewAuthority(t)
	for _, row := range []struct {
		name, file string
		args       []string
		sent       bool
	}{
		{"trusted", ca.File, []string{url}, true},
		{"any chain", "", []string{"--insecure-ca", url}, true},
		{"unknown authority", other.File, []string{url}, false},
		{"the system's authorities", "", []string{url}, false},
		{"another name", ca.File, []string{"wss://other.example/"}, false},
		{"no TLS, another machine", "", []string{"ws://chat.example.com/"}, false},
		{"no TLS, this machine", "", []string{"ws://localhost/"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			testbed.Try(t, func(t *testbed.Trial) {
				var seen atomic.Int32
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.Header.Get("Authorization"), canary) {
						seen.Add(1)
					}
					w.WriteHeader(401)
				})}
				if !strings.HasPrefix(row.name, "no TLS") {
					srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}}
				}
				args := append([]string{"scan", "--count", "10", "--connect", testbed.Serve(t, srv)}, row.args...)
				if row.file != "" {
					args = append(args, "--ca", row.file)
				}
				o := run(t, canary, args...)
				if sent := seen.Load() > 0; sent != row.sent || strings.Contains(o.out, "token was not sent") == row.sent {
					t.Errorf("token sent %v, want %v\n%s", sent, row.sent, o.out)
				}
			})
		})
	}
}
