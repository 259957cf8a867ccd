package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

func TestMessageSize(t *testing.T) {
	full := strings.Repeat("a", 65_536)
	serve, got := readings()
	s := serving(t, serve)
	t.Run("L-10 a message of the limit", func(t *testing.T) {
		c := connect(t, s)
		send(t, c, text(full), part(probe.Text, false, full[:65_000]), part(probe.Continuation, true, full[65_000:]))
		wantDelivered(t, got, full, full)
		c.Close()
		next(t, got)
		s.WaitEvent(wssecure.EventClosed)
	})
	for name, frames := range map[string][]probe.Frame{
		"L-11 a byte more, whole":        {text(full + "b")},
		"L-11 a byte more, in fragments": {part(probe.Text, false, full), part(probe.Continuation, true, "b")},
		"L-11 a declared length alone":   {{FIN: true, Opcode: probe.Binary, Masked: true, Length: new(uint64(1 << 40))}},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, s)
			for _, f := range frames {
				c.SendFrame(f)
			}
			wantEnded(t, s, c, got, 1009, wssecure.ReasonMessageSize)
		})
	}
}

func TestMessageTypes(t *testing.T) {
	t.Run("C-01 both by default, C-02 empty is not nil", func(t *testing.T) {
		serve, got := readings()
		c := connect(t, serving(t, serve))
		send(t, c, text(""), probe.Message(probe.Binary, nil), part(probe.Text, false, ""), part(probe.Continuation, true, ""))
		for _, typ := range []wssecure.MessageType{wssecure.MessageText, wssecure.MessageBinary, wssecure.MessageText} {
			if h := next(t, got); h.typ != typ || h.text != "" || h.null || h.err != nil {
				t.Errorf("Read gave %+v, want an empty message of type %d", h, typ)
			}
		}
	})
	t.Run("C-01 binary where text alone is allowed", func(t *testing.T) {
		serve, got := readings()
		s := serving(t, serve, wssecure.AllowMessageTypes(wssecure.MessageText))
		c := connect(t, s)
		send(t, c, text("a"), probe.Frame{FIN: true, Opcode: probe.Binary, Masked: true, Length: new(uint64(10))})
		wantDelivered(t, got, "a")
		wantEnded(t, s, c, got, 1003, wssecure.ReasonMessageType)
	})
}

func TestTextIsValidUTF8(t *testing.T) {
	serve, got := readings()
	s := serving(t, serve)
	for name, bad := range map[string]string{
		"a lone continuation byte": "a\x80b", "an invalid byte": "\xff", "overlong slash": "\xc0\xaf", "overlong NUL": "\xe0\x80\x80",
		"a surrogate": "\xed\xa0\x80", "a pair of surrogates": "\xed\xa0\xbd\xed\xb8\x80", "above U+10FFFF": "\xf4\x90\x80\x80",
		"cut off": "h\xc3", "cut off after three bytes": "\xf0\x9f\x98",
	} {
		t.Run("L-14 "+name, func(t *testing.T) {
			c := connect(t, s)
			send(t, c, probe.Message(probe.Binary, []byte(bad)))
			wantDelivered(t, got, bad) // C-02: binary is never checked
			if len(bad) > 1 {
				send(t, c, part(probe.Text, false, bad[:1]), part(probe.Continuation, true, bad[1:]))
			} else {
				send(t, c, text(bad))
			}
			wantEnded(t, s, c, got, 1007, wssecure.ReasonUTF8)
		})
	}
	t.Run("C-02 a code point split at each byte, a ping between", func(t *testing.T) {
		c := connect(t, s)
		whole := "é€😀"
		for cut := range len(whole) + 1 {
			send(t, c, part(probe.Text, false, whole[:cut]), probe.Message(probe.Ping, []byte{byte(cut)}), part(probe.Continuation, true, whole[cut:]))
			wantDelivered(t, got, whole)
			if f, err := c.ReadFrame(); err != nil || f.Opcode != probe.Pong || string(f.Payload) != string(rune(cut)) {
				t.Errorf("cut at %d: %+v, %v; want the pong", cut, f, err)
			}
		}
	})
}

