package endpoint_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

func reached(t *testing.T, url, connect string) *endpoint.Endpoint {
	t.Helper()
	e := &endpoint.Endpoint{URL: parsed(t, url), Connect: connect, Timeout: time.Minute, Pace: endpoint.NewPace(2, 1000, 5)}
	if e.Trusts() {
		t.Error("trusted before anybody was reached")
	}
	if err := e.Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// A name is looked up once: whoever may change what it resolves to could lead the rest of the scan elsewhere.
func TestTheTargetIsLookedUpOnce(t *testing.T) {
	addr := testbed.Listen(t, func(net.Conn) {})
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	e := reached(t, "ws://localhost:"+port+"/", "")
	e.Plain = "81"
	if e.At() != addr || e.PlainAddr() != "127.0.0.1:81" || e.Addr() != "localhost:"+port {
		t.Errorf("%s, %s, named %s", e.At(), e.PlainAddr(), e.Addr())
	}
	if !e.Trusts() {
		t.Error("this machine is not trusted")
	}
}

// ws://localhost with --connect to another machine is another machine, in clear.
func TestLoopbackIsWhereTheConnectionEnds(t *testing.T) {
	for at, want := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true,
		"192.0.2.1:80": false, "[2001:db8::1]:80": false, "[::ffff:192.0.2.1]:80": false,
	} {
		e := &endpoint.Endpoint{URL: parsed(t, "ws://localhost/")}
		e.SetAt(netip.MustParseAddrPort(at))
		if e.Trusts() != want {
			t.Errorf("at %s a token is sent in clear: %t, want %t", at, e.Trusts(), want)
		}
	}
}
