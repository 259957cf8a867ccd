package wssecure_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// extendedConnect marks the second run of this test, in a process where net/http
// offers extended CONNECT: it looks at GODEBUG once, at its start.
const extendedConnect = "WSSECURE_TEST_EXTENDED_CONNECT"

func TestExtendedConnect(t *testing.T) {
	s := startBoth(t)
	if os.Getenv(extendedConnect) == "" {
		t.Run("H-29", func(t *testing.T) {
			c := dialHTTP2(t, s)
			if c.offered {
				t.Error("SETTINGS offers extended CONNECT")
			}
			if f := c.connect("/h", "websocket"); f.Type != probe.H2Reset {
				t.Errorf("frame of type %d, want RST_STREAM", f.Type)
			}
		})
		t.Run("H-30 in a process of its own", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			again := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestExtendedConnect$", "-test.v")
			again.Env = append(os.Environ(), "GODEBUG=http2xconnect=1", extendedConnect+"=1")
			out, err := again.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: TestExtendedConnect/H-30_websocket_/h")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
		return
	}
	for _, protocol := range []string{"websocket", "connect-udp"} {
		for _, path := range []string{"/h", "/c"} {
			t.Run("H-30 "+protocol+" "+path, func(t *testing.T) {
				c := dialHTTP2(t, s)
				if !c.offered {
					t.Fatal("SETTINGS does not offer extended CONNECT")
				}
				f := c.connect(path, protocol)
				if f.Type != probe.H2Headers || f.Status() != 501 {
					t.Errorf("frame of type %d, %x; want HEADERS with status 501", f.Type, f.Payload)
				}
				e := s.WaitEvent(wssecure.EventRefused)
				if e.Reason != wssecure.ReasonHTTPVersion || e.Status != 501 {
					t.Errorf("event %s %d", e.Reason, e.Status)
				}
			})
		}
	}
}

// conn2 is the least HTTP/2 client that can send an extended CONNECT: net/http's
// own does so only when the server has offered it.
type conn2 struct {
	*probe.Conn
	t       *testing.T
	offered bool // SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441
}

func dialHTTP2(t *testing.T, s *wssecuretest.Server) *conn2 {
	t.Helper()
	p, err := probe.Dial(t.Context(), s.Addr, &tls.Config{RootCAs: s.CertPool, ServerName: wssecuretest.Host, NextProtos: []string{"h2"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c := &conn2{Conn: p, t: t}
	if err := c.Send(probe.H2Preface()); err != nil {
		t.Fatal(err)
	}
	value, _ := c.until(probe.H2Settings).Setting(probe.H2ExtendedConnect)
	c.offered = value == 1
	return c
}

// connect opens stream 1 and returns what the server says of it.
func (c *conn2) connect(path, protocol string) probe.H2Frame {
	c.t.Helper()
	var block []byte
	for _, field := range [][2]string{
		{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "https"}, {":path", path}, {":authority", wssecuretest.Host},
		{"origin", wssecuretest.Origin}, {"sec-websocket-version", "13"},
	} {
		block = probe.AppendH2Field(block, field[0], field[1])
	}
	if err := c.Send(probe.AppendH2(nil, probe.H2Frame{Type: probe.H2Headers, Flags: probe.H2EndHeaders, Stream: 1, Payload: block})); err != nil {
		c.t.Fatal(err)
	}
	return c.until(probe.H2Headers, probe.H2Reset)
}

// until reads up to the first frame of one of the types.
func (c *conn2) until(types ...byte) probe.H2Frame {
	c.t.Helper()
	for range 100 {
		f, err := c.ReadH2(time.Now().Add(5 * time.Second))
		if err != nil {
			c.t.Fatalf("before a frame of %v: %v", types, err)
		}
		if slices.Contains(types, f.Type) {
			return f
		}
	}
	c.t.Fatal("a hundred frames of other types")
	return probe.H2Frame{}
}
