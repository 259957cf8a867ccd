package wssecure_test

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// This file is a server for fake time: see memnet.Pipes.

const patient = 1000 * time.Hour

// pipeServer serves one handler over pipes until the test ends.
type pipeServer struct {
	tb    testing.TB
	pipes *memnet.Pipes
}

func newPipeServer(tb testing.TB, h http.Handler) *pipeServer {
	s := &pipeServer{tb: tb, pipes: memnet.NewPipes()}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go srv.Serve(s.pipes)
	tb.Cleanup(func() { srv.Close() })
	return s
}

// dial connects without a word.
func (s *pipeServer) dial() *probe.Conn {
	s.tb.Helper()
	near, err := s.pipes.Dial(s.tb.Context(), "198.51.100.7")
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { near.Close() })
	c := probe.New(near)
	c.Timeout = patient
	return c
}

// open is a session of its own; token may be empty.
func (s *pipeServer) open(token string) *probe.Conn {
	s.tb.Helper()
	c := s.dial()
	if r := sendHandshake(s.tb, c, freshHandshake(token)); r.Status != http.StatusSwitchingProtocols {
		s.tb.Fatalf("status %d: %s", r.Status, r.Body)
	}
	return c
}

func sendHandshake(tb testing.TB, c *probe.Conn, hs *probe.Handshake) *probe.Response {
	tb.Helper()
	if err := c.Send(hs.Bytes()); err != nil {
		tb.Fatalf("send: %v", err)
	}
	r, err := c.Response()
	if err != nil {
		tb.Fatalf("no answer: %v", err)
	}
	return r
}

// freshHandshake has a key that no other handshake has.
func freshHandshake(token string) *probe.Handshake {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	hs := probe.Fixture(wssecuretest.Host, wssecuretest.Origin)
	hs.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(nonce))
	if token != "" {
		hs.Add("Authorization: Bearer " + token)
	}
	return hs
}

// timed is a guard in fake time, with the events of its life.
type timed struct {
	*pipeServer
	guard  *wssecure.Guard
	issuer *wssecuretest.Issuer
	mu     sync.Mutex
	events []wssecure.Event
}

// inTime runs f in fake time against a guard that asks for tokens; serve is its
// application. synctest fails when anything of it still runs in the end.
func inTime(t *testing.T, serve serveFunc, f func(t *testing.T, s *timed), more ...wssecure.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newTimed(t, more...)
		s.pipeServer = newPipeServer(t, s.guard.ConnHandler(serve))
		f(t, s)
	})
}

// newTimed makes the guard; its caller chooses the handler.
func newTimed(t *testing.T, more ...wssecure.Option) *timed {
	t.Helper()
	s := &timed{issuer: wssecuretest.NewIssuer(t, "")}
	guard, err := wssecure.New(
		wssecure.AllowOrigins(wssecuretest.Origin), s.issuer.Option(),
		wssecure.InsecureAllowPlaintext("pipes"), wssecure.OnEvent(s.note),
	)
	if err != nil {
		t.Fatal(err)
	}
	if guard, err = guard.With(more...); err != nil { // where RequireToken replaces
		t.Fatal(err)
	}
	s.guard = guard
	return s
}

func (s *timed) note(e wssecure.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *timed) count(kind wssecure.EventKind) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// closed waits until all is still and gives the one closed event.
func (s *timed) closed(t *testing.T) wssecure.Event {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return oneEvent(t, s.events, wssecure.EventClosed)
}

// peer reads everything that the server sends, so that it never waits.
type peer struct {
	*probe.Conn
	answers atomic.Bool   // pings with pongs
	over    chan struct{} // closed at the end of the stream

	texts  []string
	pings  []time.Time
	pongs  int
	code   int // of the close frame
	reason string
	at     time.Time // of the close frame, or of the end without one
}

func listen(c *probe.Conn, answers bool) *peer {
	p := &peer{Conn: c, over: make(chan struct{})}
	p.answers.Store(answers)
	go p.read()
	return p
}

// read leaves the connection open: closing it is the server's business.
func (p *peer) read() {
	defer close(p.over)
	for {
		f, err := p.ReadFrame()
		if err != nil {
			if p.at.IsZero() {
				p.at = time.Now()
			}
			return
		}
		switch f.Opcode {
		case probe.Ping:
			p.pings = append(p.pings, time.Now())
			if p.answers.Load() {
				p.SendFrame(probe.Message(probe.Pong, f.Payload))
			}
		case probe.Pong:
			p.pongs++
		case probe.Close:
			p.at = time.Now()
			if len(f.Payload) >= 2 {
				p.code, p.reason = int(f.Payload[0])<<8|int(f.Payload[1]), string(f.Payload[2:])
			}
		default:
			p.texts = append(p.texts, string(f.Payload))
		}
	}
}

// wantEnd waits for the end and wants it for reason, between least and most
// after start.
func (p *peer) wantEnd(t *testing.T, start time.Time, code int, reason string, least, most time.Duration) {
	t.Helper()
	<-p.over
	if p.code != code || p.reason != reason {
		t.Errorf("ended with %d %q, want %d %q", p.code, p.reason, code, reason)
	}
	if took := p.at.Sub(start); took < least || took > most {
		t.Errorf("ended after %v, want %v to %v", took, least, most)
	}
}
