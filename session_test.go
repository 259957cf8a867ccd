package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// endsIn opens a session with a token of one hour, lets act use it, and wants the
// end that ends it.
type endsIn struct {
	name        string
	options     []wssecure.Option
	serve       serveFunc // nil: echo
	silent      bool      // pings are not answered
	act         func(t *testing.T, p *peer)
	code        int
	reason      wssecure.Reason
	least, most time.Duration
}

func (row endsIn) run(t *testing.T) {
	serve := row.serve
	if serve == nil {
		serve = echo
	}
	inTime(t, serve, func(t *testing.T, s *timed) {
		start := time.Now()
		p := listen(s.open(s.issuer.Token("alice")), !row.silent)
		if row.act != nil {
			row.act(t, p)
		}
		p.wantEnd(t, start, row.code, string(row.reason), row.least, row.most)
		if e := s.closed(t); e.Reason != row.reason || e.By != wssecure.ByGuard {
			t.Errorf("closed for %s by %s", e.Reason, e.By)
		}
	}, row.options...)
}

// every lets p do something each d, n times.
func every(d time.Duration, n int, do func(p *peer)) func(*testing.T, *peer) {
	return func(_ *testing.T, p *peer) {
		for range n {
			time.Sleep(d)
			do(p)
		}
	}
}

func TestSessionsEndInTime(t *testing.T) {
	const skew = 30 * time.Second
	say := func(p *peer) { p.SendFrame(text("hello")) }
	begin := func(f probe.Frame) func(*testing.T, *peer) {
		return func(t *testing.T, p *peer) { send(t, p.Conn, f) }
	}
	long := wssecure.RequireToken(wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
		return &wssecure.Identity{Issuer: "me", Subject: "alice"}, nil
	}))
	for _, row := range []endsIn{
		{name: "S-01 idle", code: 3000, reason: wssecure.ReasonTokenExpired, least: time.Hour, most: time.Hour + skew + time.Second},
		{name: "S-01 talking", act: every(time.Minute, 60, say), code: 3000, reason: wssecure.ReasonTokenExpired, least: time.Hour, most: time.Hour + skew + time.Second},
		{name: "S-01 inside a message", options: []wssecure.Option{wssecure.LimitSession(wssecure.Limits{MessageTime: 2 * time.Hour})},
			act: begin(part(probe.Text, false, "begun")), code: 3000, reason: wssecure.ReasonTokenExpired, least: time.Hour, most: time.Hour + skew + time.Second},
		{name: "S-01 inside a frame", silent: true, options: []wssecure.Option{wssecure.LimitSession(wssecure.Limits{MessageTime: 2 * time.Hour})},
			act:  begin(probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Length: new(uint64(9)), Payload: []byte("b")}),
			code: 3000, reason: wssecure.ReasonTokenExpired, least: time.Hour, most: time.Hour + skew + time.Second},
		{name: "S-01 while reading pauses", options: []wssecure.Option{wssecure.LimitSession(wssecure.Limits{Messages: wssecure.Rate{N: 1, Per: 2 * time.Hour, Burst: 1}})},
			act: func(t *testing.T, p *peer) { send(t, p.Conn, text("1"), text("2"), text("3")) }, code: 3000, reason: wssecure.ReasonTokenExpired, least: time.Hour, most: time.Hour + skew + time.Second},
		{name: "S-01 while nobody reads", serve: func(ctx context.Context, _ *wssecure.Conn) error { <-ctx.Done(); return context.Cause(ctx) },
			code: 3000, reason: wssecure.ReasonTokenExpired, least: time.Hour, most: time.Hour + skew + time.Second},
		{name: "S-03 idle, pings only", options: []wssecure.Option{wssecure.LimitSession(wssecure.Limits{Idle: 10 * time.Minute})},
			act: every(time.Minute, 9, func(p *peer) { p.SendFrame(probe.Message(probe.Ping, nil)) }), code: 3008, reason: wssecure.ReasonIdle, least: 10 * time.Minute, most: 10*time.Minute + time.Second},
		{name: "S-03 data both ways moves it", options: []wssecure.Option{wssecure.LimitSession(wssecure.Limits{Idle: 10 * time.Minute})},
			act: every(9*time.Minute, 2, say), code: 3008, reason: wssecure.ReasonIdle, least: 28 * time.Minute, most: 28*time.Minute + time.Second},
		{name: "S-04 W-27 no pong", silent: true, code: 3008, reason: wssecure.ReasonPong, least: 45*time.Second + 22*time.Second, most: 45*time.Second + 28*time.Second},
		{name: "S-04 W-38 data counts", silent: true, act: every(40*time.Second, 10, say), code: 3008, reason: wssecure.ReasonPong, least: 440 * time.Second, most: 480 * time.Second},
		{name: "S-05 lifetime", options: []wssecure.Option{long}, code: 1001, reason: wssecure.ReasonLifetime, least: 24 * time.Hour * 9 / 10, most: 24*time.Hour + time.Second},
		{name: "W-10 a lone byte", act: func(_ *testing.T, p *peer) { p.Send([]byte{0x81}) }, code: 1008, reason: wssecure.ReasonMessageTime, least: 30 * time.Second, most: 31 * time.Second},
		{name: "W-10 dripped", act: func(t *testing.T, p *peer) {
			send(t, p.Conn, part(probe.Text, false, "a"))
			every(2*time.Second, 14, func(p *peer) { p.SendFrame(part(probe.Continuation, false, "a")) })(t, p)
		}, code: 1008, reason: wssecure.ReasonMessageTime, least: 30 * time.Second, most: 31 * time.Second},
		{name: "W-10 a ping left unfinished", act: begin(probe.Frame{FIN: true, Opcode: probe.Ping, Masked: true, Length: new(uint64(9)), Payload: []byte("b")}),
			code: 1008, reason: wssecure.ReasonMessageTime, least: 5 * time.Second, most: 31 * time.Second},
	} {
		t.Run(row.name, row.run)
	}
	t.Run("S-01 inside a Write", func(t *testing.T) {
		inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
			time.Sleep(time.Until(c.Identity().Expiry) + skew - time.Second)
			start := time.Now()
			err := c.Write(ctx, wssecure.MessageText, []byte("nobody reads"))
			if !errors.Is(err, wssecure.ReasonTokenExpired) || time.Since(start) > 3*time.Second {
				t.Errorf("Write: %v after %v", err, time.Since(start))
			}
			return err
		}, func(t *testing.T, s *timed) {
			c := s.open(s.issuer.Token("alice"))
			stop := time.Now().Add(time.Hour + 20*time.Second)
			for time.Now().Before(stop) { // pings are read; the message is not
				c.Timeout = time.Until(stop)
				f, err := c.ReadFrame()
				if err == nil && f.Opcode == probe.Ping {
					send(t, c, probe.Message(probe.Pong, nil))
				}
			}
			time.Sleep(20 * time.Second)
			if e := s.closed(t); e.Reason != wssecure.ReasonTokenExpired || e.CloseCode != 1006 {
				t.Errorf("closed for %s, %d", e.Reason, e.CloseCode)
			}
		})
	})
}

