package main_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/wssecuretest"
)

// guarded serves a wssecure guard over TLS, in the way that the README shows.
func guarded(t *testing.T, ca *testbed.Authority, opts ...wssecure.Option) (addr string) {
	t.Helper()
	guard, err := wssecure.New(append([]wssecure.Option{
		wssecure.AllowOrigins("https://" + testbed.Name),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler:   guard.ConnHandler(wssecuretest.Echo),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil)}},
	}
	return testbed.Serve(t, guard.Harden(srv))
}

const url = "wss://" + testbed.Name + "/ws"

func TestAGuardGetsTheBestGrade(t *testing.T) {
	ca := testbed.NewAuthority(t)
	issuer := wssecuretest.NewIssuer(t, "")
	for _, row := range []struct {
		name   string
		source wssecure.Source
		args   []string
		limit  time.Duration
	}{
		{"passive", wssecure.FromBearer(), nil, 10 * time.Second},
		{"active", wssecure.FromBearer(), []string{"--active"}, 60 * time.Second},
		{"subprotocol", wssecure.FromSubprotocol(), []string{"--rate", "500", "--token-in", "subprotocol"}, 10 * time.Second},
		{"cookie", wssecure.FromCookie("__Host-session"), []string{"--rate", "500", "--token-in", "cookie:__Host-session"}, 10 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.name != "passive" { // whose time says something of an idle machine only
				t.Parallel()
			}
			addr := guarded(t, ca, issuer.Option(row.source))
			o, d := scanJSON(t, issuer.Token("alice"), append([]string{"--ca", ca.File, "--connect", addr, "--origin", "https://" + testbed.Name, url}, row.args...)...)
			got := d.Targets[0]
			if o.code != 0 || got.Grade != "A+" || !got.Admitted || len(got.Findings) > 0 {
				t.Errorf("exit %d, grade %q because %q, admitted %v, findings %v, %s", o.code, got.Grade, got.Because, got.Admitted, got.Findings, got.Error)
			}
			for _, other := range got.Others {
				if other.State == "unclear" {
					t.Errorf("%s could not be decided: %s %s", other.ID, other.Got, other.Detail)
				}
			}
			if o.took > row.limit {
				t.Errorf("took %v", o.took)
			}
			t.Logf("%v: %v", o.took.Round(time.Millisecond), got.Counts)
		})
	}
}
