package token_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

func TestRemoteStart(t *testing.T) {
	es := fixtureSet()["es"]
	good := jwks(es.jwk())
	t.Run("Q-01 no request before the first use", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			time.Sleep(time.Hour)
			if n := p.fetches(); n != 0 || v.Known("a.b.c") {
				t.Fatalf("%d requests", n)
			}
			if got := judge(v, "junk"); got != "invalid" || p.fetches() != 0 {
				t.Errorf("junk: got %s, and requests", got)
			}
			if got := judge(v, es.token(nil)); got != "ok" || p.fetches() != 1 {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("Q-01 Ready starts it too", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			if v.Ready() == nil {
				t.Error("ready before the keys came")
			}
			synctest.Wait()
			if err := v.Ready(); err != nil || p.fetches() != 1 {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("Q-01 a handshake waits for the first fetch", func(t *testing.T) {
		remote(t, after(4*time.Second, serves(good)), func(t *testing.T, p *idp, v *verifier) {
			begin := time.Now()
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if got := judge(v, es.token(nil)); got != "ok" || time.Since(begin) != 4*time.Second {
						t.Errorf("got %s after %v", got, time.Since(begin))
					}
				})
			}
			all.Wait()
			if n := p.fetches(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	})
	t.Run("Q-01 a token that expires in the wait", func(t *testing.T) {
		remote(t, after(4*time.Second, serves(good)), func(t *testing.T, p *idp, v *verifier) {
			if got := judge(v, es.token(map[string]any{"exp": time.Now().Unix() - 27})); got != "expired" {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("Q-01 at most 5 s", func(t *testing.T) {
		remote(t, hangs, func(t *testing.T, p *idp, v *verifier) {
			begin := time.Now()
			if got := judge(v, es.token(nil)); got != "unavailable" || time.Since(begin) != 5*time.Second {
				t.Errorf("got %s after %v", got, time.Since(begin))
			}
			// From then on nobody waits, though fetches go on hanging.
			for range 10 {
				time.Sleep(time.Second)
				begin = time.Now()
				if got := judge(v, es.token(nil)); got != "unavailable" || time.Since(begin) != 0 {
					t.Errorf("got %s after %v", got, time.Since(begin))
				}
			}
		})
	})
	t.Run("Q-01 the handshake's context ends first", func(t *testing.T) {
		remote(t, hangs, func(t *testing.T, p *idp, v *verifier) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := v.Verify(ctx, es.token(nil))
			if answer(err) != "unavailable" || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("Q-02", func(t *testing.T) {
		remote(t, down, func(t *testing.T, p *idp, v *verifier) {
			if got := judge(v, es.token(nil)); got != "unavailable" {
				t.Fatalf("got %s", got)
			}
			time.Sleep(10 * time.Minute)
			asked, notices := p.took()
			wantBackOff(t, asked)
			if len(asked) < 14 || len(notices) != len(asked) {
				t.Errorf("%d requests, %d notices", len(asked), len(notices))
			}
			for _, n := range notices {
				if n.Kind != token.Failed || n.URL != keysURL || n.Keys != 0 || n.Err == nil {
					t.Fatalf("notice %+v", n)
				}
			}
			if err := v.Ready(); err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("Ready: %v", err)
			}
			p.set(serves(good))
			time.Sleep(72 * time.Second)
			if got, err := judge(v, es.token(nil)), v.Ready(); got != "ok" || err != nil {
				t.Errorf("after recovery: %s, %v", got, err)
			}
			_, notices = p.took()
			if last := notices[len(notices)-1]; last.Kind != token.Refreshed || last.Keys != 1 || last.Err != nil {
				t.Errorf("notice %+v", last)
			}
		})
	})
}

func TestForgedAtOnce(t *testing.T) {
	// J-18: a thousand of one bad token, all past the look-up before the first is judged, are one failure.
	remote(t, after(time.Second, serves(jwks(fixtureSet()["es"].jwk()))), func(t *testing.T, p *idp, v *verifier) {
		text := fixtureSet()["stranger"].token(nil)
		var counted atomic.Int32
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				_, err := v.Verify(t.Context(), text)
				var e *token.Error
				if !errors.As(err, &e) || e.Fault != token.Forged {
					t.Errorf("got %v", err)
				} else if !e.Again {
					counted.Add(1)
				}
			})
		}
		all.Wait()
		if n := counted.Load(); n != 1 {
			t.Errorf("counted %d times", n)
		}
	})
}

func TestRemoteRefresh(t *testing.T) {
	es, ed := fixtureSet()["es"], fixtureSet()["ed"]
	good := jwks(es.jwk())
	t.Run("Q-06", func(t *testing.T) {
		for cacheControl, want := range map[string][2]time.Duration{
			"":                         {13*time.Minute + 30*time.Second, 16*time.Minute + 30*time.Second},
			"no-store":                 {13*time.Minute + 30*time.Second, 16*time.Minute + 30*time.Second},
			"max-age=x":                {13*time.Minute + 30*time.Second, 16*time.Minute + 30*time.Second},
			"max-age=-1":               {13*time.Minute + 30*time.Second, 16*time.Minute + 30*time.Second},
			"max-age=0":                {time.Minute, 66 * time.Second},
			"max-age=59":               {time.Minute, 66 * time.Second},
			"public, Max-Age=600":      {9 * time.Minute, 11 * time.Minute},
			"max-age=600, max-age=9":   {time.Minute, 66 * time.Second},
			"max-age=9, max-age=600":   {time.Minute, 66 * time.Second},
			"max-age=3601":             {54 * time.Minute, time.Hour},
			"max-age=999999999":        {54 * time.Minute, time.Hour},
			"max-age=9999999999999999": {13*time.Minute + 30*time.Second, 16*time.Minute + 30*time.Second},
		} {
			remote(t, serves(good, "Cache-Control", cacheControl), func(t *testing.T, p *idp, v *verifier) {
				judge(v, es.token(nil))
				time.Sleep(4 * time.Hour)
				asked, notices := p.took()
				pauses := map[time.Duration]bool{}
				for i := 1; i < len(asked); i++ {
					d := asked[i].Sub(asked[i-1])
					pauses[d] = true
					if !within(d, want[0], want[1]) {
						t.Fatalf("%q: pause of %v", cacheControl, d)
					}
				}
				if len(pauses) < 2 || len(asked) < 4 || len(notices) != len(asked) {
					t.Errorf("%q: %d requests, %d different pauses: no jitter?", cacheControl, len(asked), len(pauses))
				}
			})
		}
	})
	t.Run("Q-04 retries as at the start, and one success ends them", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			p.set(down)
			time.Sleep(30 * time.Minute)
			asked, _ := p.took()
			if d := asked[3].Sub(asked[2]); !within(d, 1600*time.Millisecond, 2400*time.Millisecond) {
				t.Errorf("second retry after %v", d)
			}
			p.set(serves(good))
			time.Sleep(2 * time.Minute)
			p.took()
			time.Sleep(10 * time.Minute)
			if n := p.fetches(); n != 0 {
				t.Errorf("%d requests after success", n)
			}
			p.set(down)
			time.Sleep(10 * time.Minute)
			asked, _ = p.took()
			if d := asked[1].Sub(asked[0]); !within(d, 800*time.Millisecond, 1200*time.Millisecond) {
				t.Errorf("the first retry of the next failure after %v", d)
			}
		})
	})
	t.Run("Q-05", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			text := es.token(lasting())
			judge(v, text)
			p.set(hangs)
			time.Sleep(24*time.Hour - time.Second)
			if got, err := judge(v, text), v.Ready(); got != "ok" || err != nil {
				t.Errorf("within a day: %s, %v", got, err)
			}
			time.Sleep(time.Second)
			for _, text := range []string{text, es.token(nil)} {
				if got, err := judge(v, text), v.Ready(); got != "unavailable" || err == nil || v.Known(text) {
					t.Errorf("after a day: %s, %v", got, err)
				}
			}
			p.set(serves(good))
			time.Sleep(80 * time.Second)
			if got, err := judge(v, text), v.Ready(); got != "ok" || err != nil {
				t.Errorf("recovered: %s, %v", got, err)
			}
		})
	})
	t.Run("Q-09 key added", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			old := es.token(lasting())
			judge(v, old)
			p.set(serves(jwks(es.jwk(), ed.jwk())))
			if got := judge(v, ed.token(nil)); got != "ok" {
				t.Errorf("new key: got %s", got)
			}
			if !v.Known(old) {
				t.Error("a key added made the cache forget the other's tokens")
			}
		})
	})
	t.Run("Q-09 key removed", func(t *testing.T) {
		remote(t, serves(jwks(es.jwk(), ed.jwk())), func(t *testing.T, p *idp, v *verifier) {
			leaving, staying := ed.token(lasting()), es.token(lasting())
			kidless := pair{"", "ES256", es.private}.token(lasting())
			if judge(v, leaving) != "ok" || judge(v, staying) != "ok" || judge(v, kidless) != "invalid" {
				t.Fatal("not as at first")
			}
			p.set(serves(good))
			time.Sleep(17 * time.Minute)
			if got := judge(v, leaving); got != "invalid" || v.Known(leaving) {
				t.Errorf("of the removed key: got %s", got)
			}
			if !v.Known(staying) {
				t.Error("of the key that stays: forgotten")
			}
			if got := judge(v, kidless); got != "ok" {
				t.Errorf("without kid, now that there is one key: got %s", got)
			}
			p.set(serves(jwks(es.jwk(), ed.jwk())))
			time.Sleep(17 * time.Minute)
			if got := judge(v, kidless); got != "invalid" || v.Known(kidless) {
				t.Errorf("without kid, now that there are two again: got %s", got)
			}
		})
	})
	t.Run("Q-09 other key under the same kid", func(t *testing.T) {
		stranger := fixtureSet()["stranger"]
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			mine, theirs := es.token(lasting()), stranger.token(lasting())
			if judge(v, mine) != "ok" || judge(v, theirs) != "forged" || judge(v, theirs) != "forged" {
				t.Fatal("not as at first")
			}
			p.set(serves(jwks(stranger.jwk())))
			time.Sleep(17 * time.Minute)
			if a, b := judge(v, theirs), judge(v, mine); a != "ok" || b != "forged" {
				t.Errorf("after the change: %s, %s", a, b)
			}
			_, err := v.Verify(t.Context(), mine)
			var e *token.Error
			if !errors.As(err, &e) || !e.Again {
				t.Errorf("forged under the new key, and again: %v", err)
			}
			if n := token.ForgedHeld(v); n != 1 {
				t.Errorf("%d forged tokens held: those under the old key too?", n)
			}
		})
	})
	t.Run("Q-10", func(t *testing.T) {
		for what, key := range unfit() {
			remote(t, serves(jwks(key, with(ed.jwk(), map[string]any{"kid": "fit"}))), func(t *testing.T, p *idp, v *verifier) {
				fit := pair{"fit", "EdDSA", ed.private}
				bad := pair{fmt.Sprint(key["kid"]), "ES256", es.private}
				if a, b := judge(v, bad.token(nil)), judge(v, fit.token(nil)); a != "invalid" || b != "ok" {
					t.Errorf("%s: %s, and the fit one %s", what, a, b)
				}
			})
			remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
				judge(v, es.token(nil))
				p.took()
				p.set(serves(jwks(key)))
				time.Sleep(16*time.Minute + 31*time.Second)
				if _, notices := p.took(); len(notices) == 0 || notices[0].Kind != token.Failed || notices[0].Keys != 1 {
					t.Errorf("%s alone: %+v", what, notices)
				}
				if got := judge(v, es.token(nil)); got != "ok" {
					t.Errorf("%s alone: the old key is gone: %s", what, got)
				}
			})
		}
	})
	t.Run("Q-13 Close during a hung fetch", func(t *testing.T) {
		remote(t, hangs, func(t *testing.T, p *idp, v *verifier) {
			done := make(chan string)
			go func() { done <- judge(v, es.token(nil)) }()
			synctest.Wait()
			begin := time.Now()
			v.Close()
			if got := <-done; got != "unavailable" || time.Since(begin) != 0 {
				t.Errorf("got %s after %v", got, time.Since(begin))
			}
			synctest.Wait()
			if _, notices := p.took(); len(notices) != 0 {
				t.Errorf("notices of a fetch that Close ended: %+v", notices)
			}
			if got := judge(v, es.token(nil)); got != "unavailable" {
				t.Errorf("after Close: %s", got)
			}
		})
	})
	t.Run("Q-13 Close before the first use", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			v.Close()
			if got := judge(v, es.token(nil)); got != "unavailable" {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("Q-13 Close keeps the keys for their time", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			v.Close()
			p.took()
			time.Sleep(23 * time.Hour)
			if got := judge(v, es.token(nil)); got != "ok" || p.fetches() != 0 {
				t.Errorf("got %s", got)
			}
			time.Sleep(time.Hour)
			if got := judge(v, es.token(nil)); got != "unavailable" {
				t.Errorf("past their time: got %s", got)
			}
		})
	})
}

