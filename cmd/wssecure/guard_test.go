package main_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/wssecuretest"
)

// guarded serves a wssecure guard over TLS, in the way that the README shows.
func guarded(t testing.TB, ca *testbed.Authority, opts ...wssecure.Option) (addr string) {
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
	scan := func(t *testbed.Trial, limit time.Duration, source wssecure.Source, args ...string) {
		addr := guarded(t, ca, issuer.Option(source))
		o, d := scanJSON(t, issuer.Token("alice"), slices.Concat(testbed.Unhurried, []string{"--ca", ca.File, "--connect", addr, "--origin", "https://" + testbed.Name, url}, args)...)
		got := d.Targets[0]
		if o.code != 0 || got.Grade != "A+" || !got.Admitted || len(got.Findings) > 0 {
			t.Errorf("exit %d, grade %q because %q, admitted %v, findings %v, %s", o.code, got.Grade, got.Because, got.Admitted, got.Findings, got.Error)
		}
		for _, other := range got.Others {
			if other.State == "unclear" {
				t.Errorf("%s could not be decided: %s %s", other.ID, other.Got, other.Detail)
			}
		}
		if o.took > limit {
			t.Errorf("took %v", o.took)
		}
		t.Logf("%v: %v", o.took.Round(time.Millisecond), got.Counts)
	}
	t.Run("passive", func(t *testing.T) {
		testbed.Try(t, func(t *testbed.Trial) { scan(t, time.Minute, wssecure.FromBearer()) })
	})
	t.Parallel() // only now: the time of the passive one says most where no other test runs
	for _, row := range []struct {
		name   string
		source wssecure.Source
		args   []string
	}{
		{"active", wssecure.FromBearer(), []string{"--active"}},
		{"subprotocol", wssecure.FromSubprotocol(), []string{"--rate", "500", "--token-in", "subprotocol"}},
		{"cookie", wssecure.FromCookie("__Host-session"), []string{"--rate", "500", "--token-in", "cookie:__Host-session"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			testbed.Try(t, func(t *testbed.Trial) { scan(t, 4*time.Minute, row.source, row.args...) })
		})
	}
}
