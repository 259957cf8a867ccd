package endpoint_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

func parsed(t *testing.T, text string) *endpoint.URL {
	t.Helper()
	u, err := endpoint.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestURLs(t *testing.T) {
	for _, row := range []struct{ text, shown, authority, origin, addr, path string }{
		{"wss://chat.example.com/ws", "wss://chat.example.com/ws", "chat.example.com", "https://chat.example.com", "chat.example.com:443", "/ws"},
		{"wss://CHAT.example.com:443", "wss://chat.example.com", "chat.example.com", "https://chat.example.com", "chat.example.com:443", "/"},
		{"ws://chat.example.com:443/", "ws://chat.example.com:443/", "chat.example.com:443", "http://chat.example.com:443", "chat.example.com:443", "/"},
		{"ws://127.0.0.1:8080/a%20b", "ws://127.0.0.1:8080/a%20b", "127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080", "/a%20b"},
		{"wss://[2001:db8::1]/", "wss://[2001:db8::1]/", "[2001:db8::1]", "https://[2001:db8::1]", "[2001:db8::1]:443", "/"},
		{"wss://x/ws?token=canary&room=a", "wss://x/ws?room=…&token=…", "x", "https://x", "x:443", "/ws?token=canary&room=a"},
	} {
		u := parsed(t, row.text)
		if u.String() != row.shown || u.Authority() != row.authority || u.Origin() != row.origin || u.Addr() != row.addr || u.Path != row.path || u.Raw() != row.text {
			t.Errorf("%s: %s, %s, %s, %s, %s", row.text, u, u.Authority(), u.Origin(), u.Addr(), u.Path)
		}
	}
	if got := parsed(t, "wss://x/?a=short&ticket=canary-canary%2F").Secrets(); !slices.Contains(got, "canary-canary/") || slices.Contains(got, "short") {
		t.Error(got)
	}
}

func TestWhereThePlaintextTwinIs(t *testing.T) {
	for _, row := range []struct{ url, connect, plain, want string }{
		{"wss://x/", "", "", "x:80"},
		{"wss://x:8443/", "", "", ""},
		{"wss://x:8443/", "", "8080", "x:8080"},
		{"wss://x/", "127.0.0.1:8443", "", ""}, // another machine's port 80 is nobody's twin
		{"wss://x/", "127.0.0.1:8443", "81", "127.0.0.1:81"},
	} {
		e := &endpoint.Endpoint{URL: parsed(t, row.url), Connect: row.connect, Plain: row.plain}
		if got := e.PlainAddr(); got != row.want {
			t.Errorf("%+v: %q", row, got)
		}
	}
}

func TestPaceBoundsWhatIsOpenAndInAll(t *testing.T) {
	addr := testbed.Listen(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint.Endpoint{URL: parsed(t, "ws://"+addr+"/"), Timeout: time.Minute, Pace: endpoint.NewPace(2, 1000, 5)}
		dial := func() (net.Conn, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return e.Dial(ctx)
		}
		first, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		second, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dial(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third at once: %v", err)
		}
		first.Close()
		first.Close() // gives its place back once
		third, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dial(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third at once after a second Close: %v", err)
		}
		second.Close()
		third.Close()
		if _, err := dial(); !errors.Is(err, endpoint.ErrSpent) || e.Pace.Left() != 0 {
			t.Errorf("a sixth in all: %v", err)
		}
	})
}

func TestPaceBoundsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint.Endpoint{URL: parsed(t, "ws://127.0.0.1:1/"), Timeout: time.Minute, Pace: endpoint.NewPace(8, 10, 100)}
		began := time.Now()
		for range 21 {
			e.Dial(t.Context()) // nobody is there; it counts all the same
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("21 connections at 10 a second took %v", took)
		}
	})
}

func TestTongue(t *testing.T) {
	for first, want := range map[string]string{
		"SSH-2.0-x\x1b[2J":     "SSH",
		"HTTP/1.1 400 Bad":     "ws://",
		"220 mail":             "SMTP",
		"\x15\x03\x01\x00\x02": "wss://",
		"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00": "HTTP/2",
		"":             "nothing",
		"\xff\xfe\x1b": "something else",
	} {
		if got := endpoint.Tongue([]byte(first)); !strings.Contains(got, want) || strings.ContainsRune(got, 0x1b) {
			t.Errorf("%q: %s", first, got)
		}
	}
}
