package main_test

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/internal/probe"
)

// Servers that are weak on purpose, each with the findings that the scanner owes its owner.
func TestWeakServers(t *testing.T) {
	t.Parallel()
	ca := testbed.NewAuthority(t)
	over := func(h http.Handler) func(t *testing.T) []string {
		return func(t *testing.T) []string {
			addr := testbed.Serve(t, &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}}})
			return []string{"--ca", ca.File, "--connect", addr, url}
		}
	}
	for _, row := range []struct {
		name  string
		serve func(t *testing.T) []string // and what to scan
	}{
		{"coder-bare", over(http.HandlerFunc(bareCoder))},
		{"hand-written", func(t *testing.T) []string {
			return []string{"ws://" + testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(handWritten)}) + "/ws"}
		}},
		{"old-tls", func(t *testing.T) []string {
			addr := testbed.Listen(t, oldTLS(t, ca))
			return []string{"--ca", ca.File, "--connect", addr, "--plain-port", port(t, plainTwin(t)), url}
		}},
	} {
		for mode, flags := range map[string][]string{"passive": testbed.Unhurried, "active": append(testbed.Unhurried, "--active", "--rate", "500")} {
			t.Run(row.name+" "+mode, func(t *testing.T) {
				t.Parallel()
				testbed.Try(t, func(t *testbed.Trial) {
					testbed.Scan(t, scanner, "", append(slices.Clone(flags), row.serve(t.T)...)...).Expect(t, fmt.Sprintf("testdata/weak/%s-%s.txt", row.name, mode))
				})
			})
		}
	}
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bareCoder is what many examples show: any origin, any size.
func bareCoder(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), typ, p) != nil {
			return
		}
	}
}

// handWritten looks at nothing but the key, and gives cookies away.
func handWritten(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "weak/1.2.3")
	w.Header().Set("Set-Cookie", "sid=canary-cookie-value")
	if o := r.Header.Get("Origin"); o != "" {
		w.Header().Set("Access-Control-Allow-Origin", o)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	}
	if r.Header.Get("Sec-WebSocket-Key") == "" {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<h1>chat</h1>")
		return
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer nc.Close()
	fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: sid=canary-cookie-value\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
	echoFrames(nc, rw.Reader)
}

// echoFrames sends back every payload as text, whatever came, up to a size at which a test machine would suffer.
func echoFrames(w io.Writer, r *bufio.Reader) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := uint64(head[1] & 0x7f)
		var ext [8]byte
		switch n {
		case 126:
			io.ReadFull(r, ext[:2])
			n = uint64(binary.BigEndian.Uint16(ext[:]))
		case 127:
			io.ReadFull(r, ext[:])
			n = binary.BigEndian.Uint64(ext[:])
		}
		var mask [4]byte
		if head[1]&0x80 != 0 {
			io.ReadFull(r, mask[:])
		}
		if n > 1<<24 {
			return
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		if _, err := w.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: head[0] & 0xf, Payload: payload})); err != nil {
			return
		}
	}
}

// oldTLS takes TLS 1.0 and suites that no browser offers any more, knows no ALPN, and refuses every handshake behind it.
func oldTLS(t *testing.T, ca *testbed.Authority) func(c net.Conn) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{ca.IssueFor(key, &key.PublicKey, nil)},
		MinVersion:   tls.VersionTLS10, MaxVersion: tls.VersionTLS12,
		CurvePreferences: []tls.CurveID{tls.CurveP256},
		CipherSuites: []uint16{
			tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		},
	}
	return func(c net.Conn) {
		tc := tls.Server(c, config)
		for br := bufio.NewReader(tc); ; {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			io.WriteString(tc, "HTTP/1.1 401 Unauthorized\r\nStrict-Transport-Security: max-age=60\r\nContent-Length: 0\r\n\r\n")
		}
	}
}

// plainTwin is the same host's port 80: it sends visitors to another site, and takes sockets.
func plainTwin(t *testing.T) string {
	t.Helper()
	return testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			bareCoder(w, r)
			return
		}
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
	})})
}
