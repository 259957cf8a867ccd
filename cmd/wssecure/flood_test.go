package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/internal/probe"
)

// says101 is the answer of an honest server.
func says101(r *http.Request) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		probe.Accept(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n"
}

// endlessly writes b until the scanner is gone.
func endlessly(c net.Conn, b []byte) {
	go io.Copy(io.Discard, c)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// Targets that say more than anybody can listen to: an end in time, in little memory, and an error or a grade.
func TestTargetsWithoutMeasure(t *testing.T) {
	t.Parallel()
	frame := func(opcode byte, n int) []byte {
		return probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: opcode, Payload: make([]byte, n)})
	}
	huge := uint64(1) << 62
	targets := []immeasurable{
		{"a header line of 1 MiB", func(c net.Conn, r *http.Request) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nX: "+strings.Repeat("a", 1<<20)+"\r\n\r\n")
		}, "64 KiB"},
		{"a status line without end", func(c net.Conn, r *http.Request) { endlessly(c, []byte("HTTP/1.1 101 ")) }, "64 KiB"},
		{"interim answers by the thousand", func(c net.Conn, r *http.Request) {
			io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 5000)+says101(r))
		}, "interim answers without end"},
		{"interim answers without end", func(c net.Conn, r *http.Request) { endlessly(c, []byte("HTTP/1.1 100 Continue\r\n\r\n")) }, "interim answers without end"},
		{"nine interim answers", func(c net.Conn, r *http.Request) {
			io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9)+says101(r))
		}, ""},
		{"trailers without end", func(c net.Conn, r *http.Request) {
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
			endlessly(c, []byte("X-Trailer: "+strings.Repeat("a", 1000)+"\r\n"))
		}, ""},
		{"a body without end", func(c net.Conn, r *http.Request) {
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\n\r\n")
			endlessly(c, make([]byte, 64<<10))
		}, ""},
		{"a chunk without end", func(c net.Conn, r *http.Request) {
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffff\r\n")
			endlessly(c, make([]byte, 64<<10))
		}, ""},
		{"a body of exabytes that does not come", func(c net.Conn, r *http.Request) {
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9223372036854775807\r\n\r\n")
		}, ""},
		{"HTTP/2 in answer", func(c net.Conn, r *http.Request) {
			io.WriteString(c, "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x04\x00\x01\x00\x00\x00\x05\x00\xff\xff\xff")
		}, "HTTP/2"},
		{"messages without end", func(c net.Conn, r *http.Request) {
			io.WriteString(c, says101(r))
			endlessly(c, frame(probe.Text, 32<<10))
		}, ""},
		{"pings without end", func(c net.Conn, r *http.Request) {
			io.WriteString(c, says101(r))
			endlessly(c, bytes.Repeat(frame(probe.Ping, 125), 100))
		}, ""},
		{"a frame of exabytes", func(c net.Conn, r *http.Request) {
			io.WriteString(c, says101(r))
			endlessly(c, probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Binary, Length: &huge}))
		}, ""},
		{"a close reason of megabytes, compressed", func(c net.Conn, r *http.Request) {
			io.WriteString(c, says101(r))
			c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, RSV: 4, Opcode: probe.Close, Payload: append([]byte{0x03, 0xe8}, make([]byte, 8<<20)...)}))
		}, ""},
	}
	const atOnce = 3 // each keeps a processor busy
	for first := range atOnce {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for i := first; i < len(targets); i += atOnce {
				t.Run(targets[i].name+", passive", func(t *testing.T) { targets[i].scan(t) })
				t.Run(targets[i].name+", active", func(t *testing.T) { targets[i].scan(t, "--active", "--patience", "500ms") })
			}
		})
	}
}

// immeasurable is a target that says more than anybody can listen to.
type immeasurable struct {
	name   string
	answer func(c net.Conn, r *http.Request)
	want   string // in the error; empty: a grade
}

func (target immeasurable) scan(t *testing.T, flags ...string) {
	addr := testbed.Listen(t, func(c net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			target.answer(c, r)
		}
	})
	limit := 4 * time.Minute
	endless := flags != nil && target.want == "" // an active scan takes as long as it is let
	if endless {
		limit = 20 * time.Second
	}
	testbed.Try(t, func(t *testbed.Trial) {
		o, d := scanJSON(t, "", append(slices.Clone(flags), "--rate", "1000", "--max-time", limit.String(), "ws://"+addr+"/")...)
		got := d.Targets[0]
		enough := endless && strings.Contains(got.Error, "raise --max-time")
		if !enough && (!strings.Contains(got.Error, target.want) || target.want == "" && got.Grade == "" || target.want != "" && o.code != 2) || o.took > limit+time.Minute {
			t.Errorf("exit %d, grade %q, error %q, want %q, took %v", o.code, got.Grade, got.Error, target.want, o.took)
		}
		if o.memory > 100<<20 {
			t.Errorf("%d MiB", o.memory>>20)
		}
		if len(o.out) > 1<<20 {
			t.Errorf("a report of %d bytes", len(o.out))
		}
		t.Logf("%v, %d MiB", o.took.Round(time.Millisecond), o.memory>>20)
		harmless(t, o)
	})
}

