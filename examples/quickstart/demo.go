package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/wssecure/wssecure"
)

// demo is one run of the quickstart: the parts, and the address they share.
type demo struct {
	port      string
	authority *authority
	issuer    *issuer
	room      *chatRoom
	feed      *eventFeed
	guard     *wssecure.Guard
	attacks   *attackRunner
}

func newDemo(addr string) (*demo, error) {
	port, err := loopbackPort(addr)
	if err != nil {
		return nil, err
	}
	d := &demo{port: port, room: newChatRoom(), feed: newEventFeed()}
	if d.authority, err = newAuthority(); err != nil {
		return nil, err
	}
	if d.issuer, err = newIssuer(d.url()); err != nil {
		return nil, err
	}
	if d.guard, err = newGuard(d); err != nil {
		return nil, err
	}
	d.attacks = newAttackRunner(d)
	return d, nil
}

// server is the hardened http.Server; Harden keeps the certificate it finds.
func (d *demo) server() (*http.Server, error) {
	handler, err := d.handler()
	if err != nil {
		return nil, err
	}
	return d.guard.Harden(&http.Server{
		Addr:      net.JoinHostPort("127.0.0.1", d.port),
		Handler:   handler,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{d.authority.leaf}, MinVersion: tls.VersionTLS12},
		// A browser that has not met the authority yet breaks off its first TLS handshake; that is no news here.
		ErrorLog: log.New(io.Discard, "", 0),
	}), nil
}

func (d *demo) url() string { return "https://localhost:" + d.port }

// origins are the names under which a browser may have opened the page.
func (d *demo) origins() []string {
	return []string{d.url(), "https://127.0.0.1:" + d.port}
}

// loopbackPort checks -addr and settles its port. Origins carry the port, so port 0 is resolved before the guard is made.
func loopbackPort(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("-addr %q is no host:port; write localhost:8443", addr)
	}
	if host != "localhost" && host != "127.0.0.1" {
		return "", fmt.Errorf("-addr %q is not this machine's localhost; this demo hands a token to whoever asks, so write localhost:%s", addr, port)
	}
	if port != "0" {
		return port, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

func (d *demo) whenListening(ready func(*demo)) func(net.Listener) context.Context {
	return func(net.Listener) context.Context {
		ready(d)
		return context.Background()
	}
}

func explainPortTaken(err error, addr string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken, perhaps by another quickstart; stop that one, or pick a free port with -addr localhost:0", addr)
	}
	return err
}

// greet prints what to open, and what to type on a machine without a browser.
func (d *demo) greet(w io.Writer) {
	token := d.issuer.token("terminal", scopeEvents, time.Hour)
	fmt.Fprintf(w, `
wssecure quickstart

  Open       %[1]s
             Your browser does not know this run's certificate authority: go on past the warning, or
             import %[1]s/ca.pem (good for localhost only, for one day, key in memory).
  Authority  SHA-256 %[2]s

  Token      %[3]s
             good for an hour, as "terminal"

  Without a browser, from another terminal:

    go run ./examples/quickstart -connect wss://localhost:%[4]s/ws -pin %[2]s -token %[3]s

  The bare handshake, answered 101 (the same key a second time is refused as a replay):

    curl --insecure --http1.1 --include --no-buffer --no-progress-meter --max-time 5 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: %[5]s' -H 'Authorization: Bearer %[3]s' %[1]s/ws

  Ctrl-C stops it.
`, d.url(), d.authority.fingerprint(), token, d.port, handshakeKey())
}

func handshakeKey() string {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return base64.StdEncoding.EncodeToString(nonce)
}
