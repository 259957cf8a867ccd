package main_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// Somebody on the way lets some connections through and answers the others: the chain is verified on each that carries
// the token, not once.
func TestNoConnectionOfAnImpostorSeesTheToken(t *testing.T) {
	t.Parallel()
	ca, other := testbed.NewAuthority(t), testbed.NewAuthority(t)
	var seen atomic.Int32
	serve := func(a *testbed.Authority, look bool) string {
		return testbed.Serve(t, &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if look && strings.Contains(r.Header.Get("Authorization"), canary) {
					seen.Add(1)
				}
				w.WriteHeader(401)
			}),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{a.Issue(nil)}},
		})
	}
	good, impostor := serve(ca, false), serve(other, true)
	for honest := range int32(7) {
		var begun atomic.Int32
		front := testbed.Listen(t, func(c net.Conn) {
			to := good
			if begun.Add(1) > honest {
				to = impostor
			}
			relay(c, to)
		})
		run(t, canary, "scan", "--rate", "1000", "--count", "20", "--ca", ca.File, "--connect", front, url)
		if n := seen.Load(); n > 0 {
			t.Errorf("%d connections let through: an impostor was sent the token %d times", honest, n)
			seen.Store(0)
		}
	}
}

func relay(c net.Conn, to string) {
	next, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer next.Close()
	go func() {
		io.Copy(next, c)
		next.Close()
	}()
	io.Copy(c, next)
}
