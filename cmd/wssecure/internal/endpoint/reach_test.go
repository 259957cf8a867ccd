package endpoint_test

import (
	"net"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

func reached(t *testing.T, url, connect string) *endpoint.Endpoint {
	t.Helper()
	e := &endpoint.Endpoint{URL: parsed(t, url), Connect: connect, Timeout: time.Second, Pace: endpoint.NewPace(2, 1000, 5)}
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
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if e := reached(t, "ws://localhost/", net.JoinHostPort(outside(t), port)); e.Trusts() {
		t.Errorf("a token would go to %s in clear", e.At())
	}
}

// outside is an address of this machine that others could have, too.
func outside(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("LEFT OUT: this machine has no address but loopback")
	return ""
}
