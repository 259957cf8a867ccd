package attack_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure/internal/attack"
)

// oneSession admits everybody, and ends the session that was there as soon as another one comes: one of each user, as
// many chats have it.
func oneSession(t *testing.T, code websocket.StatusCode) *attack.Target {
	var mu sync.Mutex
	end := func() {}
	return served(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		mu.Lock()
		end()
		end = func() {
			go func() {
				if code != 0 {
					c.Close(code, "another session")
				}
				cancel()
			}()
		}
		mu.Unlock()
		for {
			typ, p, err := c.Read(ctx)
			if err != nil || c.Write(ctx, typ, p) != nil {
				return
			}
		}
	})
}

// What one attack opens must not end what another looks at: the end would pass for a refusal.
func TestAServerOfOneSessionIsSeenAsItIs(t *testing.T) {
	for name, code := range map[string]websocket.StatusCode{"4001": 4001, "1008": websocket.StatusPolicyViolation, "cut": 0} {
		t.Run(name, inFakeTime(func(t *testing.T) {
			target := oneSession(t, code)
			target.Active, target.Timeout = true, time.Second
			prepared(t, target)
			weak := map[string]bool{"flood-ping": true, "flood-messages": true, "message-size": true}
			var list []attack.Attack
			for _, a := range attack.All() {
				if a.Group == "origin" && a.Severity >= attack.High || weak[a.ID] {
					list = append(list, a)
				}
			}
			attack.Run(t.Context(), target, list, func(r attack.Result) {
				if r.Verdict.State != attack.Broken && r.Verdict.State != attack.Left {
					t.Errorf("%s: %s %+v", r.Attack.ID, r.Verdict.State, r.Verdict)
				}
			})
		}))
	}
}

// An end that honest sessions have too is no answer to anything.
func TestASessionThatEndsAnywayHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := lasting(t, func(*http.Request) (time.Duration, int) { return 300 * time.Millisecond, 1000 })
		target.Active = true
		prepared(t, target)
		for _, id := range []string{"frame-unmasked", "frame-rsv2", "flood-ping", "message-size"} {
			if v := try(t, target, id); v.State != attack.Unclear {
				t.Errorf("%s: %s %+v", id, v.State, v)
			}
		}
	})
}
