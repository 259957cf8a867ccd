package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/program"
)

// TestQuickstart is what its visitor does, in two windows.
func TestQuickstart(t *testing.T) {
	q, err := program.StartQuickstart(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Stop)
	b, err := startBrowser(pinOf(t, "127.0.0.1:"+q.Port()))
	if err != nil {
		t.Fatal(err)
	}
	b.t = t
	t.Cleanup(func() {
		if err := b.end(); err != nil {
			t.Error(err)
		}
	})
	alice, bob := b.open("https://"+q.Address), b.open("https://"+q.Address)
	wantQuiet := func(t *testing.T) {
		t.Helper()
		for _, p := range []*page{alice, bob} {
			if lines := p.trouble(); len(lines) > 0 {
				t.Errorf("the console says %q", lines)
			}
		}
	}

	b.run(t, "the page works under its own policy", func(t *testing.T) {
		for _, p := range []*page{alice, bob} {
			if p.status != http.StatusOK {
				t.Errorf("status %d", p.status)
			}
			p.shows("chat-state", "connected")
			p.shows("events-state", "connected")
			p.shows("posture", "TLS 1.3")
		}
		wantQuiet(t)
	})
	b.run(t, "two windows chat", func(t *testing.T) {
		if alice.text("chat-name") == bob.text("chat-name") {
			t.Error("both have one name")
		}
		alice.fill("chat-input", "Is anybody there?")
		alice.press("chat-input", "Enter")
		bob.shows("chat-log", "Is anybody there?")
		bob.fill("chat-input", "Yes, me.")
		bob.click("chat-send")
		alice.shows("chat-log", "Yes, me.")
		if log := alice.text("chat-log"); !strings.Contains(log, "you") || !strings.Contains(log, bob.text("chat-name")) {
			t.Errorf("the log names nobody:\n%s", log)
		}
	})
	b.run(t, "markup in a message stays text", func(t *testing.T) {
		markup := `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
		alice.fill("chat-input", markup)
		alice.press("chat-input", "Enter")
		bob.shows("chat-log", markup)
		if html := bob.html("chat-log"); strings.Contains(html, "<img") || strings.Contains(html, "<script") {
			t.Errorf("the message became part of the page: %s", html)
		}
		wantQuiet(t)
	})
	b.run(t, "each button shows the answer that it promises", func(t *testing.T) {
		for _, row := range []struct{ attack, code, headline, reason, option string }{
			{"foreign-origin", "403", "Refused: origin", "origin", "AllowOrigins"},
			{"no-token", "401", "Refused: token-missing", "token-missing", "RequireToken"},
			{"expired-token", "401", "Refused: token-invalid", "token-expired", "RequireToken"},
			{"wrong-version", "426", "Refused: version", "version", "always on"},
			{"replayed-key", "400", "Refused: key", "key-replay", "LimitReplay"},
			{"oversize-message", "1009", "Session closed: message-size", "message-size", "LimitSession"},
			{"bad-utf8", "1007", "Session closed: utf-8", "utf-8", "always on"},
			{"message-flood", "1008", "Session closed: message-rate", "message-rate", "LimitSession"},
			{"forged-ban", "403", "Refused: banned", "banned", "LimitFailures"}, // last: it bans the attacker's address
		} {
			b.run(t, row.attack, func(t *testing.T) {
				alice.click("attack-" + row.attack)
				alice.shows("attack-result", row.headline)
				result := alice.text("attack-result")
				for _, want := range []string{row.code, row.option, "The event says" + row.reason, "Sent from 127.0.0.66"} {
					if !strings.Contains(strings.ReplaceAll(result, "\n", ""), want) {
						t.Errorf("no %q in what it shows:\n%s", want, result)
					}
				}
				bob.shows("events", row.reason) // live, and to whoever watches
			})
		}
	})
	b.run(t, "the ban is the attacker's alone, until it is lifted", func(t *testing.T) {
		alice.shows("ban", "127.0.0.66 is banned")
		alice.fill("chat-input", "I am still here.")
		alice.press("chat-input", "Enter")
		bob.shows("chat-log", "I am still here.")
		alice.click("unban")
		alice.click("attack-no-token")
		alice.shows("attack-result", "Refused: token-missing")
		wantQuiet(t)
	})
	b.run(t, "under its other name the page works too", func(t *testing.T) {
		numbers := b.open("https://127.0.0.1:" + q.Port())
		numbers.shows("chat-state", "connected")
		if lines := numbers.trouble(); len(lines) > 0 {
			t.Errorf("the console says %q", lines)
		}
		numbers.close()
	})
	b.run(t, "a page of another site cannot connect, not even with a good token", func(t *testing.T) {
		web := httptest.NewServer(http.HandlerFunc(blank))
		defer web.Close()
		evil := b.open("http://evil.test" + web.URL[strings.LastIndex(web.URL, ":"):])
		for _, path := range []string{"/ws", "/events"} {
			seen := evil.dial("wss://localhost:"+q.Port()+path, "bearer", q.Token, "chat")
			if !slices.Equal(seen, []string{"error", "close 1006, not clean"}) {
				t.Errorf("the page saw %q of %s", seen, path)
			}
		}
		alice.shows("events", "saw http://evil.test")
		evil.close()
	})
	if t.Failed() {
		if dir, err := os.MkdirTemp("", "e2e-pictures-"); err == nil {
			alice.picture(filepath.Join(dir, "alice.png"))
			bob.picture(filepath.Join(dir, "bob.png"))
			t.Logf("what the windows show is in %s", dir)
		}
	}
	b.run(t, "Ctrl-C tells the windows that the server restarts", func(t *testing.T) {
		lines := []string{"chat-state", "events-state"}
		for _, p := range []*page{alice, bob} {
			for _, line := range lines {
				p.record(line) // they come back so soon that nobody could read it
			}
		}
		if err := q.Interrupt(); err != nil {
			t.Errorf("it ended with %v", err)
		}
		for _, p := range []*page{alice, bob} {
			for _, line := range lines {
				p.showed(line, "1012 restart, again in")
			}
		}
	})
}
