package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
)

// TestSubprotocols: a page has no header for its token but this list, and a browser takes no answer that names something
// it has not offered, or nothing.
func TestSubprotocols(t *testing.T) {
	s, b := startSite(t)
	p := b.open(s.https("app.test", "/login"))
	token := s.issuer.Token("alice")

	for _, row := range []struct {
		name    string
		offered []string
		answer  string
	}{
		{"the marker alone comes back, never the token", []string{"bearer", token}, "open bearer"},
		{"a real protocol goes before the marker", []string{"bearer", token, "chat"}, "open chat"},
		{"wherever it stands", []string{"chat", "bearer", token}, "open chat"},
	} {
		b.run(t, row.name, func(t *testing.T) {
			e := s.wantOpen(t, p.dial(s.wss("/token"), row.offered...), row.answer)
			if e.Subject != "alice" {
				t.Errorf("opened for %q", e.Subject)
			}
			p.send("done", 1)
			s.wantClosed(t, p, "close 1000", wssecure.ReasonDone, wssecure.ByApp)
		})
	}
	b.run(t, "nothing the page offered: the browser itself hangs up", func(t *testing.T) {
		seen := p.dial(s.wss("/cookie"), "graphql-ws")
		if len(seen) != 2 || !strings.HasPrefix(seen[1], "close 1006") {
			t.Fatalf("the page saw %q", seen)
		}
		s.opened++
		s.event(t, wssecure.EventOpened)
		if e := s.event(t, wssecure.EventClosed); e.Reason != wssecure.ReasonPeer || e.By != wssecure.ByPeer {
			t.Errorf("closed: %+v", e)
		}
	})
}

// TestCloseCodesReachThePage: whoever ends a session, the page learns why.
func TestCloseCodesReachThePage(t *testing.T) {
	s, b := startSite(t)
	p := b.open(s.https("app.test", "/login"))

	say := func(text string, times int) func(*testing.T, wssecure.Event) {
		return func(*testing.T, wssecure.Event) { p.send(text, times) }
	}
	leave := func(code int, text string) func(*testing.T, wssecure.Event) {
		return func(*testing.T, wssecure.Event) { p.call("leave", map[string]any{"code": code, "text": text}, nil) }
	}
	revoke := func(t *testing.T, opened wssecure.Event) {
		if n, err := s.Guard.Revoke(t.Context(), wssecure.SessionID(opened.SessionID), "test"); n != 1 || err != nil {
			t.Errorf("Revoke ended %d sessions, %v", n, err)
		}
	}
	wait := func(*testing.T, wssecure.Event) {}

	for _, row := range []struct {
		name, path string
		end        func(t *testing.T, opened wssecure.Event)
		want       string
		reason     wssecure.Reason
		by         wssecure.By
	}{
		{"revoked", "/cookie", revoke, "close 3000 revoked", wssecure.ReasonRevoked, wssecure.ByGuard},
		{"a message over the limit", "/cookie", say(strings.Repeat("x", 4<<10+1), 1), "close 1009 message-size", wssecure.ReasonMessageSize, wssecure.ByGuard},
		{"a flood", "/cookie", say("buy now", 100), "close 1008 message-rate", wssecure.ReasonMessageRate, wssecure.ByGuard},
		{"a message that a filter refuses", "/cookie", say("<script>", 1), "close 1008 message-invalid", wssecure.ReasonMessageInvalid, wssecure.ByGuard},
		{"more than it may", "/cookie", say("forbid", 1), "close 3003 forbidden", wssecure.ReasonForbidden, wssecure.ByApp},
		{"nothing is said: a browser's pongs do not count", "/idle", wait, "close 3008 idle", wssecure.ReasonIdle, wssecure.ByGuard},
		{"the longest life", "/brief", wait, "close 1001 lifetime", wssecure.ReasonLifetime, wssecure.ByGuard},
		{"the application ends it", "/cookie", say("kick", 1), "close 4001 kicked", wssecure.ReasonDone, wssecure.ByApp},
		{"the application fails, and keeps why to itself", "/cookie", say("fail", 1), "close 1011 internal", wssecure.ReasonInternal, wssecure.ByApp},
		{"the page ends it", "/cookie", leave(4999, "seen enough"), "close 4999 seen enough", wssecure.ReasonPeer, wssecure.ByPeer},
	} {
		b.run(t, row.name, func(t *testing.T) {
			opened := s.wantOpen(t, p.dial(s.wss(row.path)), "open")
			row.end(t, opened)
			if closed := s.wantClosed(t, p, row.want, row.reason, row.by); closed.SessionID != opened.SessionID {
				t.Errorf("session %s closed, %s was opened", closed.SessionID, opened.SessionID)
			}
		})
	}
	b.run(t, "the identity expires", func(t *testing.T) {
		p.goTo(s.https("app.test", "/login?brief"))
		s.wantOpen(t, p.dial(s.wss("/cookie")), "open")
		s.wantClosed(t, p, "close 3000 token-expired", wssecure.ReasonTokenExpired, wssecure.ByGuard)
	})
	b.run(t, "the page is gone", func(t *testing.T) {
		tab := b.open(s.https("app.test", "/login"))
		s.wantOpen(t, tab.dial(s.wss("/cookie")), "open")
		tab.close()
		if e := s.event(t, wssecure.EventClosed); e.Reason != wssecure.ReasonPeer || e.By != wssecure.ByPeer {
			t.Errorf("closed: %+v", e)
		}
	})
	b.run(t, "shutdown, and nobody gets in after it", func(t *testing.T) {
		p.goTo(s.https("app.test", "/login"))
		s.wantOpen(t, p.dial(s.wss("/cookie")), "open")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.Guard.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		s.wantClosed(t, p, "close 1012 restart", wssecure.ReasonRestart, wssecure.ByGuard)
		s.wantRefused(t, p.dial(s.wss("/cookie")), wssecure.ReasonDraining, s.https("app.test", ""))
	})
}
