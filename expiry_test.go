package wssecure_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

func outlive(d time.Duration) wssecure.Option {
	return wssecure.InsecureOutliveToken(d, "meters cannot renew")
}

// TestOutliveToken is S-30: the default skew of 30 s counts as it does without.
func TestOutliveToken(t *testing.T) {
	const skew, slack = 30 * time.Second, time.Second
	t.Run("S-01 without the option", func(t *testing.T) {
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			start := time.Now()
			listen(s.open(s.issuer.Token("alice")), true).wantEnd(t, start, 3000, "token-expired", time.Hour+skew-slack, time.Hour+skew+slack)
		})
	})
	t.Run("S-30 exp passes, exp and max", func(t *testing.T) {
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			start, token := time.Now(), s.issuer.Token("alice")
			p := listen(s.open(token), true)
			time.Sleep(2 * time.Hour)
			send(t, p.Conn, text("alive"))
			synctest.Wait()
			if len(p.texts) != 1 {
				t.Error("an hour after exp it answers no more")
			}
			if r := sendHandshake(t, s.dial(), freshHandshake(token)); r.Status != 401 {
				t.Errorf("S-30 an expired token at the handshake: status %d", r.Status)
			}
			p.wantEnd(t, start, 3000, "token-expired", 4*time.Hour+skew-slack, 4*time.Hour+skew+slack)
		}, outlive(3*time.Hour))
	})
	t.Run("S-30 the lifetime holds", func(t *testing.T) {
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			start := time.Now()
			listen(s.open(s.issuer.Token("alice")), true).wantEnd(t, start, 1001, "lifetime", 108*time.Minute, 2*time.Hour)
		}, outlive(1<<63-1), wssecure.LimitSession(wssecure.Limits{Lifetime: 2 * time.Hour}))
	})
	t.Run("S-30 a revocation holds", func(t *testing.T) {
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			p := listen(s.open(s.issuer.Token("alice")), true)
			time.Sleep(2 * time.Hour)
			start := time.Now()
			s.guard.Revoke(t.Context(), wssecure.Subject(s.issuer.URL, "alice"), "S-30")
			p.wantEnd(t, start, 3000, "revoked", 0, 0)
		}, outlive(3*time.Hour))
	})
	t.Run("S-30 recheck holds", func(t *testing.T) {
		a := &asking{}
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			start := time.Now()
			p := listen(s.open(s.issuer.Token("alice")), true)
			time.Sleep(90 * time.Minute)
			a.say(refusing(wssecure.ReasonForbidden))
			p.wantEnd(t, start, 3003, "forbidden", 90*time.Minute, 100*time.Minute)
		}, outlive(3*time.Hour), wssecure.SetRecheck(recheckEvery, a.ask))
	})
}

func TestOutliveTokenConfig(t *testing.T) {
	const why = "S-30"
	for want, opts := range map[string][]wssecure.Option{
		"InsecureOutliveToken: 0s outlives nothing; use 1s or more, or leave it out":    withToken(wssecure.InsecureOutliveToken(0, why)),          // G-76
		"InsecureOutliveToken: -1h0m0s outlives nothing; use 1s or more, or leave it o": withToken(wssecure.InsecureOutliveToken(-time.Hour, why)), // G-76
		"InsecureOutliveToken: no token to outlive; add RequireToken":                   anybody(wssecure.InsecureOutliveToken(time.Hour, why)),    // G-77
		"InsecureOutliveToken: the reason is empty; say why in a few words":             withToken(wssecure.InsecureOutliveToken(time.Hour, " ")),
		"InsecureOutliveToken: is given twice; keep one":                                withToken(outlive(time.Hour), outlive(time.Hour)),
	} {
		wantFault(t, want, opts...)
	}
	t.Run("With", func(t *testing.T) {
		parent := must(wssecure.New(withToken(outlive(time.Hour))...))
		if n := wssecure.HolesOf(parent); n != 1 {
			t.Errorf("%d holes, want 1", n)
		}
		if n := wssecure.HolesOf(with(t, parent, outlive(time.Minute))); n != 1 {
			t.Errorf("%d holes when the route has its own, want 1", n)
		}
		if n := wssecure.HolesOf(with(t, parent, wssecure.InsecureAllowAnonymous("no token to outlive"))); n != 1 {
			t.Errorf("%d holes when nobody has a token, want that of InsecureAllowAnonymous", n)
		}
	})
}
