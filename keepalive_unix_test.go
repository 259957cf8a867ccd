//go:build unix

package wssecure_test

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/program"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestServeKeepsAlive: the kernel looks after the peers of Serve with the Listener as after those without it.
func TestServeKeepsAlive(t *testing.T) {
	for name, options := range map[string][]wssecure.Option{"LimitAccepts": {scarce}, "nothing said": nil} {
		t.Run(name, func(t *testing.T) {
			guard, err := wssecure.New(append(options, wssecure.InsecureAllowAnonymous("a test"),
				wssecure.InsecureAllowPlaintext("a test"), wssecure.AllowOrigins(wssecuretest.Origin))...)
			wantNil(t, err)
			addr := program.FreeAddr(t)
			kept := make(chan int, 100)
			srv := &http.Server{Addr: addr, Handler: guard.ConnHandler(quiet), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				kept <- keepAlive(t, c.(*net.TCPConn))
				return ctx
			}}
			ended := make(chan error, 1)
			go func() { ended <- guard.Serve(t.Context(), srv) }()
			awaitPort(t, addr, "127.0.0.9")
			if r := sendHandshake(t, probe.New(dialFrom(t, addr, "127.0.0.1")), freshHandshake("")); r.Status != 101 {
				t.Fatalf("status %d", r.Status)
			}
			for range 2 {
				if next(t, kept) == 0 {
					t.Error("a connection without keep-alive")
				}
			}
			srv.Close()
			<-ended
		})
	}
}

func keepAlive(t *testing.T, c *net.TCPConn) (on int) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { on, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) })
	}
	if err != nil {
		t.Error(err)
	}
	return on
}
