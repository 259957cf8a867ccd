package attack_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

const never = time.Hour

// lasting admits everybody, and closes each session after a time with a code; with 0, without a close frame.
func lasting(t *testing.T, judge func(r *http.Request) (after time.Duration, code int)) *attack.Target {
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	return served(t, func(w http.ResponseWriter, r *http.Request) {
		after, code := judge(r)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
		select {
		case <-time.After(after):
			if code != 0 {
				c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Close, Payload: []byte{byte(code >> 8), byte(code)}}))
			}
		case <-done:
		}
	})
}

// A server that ends sessions whose token does not come has no hole that could be seen; one that lets them be, or ends them
// as any other, has.
func TestATokenMayComeLate(t *testing.T) {
	for _, row := range []struct {
		name              string
		code              int // of sessions that end; 0: without a close frame
		anonymous, honest time.Duration
		want              attack.State
		detail            string
	}{
		{"3000, and honest ones stay", 3000, 500 * time.Millisecond, never, attack.Unclear, "the token may come in the first message"},
		{"1008, and honest ones stay", 1008, 500 * time.Millisecond, never, attack.Unclear, "the token may come in the first message"},
		{"everybody who is silent", 4408, 500 * time.Millisecond, 500 * time.Millisecond, attack.Unclear, "so is an honest one"},
		{"everybody, honest ones later", 4408, 500 * time.Millisecond, 700 * time.Millisecond, attack.Unclear, "so is an honest one"},
		{"nobody", 0, never, never, attack.Broken, ""},
		{"later than anybody waits", 3000, 3 * time.Second, never, attack.Broken, ""},
		{"as any session ends", 1000, 500 * time.Millisecond, never, attack.Broken, ""},
		{"the server goes", 1001, 500 * time.Millisecond, never, attack.Broken, ""},
		{"cut", 0, 500 * time.Millisecond, never, attack.Broken, ""},
	} {
		t.Run(row.name, inFakeTime(func(t *testing.T) {
			target := lasting(t, func(r *http.Request) (time.Duration, int) {
				if r.Header.Get("Authorization") == "Bearer good" {
					return row.honest, row.code
				}
				return row.anonymous, row.code
			})
			target.Token, target.Patience = func() string { return "good" }, 1200*time.Millisecond
			v := try(t, prepared(t, target), "token-missing")
			if v.State != row.want || !strings.Contains(v.Detail, row.detail) {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		}))
	}
}

// A token that is looked at behind the 101 is looked at; one that is taken then is taken.
func TestATokenMayBeJudgedLate(t *testing.T) {
	const header, claims = "eyJhbGciOiJFUzI1NiJ9", "eyJzdWIiOiJhbGljZSJ9"
	good := header + "." + claims + ".c2lnbmF0dXJlIG9mIGEgZ29vZCB0b2tlbg"
	for _, row := range []struct {
		name  string
		takes func(token string) bool // beside the good one
		want  map[string]attack.State
	}{
		{"all is looked at", func(string) bool { return false }, map[string]attack.State{
			"token-missing": attack.Unclear, "token-garbage": attack.Unclear, "token-signature": attack.Unclear, "token-none": attack.Unclear,
		}},
		{"but without a signature any is good", func(token string) bool { return strings.HasSuffix(token, ".") }, map[string]attack.State{
			"token-missing": attack.Unclear, "token-signature": attack.Unclear, "token-none": attack.Broken, "token-unsigned": attack.Broken,
		}},
		{"only whether one is there", func(token string) bool { return token != "" }, map[string]attack.State{
			"token-missing": attack.Unclear, "token-garbage": attack.Broken, "token-signature": attack.Broken, "token-none": attack.Broken,
		}},
	} {
		t.Run(row.name, inFakeTime(func(t *testing.T) {
			target := lasting(t, func(r *http.Request) (time.Duration, int) {
				token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if token == good || row.takes(token) {
					return never, 0
				}
				return 300 * time.Millisecond, 3000
			})
			target.Token, target.Patience = func() string { return good }, 1200*time.Millisecond
			prepared(t, target)
			for id, want := range row.want {
				if v := try(t, target, id); v.State != want {
					t.Errorf("%s: %s, want %s: %+v", id, v.State, want, v)
				}
			}
		}))
	}
}

// So may a revocation: a new session has as long to end as an old one.
func TestARevocationMayBeHeardLate(t *testing.T) {
	for after, want := range map[time.Duration]attack.State{time.Second: attack.Unclear, never: attack.Broken} {
		t.Run(want.String(), inFakeTime(func(t *testing.T) {
			var revoked atomic.Bool
			target := lasting(t, func(r *http.Request) (time.Duration, int) {
				if revoked.Load() && r.Header.Get("Authorization") == "Bearer good" {
					return after, 3000
				}
				return never, 0
			})
			target.Active, target.Patience, target.Token = true, 500*time.Millisecond, func() string { return "good" }
			target.Revoke = func(context.Context, string) error {
				revoked.Store(true)
				return nil
			}
			if v := try(t, prepared(t, target), "revoke-handshake"); v.State != want {
				t.Errorf("%s, want %s: %+v", v.State, want, v)
			}
		}))
	}
}

// Nobody who only looks waits long for a server that takes whatever comes.
func TestALookAtLatenessHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := lasting(t, func(*http.Request) (time.Duration, int) { return never, 0 })
		target.Token = func() string { return "good" }
		prepared(t, target)
		began := time.Now()
		broken := 0
		for _, a := range attack.All() {
			if a.Group == "token" && a.Try(t.Context(), target).State == attack.Broken {
				broken++
			}
		}
		if took := time.Since(began); took > 9*time.Second || broken < 5 {
			t.Errorf("%d attacks work, after %v", broken, took)
		}
	})
}

// How long a good message takes, and how seldom a good server pings, only its owner knows.
func TestSlowPeersAskForPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := lasting(t, func(*http.Request) (time.Duration, int) { return never, 0 })
		target.Active = true
		prepared(t, target)
		impatient := time.Now()
		for _, id := range []string{"slow-message", "silent-peer"} {
			if v := try(t, target, id); v.State != attack.Left || !strings.Contains(v.Detail, "Patience") {
				t.Errorf("%s: %+v", id, v)
			}
		}
		if took := time.Since(impatient); took > 2*time.Second {
			t.Errorf("nothing could be said, after %v", took)
		}
		target.Patience = 300 * time.Millisecond
		for _, id := range []string{"slow-message", "silent-peer"} {
			if v := try(t, target, id); v.State != attack.Broken {
				t.Errorf("%s, with patience: %+v", id, v)
			}
		}
	})
}