// A certificate may be as large as crypto/tls takes; what is shown of it has a bound.
func TestHugeCertificates(t *testing.T) {
	t.Parallel()
	ca := testbed.NewAuthority(t)
	names := func(n int) func(c *x509.Certificate) {
		return func(c *x509.Certificate) {
			for i := range n {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("a%05d.example.com", i))
			}
			c.Subject = pkix.Name{CommonName: strings.Repeat(nasty, 100)}
		}
	}
	for n, graded := range map[int]bool{3000: true, 30_000: false} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			addr := testbed.Serve(t, &http.Server{
				Handler:   http.HandlerFunc(bareCoder),
				TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(names(n))}},
			})
			testbed.Try(t, func(t *testbed.Trial) {
				for _, format := range []string{"text", "json", "sarif", "html"} {
					o := run(t, "", "scan", "--rate", "1000", "--format", format, "--ca", ca.File, "--connect", addr, url)
					if (o.code == 2) == graded || len(o.out) > 1<<20 || o.memory > 100<<20 {
						t.Errorf("%s: exit %d, %d bytes, %d MiB", format, o.code, len(o.out), o.memory>>20)
					}
					harmless(t, o)
				}
			})
		})
	}
}

// Whatever a target says where, no report hands it on as it came: not to a terminal, not to a browser.
func TestNothingThatATargetSaysGetsThrough(t *testing.T) {
	t.Parallel()
	ca := testbed.NewAuthority(t)
	line := strings.NewReplacer("\r", "", "\n", "").Replace(nasty)
	for _, row := range []struct {
		name   string
		answer func(r *http.Request) string
	}{
		{"admitting", func(r *http.Request) string {
			return strings.Replace(says101(r), "Protocols\r\n", "Protocols "+line+"\r\nSec-WebSocket-Protocol: "+line+"\r\nSec-WebSocket-Extensions: "+line+"\r\nSet-Cookie: "+line+"="+line+"\r\n"+
				"Server: 1"+line+"\r\nX-Powered-By: "+line+"\r\nStrict-Transport-Security: max-age=0;"+line+"\r\nAccess-Control-Allow-Origin: *\r\n", 1) +
				string(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Close, Payload: append([]byte{0x03, 0xe8}, line...)}))
		}},
		{"refusing", func(r *http.Request) string {
			body := "<html>" + nasty + "</html>"
			return fmt.Sprintf("HTTP/1.1 403 %[1]s\r\nContent-Type: text/html\r\nLocation: http://%[1]s/\r\nServer: 1%[1]s\r\nSet-Cookie: %[1]s=%[1]s\r\nX-%[1]s: %[1]s\r\nContent-Security-Policy: %[1]s\r\n"+
				"Retry-After: %[1]s\r\nContent-Length: %[2]d\r\n\r\n%[3]s", line, len(body), body)
		}},
		{"closing with a reason", func(r *http.Request) string {
			return says101(r) + string(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Close, Payload: append([]byte{0x0b, 0xb8}, line...)}))
		}},
	} {
		for _, format := range []string{"text", "json", "sarif", "html"} {
			t.Run(row.name+", "+format, func(t *testing.T) {
				t.Parallel()
				config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(func(c *x509.Certificate) {
					c.Subject = pkix.Name{CommonName: nasty, Organization: []string{nasty}}
				})}}
				addr := testbed.Listen(t, func(c net.Conn) {
					tc := tls.Server(c, config)
					r, err := http.ReadRequest(bufio.NewReader(tc))
					if err != nil {
						return
					}
					io.WriteString(tc, row.answer(r))
					tc.CloseWrite()
					io.Copy(io.Discard, tc)
				})
				o := run(t, "", "scan", "--active", "--patience", "200ms", "--timeout", "500ms", "--rate", "1000", "--max-time", "15s", "--format", format, "--ca", ca.File, "--connect", addr, url)
				if o.out == "" || o.code == 0 {
					t.Errorf("exit %d, %q", o.code, o.err)
				}
				harmless(t, o)
				if format == "html" && strings.Contains(o.out, "<script>alert") {
					t.Error("markup of the target is markup of the report")
				}
			})
		}
	}
}
