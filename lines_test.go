package wssecure_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
)

// told is a slog handler that hands on each line in words.
type told chan string

func (told) Enabled(context.Context, slog.Level) bool { return true }
func (t told) WithAttrs([]slog.Attr) slog.Handler     { return t }
func (t told) WithGroup(string) slog.Handler          { return t }
func (t told) Handle(_ context.Context, r slog.Record) error {
	line := strings.TrimPrefix(r.Message, "wssecure: ")
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	t <- line
	return nil
}

// await gives the next line of a kind.
func (t told) await(kind wssecure.EventKind) string {
	for line := range t {
		if strings.HasPrefix(line, string(kind)+" ") {
			return line
		}
	}
	return ""
}

// A why is no hint, and the keys of an issuer are no suppressed events: whoever
// reads the log, or counts in it, takes a line at its word.
func TestLinesSayWhatTheyMean(t *testing.T) {
	ctx := t.Context()
	lines := make(told, 1000)
	s, i := atIssuer(t, byDiscovery, wssecure.SetLogger(slog.New(lines)), wssecure.TrustNetworks("the office", "192.0.2.0/24"))
	wantLine := func(kind wssecure.EventKind, want ...string) {
		t.Helper()
		line := lines.await(kind)
		for _, part := range want {
			if !strings.Contains(line+" ", " "+part+" ") {
				t.Errorf("%q does not say %q", line, part)
			}
		}
		for _, key := range []string{"hint=", "suppressed="} {
			if strings.Contains(line, key) {
				t.Errorf("%q has %s", line, key)
			}
		}
	}
	wantLine(wssecure.EventInsecure, "check=TrustNetworks", "why=the office")
	wantAdmitted(t, s, s.Handshake(i.Token("alice")))
	wantLine(wssecure.EventKeysRefreshed, "url="+i.URL+"/.well-known/openid-configuration", "keys=4")

	if n, err := s.Guard.Revoke(ctx, wssecure.Subject(i.URL, "alice"), "left the company"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	wantLine(wssecure.EventRevoked, "why=left the company", "sessions=1")
	for _, row := range []struct {
		target wssecure.Target
		whom   []string
	}{
		{wssecure.Network(netip.MustParsePrefix("10.0.0.0/8")), []string{"seen=10.0.0.0/8"}},
		{wssecure.Network(netip.MustParsePrefix("203.0.113.9/32")), []string{"seen=203.0.113.9/32", "client.ip=203.0.113.9"}},
		{wssecure.Subject(i.URL, "mallory"), []string{"identity.issuer=" + i.URL, "identity.subject=mallory"}},
	} {
		if err := s.Guard.Ban(ctx, row.target, time.Minute, "report 7"); err != nil {
			t.Fatal(err)
		}
		wantLine(wssecure.EventBanned, append(row.whom, "by=app", "why=report 7")...)
		if err := s.Guard.Unban(ctx, row.target); err != nil {
			t.Fatal(err)
		}
		wantLine(wssecure.EventUnbanned, append(row.whom, "by=app")...)
	}
	if err := s.Guard.Ban(ctx, wssecure.Network(netip.MustParsePrefix("10.0.0.0/8")), time.Minute, "report 8"); err != nil {
		t.Fatal(err)
	}
	if line := lines.await(wssecure.EventBanned); strings.Contains(line, "client.ip") {
		t.Errorf("%q names one address of a network", line)
	}
}
