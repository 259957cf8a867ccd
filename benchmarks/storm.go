package benchmarks

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// This file is both ends of a storm: everybody comes back at once, as after a
// restart of a proxy.

type stormServerArguments struct {
	Guarded bool
	Conns   int
	JWKS    []byte
}

// runStormServer serves with a guard that is all default, or with coder alone
// under the same TLS, and says where.
func runStormServer(arguments []byte) error {
	var a stormServerArguments
	if err := parse(arguments, &a); err != nil {
		return err
	}
	if err := wantDescriptors(a.Conns); err != nil {
		return err
	}
	cert, err := newCertificate()
	if err != nil {
		return err
	}
	g, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(a.JWKS, testIssuer, wssecuretest.Audience)),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	handler := g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		_, _, err := c.Read(ctx)
		return err
	})
	if !a.Guarded {
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := acceptCoder(w, r); err == nil {
				_ = s.idle()
				_ = s.close()
			}
		})
	}
	srv := g.Harden(&http.Server{
		Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go srv.ServeTLS(l, "", "")
	if err := answer(l.Addr().String()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

type stormArguments struct {
	To      string
	Resumed bool
}

const (
	stormDiallers   = 64
	clientsPerPlace = 50 // of one address
)

// runStorm reads a list of tokens, shows each once from an address of 127.0.1.0/24
// and leaves; then all of them come from 127.0.0.0/24 and stay. It says how many
// seconds that took, from the first dial to the last 101.
func runStorm(arguments []byte) error {
	var a stormArguments
	if err := parse(arguments, &a); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var tokens []string
	if err := parse(line, &tokens); err != nil {
		return err
	}
	if err := wantDescriptors(len(tokens)); err != nil {
		return err
	}
	s := storm{to: a.To, tokens: tokens, configs: make([]*tls.Config, len(tokens)), open: make([]net.Conn, len(tokens))}
	for i := range s.configs {
		s.configs[i] = &tls.Config{InsecureSkipVerify: true, ServerName: "app.example.com", MinVersion: tls.VersionTLS13}
		if a.Resumed {
			s.configs[i].ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
	}
	if err := s.come("127.0.1.%d"); err != nil {
		return err
	}
	for _, c := range s.open {
		c.Close()
	}
	start := time.Now()
	if err := s.come("127.0.0.%d"); err != nil {
		return err
	}
	if err := answer(time.Since(start).Seconds()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, in)
	runtime.KeepAlive(s)
	return nil
}

type storm struct {
	to      string
	tokens  []string
	configs []*tls.Config
	open    []net.Conn
}

func (s *storm) come(from string) error {
	failed := make([]error, stormDiallers)
	var all sync.WaitGroup
	for d := range stormDiallers {
		all.Go(func() {
			keys := memnet.Nonces{Last: uint64(time.Now().UnixNano())<<8 | uint64(d)}
			for i := d; i < len(s.tokens) && failed[d] == nil; i += stormDiallers {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf(from, 2+i/clientsPerPlace))}}
				c, err := tls.DialWithDialer(&dialer, "tcp", s.to, s.configs[i])
				if err == nil {
					s.open[i] = c
					err = upgrade(c, s.tokens[i], &keys)
				}
				failed[d] = err
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
