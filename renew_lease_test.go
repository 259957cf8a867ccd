package wssecure_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
)

// A lease lapses with the lifetime that its handshake had. A renewal that gives
// the session a longer one must not set its place free while it is still open.
func TestRenewedSessionKeepsItsPlace(t *testing.T) {
	one := wssecure.LimitConns(wssecure.BySubject(), 1)
	t.Run("L-08 L-37 a longer lifetime", func(t *testing.T) {
		renewing(t, members{"plan": "short"}, func(r *renewal) {
			r.want(r.token(2*time.Hour, members{"plan": "none"}), "renewed")
			time.Sleep(30 * time.Minute) // longer than "short" is
			if got := r.knock(r.token(3 * time.Hour)); got != http.StatusTooManyRequests {
				t.Errorf("a second session: %d, want 429 beside the one that is open", got)
			}
		}, one, wssecure.LimitSessionBy(plan))
	})
	t.Run("L-37 a shorter one frees it no sooner than its end", func(t *testing.T) {
		renewing(t, members{"plan": "none"}, func(r *renewal) {
			r.want(r.token(2*time.Hour, members{"plan": "short"}), "renewed")
			if got := r.knock(r.token(3 * time.Hour)); got != http.StatusTooManyRequests {
				t.Errorf("a second session: %d, want 429 beside the one that is open", got)
			}
			time.Sleep(2 * time.Minute)
			if got := r.knock(r.token(3 * time.Hour)); got != http.StatusSwitchingProtocols {
				t.Errorf("a session after the first has ended: %d, want 101", got)
			}
		}, one, wssecure.LimitSessionBy(plan))
	})
}

// leasing is the store's n-th batch that asks for a lease, counted from 1.
func leasing(n int, do func()) func([]store.Op) {
	return func(ops []store.Op) {
		if admit, ok := ops[0].(*store.Admit); ok && admit.Cap > 0 && len(ops) == 1 {
			if n--; n == 0 {
				do()
			}
		}
	}
}

func TestRenewalThatAsksForItsPlaceAgain(t *testing.T) {
	by := wssecure.LimitSessionBy(plan)
	t.Run("S-17 the session ends meanwhile: its place is free", func(t *testing.T) {
		renewing(t, members{"plan": "short"}, func(r *renewal) {
			m := markingStore(r.guard)
			m.before = leasing(1, func() {
				for info := range r.guard.Sessions() {
					_, _ = r.guard.Revoke(t.Context(), wssecure.SessionID(info.ID), "meanwhile")
				}
				time.Sleep(time.Minute) // its lease is given back
			})
			r.renew(r.token(2*time.Hour, members{"plan": "none"}))
			time.Sleep(5 * time.Minute)
			if got := r.knock(r.token(3 * time.Hour)); got != http.StatusSwitchingProtocols {
				t.Errorf("the next session: %d, want 101", got)
			}
		}, by, wssecure.LimitConns(wssecure.BySubject(), 1))
	})
	t.Run("S-15 the store cannot say", func(t *testing.T) {
		renewing(t, members{"plan": "short"}, func(r *renewal) {
			m := markingStore(r.guard)
			m.before = leasing(1, func() { m.fail(errPlain) })
			r.want(r.token(2*time.Hour, members{"plan": "none"}), "unavailable")
			m.fail(nil)
			r.p.wantEnd(t, r.start, 1001, "lifetime", 54*time.Second, time.Minute)
		}, by)
	})
	t.Run("S-15 S-16 a mark that comes with the question", func(t *testing.T) {
		for verdict, kind := range map[string]store.MarkKind{"revoked": store.MarkRevoke, "banned": store.MarkBan} {
			renewing(t, members{"plan": "short"}, func(r *renewal) {
				m := markingStore(r.guard)
				m.before = leasing(1, func() {
					mark := store.Mark{Key: store.Subject(r.issuer.URL, "alice"), Kind: kind, Base: time.Hour, Why: "meanwhile"}
					if err := m.Store.Do(t.Context(), &mark); err != nil || mark.Err != nil {
						t.Error(err, mark.Err)
					}
				})
				got := r.renew(r.token(2*time.Hour, members{"plan": "none"}))
				if verdict == "revoked" {
					r.p.wantEnd(t, r.start, 3000, "revoked", 0, 0)
				} else if got != verdict {
					t.Errorf("Renew: %q, want %q", got, verdict)
				}
			}, by)
		}
	})
}

// knock is the status of one more handshake.
func (r *renewal) knock(token string) int {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	return sendHandshake(r.t, c, freshHandshake(token)).Status
}
