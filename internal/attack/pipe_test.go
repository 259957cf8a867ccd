package attack_test

import (
	"cmp"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/memnet"
)

// This file is targets in fake time: what an attack judges by the clock is tested where no machine is slow.

// inFakeTime is a test in a bubble of its own.
func inFakeTime(test func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, test) }
}

// served is a target whose handler answers as a test wants; its connections are pipes.
func served(t *testing.T, handler http.HandlerFunc) *attack.Target {
	pipes := memnet.NewPipes()
	srv := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go srv.Serve(pipes)
	t.Cleanup(func() { srv.Close() })
	return &attack.Target{URL: "ws://127.0.0.1/ws", Origin: "https://app.example.com", Dial: func(ctx context.Context, local string) (net.Conn, error) {
		return pipes.Dial(ctx, cmp.Or(local, "127.0.0.1"))
	}}
}
