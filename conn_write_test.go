package wssecure_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A pipe holds no byte, so a peer that does not read stalls a Write at its first.
func TestWriteContexts(t *testing.T) {
	t.Run("C-16 ended, or ends while another writes", func(t *testing.T) {
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if err := c.Write(gone, wssecure.MessageText, []byte("never")); err != context.Canceled {
				t.Errorf("a context that has ended: %v", err)
			}
			first := make(chan error)
			go func() { first <- c.Write(ctx, wssecure.MessageText, []byte("first")) }()
			synctest.Wait()
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := c.Write(short, wssecure.MessageText, []byte("never")); err != context.DeadlineExceeded {
				t.Errorf("a context that ends before the first byte: %v", err)
			}
			if err := <-first; err != nil {
				t.Errorf("the Write before it: %v", err)
			}
			return nil
		}, func(t *testing.T, s *timed) {
			c := s.open(s.issuer.Token("alice"))
			time.Sleep(2 * time.Second)
			p := listen(c, true)
			<-p.over
			if strings.Join(p.texts, " ") != "first" || p.code != 1000 {
				t.Errorf("%q, closed with %d", p.texts, p.code)
			}
		})
	})
	t.Run("C-16 ends inside a frame", func(t *testing.T) {
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			start := time.Now()
			if err := c.Write(short, wssecure.MessageText, []byte("stalls")); !errors.Is(err, wssecure.ReasonSlowReader) || time.Since(start) > 3*time.Second {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			return nil
		}, func(t *testing.T, s *timed) {
			s.open(s.issuer.Token("alice"))
			time.Sleep(5 * time.Second)
			if e := s.closed(t); e.Reason != wssecure.ReasonSlowReader || e.CloseCode != 1006 {
				t.Errorf("closed for %s, %d", e.Reason, e.CloseCode)
			}
		})
	})
	t.Run("C-16 ends when the frame is out", func(t *testing.T) {
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			for range 2000 {
				short, cancel := context.WithCancel(ctx)
				go cancel()
				if err := c.Write(short, wssecure.MessageText, []byte("x")); err != nil && err != context.Canceled {
					return nil // it was inside the frame
				}
			}
			return nil
		}, func(t *testing.T, s *timed) { <-listen(s.open(s.issuer.Token("alice")), true).over })
	})
}

func TestSlowReader(t *testing.T) {
	// L-19, W-31: the stalled Write fails, its neighbours do not wait for it.
	inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
		if c.Identity().Subject == "bob" {
			return echo(ctx, c)
		}
		start := time.Now()
		err := c.Write(ctx, wssecure.MessageBinary, make([]byte, 64<<10))
		if took := time.Since(start); !errors.Is(err, wssecure.ReasonSlowReader) || took < 30*time.Second || took > 65*time.Second {
			t.Errorf("Write failed after %v with %v", took, err)
		}
		if err := c.Write(ctx, wssecure.MessageText, nil); !errors.Is(err, wssecure.ReasonSlowReader) {
			t.Errorf("the next Write: %v", err)
		}
		return nil
	}, func(t *testing.T, s *timed) {
		s.open(s.issuer.Token("alice"))
		bob := s.open(s.issuer.Token("bob"))
		for range 5 {
			time.Sleep(10 * time.Second)
			wantEcho(t, bob, "still here")
		}
		time.Sleep(20 * time.Second)
		if e := s.closed(t); e.Reason != wssecure.ReasonSlowReader || e.Subject != "alice" {
			t.Errorf("closed %s for %s", e.Subject, e.Reason)
		}
	})
}

// echo is an application for sessions that are ended by others.
var echo = wssecuretest.Echo

