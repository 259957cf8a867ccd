package wssecure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// U-02: what the event of a handshake tells.
func TestEventFields(t *testing.T) {
	s := wssecuretest.NewServer(t, wssecure.RequireCheck("tenant", func(_ context.Context, h *wssecure.Handshake) error {
		if h.Request.URL.Query().Has("refuse") {
			return &wssecure.Rejection{Reason: wssecure.ReasonForbidden, Err: errors.New("no such tenant")}
		}
		return nil
	}))
	before := time.Now()
	check := func(t *testing.T, e wssecure.Event, reason wssecure.Reason, name string) {
		t.Helper()
		if e.Time.Location() != time.UTC || e.Time.Before(before) || e.Time.After(time.Now()) || e.Took <= 0 || e.Took > time.Since(before) {
			t.Errorf("time %s, took %s", e.Time, e.Took)
		}
		if e.Reason != reason || e.Check != name || e.ReportOnly {
			t.Errorf("reason %q check %q report-only %t, want %q %q", e.Reason, e.Check, e.ReportOnly, reason, name)
		}
		if e.Origin != wssecuretest.Origin || e.Host != wssecuretest.Host || e.Path != "/ws" {
			t.Errorf("origin %q host %q path %q", e.Origin, e.Host, e.Path)
		}
		if e.ClientIP.String() != "127.0.0.1" || e.PeerIP != e.ClientIP {
			t.Errorf("client %s peer %s", e.ClientIP, e.PeerIP)
		}
		if e.TLSVersion != "TLS 1.3" || e.TLSSuite == "" || e.TLSCurve == "" {
			t.Errorf("TLS %q %q %q", e.TLSVersion, e.TLSSuite, e.TLSCurve)
		}
		if e.Issuer != s.Issuer.URL || e.Subject != "alice" {
			t.Errorf("issuer %q subject %q", e.Issuer, e.Subject)
		}
	}
	hs := s.Handshake(s.Issuer.Token("alice"))
	hs.Target = "/ws?refuse=1"
	_, e := wantRefused(t, s, hs, 403, wssecure.ReasonForbidden)
	check(t, e, wssecure.ReasonForbidden, "tenant")
	if e.Err == nil || e.Err.Error() != "no such tenant" || e.SessionID != "" {
		t.Errorf("err %v session %q", e.Err, e.SessionID)
	}
	_, c := wantAdmitted(t, s, s.Handshake(s.Issuer.Token("alice")))
	opened := s.WaitEvent(wssecure.EventOpened)
	check(t, opened, "", "")
	if err := c.Send(probe.CloseFrame(1000, "")); err != nil {
		t.Fatal(err)
	}
	closed := s.WaitEvent(wssecure.EventClosed)
	check(t, closed, wssecure.ReasonPeer, "")
	if opened.SessionID == "" || closed.SessionID != opened.SessionID || closed.ID != opened.ID {
		t.Errorf("opened %q %q, closed %q %q", opened.ID, opened.SessionID, closed.ID, closed.SessionID)
	}
}

// U-08: the closed event has what was on the wire.
func TestClosedEventCountsTheWire(t *testing.T) {
	for _, row := range []struct {
		name       string
		send       []byte
		code, peer wssecure.StatusCode
		by         wssecure.By
		reason     wssecure.Reason
	}{
		{"the peer closes", probe.CloseFrame(4321, "so long"), 4321, 4321, wssecure.ByPeer, wssecure.ReasonPeer},
		{"the guard closes", probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: 3, Masked: true}), 1002, 0, wssecure.ByGuard, wssecure.ReasonProtocol},
		{"the application closes", probe.AppendFrame(nil, probe.Message(probe.Text, []byte("end"))), 4001, 0, wssecure.ByApp, wssecure.ReasonDone},
	} {
		t.Run("U-08 "+row.name, func(t *testing.T) {
			issuer := wssecuretest.NewIssuer(t, "")
			s := wssecuretest.Start(t, wssecuretest.Config{
				Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
				Serve: func(ctx context.Context, c *wssecure.Conn) error {
					for {
						typ, p, err := c.Read(ctx)
						if err != nil {
							return err
						}
						if string(p) == "end" {
							return c.Session().Close(4001, "")
						}
						if err := c.Write(ctx, typ, p); err != nil {
							return err
						}
					}
				},
			})
			_, c := wantAdmitted(t, s, s.Handshake(issuer.Token("alice")))
			var in, out wssecure.Traffic
			send := func(b []byte) {
				t.Helper()
				if err := c.Send(b); err != nil {
					t.Fatal(err)
				}
				in.Bytes += int64(len(b))
			}
			for _, size := range []int{0, 5, 125, 126, 70, 60_000} {
				send(probe.AppendFrame(nil, probe.Message(probe.Binary, bytes.Repeat([]byte{'x'}, size))))
				in.Messages++
				f, err := c.ReadFrame()
				if err != nil || len(f.Payload) != size {
					t.Fatalf("echo of %d bytes: %v", size, err)
				}
				out.Messages++
				out.Bytes += int64(len(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: f.Opcode, Payload: f.Payload})))
			}
			send(row.send)
			if row.by == wssecure.ByApp {
				in.Messages++
			}
			f, err := c.ReadFrame()
			if err != nil || f.Opcode != probe.Close {
				t.Fatalf("frame %+v, %v; want a close", f, err)
			}
			out.Bytes += int64(2 + len(f.Payload))
			c.Close()
			e := s.WaitEvent(wssecure.EventClosed)
			if e.Reason != row.reason || e.By != row.by || e.CloseCode != row.code || e.PeerCode != row.peer {
				t.Errorf("%s by %s with %d, peer %d; want %s by %s with %d, peer %d", e.Reason, e.By, e.CloseCode, e.PeerCode, row.reason, row.by, row.code, row.peer)
			}
			if e.In != in || e.Out != out {
				t.Errorf("in %+v out %+v, want %+v and %+v", e.In, e.Out, in, out)
			}
		})
	}
}

