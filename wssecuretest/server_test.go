package wssecuretest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestServerEchoesAndTells(t *testing.T) {
	ctx := context.Background()
	s := wssecuretest.NewServer(t)
	c, _, err := s.Dial(ctx, s.Issuer.Token("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.Read(ctx); string(p) != "hello" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	opened := s.WaitEvent(wssecure.EventOpened)
	if opened.Subject != "alice" || opened.Host != wssecuretest.Host || opened.Origin != wssecuretest.Origin {
		t.Errorf("%+v", opened)
	}
	c.Close(websocket.StatusNormalClosure, "")
	closed := s.WaitEvent(wssecure.EventClosed)
	if closed.SessionID != opened.SessionID || closed.By != wssecure.ByPeer {
		t.Errorf("%+v", closed)
	}
	if all := s.Events(); len(all) < 2 {
		t.Errorf("%d events", len(all))
	}
}

func TestDialWithoutTokenIsRefused(t *testing.T) {
	s := wssecuretest.NewServer(t)
	seen := map[string]bool{}
	for range 3 {
		_, resp, err := s.Dial(context.Background(), "")
		if err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%v, %v", resp, err)
		}
		e := s.WaitEvent(wssecure.EventRefused)
		if e.Reason != wssecure.ReasonTokenMissing || seen[e.ID] {
			t.Errorf("%+v", e)
		}
		seen[e.ID] = true
	}
}

func TestRawIsTheFixture(t *testing.T) {
	s := wssecuretest.NewServer(t)
	c := s.RawFrom("127.0.0.9")
	if err := c.Send(s.Handshake(s.Issuer.Token("alice")).Bytes()); err != nil {
		t.Fatal(err)
	}
	r, err := c.Response()
	if err != nil || r.Status != 101 || r.Get("Sec-WebSocket-Accept") != probe.Accept(probe.Key) {
		t.Fatalf("%+v, %v", r, err)
	}
	if e := s.WaitEvent(wssecure.EventOpened); e.ClientIP.String() != "127.0.0.9" {
		t.Errorf("client %v", e.ClientIP)
	}
	if err := c.SendFrame(probe.Message(probe.Text, []byte("hi"))); err != nil {
		t.Fatal(err)
	}
	if f, err := c.ReadFrame(); string(f.Payload) != "hi" || err != nil {
		t.Errorf("%q, %v", f.Payload, err)
	}
}

func TestStartTakesServeHandlerAndPlaintext(t *testing.T) {
	ctx := context.Background()
	options := []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test")}
	bye := errors.New("bye")
	served := wssecuretest.Start(t, wssecuretest.Config{Options: options, Serve: func(context.Context, *wssecure.Conn) error { return bye }})
	c, _, err := served.Dial(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusInternalError {
		t.Errorf("own Serve: %v", err)
	}

	routed := wssecuretest.Start(t, wssecuretest.Config{Options: options, Handler: func(g *wssecure.Guard) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/ws", g.ConnHandler(wssecuretest.Echo))
		return mux
	}})
	if _, _, err := routed.Dial(ctx, ""); err != nil {
		t.Errorf("own Handler: %v", err)
	}

	plain := wssecuretest.Start(t, wssecuretest.Config{Options: append(options, wssecure.InsecureAllowPlaintext("test")), Plaintext: true})
	if _, _, err := plain.Dial(ctx, ""); err != nil || !strings.HasPrefix(plain.URL, "ws://") {
		t.Errorf("plaintext: %v", err)
	}
	raw := plain.Raw()
	if err := raw.Send(plain.Handshake("").Bytes()); err != nil {
		t.Fatal(err)
	}
	if r, err := raw.Response(); err != nil || r.Status != 101 {
		t.Errorf("plaintext, raw: %v, %v", r, err)
	}
}

func TestServerIsGoodForItsNames(t *testing.T) {
	s := wssecuretest.NewServer(t)
	for _, name := range []string{"localhost", "127.0.0.1", "ws.example.com", "app.test", "a.app.test", "evil.test"} {
		resp, err := s.Client().Get("https://" + name + "/")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
	}
	if resp, err := s.Client().Get("https://other.example.com/"); err == nil {
		resp.Body.Close()
		t.Error("the certificate is good for a name it does not have")
	}
}
