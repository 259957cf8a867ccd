package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// patience bounds a wait for what should come at once, on a machine however busy.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// join enters the chat as a browser would: Origin, and the token as a subprotocol.
func (d *demo) join(t *testing.T, name string) *websocket.Conn {
	t.Helper()
	c, resp, err := d.dial(t, "/ws", d.issuer.token(name, scopeEvents, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "chat" {
		t.Errorf("subprotocol %q", got)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func (d *demo) dial(t *testing.T, path, token string) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(patience(t), strings.Replace(d.url(), "https", "wss", 1)+path, &websocket.DialOptions{
		HTTPClient:   d.browser(t),
		HTTPHeader:   http.Header{"Origin": {d.url()}},
		Subprotocols: []string{"bearer", token, "chat"},
	})
}

// hearFrom reads until a line of that member and kind.
func hearFrom(t *testing.T, c *websocket.Conn, kind, from string) chatLine {
	t.Helper()
	ctx := patience(t)
	for {
		_, p, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %s of %s: %v", kind, from, err)
		}
		var line chatLine
		if err := json.Unmarshal(p, &line); err != nil {
			t.Fatal(err)
		}
		if line.Kind == kind && line.From == from {
			return line
		}
	}
}

func sayTo(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, encode(saying{Text: text})); err != nil {
		t.Fatal(err)
	}
}

func TestTwoMembersHearEachOther(t *testing.T) {
	d := start(t)
	ann, bob := d.join(t, "ann"), d.join(t, "bob")
	hearFrom(t, ann, "joined", "bob")
	sayTo(t, ann, "<b>hello</b>")
	if got := hearFrom(t, bob, "said", "ann").Text; got != "<b>hello</b>" {
		t.Errorf("bob heard %q", got)
	}
	if got := hearFrom(t, ann, "said", "ann").Text; got != "<b>hello</b>" {
		t.Errorf("ann heard %q of herself", got)
	}
	bob.Close(websocket.StatusNormalClosure, "")
	hearFrom(t, ann, "left", "bob")

	t.Run("what turns text around is dropped, and blank messages with it", func(t *testing.T) {
		sayTo(t, ann, "\u202e \u2066 \x1b\n")
		sayTo(t, ann, "  a\u202eb\x07c \u2764\ufe0f\u200d\U0001f525 ")
		if got, want := hearFrom(t, ann, "said", "ann").Text, "abc \u2764\ufe0f\u200d\U0001f525"; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	})
	for name, message := range map[string]string{
		"no JSON":        `hello`,
		"another member": `{"text":"hi","from":"admin"}`,
		"too long":       `{"text":"` + strings.Repeat("a", longestSaying+1) + `"}`,
	} {
		t.Run(name+" ends the session with 1008", func(t *testing.T) {
			c := d.join(t, "carol")
			if err := c.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
				t.Fatal(err)
			}
			ctx := patience(t)
			for {
				_, _, err := c.Read(ctx)
				if err == nil {
					continue // what was said before
				}
				if got := websocket.CloseStatus(err); got != websocket.StatusPolicyViolation {
					t.Errorf("close %d: %v", got, err)
				}
				return
			}
		})
	}
}

func TestEventFeed(t *testing.T) {
	d := start(t)
	t.Run("needs its scope", func(t *testing.T) {
		_, resp, err := d.dial(t, "/events", d.issuer.token("dave", "chat:read", time.Minute))
		if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("answered %v, %v", resp, err)
		}
	})
	t.Run("shows a refusal as it happens, with what the peer was not told", func(t *testing.T) {
		c, _, err := d.dial(t, "/events", d.issuer.token("eve", scopeEvents, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		began := time.Now()
		if _, _, err := d.dial(t, "/ws", d.issuer.token("frank", scopeEvents, -time.Hour)); err == nil {
			t.Fatal("an expired token was admitted")
		}
		ctx := patience(t)
		for {
			_, p, err := c.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var e eventView
			if err := json.Unmarshal(p, &e); err != nil {
				t.Fatal(err)
			}
			if e.Time.Before(began) || e.Kind != "handshake.refused" {
				continue
			}
			if e.Reason != "token-expired" || e.Status != 401 || e.Path != "/ws" || e.ClientIP.String() != "127.0.0.1" {
				t.Errorf("event %+v", e)
			}
			return
		}
	})
	t.Run("only sends", func(t *testing.T) {
		c, _, err := d.dial(t, "/events", d.issuer.token("gus", scopeEvents, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		sayTo(t, c, "hello")
		ctx := patience(t)
		for err == nil {
			_, _, err = c.Read(ctx)
		}
		if got := websocket.CloseStatus(err); got != websocket.StatusPolicyViolation {
			t.Errorf("close %d: %v", got, err)
		}
	})
}

func TestSessionTokenOpensTheChat(t *testing.T) {
	d := start(t)
	resp, body := d.get(t, "/session")
	var s struct{ Name, Token, Transport string }
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(s.Transport, "TLS 1.3") {
		t.Errorf("Cache-Control %q, transport %q", resp.Header.Get("Cache-Control"), s.Transport)
	}
	c, _, err := d.dial(t, "/ws", s.Token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	hearFrom(t, c, "joined", s.Name)
}

func TestBoardNeverWaits(t *testing.T) {
	b := newBoard[int]()
	slow, leave := b.watch()
	for n := range boardQueue + 10 {
		b.post(n)
	}
	if first := <-slow; first != 10 {
		t.Errorf("a slow watcher's oldest post is %d, want 10", first)
	}
	leave()
	late, leave := b.watch()
	defer leave()
	if first := <-late; first != boardQueue+10-boardKeeps {
		t.Errorf("a newcomer's oldest post is %d", first)
	}
	if len(late) != boardKeeps-1 || cap(b.recent) > 2*boardKeeps {
		t.Errorf("%d posts kept, room for %d", len(late)+1, cap(b.recent))
	}
}
