package wssecure_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

// A store's room for tickets is everybody's: whoever has an account, however many
// tokens it gets and wherever it asks from, must not fill it.
func TestTicketsOfOnePersonLeaveRoomForOthers(t *testing.T) {
	for _, row := range []struct {
		name string
		opts []wssecure.Option
		most int
	}{
		{"as many as sessions", nil, 64},
		{"whoever may have one session may lose it often", []wssecure.Option{wssecure.LimitConns(wssecure.BySubject(), 1)}, 64},
		{"LimitConns by subject", []wssecure.Option{wssecure.LimitConns(wssecure.BySubject(), 70)}, 70},
		{"LimitSessionBy", []wssecure.Option{wssecure.LimitSessionBy(func(*wssecure.Identity) wssecure.Limits { return wssecure.Limits{Conns: 80} })}, 80},
	} {
		t.Run("A-36 "+row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBooth(t, stay, row.opts...)
				from := 0
				ask := func(sub string) answer {
					from++
					return b.knockOn(b.tickets, fmt.Sprintf("203.0.113.%d", from), bearer(b.issuer.Token(sub)), posting(""))
				}
				for range row.most {
					ticketOf(t, ask("mallory"))
				}
				wantAnswer(t, ask("mallory"), 429, wssecure.ReasonRate)
				ticketOf(t, ask("alice"))
				time.Sleep(time.Minute)
				ticketOf(t, ask("mallory"))
			})
		})
	}
	t.Run("A-36 what the handshake would say of the person is said before", func(t *testing.T) {
		b := newBooth(t, stay)
		token := b.issuer.Token("alice")
		if err := b.guard.Ban(t.Context(), wssecure.Subject(b.issuer.URL, "alice"), time.Minute, "test"); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, b.asking(token), 403, wssecure.ReasonBanned)
		if err := b.guard.Unban(t.Context(), wssecure.Subject(b.issuer.URL, "alice")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.guard.Revoke(t.Context(), wssecure.Subject(b.issuer.URL, "alice"), "test"); err != nil {
			t.Fatal(err)
		}
		if a := b.asking(token); a.status != 401 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}