func TestExpiryOfOtherVerifiers(t *testing.T) {
	for name, expiry := range map[string]func() time.Time{
		"none":                        func() time.Time { return time.Time{} },
		"beyond 292 years":            func() time.Time { return time.Now().AddDate(300, 0, 0) },
		"beyond what a year can name": func() time.Time { return time.Unix(1<<53, 0) },
		"beyond all microseconds":     func() time.Time { return time.Unix(math.MaxInt64/1_000_000+1, 0) },
	} {
		t.Run("S-14 "+name, func(t *testing.T) {
			verifier := wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
				return &wssecure.Identity{Issuer: "me", Subject: "alice", Expiry: expiry()}, nil
			})
			endsIn{options: []wssecure.Option{wssecure.RequireToken(verifier)}, code: 1001, reason: wssecure.ReasonLifetime,
				least: 24 * time.Hour * 9 / 10, most: 24*time.Hour + time.Second}.run(t)
		})
	}
}

func TestWhatServeReturns(t *testing.T) {
	for _, row := range []struct {
		name   string
		serve  serveFunc
		code   int
		text   string
		reason wssecure.Reason
		by     wssecure.By
	}{
		{"S-12 nil", func(context.Context, *wssecure.Conn) error { return nil }, 1000, "", wssecure.ReasonDone, wssecure.ByApp},
		{"S-12 a Reason", func(context.Context, *wssecure.Conn) error { return fmt.Errorf("x: %w", wssecure.ReasonScope) }, 3003, "scope", wssecure.ReasonScope, wssecure.ByApp},
		{"S-12 a Reason without a code", func(context.Context, *wssecure.Conn) error { return wssecure.ReasonOrigin }, 1011, "origin", wssecure.ReasonOrigin, wssecure.ByApp},
		{"S-12 a *Rejection", func(context.Context, *wssecure.Conn) error {
			return &wssecure.Rejection{Reason: wssecure.ReasonMessageInvalid, Err: errors.New("secret")}
		}, 1008, "message-invalid", wssecure.ReasonMessageInvalid, wssecure.ByApp},
		{"S-12 another error", func(context.Context, *wssecure.Conn) error { return io.ErrUnexpectedEOF }, 1011, "internal", wssecure.ReasonInternal, wssecure.ByApp},
		{"S-22 a panic", func(context.Context, *wssecure.Conn) error { panic("boom") }, 1011, "internal", wssecure.ReasonInternal, wssecure.ByApp},
		{"S-22 a panic with a Reason", func(context.Context, *wssecure.Conn) error { panic(wssecure.ReasonDone) }, 1011, "internal", wssecure.ReasonInternal, wssecure.ByApp},
		{"S-22 the session's own cause", func(ctx context.Context, c *wssecure.Conn) error {
			c.Close(4000, "mine")
			return context.Cause(ctx)
		}, 4000, "mine", wssecure.ReasonDone, wssecure.ByApp},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serving(t, row.serve)
			c := connect(t, s)
			wantClose(t, c, row.code, row.text)
			c.Close()
			if e := s.WaitEvent(wssecure.EventClosed); e.Reason != row.reason || e.By != row.by || int(e.CloseCode) != row.code {
				t.Errorf("closed for %s by %s with %d", e.Reason, e.By, e.CloseCode)
			}
		})
	}
}

