package wssecure_test

import (
	"net/netip"
	"testing"

	"github.com/wssecure/wssecure"
)

// TestRevokedEventNamesItsTarget: who was kept out, and not only why.
func TestRevokedEventNamesItsTarget(t *testing.T) {
	const issuer = "https://id.example.com"
	events := make(chan wssecure.Event, 16)
	g, err := wssecure.New(anybody(wssecure.OnEvent(func(e wssecure.Event) {
		if e.Kind == wssecure.EventRevoked {
			events <- e
		}
	}))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		target                         wssecure.Target
		issuer, subject, session, seen string
	}{
		{wssecure.Subject(issuer, "alice\n"), issuer, `alice\n`, "", ""},
		{wssecure.SessionID("0f3a"), "", "", "0f3a", ""},
		{wssecure.TokenID(issuer, "t1"), issuer, "", "", "jti t1"},
		{wssecure.OIDCSession(issuer, "login3"), issuer, "", "", "sid login3"},
		{wssecure.Network(netip.MustParsePrefix("198.51.100.0/24")), "", "", "", "198.51.100.0/24"},
		{wssecure.Everyone(), "", "", "", "everyone"},
	} {
		if _, err := g.Revoke(t.Context(), row.target, "a test"); err != nil {
			t.Fatal(err)
		}
		e := <-events
		if e.Issuer != row.issuer || e.Subject != row.subject || e.SessionID != row.session || e.Seen != row.seen || e.Hint != "a test" {
			t.Errorf("%+v; want %+v", e, row)
		}
	}
}
