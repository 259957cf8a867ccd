package wssecure_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/program"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestServeNeverListens: what Serve says when it does not serve.
func TestServeNeverListens(t *testing.T) {
	g, err := wssecure.New(anybody()...)
	wantNil(t, err)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	wantNil(t, err)
	defer taken.Close()
	if err := g.Serve(context.Background(), &http.Server{Addr: taken.Addr().String()}); err == nil {
		t.Error("S-45: Serve on a taken port succeeded")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Serve(ended, &http.Server{Addr: taken.Addr().String()}); err != nil {
		t.Errorf("S-45: Serve after its context gave %v", err)
	}
}

// TestServe is the way of a whole server, in real time: its notice is 3 s.
func TestServe(t *testing.T) {
	t.Parallel()
	issuer := wssecuretest.NewIssuer(t, "")
	g, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), wssecure.InsecureAllowPlaintext("loopback"))
	wantNil(t, err)
	bound := make(chan string, 1)
	srv := &http.Server{
		Addr: "127.0.0.1:0", Handler: g.ConnHandler(wssecuretest.Echo),
		BaseContext: func(l net.Listener) context.Context { bound <- l.Addr().String(); return context.Background() },
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, srv) }()
	addr := next(t, bound)
	dial := func() (*probe.Response, *peer) {
		t.Helper()
		raw, err := net.Dial("tcp", addr)
		wantNil(t, err)
		t.Cleanup(func() { raw.Close() })
		c := probe.New(raw)
		r := sendHandshake(t, c, freshHandshake(issuer.Token("alice")))
		return r, listen(c, true)
	}
	var peers []*peer
	for range 3 {
		r, p := dial()
		if r.Status != 101 {
			t.Fatalf("status %d", r.Status)
		}
		peers = append(peers, p)
	}
	start := time.Now()
	stop()
	eventually(t, func() bool { return g.Ready(t.Context()) != nil })
	if r, p := dial(); r.Status != 101 {
		t.Errorf("S-40: in the seconds of notice: %d, want 101", r.Status)
	} else {
		peers = append(peers, p)
	}
	// Four sessions over 16 s: the first one's turn is at 3 s, the second's at 7 s.
	over := make(chan *peer, len(peers))
	for _, p := range peers {
		go func() { <-p.over; over <- p }()
	}
	told := <-over
	told.wantEnd(t, start, 1012, "restart", 3*time.Second, 4*time.Second)
	if len(over)+len(served) > 0 {
		t.Error("S-40: more than one session has ended, or Serve has")
	}
	for _, p := range peers {
		p.Close()
	}
	if err := <-served; err != nil {
		t.Errorf("S-40: Serve: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("S-40: the server still listens")
	}
}

func TestServeUsesTheListenerOnRequest(t *testing.T) {
	for _, row := range []struct {
		name    string
		options []wssecure.Option
		refused uint64
	}{
		{"LimitAccepts", []wssecure.Option{scarce}, 1},
		{"nothing said", nil, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			guard, err := wssecure.New(append(row.options, wssecure.InsecureAllowAnonymous("a test"),
				wssecure.InsecureAllowPlaintext("a test"), wssecure.AllowOrigins(wssecuretest.Origin))...)
			if err != nil {
				t.Fatal(err)
			}
			addr := program.FreeAddr(t)
			srv := &http.Server{Addr: addr, Handler: guard.ConnHandler(quiet)}
			guard.Harden(srv) // Serve does it again
			ended := make(chan error, 1)
			go func() { ended <- guard.Serve(t.Context(), srv) }()
			awaitPort(t, addr, "127.0.0.9")
			for range few {
				c := probe.New(dialFrom(t, addr, "127.0.0.1"))
				if r := sendHandshake(t, c, freshHandshake("")); r.Status != 101 {
					t.Fatalf("status %d", r.Status)
				}
			}
			if row.refused > 0 {
				wantReset(t, addr, "127.0.0.1")
			} else if r := sendHandshake(t, probe.New(dialFrom(t, addr, "127.0.0.1")), freshHandshake("")); r.Status != 101 {
				t.Errorf("the fourth connection: status %d", r.Status)
			}
			wantAccepts(t, guard, 0, row.refused)
			srv.Close()
			<-ended
		})
	}
}

// awaitPort waits until a server listens.
func awaitPort(t *testing.T, addr, from string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if c, err := d.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	t.Fatal("no server on " + addr)
}
