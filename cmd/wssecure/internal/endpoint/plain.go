package endpoint

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

// A PlainAnswer is what came of one request without TLS.
type PlainAnswer struct {
	Addr      string
	Connected bool
	First     []byte          // that came, whatever it is
	Response  *probe.Response // nil when what came is no HTTP
	TakenBack string          // how a 101 was followed by a refusal; empty when it was not
	Err       error
}

// AskPlain makes one request without TLS to another port of the same host.
func (e *Endpoint) AskPlain(ctx context.Context, addr string, request *probe.Handshake) PlainAnswer {
	a := PlainAnswer{Addr: addr}
	nc, err := e.DialAddr(ctx, addr)
	if err != nil {
		a.Err = err
		return a
	}
	defer nc.Close()
	a.Connected = true
	seen := &witness{Conn: nc}
	c := probe.New(seen)
	c.Timeout = e.Timeout
	began := time.Now()
	a.Response, a.Err = Exchange(c, request)
	if a.Response != nil && a.Response.Status == 101 {
		a.TakenBack = attack.TakenBack(c, time.Since(began))
	}
	a.First = seen.first
	return a
}

// Silent reports a port that takes connections and says nothing.
func (a PlainAnswer) Silent() bool { return a.Connected && len(a.First) == 0 && timedOut(a.Err) }

// SpeaksTLS reports an alert or a handshake message in place of HTTP.
func (a PlainAnswer) SpeaksTLS() bool {
	return len(a.First) > 2 && (a.First[0] == 0x15 || a.First[0] == 0x16) && a.First[1] == 3
}

// Redirected is where the answer leads, nil where nowhere, and whether that is another host.
func (a PlainAnswer) Redirected(e *Endpoint) (to *url.URL, elsewhere bool) {
	if a.Response == nil || a.Response.Status/100 != 3 || a.Response.Get("Location") == "" {
		return nil, false
	}
	_, port, err := net.SplitHostPort(a.Addr)
	if err != nil {
		return nil, false
	}
	from := &url.URL{Scheme: "http", Host: net.JoinHostPort(e.URL.Host, port), Path: "/"}
	to, err = from.Parse(a.Response.Get("Location"))
	if err != nil {
		return nil, false
	}
	return to, !e.URL.IsSite(to.Hostname())
}
