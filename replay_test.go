package wssecure_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

func encodeNonce(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestNonceIsSpentByItsSession(t *testing.T) {
	s := wssecuretest.NewServer(t)
	alice, bob := s.Issuer.Token("alice"), s.Issuer.Token("bob")
	key := func(hs *probe.Handshake, key string) *probe.Handshake { return hs.Set("Sec-WebSocket-Key", key) }
	wantAdmitted(t, s, s.Handshake(alice))
	t.Run("H-32 same credential", func(t *testing.T) {
		wantReplay(t, s, s.Handshake(alice))
	})
	t.Run("H-32 in every spelling", func(t *testing.T) {
		first := "dGhlIHNhbXBsZSBub25jZQ=="
		for _, last := range "RSTUVWXYZabcdef" { // the spare bits of Q
			wantReplay(t, s, key(s.Handshake(alice), first[:21]+string(last)+"=="))
		}
	})
	t.Run("H-32 the same credential in another place", func(t *testing.T) {
		wantReplay(t, s, s.Handshake("").Add("Sec-WebSocket-Protocol: bearer, "+alice))
	})
	t.Run("H-32 another nonce", func(t *testing.T) {
		wantAdmitted(t, s, key(s.Handshake(alice), "AQIDBAUGBwgJCgsMDQ4PEA=="))
	})
	t.Run("H-32 another credential", func(t *testing.T) { wantAdmitted(t, s, s.Handshake(bob)) })
	t.Run("H-32 another credential of the same person", func(t *testing.T) {
		wantAdmitted(t, s, s.Handshake(s.Issuer.Token("alice")))
	})
}

func wantReplay(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake) {
	t.Helper()
	r, e := wantRefused(t, s, hs, 400, wssecure.ReasonKeyReplay)
	if e.Check != "key-replay" {
		t.Errorf("check %q", e.Check)
	}
	// The peer is told of its key, not that it has been seen.
	wantPublic(t, r, wssecure.ReasonKey)
}

func wantPublic(t *testing.T, r *probe.Response, reason wssecure.Reason) {
	t.Helper()
	if m := problemBody.FindSubmatch(r.Body); m == nil || string(m[1]) != string(reason) {
		t.Errorf("public reason in %s, want %s", r.Body, reason)
	}
}

func TestNonceWithoutCredentialBelongsToTheAddress(t *testing.T) {
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test")}})
	wantAdmitted(t, s, s.Handshake(""))
	t.Run("H-39 same address", func(t *testing.T) { wantReplay(t, s, s.Handshake("")) })
	t.Run("H-39 another spelling", func(t *testing.T) {
		wantReplay(t, s, s.Handshake("").Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZR=="))
	})
	t.Run("H-39 another address", func(t *testing.T) {
		c := s.RawFrom("127.0.0.9")
		if err := c.Send(s.Handshake("").Bytes()); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Response(); err != nil || r.Status != 101 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestNonceAtOnce(t *testing.T) {
	s := wssecuretest.NewServer(t, wssecure.LimitConns(wssecure.BySubject(), 200))
	hs := s.Handshake(s.Issuer.Token("alice")).Bytes()
	conns := make([]*probe.Conn, 100)
	for i := range conns {
		conns[i] = s.Raw()
	}
	var admitted, replayed atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for _, c := range conns {
		all.Go(func() {
			<-start
			if err := c.Send(hs); err != nil {
				t.Error(err)
				return
			}
			r, err := c.Response()
			switch {
			case err != nil:
				t.Error(err)
			case r.Status == 101:
				admitted.Add(1)
			case r.Status == 400:
				replayed.Add(1)
			}
		})
	}
	close(start)
	all.Wait()
	if admitted.Load() != 1 || replayed.Load() != 99 {
		t.Errorf("H-32: %d admitted and %d replays, want 1 and 99", admitted.Load(), replayed.Load())
	}
}

// The window, in a time of its own.
func TestNonceIsForgottenAfterTheWindow(t *testing.T) {
	for name, option := range map[string]struct {
		more   []wssecure.Option
		window time.Duration
	}{
		"H-32 default":     {nil, 5 * time.Minute},
		"H-32 LimitReplay": {[]wssecure.Option{wssecure.LimitReplay(20 * time.Second)}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := must(wssecure.New(append(option.more, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test"))...))
				h := g.ConnHandler(wssecuretest.Echo)
				head := (&wssecuretest.Server{}).Handshake("").Bytes()
				for i, want := range []int{101, 400, 101, 400} {
					if i == 1 || i == 3 {
						time.Sleep(option.window - time.Second)
					}
					if i == 2 {
						time.Sleep(2 * time.Second)
					}
					w := serveInMemory(h, requestOf(head, 1))
					if got := w.outcome(); got != want {
						t.Errorf("handshake %d: %d, want %d", i, got, want)
					}
				}
				g.Shutdown(context.Background())
			})
		})
	}
}

// outcome is the status that went out, by whatever way.
func (w *memoryWriter) outcome() int {
	if status := w.status; status != 0 {
		return status
	}
	var minor, status int
	fmt.Sscanf(string(w.conn.written()), "HTTP/1.%d %d ", &minor, &status)
	return status
}

// A nonce is remembered only at the 101: a handshake that was refused by
// whatever check may be sent again, byte by byte.
func TestRefusedHandshakeSpendsNoNonce(t *testing.T) {
	refuseOnce := func() wssecure.Option {
		var asked atomic.Bool
		return wssecure.RequireCheck("once", func(context.Context, *wssecure.Handshake) error {
			if asked.Swap(true) {
				return nil
			}
			return wssecure.ReasonForbidden
		})
	}
	t.Run("H-44 a check of the application", func(t *testing.T) {
		s := wssecuretest.NewServer(t, refuseOnce())
		hs := s.Handshake(s.Issuer.Token("alice"))
		wantRefused(t, s, hs, 403, wssecure.ReasonForbidden)
		wantAdmitted(t, s, hs)
		wantReplay(t, s, hs)
	})
	t.Run("H-44 a full subject", func(t *testing.T) {
		s := wssecuretest.NewServer(t, wssecure.LimitConns(wssecure.BySubject(), 1))
		hs := s.Handshake(s.Issuer.Token("alice"))
		_, first := wantAdmitted(t, s, s.Handshake(s.Issuer.Token("alice")))
		wantRefused(t, s, hs, 429, wssecure.ReasonConnLimit)
		first.Close()
		s.WaitEvent(wssecure.EventClosed)
		wantAdmitted(t, s, hs)
	})
	t.Run("H-44 an Origin that is listed later", func(t *testing.T) {
		set, err := wssecure.NewOriginSet("https://other.example")
		if err != nil {
			t.Fatal(err)
		}
		s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{wssecure.AllowOriginSet(set), wssecure.InsecureAllowAnonymous("test")}})
		wantRefused(t, s, s.Handshake(""), 403, wssecure.ReasonOrigin)
		if err := set.Replace(wssecuretest.Origin); err != nil {
			t.Fatal(err)
		}
		wantAdmitted(t, s, s.Handshake(""))
	})
	t.Run("H-44 SetContext", func(t *testing.T) {
		var asked atomic.Bool
		s := wssecuretest.NewServer(t, wssecure.SetContext(func(ctx context.Context, _ *wssecure.Handshake) context.Context {
			if asked.Swap(true) {
				return ctx
			}
			return nil
		}))
		hs := s.Handshake(s.Issuer.Token("alice"))
		wantRefused(t, s, hs, 500, wssecure.ReasonInternal)
		wantAdmitted(t, s, hs)
	})
	t.Run("H-44 K-14 next made no session of it", func(t *testing.T) {
		var asked atomic.Bool
		s := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Swap(true) {
				switchByHijack(w, r, "101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: "+probe.Accept(probe.Key))
				return
			}
			io.WriteString(w, "not yet")
		})
		hs := s.Handshake(s.Issuer.Token("alice"))
		if r, _ := ask(t, s, hs); r.Status != 200 {
			t.Errorf("%s", r.StatusLine)
		}
		wantAdmitted(t, s, hs)
		wantReplay(t, s, hs)
	})
	t.Run("H-44 H-37 the client is gone before the 101", func(t *testing.T) {
		arrived, gone := make(chan context.Context, 1), make(chan struct{})
		var asked atomic.Bool
		s := wssecuretest.NewServer(t, wssecure.RequireCheck("slow", func(ctx context.Context, _ *wssecure.Handshake) error {
			if !asked.Swap(true) {
				arrived <- ctx
				<-ctx.Done()
				close(gone)
			}
			return nil
		}))
		hs := s.Handshake(s.Issuer.Token("alice"))
		c := s.Raw()
		if err := c.Send(hs.Bytes()); err != nil {
			t.Fatal(err)
		}
		<-arrived
		c.Close()
		<-gone
		if e := s.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonPeer {
			t.Errorf("event %s, want peer", e.Reason)
		}
		wantNoSession(t, s)
		wantAdmitted(t, s, hs)
		if n := len(refusals(s)); n != 1 {
			t.Errorf("%d refusals, want 1", n)
		}
	})
}
