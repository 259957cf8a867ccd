package wssecure_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
)

// S-27: a route made by With shares what is open, what is counted and what is
// forbidden; it adds what it requires and replaces what it limits.
func TestRouteSharesAndReplaces(t *testing.T) {
	g := newTokenGate(t, stay, wssecure.LimitConns(wssecure.BySubject(), 2))
	for name, own := range map[string]wssecure.Option{
		"S-27 Require adds":   wssecure.RequireScopes("admin"),
		"S-27 Limit replaces": wssecure.LimitConns(wssecure.BySubject(), 3),
	} {
		t.Run(name, func(t *testing.T) {
			child, err := g.guard.With(own)
			if err != nil {
				t.Fatal(err)
			}
			route, who := child.ConnHandler(stay), strings.ReplaceAll(name, " ", "-")
			token := bearer(g.issuer.Token(who))
			for range 2 {
				wantAnswer(t, g.knock("203.0.113.5", token), 101, "")
			}
			wantAnswer(t, g.knock("203.0.113.5", token), 429, wssecure.ReasonConnLimit)
			if name == "S-27 Require adds" {
				wantAnswer(t, g.knockOn(route, "203.0.113.5", token), 403, wssecure.ReasonScope)
			} else { // the two places are counted here too
				wantAnswer(t, g.knockOn(route, "203.0.113.5", token), 101, "")
				wantAnswer(t, g.knockOn(route, "203.0.113.5", token), 429, wssecure.ReasonConnLimit)
			}
			all := 0
			for s := range child.Sessions() {
				if s.Subject == who {
					all++
				}
			}
			closed, err := child.Revoke(context.Background(), wssecure.Subject(g.issuer.URL, who), "S-27")
			if err != nil || closed != all || closed < 2 {
				t.Errorf("Revoke ended %d of %d, %v", closed, all, err)
			}
			wantAnswer(t, g.knock("203.0.113.5", token), 401, wssecure.ReasonTokenInvalid) // as any token that is not good
		})
	}
	t.Run("S-27 RequireToken and InsecureAllowAnonymous replace each other", func(t *testing.T) {
		child, err := g.guard.With(wssecure.InsecureAllowAnonymous("a test"))
		if err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knockOn(child.ConnHandler(stay), "203.0.113.6"), 101, "")
		back, err := child.With(g.issuer.Option())
		if err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, g.knockOn(back.ConnHandler(stay), "203.0.113.6"), 401, wssecure.ReasonTokenMissing)
	})
}
