package webscan_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/internal/probe"
)

// replies answers each handshake with a text, behind the 101 of an honest server where it begins with one.
func replies(text string) func(c net.Conn) {
	return func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		fmt.Fprint(c, strings.ReplaceAll(text, "ACCEPT", probe.Accept(r.Header.Get("Sec-WebSocket-Key"))))
		io.Copy(io.Discard, c)
	}
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"

func status(line string, rest ...string) string {
	return "HTTP/1.1 " + line + "\r\n" + strings.Join(append(rest, "Content-Length: 0"), "\r\n") + "\r\n\r\n"
}

// Held is what is known to refuse plaintext; what only looks like it is not decided.
func TestPlainPortsOfEveryKind(t *testing.T) {
	t.Parallel()
	portOf := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	open := portOf(testbed.Listen(t, replies(switching)))
	onward := portOf(testbed.Listen(t, replies(status("302 Found", "Location: http://ws.example.com:1/"))))
	refusing := portOf(testbed.Listen(t, replies(status("426 Upgrade Required", "Upgrade: TLS/1.2"))))
	for _, row := range []struct {
		name  string
		over  int // the status of the same handshake over TLS
		plain func(c net.Conn)
		want  string
	}{
		{"admitted", 401, replies(switching), "broken: admitted on port"},
		{"admitted and taken back", 401, replies(switching + "\x88\x02\x03\xf0"), "held"},
		{"admitted and ended", 401, replies(switching + "\x88\x02\x03\xe8"), "broken"},
		{"refused, as without TLS", 401, replies(status("403 TLS required")), "held"},
		{"refused, and over TLS otherwise", 401, replies(status("403 Forbidden")), "held"},
		{"refused as over TLS", 401, replies(status("401 Unauthorized")), "unclear: port"},
		{"refused, and admitted over TLS", 101, replies(status("401 Unauthorized")), "held"},
		{"a page", 401, replies(status("200 OK")), "held"},
		{"garbage", 401, replies("\x00\xff\x1b[2Jgarbage\r\n\r\n"), "unclear: port"},
		{"SSH", 401, replies("SSH-2.0-x\r\n"), "unclear: port"},
		{"TLS", 401, replies("\x15\x03\x01\x00\x02\x02\x46"), "held"},
		{"hangs", 401, func(c net.Conn) { io.Copy(io.Discard, c) }, "unclear: port"},
		{"closes", 401, func(net.Conn) {}, "held"},
		{"half a head", 401, replies("HTTP/1.1 101 Swit"), "unclear: "},
		{"to https", 401, replies(status("301 Moved", "Location: https://ws.example.com/ws")), "held"},
		{"to wss", 401, replies(status("301 Moved", "Location: wss://www.ws.example.com/ws")), "held"},
		{"to a port that admits", 401, replies(status("302 Found", "Location: http://ws.example.com:"+open+"/ws")), "broken: admitted on port " + open},
		{"to a port that admits, by ws", 401, replies(status("307 Temporary", "Location: ws://ws.example.com:"+open+"/ws")), "broken: admitted on port " + open},
		{"to a port that refuses plaintext", 401, replies(status("302 Found", "Location: http://ws.example.com:"+refusing+"/")), "held"},
		{"to a port that redirects", 401, replies(status("302 Found", "Location: http://ws.example.com:"+onward+"/")), "unclear: port"},
		{"to nobody", 401, replies(status("302 Found", "Location: http://ws.example.com:1/")), "held"},
		{"to another host in clear", 401, replies(status("302 Found", "Location: http://evil.example/")), "unclear: port"},
		{"to nowhere", 401, replies(status("302 Found", "Location: http://[")), "held"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ca := testbed.NewAuthority(t)
			secure := testbed.Serve(t, &http.Server{
				TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}},
				Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(row.over) }),
			})
			e := &endpoint.Endpoint{
				URL: parsed(t, "wss://ws.example.com/ws?token=canary"), Connect: secure, AnyCA: true, Plain: portOf(testbed.Listen(t, row.plain)),
				Timeout: time.Minute, Pace: endpoint.NewPace(4, 1000, 100), Agent: "test",
			}
			if err := e.Reach(t.Context()); err != nil {
				t.Fatal(err)
			}
			if slices.Contains([]string{"hangs", "half a head", "TLS"}, row.name) {
				e.Timeout = time.Second // each waits for all of it
			}
			if got := judged(t, e, "plain-socket"); !strings.HasPrefix(got, row.want) || strings.ContainsRune(got, 0x1b) {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}
