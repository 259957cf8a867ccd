package wssecure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// rewrite is a filter that acts on what a message says, and lets the rest pass.
func rewrite(_ context.Context, _ *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
	switch string(p) {
	case "drop":
		return nil, nil
	case "refuse":
		return nil, errors.New("not today")
	case "reason":
		return nil, fmt.Errorf("wrapped: %w", wssecure.ReasonForbidden)
	case "rejection":
		return nil, &wssecure.Rejection{Reason: wssecure.ReasonMessageRate, Err: errors.New("cause")}
	case "own reason":
		return nil, wssecure.Reason("app-quota")
	case "handshake reason":
		return nil, wssecure.ReasonOrigin
	case "panic":
		panic("filter")
	case "big":
		return make([]byte, 65_537), nil
	case "invalid":
		return []byte("\xff"), nil
	}
	return p, nil
}

func TestFiltersOfMessages(t *testing.T) {
	t.Run("C-04 in order, a drop, then the next message", func(t *testing.T) {
		mark := func(by string) wssecure.Filter {
			return func(_ context.Context, c *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
				if c.Identity().Subject != "alice" {
					return nil, errors.New("no identity")
				}
				return append(p, by...), nil
			}
		}
		serve, got := readings()
		c := connect(t, serving(t, serve, wssecure.OnMessage(rewrite, mark("f"), mark("g"))))
		send(t, c, text("drop"), text("a"), text(""), text("drop"), text("drop"), text("b"))
		wantDelivered(t, got, "afg", "fg", "bfg")
	})
	for _, row := range []struct {
		message string
		code    int
		text    string
		reason  wssecure.Reason
		refused bool
	}{
		{"refuse", 1008, "message-invalid", wssecure.ReasonMessageInvalid, true},
		{"reason", 3003, "forbidden", wssecure.ReasonForbidden, true},
		{"rejection", 1008, "message-rate", wssecure.ReasonMessageRate, true},
		{"own reason", 3003, "forbidden", "app-quota", true},
		{"handshake reason", 1008, "origin", wssecure.ReasonOrigin, true},
		{"panic", 1011, "internal", wssecure.ReasonInternal, true},
		{"big", 1011, "internal", wssecure.ReasonInternal, false},
		{"invalid", 1011, "internal", wssecure.ReasonInternal, false},
	} {
		t.Run("C-05 "+row.message, func(t *testing.T) {
			serve, got := readings()
			s := serving(t, serve, wssecure.OnMessage(rewrite))
			c := connect(t, s)
			send(t, c, text("fine"), text(row.message), text("late"))
			wantDelivered(t, got, "fine")
			wantClose(t, c, row.code, row.text)
			c.Close()
			if h := next(t, got); !errors.Is(h.err, row.reason) || h.text != "" {
				t.Errorf("Read gave %+v", h)
			}
			if e := s.WaitEvent(wssecure.EventClosed); e.Reason != row.reason || e.By != wssecure.ByGuard {
				t.Errorf("closed for %s by %s", e.Reason, e.By)
			}
			refused := 0
			for _, e := range s.Events() {
				if e.Kind == wssecure.EventMessageRefused {
					refused++
				}
			}
			if (refused == 1) != row.refused || refused > 1 {
				t.Errorf("%d events %s", refused, wssecure.EventMessageRefused)
			}
		})
	}
}

func TestFiltersOfSends(t *testing.T) {
	results := make(chan error, 1)
	s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
		for {
			typ, p, err := c.Read(ctx)
			if err != nil {
				return nil
			}
			results <- c.Write(ctx, typ, p)
		}
	}, wssecure.OnSend(rewrite))
	for message, fails := range map[string]bool{"drop": false, "refuse": true, "reason": true, "invalid": true} {
		t.Run("C-06 the session lives: "+message, func(t *testing.T) {
			c := connect(t, s)
			send(t, c, text(message))
			if err := next(t, results); (err != nil) != fails {
				t.Errorf("Write: %v", err)
			}
			wantEcho(t, c, "lives") // and nothing was sent before it
			next(t, results)
		})
	}
	for message, code := range map[string]int{"rejection": 1008, "panic": 1011} {
		t.Run("C-06 the session ends: "+message, func(t *testing.T) {
			c := connect(t, s)
			send(t, c, text(message))
			if err := next(t, results); err == nil {
				t.Error("Write: no error")
			}
			if f, err := c.ReadFrame(); err != nil || f.Opcode != probe.Close || int(f.Payload[0])<<8|int(f.Payload[1]) != code {
				t.Errorf("%+v, %v; want close %d and nothing before it", f, err, code)
			}
		})
	}
}

// S-24: what a filter gives after the end is dropped.
func TestEndWhileAFilterWorks(t *testing.T) {
	serve, got := readings()
	s := serving(t, serve, wssecure.OnMessage(func(_ context.Context, c *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
		c.Session().Close(4001, "ended")
		return append(p, " and its result"...), nil
	}))
	c := connect(t, s)
	send(t, c, text("message"))
	if h := next(t, got); !errors.Is(h.err, wssecure.ReasonDone) || h.text != "" {
		t.Errorf("Read gave %+v", h)
	}
	wantClose(t, c, 4001, "ended")
}

// p of a filter may be changed in place; the caller's own slice of Write may not
// be what goes out changed behind its back.
func TestFilterSeesWholeMessages(t *testing.T) {
	seen := make(chan string, 1)
	serve, got := readings()
	s := serving(t, serve, wssecure.OnMessage(func(_ context.Context, _ *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
		seen <- string(p)
		return bytes.ToUpper(p), nil
	}))
	c := connect(t, s)
	send(t, c, part(probe.Text, false, "in "), part(probe.Continuation, false, "three "), part(probe.Continuation, true, "parts"))
	if m := next(t, seen); m != "in three parts" {
		t.Errorf("the filter saw %q", m)
	}
	wantDelivered(t, got, "IN THREE PARTS")
}

// C-20, K-24: Handler does not see messages, so a guard with filters refuses there.
func TestFiltersOfAChild(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	serve, got := readings()
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
		Handler: func(g *wssecure.Guard) http.Handler {
			child, err := g.With(wssecure.OnMessage(rewrite))
			if err != nil {
				t.Fatal(err)
			}
			never := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
			mux := http.NewServeMux()
			mux.Handle("/parent", g.Handler(never))
			mux.Handle("/child", child.Handler(never))
			mux.Handle("/conn", child.ConnHandler(serve))
			return mux
		},
	})
	at := func(path string) *probe.Handshake {
		hs := freshHandshake(issuer.Token("alice"))
		hs.Target = path
		return hs
	}
	wantRefused(t, s, at("/child"), 500, wssecure.ReasonInternal)
	if r, _ := ask(t, s, at("/parent")); r.Status != http.StatusTeapot {
		t.Errorf("Handler of the parent: %d", r.Status)
	}
	_, c := wantAdmitted(t, s, at("/conn"))
	send(t, c, text("drop"), text("passed"))
	wantDelivered(t, got, "passed")
	e := oneEvent(t, refusedInternal(s), wssecure.EventRefused)
	if e.Err == nil || !strings.Contains(e.Err.Error(), "ConnHandler") {
		t.Errorf("the record says %v", e.Err)
	}
}

func refusedInternal(s *wssecuretest.Server) (list []wssecure.Event) {
	for _, e := range s.Events() {
		if e.Reason == wssecure.ReasonInternal {
			list = append(list, e)
		}
	}
	return list
}