type contextKey struct{}

// S-13, K-26, K-28, S-46.
func TestSessionContext(t *testing.T) {
	type found struct {
		ctx     context.Context
		session *wssecure.Session
	}
	seen := make(chan found, 1)
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(wssecure.FromBearer(), wssecure.InsecureFromQuery("token", "a test")),
			wssecure.SetContext(func(ctx context.Context, h *wssecure.Handshake) context.Context {
				return context.WithValue(ctx, contextKey{}, "set for "+h.Identity.Subject)
			})},
		Handler: func(g *wssecure.Guard) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/rooms/{id}", g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
				seen <- found{ctx, c.Session()}
				return echo(ctx, c)
			}))
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, "middleware's")))
			})
		},
	})
	hs := freshHandshake("").Add("Cookie: a=b")
	hs.Target = "/rooms/blue?x=1&token=" + issuer.Token("alice")
	_, c := wantAdmitted(t, s, hs)
	f := next(t, seen)
	if v := f.ctx.Value(contextKey{}); v != "set for alice" {
		t.Errorf("SetContext's value is %v", v)
	}
	if v := f.ctx.Value(http.ServerContextKey); v != nil {
		t.Errorf("the request's context shows: %v", v)
	}
	if from, ok := wssecure.SessionFrom(f.ctx); !ok || from != f.session {
		t.Error("SessionFrom finds another session")
	}
	if id, ok := wssecure.IdentityFrom(f.ctx); !ok || id.Subject != "alice" {
		t.Error("IdentityFrom finds nobody")
	}
	for range 2 { // changing the copy changes nothing
		r := f.session.Request()
		if r.Method != "GET" || r.Host != wssecuretest.Host || r.URL.Path != "/rooms/blue" || r.URL.RawQuery != "x=1" || r.PathValue("id") != "blue" {
			t.Errorf("S-46: %+v, %s", r, r.URL)
		}
		r.URL.Path, r.URL.RawQuery, r.Host = "/changed", "", ""
	}
	c.Send(probe.CloseFrame(1000, ""))
	s.WaitEvent(wssecure.EventClosed)
	var rejection *wssecure.Rejection
	if cause := context.Cause(f.ctx); !errors.As(cause, &rejection) || rejection.Reason != wssecure.ReasonPeer || f.ctx.Err() == nil {
		t.Errorf("the context ended with %v", cause)
	}
}

func TestSetContextFails(t *testing.T) {
	for name, fn := range map[string]func(context.Context, *wssecure.Handshake) context.Context{
		"nil":    func(context.Context, *wssecure.Handshake) context.Context { return nil },
		"panics": func(context.Context, *wssecure.Handshake) context.Context { panic("fn") },
	} {
		t.Run("K-28 "+name, func(t *testing.T) {
			s := serving(t, echo, wssecure.SetContext(fn))
			hs := freshHandshake(s.Issuer.Token("alice"))
			if _, e := wantRefused(t, s, hs, 500, wssecure.ReasonInternal); e.Err == nil || !strings.Contains(e.Err.Error(), "SetContext") {
				t.Errorf("the record says %v", e.Err)
			}
			if n := s.Guard.Stats().Open; n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

// S-26: the session under Handler; the library is one that hijacks.
func TestSessionUnderHandler(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
		Handler: func(g *wssecure.Guard) http.Handler {
			return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				session, ok := wssecure.SessionFrom(r.Context())
				if !ok || session.Identity().Subject != "alice" || r.Header.Get("Authorization") != "" {
					t.Error("no session in the request")
				}
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(r.Header.Get("Sec-Websocket-Key")))
				switch r.URL.Path {
				case "/session":
					session.Close(4010, "by the session")
				case "/library":
					conn.Write([]byte{0x88, 2, 0x0F, 0xA5}) // 4005
					conn.Close()
				case "/cut":
					conn.Close()
				}
			}))
		},
	})
	for _, row := range []struct {
		path       string
		wire, code int
	}{{"/session", 4010, 4010}, {"/library", 4005, 4005}, {"/cut", 0, 1006}} {
		t.Run("S-26 "+row.path, func(t *testing.T) {
			hs := freshHandshake(issuer.Token("alice"))
			hs.Target = row.path
			_, c := wantAdmitted(t, s, hs)
			if code, _, _ := c.AwaitClose(); code != row.wire {
				t.Errorf("close %d, want %d", code, row.wire)
			}
			c.Close()
			if e := s.WaitEvent(wssecure.EventClosed); e.Reason != wssecure.ReasonDone || e.By != wssecure.ByApp || int(e.CloseCode) != row.code {
				t.Errorf("closed for %s by %s with %d", e.Reason, e.By, e.CloseCode)
			}
		})
	}
}
