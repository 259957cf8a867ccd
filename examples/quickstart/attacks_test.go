package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func (d *demo) runAttack(t *testing.T, id string) outcome {
	t.Helper()
	var o outcome
	if status := d.post(t, "/attack?name="+id, "same-origin", &o); status != http.StatusOK {
		t.Fatalf("POST /attack?name=%s: %d", id, status)
	}
	return o
}

func TestEachAttackGetsTheAnswerItsButtonPromises(t *testing.T) {
	d := start(t)
	rows := []struct {
		id     string
		status int
		close  int
		public string // what the peer is told
		reason string // what the event says
		steps  int
		sent   string // in the last step
	}{
		{"foreign-origin", 403, 0, "origin", "origin", 1, "Origin: https://evil.example"},
		{"no-token", 401, 0, "token-missing", "token-missing", 1, "(no Authorization)"},
		{"expired-token", 401, 0, "token-invalid", "token-expired", 1, "Authorization: Bearer eyJ"},
		{"wrong-version", 426, 0, "version", "version", 1, "Sec-WebSocket-Version: 8"},
		{"replayed-key", 400, 0, "key", "key-replay", 2, "Sec-WebSocket-Key: "},
		{"oversize-message", 101, 1009, "message-size", "message-size", 2, "81 ff"},
		{"bad-utf8", 101, 1007, "utf-8", "utf-8", 2, "c0 af"},
		{"message-flood", 101, 1008, "message-rate", "message-rate", 2, "200 in all"},
		{"forged-ban", 403, 0, "banned", "banned", 3, "Authorization: Bearer eyJ"}, // last: it bans the attacker's address
	}
	if len(rows) != len(attacks) {
		t.Errorf("%d rows for %d buttons", len(rows), len(attacks))
	}
	for _, row := range rows {
		t.Run(row.id, func(t *testing.T) {
			o := d.runAttack(t, row.id)
			if o.Status != row.status || o.CloseCode != row.close || o.Public != row.public || o.Reason != row.reason {
				t.Errorf("got status %d, close %d, public %q, reason %q", o.Status, o.CloseCode, o.Public, o.Reason)
			}
			if len(o.Steps) != row.steps {
				t.Fatalf("%d steps, want %d: %+v", len(o.Steps), row.steps, o.Steps)
			}
			last := o.Steps[len(o.Steps)-1]
			if !strings.Contains(last.Sent, row.sent) || last.Answered == "" {
				t.Errorf("the last step says %q, answered %q", last.Sent, last.Answered)
			}
			if last.Mark != "" && !slices.Contains(strings.Split(last.Sent, "\n"), last.Mark) {
				t.Errorf("mark %q is no line of what was sent", last.Mark)
			}
			if o.From != "127.0.0.66" || o.Option == "" {
				t.Errorf("from %q, stopped by %q", o.From, o.Option)
			}
		})
	}
	t.Run("the ban holds for the attacker alone, behind the checks that come first, until lifted", func(t *testing.T) {
		if o := d.runAttack(t, "no-token"); o.Status != 403 || o.Public != "banned" || !o.Banned || o.RetryAfter < 1 || o.RetryAfter > 60 {
			t.Errorf("no-token under the ban: %d %q, again in %d s", o.Status, o.Public, o.RetryAfter)
		}
		if o := d.runAttack(t, "message-flood"); o.Public != "banned" || o.CloseCode != 0 {
			t.Errorf("message-flood under the ban: %q, close %d", o.Public, o.CloseCode)
		}
		if o := d.runAttack(t, "foreign-origin"); o.Public != "origin" || o.Banned {
			t.Errorf("foreign-origin under the ban: %q", o.Public)
		}
		d.join(t, "visitor").CloseNow()
		if status := d.post(t, "/unban", "same-origin", nil); status != http.StatusNoContent {
			t.Errorf("POST /unban: %d", status)
		}
		if o := d.runAttack(t, "no-token"); o.Status != 401 || o.Banned {
			t.Errorf("no-token after the ban: %d %q", o.Status, o.Public)
		}
	})
	t.Run("no token is shown whole", func(t *testing.T) {
		o := d.runAttack(t, "expired-token")
		if whole := regexp.MustCompile(`eyJ[\w-]{20,}`).FindString(o.Steps[0].Sent); whole != "" {
			t.Errorf("shown: %s", whole)
		}
	})
}

func TestOnlyThePageMayAttack(t *testing.T) {
	d := start(t)
	if status := d.post(t, "/attack?name=no-token", "cross-site", nil); status != http.StatusForbidden {
		t.Errorf("cross-site: %d", status)
	}
	if status := d.post(t, "/unban", "cross-site", nil); status != http.StatusForbidden {
		t.Errorf("cross-site unban: %d", status)
	}
	if status := d.post(t, "/attack?name=made-up", "same-origin", nil); status != http.StatusNotFound {
		t.Errorf("unknown attack: %d", status)
	}
	if resp, _ := d.get(t, "/attack?name=no-token"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}

func TestOneAttackAtATime(t *testing.T) {
	r := newAttackRunner(start(t))
	inside, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := r.run(t.Context(), attack{steps: func(context.Context, *exchange) error {
			close(inside)
			<-leave
			return io.ErrUnexpectedEOF
		}})
		first <- err
	}()
	<-inside
	if _, err := r.run(t.Context(), attacks[0]); err != errBusy {
		t.Errorf("second attack: %v", err)
	}
	close(leave)
	if err := <-first; err != io.ErrUnexpectedEOF {
		t.Errorf("first attack: %v", err)
	}
}
