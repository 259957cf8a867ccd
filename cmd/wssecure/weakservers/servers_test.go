package weakservers_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"testing"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"github.com/olahol/melody"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/wssecuretest"
)

// The origins and addresses of targets over TLS.
const (
	secureURL    = "wss://" + testbed.Name + "/ws"
	secureOrigin = "https://" + testbed.Name
)

// overTLS serves h as http.ListenAndServeTLS would.
func overTLS(t *testing.T, ca *testbed.Authority, h http.Handler) target {
	t.Helper()
	addr := testbed.Serve(t, &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}}})
	return target{args: []string{"--ca", ca.File, "--connect", addr, secureURL}}
}

// inClear serves h as http.ListenAndServe would.
func inClear(t *testing.T, h http.Handler) target {
	t.Helper()
	return target{args: []string{"ws://" + testbed.Serve(t, &http.Server{Handler: h}) + "/ws"}}
}

// gorillaEcho is what is written against the first "request origin not allowed".
func gorillaEcho() http.Handler {
	upgrader := gorilla.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			typ, p, err := c.ReadMessage()
			if err != nil || c.WriteMessage(typ, p) != nil {
				return
			}
		}
	})
}

func coderEcho() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			typ, p, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), typ, p) != nil {
				return
			}
		}
	})
}

// gwsEcho is the first example of gws, but that it reads in the handler, where net/http recovers from panics: on a
// goroutine of its own one would end the test.
func gwsEcho() http.Handler {
	upgrader := gws.NewUpgrader(gwsEvents{}, &gws.ServerOption{Logger: silent{}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := upgrader.Upgrade(w, r); err == nil {
			c.ReadLoop()
		}
	})
}

type gwsEvents struct{ gws.BuiltinEventHandler }

func (gwsEvents) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }

func (gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

// silent is a log that nobody reads: broken frames are what a scan is made of.
type silent struct{}

func (silent) Error(...any) {}

// melodyEcho is the first example of melody, which admits any Origin unless it is told otherwise.
func melodyEcho() http.Handler {
	m := melody.New()
	m.HandleMessage(func(s *melody.Session, p []byte) { s.Write(p) })
	m.HandleMessageBinary(func(s *melody.Session, p []byte) { s.WriteBinary(p) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.HandleRequest(w, r) })
}

// guarded is the README's first ten lines.
func guarded(t *testing.T, ca *testbed.Authority) target {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	guard, err := wssecure.New(
		wssecure.AllowOrigins(secureOrigin),
		issuer.Option(),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		t.Fatal(err)
	}
	addr := testbed.Serve(t, guard.Harden(&http.Server{
		Handler:   guard.ConnHandler(wssecuretest.Echo),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}},
	}))
	return target{token: issuer.Token("alice"), args: []string{"--ca", ca.File, "--connect", addr, "--origin", secureOrigin, secureURL}}
}