func TestReadInto(t *testing.T) {
	type result struct {
		fits, grows, null, kept bool
		failed                  int
	}
	done := make(chan result, 1)
	s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
		var r result
		buf := make([]byte, 8)
		_, p, _ := c.ReadInto(ctx, buf)
		r.fits = string(p) == "12345678" && &p[0] == &buf[0]
		_, p, _ = c.ReadInto(ctx, buf)
		r.grows = string(p) == "123456789" && string(buf) == "12345678"
		_, p, _ = c.ReadInto(ctx, nil)
		r.null = string(p) == "abc"
		_, first, _ := c.Read(ctx)
		_, _, _ = c.Read(ctx)
		r.kept = string(first) == "first"
		_, p, err := c.ReadInto(ctx, buf)
		r.failed = len(p)
		done <- r
		return err
	})
	c := connect(t, s)
	send(t, c, text("12345678"), text("123456789"), text("abc"), text("first"), text("other"))
	c.Close()
	// C-11
	if r := next(t, done); r != (result{true, true, true, true, 0}) {
		t.Errorf("%+v", r)
	}
}

// The context that ends between messages costs nothing but its own Read.
func TestReadContexts(t *testing.T) {
	started, proceed := make(chan struct{}), make(chan context.CancelFunc, 1)
	results := make(chan heard, 8)
	s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
		note := func(typ wssecure.MessageType, p []byte, err error) { results <- heard{typ, string(p), p == nil, err} }
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		note(c.Read(gone))
		for range 2 {
			ctx, cancel := context.WithCancel(ctx)
			proceed <- cancel
			started <- struct{}{}
			note(c.Read(ctx))
			cancel()
			note(c.Read(context.Background()))
		}
		return nil
	})
	c := connect(t, s)
	if h := next(t, results); !errors.Is(h.err, context.Canceled) {
		t.Errorf("C-13 a context that has ended: %+v", h)
	}
	next(t, started)
	(<-proceed)()
	if h := next(t, results); h.err != context.Canceled {
		t.Errorf("C-13 ends between messages: %+v", h)
	}
	send(t, c, text("next"))
	if h := next(t, results); h.text != "next" {
		t.Errorf("C-13 the next Read: %+v", h)
	}
	next(t, started)
	send(t, c, part(probe.Text, false, "be"), probe.Message(probe.Ping, nil))
	if f, err := c.ReadFrame(); err != nil || f.Opcode != probe.Pong {
		t.Fatalf("no pong: the message has not begun (%v)", err)
	}
	(<-proceed)()
	send(t, c, part(probe.Continuation, true, "gun"), text("last"))
	if h := next(t, results); h.text != "begun" {
		t.Errorf("C-13 ends inside a message: %+v", h)
	}
	wantDelivered(t, results, "last")
	wantClose(t, c, 1000, "")
}

// C-13, C-17: a Read that waits for another one heeds its context too, and the end of
// the session, also where it would wait for itself.
func TestReadWaitsForAnother(t *testing.T) {
	first, inside := make(chan error, 1), make(chan error, 1)
	serve := func(ctx context.Context, c *wssecure.Conn) error {
		go func() {
			_, _, err := c.Read(ctx)
			first <- err
		}()
		for { // until the first has its turn: before that ours is the one that waits for the peer
			brief, cancel := context.WithTimeout(ctx, time.Millisecond)
			_, _, err := c.Read(brief)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			if err := c.Write(ctx, wssecure.MessageText, []byte("waited")); err != nil {
				return err
			}
		}
	}
	s := serving(t, serve, wssecure.OnMessage(func(ctx context.Context, c *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
		_, _, err := c.Read(ctx) // waits for the Read that called it
		inside <- err
		return p, nil
	}))
	c := connect(t, s)
	for range 20 {
		wantText(t, c, "waited")
	}
	send(t, c, text("read in a filter"))
	c.Close()
	if err := next(t, inside); !errors.Is(err, wssecure.ReasonPeer) {
		t.Errorf("Read in a filter: %v", err)
	}
	if err := next(t, first); !errors.Is(err, wssecure.ReasonPeer) {
		t.Errorf("the first Read: %v", err)
	}
}