// hostile are values that a log must survive (I1).
var hostile = []string{
	"a\r\nlevel=INFO msg=forged", "\x1b[2J", "\x9b2J", "\u009b2J", "a\u202Eb", "a\u2028b\u2029c", "\xff\xfe", `" level=ERROR x="`, strings.Repeat("a", 5<<10), strings.Repeat("\x1b", 5<<10),
}

// U-03, I1: whatever a peer sends, one event is one line, quoted and cut.
func TestLogLinesCannotBeForged(t *testing.T) {
	set := func(name string) func(*http.Request, string) {
		return func(r *http.Request, v string) { r.Header[name] = []string{v} }
	}
	places := map[string]func(*http.Request, string){
		"origin": set("Origin"), "user agent": set("User-Agent"), "version": set("Sec-Websocket-Version"), "key": set("Sec-Websocket-Key"),
		"subprotocol": set("Sec-Websocket-Protocol"), "upgrade": func(r *http.Request, v string) { r.Header["Upgrade"] = []string{"websocket" + v} },
		"authorization": set("Authorization"), "forwarded": set("X-Forwarded-For"), "proto": set("X-Forwarded-Proto"), "fetch mode": set("Sec-Fetch-Mode"),
		"host":   func(r *http.Request, v string) { r.Host = v },
		"path":   func(r *http.Request, v string) { r.URL.Path = "/" + v },
		"method": func(r *http.Request, v string) { r.Method = v },
		"panic":  func(r *http.Request, v string) { r.Header["X-Panic"] = []string{v} },
	}
	for _, format := range []string{"text", "json"} {
		for place, change := range places {
			t.Run("I1 "+format+" "+place, func(t *testing.T) {
				book := &logbook.Book{}
				g := newTokenGate(t, panicsWhenAsked, wssecure.SetLogger(book.In(format)), wssecure.TrustProxies("X-Forwarded-For", "private"))
				for i, value := range hostile {
					shown := func(r *http.Request) { change(r, value) }
					g.knock(fmt.Sprintf("10.0.1.%d", i), bearer(g.issuer.Token("alice")), shown)
					g.knock(fmt.Sprintf("10.0.2.%d", i), shown) // refused, at the latest for its token
				}
				g.hangUp()
				g.settled(0)
				wantWholeLines(t, book, g)
			})
		}
		t.Run("I1 "+format+" claims, kid and close reason", func(t *testing.T) {
			book := &logbook.Book{}
			g := newTokenGate(t, stay, wssecure.SetLogger(book.In(format)))
			for i, value := range hostile {
				client := fmt.Sprintf("203.0.113.%d", i) // the log samples those of one address
				g.knock(client, bearer(g.issuer.Sign("ES256", g.issuer.Claims(value))))
				g.knock(client, bearer(g.issuer.SignHeader(map[string]any{"kid": value}, g.issuer.Claims("alice"), "ES256")))
				g.knockThrough(g.serve, nil, probe.CloseFrame(4000, cutTo(value, 120)), client, bearer(g.issuer.Token("bob")))
			}
			g.hangUp()
			g.settled(0)
			wantWholeLines(t, book, g)
		})
	}
}

func cutTo(s string, n int) string { return s[:min(len(s), n)] }

func panicsWhenAsked(ctx context.Context, c *wssecure.Conn) error {
	if lines := c.Session().Request().URL.Path; lines != "/ws" {
		panic(lines)
	}
	return nil
}

// wantWholeLines wants a line for each event, beside those of panics, and
// nothing in them that moves a cursor or passes for another line.
func wantWholeLines(t *testing.T, book *logbook.Book, g *gate) {
	t.Helper()
	var lines []string
	g.until(func() bool {
		lines = nil
		for _, line := range book.Lines() {
			if !strings.Contains(line, "wssecure: user code panicked") {
				lines = append(lines, line)
			}
		}
		return len(lines) == len(g.all()) && len(lines) > len(hostile)
	}, "there is not one line for each event")
	for _, line := range book.Lines() {
		if at := strings.IndexFunc(line, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }); at >= 0 || !utf8.ValidString(line) {
			t.Errorf("line with %q: %.300q", line[max(at, 0)], line)
		}
		if !strings.HasPrefix(line, "time=") {
			var members map[string]any
			if err := json.Unmarshal([]byte(line), &members); err != nil {
				t.Errorf("%v: %.300q", err, line)
			}
		}
		if strings.HasPrefix(line, "level=") || len(line) > 8<<10 {
			t.Errorf("a forged or endless line: %.300q", line)
		}
	}
	for _, e := range g.all() {
		if len(e.Origin) > 64 || len(e.Host) > 256 || len(e.Path) > 256 || len(e.Seen) > 256 || len(e.Subject) > 256 {
			t.Errorf("an event's field is too long: %.600q", fmt.Sprintf("%+v", e))
		}
	}
}
