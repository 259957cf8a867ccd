package interop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"github.com/wssecure/wssecure/internal/probe"
)

// A library serves sockets the way its own documentation shows: upgrade, loop
// over messages, return when the socket ends.
type library struct {
	name    string
	ownHead bool // hijacks first and writes its head into the connection
	serve   func(w http.ResponseWriter, r *http.Request, a *app) error
}

var libraries = []library{
	{"coder", false, serveCoder},
	{"gorilla", true, serveGorilla},
	{"gws", true, serveGws},
	{"gobwas", true, serveGobwas},
}

// errNotUpgraded is in the chain of what serve returns when the library's
// upgrade failed.
var errNotUpgraded = errors.New("not upgraded")

func notUpgraded(err error) error { return fmt.Errorf("%w: %w", errNotUpgraded, err) }

// An app is what runs over a library: an echo that obeys a few words.
type app struct {
	protocols []string    // that the library may choose of
	header    http.Header // that the library puts into its own head
	refuses   bool        // the library's own check is left on, and fails
	compress  bool        // the library would, where it can

	saw    chan *http.Request // each request that reached the handler
	served chan error         // what came of it
}

func newApp() *app {
	return &app{saw: make(chan *http.Request, 1000), served: make(chan error, 1000)}
}

// The words. Every other message is sent back.
const (
	wordPanic = "panic!"
	wordClose = "close!" // a close frame of the library's own
	wordDrop  = "drop!"  // the connection closed without one
	wordFlood = "flood!" // floodMessage again and again, until that fails
)

const (
	appCode   = 4002
	appReason = "bye"
)

// floodMessage takes two length bytes in its header, and no buffer of a library
// holds a whole number of it.
var floodMessage = bytes.Repeat([]byte("flood"), 333)

// A peer is what the echo needs of a library's connection.
type peer struct {
	write func(op byte, p []byte) error
	close func(code int, reason string) error
	drop  func() error
}

func (p peer) answer(op byte, message []byte) error {
	switch string(message) {
	case wordPanic:
		panic("the handler was told to")
	case wordClose:
		return p.close(appCode, appReason)
	case wordDrop:
		return p.drop()
	case wordFlood:
		for {
			if err := p.write(probe.Binary, floodMessage); err != nil {
				return err
			}
		}
	}
	return p.write(op, message)
}

// handler is the application over lib, to stand behind the guard.
func (lib library) handler(a *app) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.saw <- r.Clone(context.Background())
		err := errors.New("panicked")
		defer func() { a.served <- err }()
		err = lib.serve(w, r, a)
	})
}

func serveCoder(w http.ResponseWriter, r *http.Request, a *app) error {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	o := &coder.AcceptOptions{InsecureSkipVerify: !a.refuses, Subprotocols: a.protocols}
	if a.compress {
		o.CompressionMode, o.CompressionThreshold = coder.CompressionNoContextTakeover, 1
	}
	c, err := coder.Accept(w, r, o)
	if err != nil {
		return notUpgraded(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	ctx := context.Background()
	p := peer{
		write: func(op byte, b []byte) error { return c.Write(ctx, coder.MessageType(op), b) },
		close: func(code int, reason string) error { return c.Close(coder.StatusCode(code), reason) },
		drop:  c.CloseNow,
	}
	for {
		typ, b, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := p.answer(byte(typ), b); err != nil {
			return err
		}
	}
}

func serveGorilla(w http.ResponseWriter, r *http.Request, a *app) error {
	u := gorilla.Upgrader{Subprotocols: a.protocols, EnableCompression: a.compress}
	if !a.refuses {
		u.CheckOrigin = func(*http.Request) bool { return true }
	}
	c, err := u.Upgrade(w, r, a.header)
	if err != nil {
		return notUpgraded(err)
	}
	defer c.Close()
	p := peer{
		write: func(op byte, b []byte) error { return c.WriteMessage(int(op), b) },
		close: func(code int, reason string) error {
			return c.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(code, reason))
		},
		drop: c.Close,
	}
	for {
		op, b, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if err := p.answer(byte(op), b); err != nil {
			return err
		}
	}
}

// gwsEvents is the echo as gws wants it: called for each message.
type gwsEvents struct {
	gws.BuiltinEventHandler
	ended error
}

func (e *gwsEvents) OnClose(_ *gws.Conn, err error) { e.ended = err }

func (e *gwsEvents) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	p := peer{
		write: func(op byte, b []byte) error { return c.WriteMessage(gws.Opcode(op), b) },
		close: func(code int, reason string) error { return c.WriteClose(uint16(code), []byte(reason)) },
		drop:  func() error { return c.NetConn().Close() },
	}
	_ = p.answer(byte(m.Opcode), m.Bytes())
}

func serveGws(w http.ResponseWriter, r *http.Request, a *app) error {
	e := new(gwsEvents)
	u := gws.NewUpgrader(e, &gws.ServerOption{
		SubProtocols:      a.protocols,
		ResponseHeader:    a.header.Clone(),
		Authorize:         func(*http.Request, gws.SessionStorage) bool { return !a.refuses },
		PermessageDeflate: gws.PermessageDeflate{Enabled: a.compress, Threshold: 1},
	})
	c, err := u.Upgrade(w, r)
	if err != nil {
		return notUpgraded(err)
	}
	c.ReadLoop()
	return e.ended
}

func serveGobwas(w http.ResponseWriter, r *http.Request, a *app) error {
	u := ws.HTTPUpgrader{Header: a.header}
	if a.protocols != nil {
		u.Protocol = func(name string) bool { return slices.Contains(a.protocols, name) }
	}
	if a.refuses { // it checks nothing that could be left on
		r = r.Clone(r.Context())
		r.Header.Set("Sec-WebSocket-Version", "8")
	}
	c, _, _, err := u.Upgrade(r, w)
	if c != nil {
		defer c.Close()
	}
	if err != nil {
		return notUpgraded(err)
	}
	p := peer{
		write: func(op byte, b []byte) error { return wsutil.WriteServerMessage(c, ws.OpCode(op), b) },
		close: func(code int, reason string) error {
			body := ws.NewCloseFrameBody(ws.StatusCode(code), reason)
			return wsutil.WriteServerMessage(c, ws.OpClose, body)
		},
		drop: c.Close,
	}
	for {
		b, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return err
		}
		if err := p.answer(byte(op), b); err != nil {
			return err
		}
	}
}

// noLog is for servers and proxies whose peers misbehave on purpose.
var noLog = log.New(io.Discard, "", 0)

// proxied is the application on a backend without any guard, and before it what
// stands behind ours: a reverse proxy.
func proxied(t testing.TB, a *app) http.Handler {
	backend := httptest.NewUnstartedServer(libraries[0].handler(a))
	backend.Config.ErrorLog = noLog
	backend.Start()
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog: noLog,
	}
}

// A stack is one thing that users put behind Guard.Handler.
type stack struct {
	name    string
	ownHead bool
	proxy   bool
	behind  func(t testing.TB, a *app) http.Handler
}

var stacks = func() []stack {
	var all []stack
	for _, lib := range libraries {
		all = append(all, stack{lib.name, lib.ownHead, false, func(_ testing.TB, a *app) http.Handler { return lib.handler(a) }})
	}
	return append(all, stack{"ReverseProxy", true, true, proxied})
}()
