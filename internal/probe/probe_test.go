package probe_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure/internal/probe"
)

const host = "ws.example.com"

// echo is a server as its users write it: ordinary pages, and messages sent back.
func echo(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/headers":
		w.Header()["x-odd-CASE"] = []string{"  a ", "b"}
		io.WriteString(w, "plain")
		return
	case "/chunked":
		io.WriteString(w, "one ")
		w.(http.Flusher).Flush()
		io.WriteString(w, "two")
		return
	case "/peer":
		io.WriteString(w, r.RemoteAddr)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), typ, p); err != nil {
			return
		}
	}
}

func dial(t *testing.T, srv *httptest.Server, config *tls.Config, local string) *probe.Conn {
	t.Helper()
	c, err := probe.Dial(context.Background(), srv.Listener.Addr().String(), config, local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func plainServer(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(srv.Close)
	return srv
}

func send(t *testing.T, c *probe.Conn, b []byte) *probe.Response {
	t.Helper()
	if err := c.Send(b); err != nil {
		t.Fatal(err)
	}
	return answer(t, c)
}

func answer(t *testing.T, c *probe.Conn) *probe.Response {
	t.Helper()
	r, err := c.Response()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFixtureIsAdmittedAndFramesFollow(t *testing.T) {
	for _, name := range []string{"plaintext", "TLS"} {
		t.Run(name, func(t *testing.T) {
			srv, config := httptest.NewUnstartedServer(http.HandlerFunc(echo)), (*tls.Config)(nil)
			if name == "TLS" {
				srv.StartTLS()
				config = srv.Client().Transport.(*http.Transport).TLSClientConfig
			} else {
				srv.Start()
			}
			t.Cleanup(srv.Close)
			c := dial(t, srv, config, "")
			r := send(t, c, probe.Fixture(host, "https://app.example.com").Bytes())
			if r.Status != 101 || r.Get("sec-websocket-ACCEPT") != probe.Accept(probe.Key) {
				t.Fatalf("%s %v", r.StatusLine, r.Header)
			}
			for _, size := range []int{0, 125, 126, 30_000} {
				payload := bytes.Repeat([]byte{'x'}, size)
				if err := c.SendFrame(probe.Message(probe.Binary, payload)); err != nil {
					t.Fatal(err)
				}
				f, err := c.ReadFrame()
				if err != nil || f.Opcode != probe.Binary || !f.FIN || f.RSV != 0 || f.Masked || !bytes.Equal(f.Payload, payload) {
					t.Fatalf("%d bytes: %+v, %v", size, f.Opcode, err)
				}
			}
			if err := c.Send(probe.CloseFrame(4321, "bye")); err != nil {
				t.Fatal(err)
			}
			if code, reason, err := c.AwaitClose(); code != 4321 || reason != "bye" || err != nil {
				t.Errorf("%d %q, %v", code, reason, err)
			}
			if err := c.AwaitEOF(probe.DefaultTimeout); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAcceptIsTheStandardsExample(t *testing.T) {
	if got := probe.Accept(probe.Key); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
}

func TestHandshakeBytesAreExact(t *testing.T) {
	h := &probe.Handshake{Method: "GET", Target: "/ws?a", Proto: "HTTP/1.1", Lines: []string{"Host: a", "X: 1", "Origin: o", "x: 2"}}
	other := h.Clone().Set("X", "3").Del("ORIGIN").Add(" folded").Set("New", "")
	other.LineEnd, other.Body, other.Method = "\n", []byte("body"), "get"
	for _, row := range []struct {
		h    *probe.Handshake
		want string
	}{
		{h, "GET /ws?a HTTP/1.1\r\nHost: a\r\nX: 1\r\nOrigin: o\r\nx: 2\r\n\r\n"},
		{other, "get /ws?a HTTP/1.1\nHost: a\nX: 3\n folded\nNew: \n\nbody"},
		{probe.Fixture(host, "").Del("host").Set("Upgrade", "h2c"),
			"GET /ws HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"},
	} {
		if got := string(row.h.Bytes()); got != row.want {
			t.Errorf("got %q\nwant %q", got, row.want)
		}
	}
}

func TestResponseIsRaw(t *testing.T) {
	srv := plainServer(t)
	c := dial(t, srv, nil, "")
	get := &probe.Handshake{Method: "GET", Target: "/headers", Proto: "HTTP/1.1", Lines: []string{"Host: a"}}
	r := send(t, c, get.Bytes())
	var names []string
	for _, f := range r.Header {
		names = append(names, f.Name)
	}
	if !slices.Contains(names, "x-odd-CASE") || !slices.Equal(r.Values("X-Odd-Case"), []string{"a", "b"}) || string(r.Body) != "plain" {
		t.Errorf("%v %q", r.Header, r.Body)
	}
	get.Target = "/chunked"
	if r := send(t, c, get.Bytes()); string(r.Body) != "one two" {
		t.Errorf("chunked: %q", r.Body)
	}
	get.Target = "/headers"
	if r := send(t, c, get.Set("Connection", "close").Bytes()); r.Get("Connection") != "close" || string(r.Body) != "plain" {
		t.Errorf("second answer on the connection: %v", r)
	}
	if err := c.AwaitEOF(probe.DefaultTimeout); err != nil {
		t.Error(err)
	}
}

func TestResponsesThatNoServerShouldSend(t *testing.T) {
	for _, row := range []struct {
		name, wire string
		status     int // 0: an error
		body       string
	}{
		{"bare LF", "HTTP/1.1 403 No\nA: b\n\nbody to the end", 403, "body to the end"},
		{"no reason", "HTTP/1.1 403\r\nContent-Length: 2\r\n\r\nabcd", 403, "ab"},
		{"101 has no body", "HTTP/1.1 101 X\r\nContent-Length: 2\r\n\r\nab", 101, ""},
		{"short body", "HTTP/1.1 403 X\r\nContent-Length: 9\r\n\r\nab", 0, ""},
		{"not HTTP", "SSH-2.0-x\r\n\r\n", 0, ""},
		{"negative length", "HTTP/1.1 403 X\r\nContent-Length: -1\r\n\r\n", 0, ""},
		{"endless head", "HTTP/1.1 403 X\r\nA: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", 0, ""},
		{"endless body", "HTTP/1.1 403 X\r\n\r\n" + strings.Repeat("a", 2<<20), 0, ""},
		{"cut head", "HTTP/1.1 403 X\r\nA", 0, ""},
		{"nothing", "", 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := served(t, row.wire)
			r, err := c.Response()
			if row.status == 0 {
				if err == nil {
					t.Errorf("taken: %v", r.StatusLine)
				}
				return
			}
			if err != nil || r.Status != row.status || string(r.Body) != row.body {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// served is a Conn whose peer sends wire and closes.
func served(t *testing.T, wire string) *probe.Conn {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	go func() {
		io.WriteString(far, wire)
		far.Close()
	}()
	return probe.New(near)
}

func TestDialFromAnotherAddress(t *testing.T) {
	c := dial(t, plainServer(t), nil, "127.0.0.9")
	get := &probe.Handshake{Method: "GET", Target: "/peer", Proto: "HTTP/1.1", Lines: []string{"Host: a"}}
	if r := send(t, c, get.Bytes()); !strings.HasPrefix(string(r.Body), "127.0.0.9:") {
		t.Errorf("server saw %s", r.Body)
	}
	if _, err := probe.Dial(context.Background(), "127.0.0.1:1", nil, "localhost"); err == nil {
		t.Error("a name passed for a local address")
	}
}

func TestEveryWaitEnds(t *testing.T) {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	c := probe.New(near)
	c.Timeout = 10 * time.Millisecond
	if _, err := c.Response(); err == nil {
		t.Error("an answer from a silent peer")
	}
	if _, err := c.ReadFrame(); err == nil {
		t.Error("a frame from a silent peer")
	}
	if _, err := c.SkimFrame(time.Now().Add(time.Millisecond)); err == nil {
		t.Error("a frame from a silent peer, by a deadline")
	}
	if err := c.Send([]byte("x")); err == nil {
		t.Error("sent to a peer that does not read")
	}
	if err := c.AwaitEOF(10 * time.Millisecond); err == nil {
		t.Error("a silent peer passed for a closed one")
	}
	c.Close()
	if err := c.AwaitEOF(time.Second); err == nil {
		t.Error("our own close passed for the peer's")
	}
}