func TestWholeSets(t *testing.T) {
	// kid "es" and kid "ed" always change owner together, so a verdict from two sets would show.
	es, ed, stranger := fixtureSet()["es"], fixtureSet()["ed"], fixtureSet()["stranger"]
	remote(t, serves(jwks(es.jwk(), ed.jwk()), "Cache-Control", "max-age=60"), func(t *testing.T, p *idp, v *verifier) {
		var all sync.WaitGroup
		all.Go(func() {
			for i := range 100 {
				time.Sleep(time.Minute)
				owner := []pair{es, stranger}[i%2]
				p.set(serves(jwks(owner.jwk(), ed.jwk()), "Cache-Control", "max-age=60"))
			}
		})
		for i := range 10 {
			all.Go(func() {
				for n := range 100 {
					time.Sleep(time.Minute + time.Duration(i*n)*time.Millisecond)
					a, b := judge(v, es.token(map[string]any{"n": n})), judge(v, ed.token(map[string]any{"n": i*100 + n}))
					if !slices.Contains([]string{"ok", "forged"}, a) || b != "ok" {
						t.Errorf("got %s, %s", a, b)
					}
				}
			})
		}
		all.Wait()
		if n := p.fetches(); n < 90 {
			t.Errorf("%d refreshes", n)
		}
	})
}
