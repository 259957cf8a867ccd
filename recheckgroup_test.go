package wssecure_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// stuckEnd is a peer that holds up whoever ends its session: the deadline that
// wakes a Read is set then.
type stuckEnd struct {
	*memnet.SilentConn
	ending, goOn chan struct{}
}

func (c *stuckEnd) SetReadDeadline(at time.Time) error {
	if !at.IsZero() && at.Before(time.Now()) {
		close(c.ending)
		<-c.goOn
	}
	return c.SilentConn.SetReadDeadline(at)
}

// stuckWriter hands on a connection of its own.
type stuckWriter struct {
	*gateWriter
	conn net.Conn
}

func (w stuckWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// the server says that a token is now somebody else's, and the sessions of
// its group end. One that joins the group meanwhile, by an answer from before, is
// asked about like any other: it is not lost from sight with the person it was.
func TestSessionThatJoinsWhileItsTokenChangesHands(t *testing.T) {
	const every = 5 * time.Minute
	for _, row := range []struct {
		name string
		then func(i *wssecuretest.Issuer, token string)
		want wssecure.Reason
	}{
		{"A-65 another person", func(*wssecuretest.Issuer, string) {}, wssecure.ReasonTokenInvalid},
		{"A-65 inactive then", func(i *wssecuretest.Issuer, token string) { i.SetActive(token, nil) }, wssecure.ReasonRevoked},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := wssecuretest.NewIssuer(t, "")
				client := &http.Client{Transport: &network{handler: issuer.Handler()}}
				admit := make(chan struct{}, 2)
				g := &gate{t: t, issuer: issuer}
				g.start(stay, []wssecure.Option{
					wssecure.RequireToken(wssecure.Introspection(issuer.URL+wssecuretest.IntrospectionPath, wssecuretest.ClientID, wssecuretest.ClientSecret,
						wssecuretest.Audience, wssecure.HTTPClient(client))),
					wssecure.RequireCheck("slow", func(context.Context, *wssecure.Handshake) error { <-admit; return nil }),
					wssecure.LimitHandshakeTime(time.Minute), wssecure.LimitSession(wssecure.Limits{Pong: time.Hour}), // the peers are silent
				})
				token := issuer.Opaque("alice", lasting())
				first := &stuckEnd{memnet.NewSilentConn(), make(chan struct{}), make(chan struct{})}
				admit <- struct{}{}
				g.knockThrough(g.serve, func(w *gateWriter) http.ResponseWriter { return stuckWriter{w, first} }, nil, "203.0.113.9", bearer(token))

				time.Sleep(every*9/10 - time.Second) // the first question is just ahead
				second := make(chan answer)
				go func() { second <- g.knock("203.0.113.9", bearer(token)) }()
				synctest.Wait() // verified, and not admitted yet
				issuer.SetActive(token, issuer.Claims("mallory", lasting()))
				<-first.ending
				admit <- struct{}{}
				wantAnswer(t, <-second, 101, "")
				close(first.goOn)

				row.then(issuer, token)
				time.Sleep(every + time.Minute)
				synctest.Wait()
				var ends []wssecure.Reason
				for _, e := range g.seen(wssecure.EventClosed) {
					ends = append(ends, e.Reason)
				}
				if len(ends) != 2 || ends[0] != wssecure.ReasonTokenInvalid || ends[1] != row.want {
					t.Errorf("ended: %q; want both", ends)
				}
			})
		})
	}
}
