package wssecure_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// A library that hijacks and writes nothing must not hold connection, leases and
// place for ever; one that answers in time is left alone.
func TestSilentLibraryIsCut(t *testing.T) {
	for name, answer := range map[string]bool{"never answers": false, "answers in time": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTimed(t)
				failed := make(chan error, 1)
				s.pipeServer = newPipeServer(t, s.guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(9 * time.Second)
					if answer {
						conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
							probe.Accept(r.Header.Get("Sec-Websocket-Key")) + "\r\n\r\n"))
					}
					_, err = conn.Read(make([]byte, 16))
					failed <- err
				})))
				c := s.dial()
				start := time.Now()
				c.Send(freshHandshake(s.issuer.Token("alice")).Bytes())
				r, err := c.Response()
				if answer {
					if err != nil || r.Status != 101 {
						t.Fatalf("%+v, %v", r, err)
					}
					send(t, c, text("an hour later"))
					if err := <-failed; err != nil {
						t.Errorf("Read: %v", err)
					}
					c.NetConn().Close()
					synctest.Wait()
					return
				}
				if took := time.Since(start); err == nil || took > 31*time.Second {
					t.Errorf("%+v after %v, want an end within 30s", r, took)
				}
				if err := <-failed; err == nil {
					t.Error("the library's Read gave bytes")
				}
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				if e := oneEvent(t, s.events, wssecure.EventRefused); e.Reason != wssecure.ReasonInternal || e.By != wssecure.ByApp || e.Err == nil {
					t.Errorf("refused %+v", e)
				}
				if n := s.guard.Stats().Open; n != 0 {
					t.Errorf("%d places are taken", n)
				}
			})
		})
	}
}

// hijackHook runs before the connection changes hands: after the last check.
type hijackHook struct {
	http.ResponseWriter
	before func()
}

func (h hijackHook) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.before()
	return h.ResponseWriter.(http.Hijacker).Hijack()
}

// S-09: a revocation behind the last check still ends the session, and where its
// 101 goes out says why.
func TestRevokeDuringHandshakeLeavesNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTimed(t)
		inner := s.guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			if _, _, err := c.Read(context.Background()); err == nil {
				t.Error("a message was delivered")
			}
			return context.Cause(ctx)
		})
		s.pipeServer = newPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(hijackHook{w, func() {
				if n, err := s.guard.Revoke(context.Background(), wssecure.Everyone(), "now"); n != 1 || err != nil {
					t.Errorf("Revoke: %d, %v", n, err)
				}
			}}, r)
		}))
		p := listen(s.open(s.issuer.Token("alice")), true)
		send(t, p.Conn, text("too late"))
		p.wantEnd(t, time.Now(), 3000, "revoked", 0, time.Second)
		if e := s.closed(t); e.Reason != wssecure.ReasonRevoked {
			t.Errorf("closed for %s", e.Reason)
		}
	})
}

// runtime.Goexit in user code is no return.
func TestGoexitEndsTheSession(t *testing.T) {
	inTime(t, func(context.Context, *wssecure.Conn) error {
		runtime.Goexit()
		return nil
	}, func(t *testing.T, s *timed) {
		p := listen(s.open(s.issuer.Token("alice")), true)
		p.wantEnd(t, time.Now(), 1011, "internal", 0, time.Second)
	})
}