// deaf is an application that only sends.
func deaf(ctx context.Context, c *wssecure.Conn) error {
	c.CloseRead()
	c.CloseRead()
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestCloseRead(t *testing.T) {
	t.Run("C-18 pings are answered, pongs count", func(t *testing.T) {
		inTime(t, deaf, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			start := time.Now()
			for range 10 {
				time.Sleep(30 * time.Second)
				send(t, p.Conn, probe.Message(probe.Ping, []byte("hello")))
			}
			p.answers.Store(false)
			p.wantEnd(t, start, 3008, "pong", 330*time.Second, 400*time.Second)
			if p.pongs != 10 {
				t.Errorf("%d pongs, want 10", p.pongs)
			}
		})
	})
	t.Run("C-18 the peer's close", func(t *testing.T) {
		inTime(t, deaf, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			p.Send(probe.CloseFrame(3333, "bye"))
			p.wantEnd(t, time.Now(), 3333, "bye", 0, time.Second)
			if e := s.closed(t); e.Reason != wssecure.ReasonPeer || e.PeerCode != 3333 {
				t.Errorf("closed for %s, peer's code %d", e.Reason, e.PeerCode)
			}
		})
	})
	t.Run("C-18 a data frame's header", func(t *testing.T) {
		filtered := false
		inTime(t, deaf, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			send(t, p.Conn, probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Length: new(uint64(100))})
			p.wantEnd(t, time.Now(), 1008, "message-invalid", 0, time.Second)
		}, wssecure.OnMessage(func(_ context.Context, _ *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
			filtered = true
			return p, nil
		}))
		if filtered {
			t.Error("a filter saw it")
		}
	})
	t.Run("C-18 a message that came with the one before CloseRead", func(t *testing.T) {
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			if _, _, err := c.Read(ctx); err != nil {
				return err
			}
			return deaf(ctx, c)
		}, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			start := time.Now()
			p.Send(probe.AppendFrame(probe.AppendFrame(nil, text("subscribe")), text("and more")))
			p.wantEnd(t, start, 1008, "message-invalid", 0, time.Second)
		})
	})
	t.Run("C-19 Read fails, Write works; a Read that waits returns", func(t *testing.T) {
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			waited := make(chan error, 1)
			go func() {
				_, _, err := c.Read(ctx)
				waited <- err
			}()
			synctest.Wait()
			c.CloseRead()
			if _, p, err := c.Read(ctx); err == nil || c.Session().Context().Err() != nil || len(p) > 0 {
				t.Errorf("Read after CloseRead: %v", err)
			}
			if err := <-waited; err == nil {
				t.Error("the Read that waited has got a message")
			}
			return c.Write(ctx, wssecure.MessageText, []byte("sent"))
		}, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			p.wantEnd(t, time.Now(), 1000, "", 0, time.Second)
			if strings.Join(p.texts, " ") != "sent" {
				t.Errorf("got %q", p.texts)
			}
		})
	})
	t.Run("C-19 expiry, and CloseRead after the end", func(t *testing.T) {
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			err := deaf(ctx, c)
			c.CloseRead()
			return err
		}, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			p.wantEnd(t, time.Now(), 3000, "token-expired", time.Hour, time.Hour+31*time.Second)
		})
	})
}

func TestCloseCodes(t *testing.T) {
	for _, row := range []struct {
		name   string
		code   wssecure.StatusCode
		reason string
		sent   int
		text   string
		fails  bool
	}{
		{"1000", 1000, "done", 1000, "done", false},
		{"3000 to 4999", 3000, "", 3000, "", false},
		{"3000 to 4999, the last", 4999, "x", 4999, "x", false},
		{"the guard's", 1008, "mine", 1011, "mine", true},
		{"reserved", 1005, "", 1011, "", true},
		{"below", 999, "", 1011, "", true},
		{"above", 5000, "", 1011, "", true},
		{"zero", 0, "", 1011, "", true},
		{"wraps to 1000", 1000 + 1<<16, "", 1011, "", true},
		{"negative", math.MinInt32, "", 1011, "", true},
		{"a long reason, cut at a rune", 1000, strings.Repeat("a", 122) + "é", 1000, strings.Repeat("a", 122), false},
		{"the longest reason", 1000, strings.Repeat("a", 121) + "é", 1000, strings.Repeat("a", 121) + "é", false},
		{"invalid UTF-8", 1000, "a\xffb", 1000, "a\uFFFDb", false},
		{"invalid UTF-8, which grows", 1000, strings.Repeat("\xffa", 80), 1000, strings.Repeat("\uFFFDa", 30) + "\uFFFD", false},
	} {
		t.Run("S-10 "+row.name, func(t *testing.T) {
			errs := make(chan error, 2)
			s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
				errs <- c.Close(row.code, row.reason)
				errs <- c.Session().Close(4000, "again")
				return errors.New("too late to count")
			})
			c := connect(t, s)
			wantClose(t, c, row.sent, row.text)
			if err := next(t, errs); (err != nil) != row.fails {
				t.Errorf("Close: %v", err)
			}
			if err := next(t, errs); err != nil {
				t.Errorf("Close again: %v", err)
			}
			c.Close()
			if e := s.WaitEvent(wssecure.EventClosed); e.Reason != wssecure.ReasonDone || e.By != wssecure.ByApp || int(e.CloseCode) != row.sent {
				t.Errorf("closed %s by %s with %d", e.Reason, e.By, e.CloseCode)
			}
		})
	}
}