// Contexts end at random while messages and pings flow: each message comes once
// and in order, and the session lives.
func TestInterruptedReadsLoseNothing(t *testing.T) {
	const messages = 3000
	got := make(chan string, messages)
	cancelled := make(chan int, 1)
	s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
		cuts, buf := 0, []byte(nil)
		for n := 0; n < messages; {
			short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(150))*time.Microsecond)
			_, p, err := c.ReadInto(short, buf)
			cancel()
			switch {
			case err == nil:
				got <- string(p)
				buf = p
				n++
			case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
				cuts++
			default:
				return err
			}
		}
		cancelled <- cuts
		return nil
	}, wssecure.LimitSession(wssecure.Limits{
		Messages: wssecure.Rate{N: 1e6, Per: time.Second, Burst: 1e6}, Controls: wssecure.Rate{N: 1e6, Per: time.Second, Burst: 1e6},
	}))
	c := connect(t, s)
	go func() {
		for i := range messages {
			var b []byte
			number := fmt.Sprint(i)
			b = probe.AppendFrame(b, part(probe.Text, false, number[:1]))
			b = probe.AppendFrame(b, probe.Message(probe.Pong, []byte("unasked")))
			b = probe.AppendFrame(b, part(probe.Continuation, true, number[1:]))
			if c.SendSplit(b, 1+rand.IntN(len(b)), len(b)) != nil {
				return
			}
			if i%8 == 0 {
				<-time.After(time.Duration(rand.IntN(200)) * time.Microsecond)
			}
		}
	}()
	for i := range messages {
		if p := next(t, got); p != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, p)
		}
	}
	if n := next(t, cancelled); n == 0 {
		t.Error("no Read was interrupted: nothing was tested")
	}
	wantClose(t, c, 1000, "")
}

func TestCallsAtOnce(t *testing.T) {
	t.Run("C-17 many Writes, two Reads", func(t *testing.T) {
		var reads sync.WaitGroup
		got := make(chan string, 2)
		s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
			for range 2 {
				reads.Go(func() {
					_, p, _ := c.Read(ctx)
					got <- string(p)
				})
			}
			var writes sync.WaitGroup
			for i := range 50 {
				writes.Go(func() {
					if err := c.Write(ctx, wssecure.MessageText, []byte(strings.Repeat(string(rune('A'+i)), 1500))); err != nil {
						t.Errorf("Write: %v", err)
					}
				})
			}
			writes.Wait()
			reads.Wait()
			return nil
		})
		c := connect(t, s)
		seen := map[byte]bool{}
		for range 50 {
			f, err := c.ReadFrame()
			if err != nil || len(f.Payload) != 1500 || strings.Count(string(f.Payload), string(f.Payload[:1])) != 1500 {
				t.Fatalf("a torn message: %d bytes, %v", len(f.Payload), err)
			}
			seen[f.Payload[0]] = true
		}
		if len(seen) != 50 {
			t.Errorf("%d different messages, want 50", len(seen))
		}
		send(t, c, text("one"), text("two"))
		if a, b := next(t, got), next(t, got); a+b != "onetwo" && a+b != "twoone" {
			t.Errorf("two Reads gave %q and %q", a, b)
		}
		wantClose(t, c, 1000, "")
	})
	t.Run("C-17 what cannot be sent", func(t *testing.T) {
		s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
			if c.Write(ctx, wssecure.MessageText, []byte("\xff")) == nil || c.Write(ctx, 0, nil) == nil || c.Write(ctx, 8, nil) == nil {
				t.Error("Write took it")
			}
			return c.Write(ctx, wssecure.MessageBinary, []byte("\xff"))
		})
		wantText(t, connect(t, s), "\xff")
	})
}
