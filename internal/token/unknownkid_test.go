package token_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// unsigned returns a token in order but for its kid and signature, neither of which is worth making.
func unsigned(kid string) string {
	return b64([]byte(`{"alg":"ES256","kid":"`+kid+`"}`)) + "." + b64([]byte(claims(nil))) + "." + b64(make([]byte, 64))
}

func TestUnknownKid(t *testing.T) {
	es, ed := fixtureSet()["es"], fixtureSet()["ed"]
	good, both := jwks(es.jwk()), jwks(es.jwk(), ed.jwk())
	t.Run("Q-07", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			time.Sleep(time.Minute)
			p.took()
			p.set(after(3*time.Second, serves(both)))
			begin := time.Now()
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if got := judge(v, ed.token(nil)); got != "ok" || time.Since(begin) != 3*time.Second {
						t.Errorf("of the new key: %s after %v", got, time.Since(begin))
					}
				})
			}
			synctest.Wait()
			for i := range 50 {
				other := pair{"made-up-" + strconv.Itoa(i), "ES256", es.private}
				if got := judge(v, other.token(nil)); got != "invalid" {
					t.Errorf("another unknown kid: %s", got)
				}
				if got := judge(v, es.token(map[string]any{"n": i})); got != "ok" {
					t.Errorf("a good token: %s", got)
				}
			}
			if time.Since(begin) != 0 {
				t.Errorf("the others waited %v", time.Since(begin))
			}
			all.Wait()
			if n := p.fetches(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	})
	t.Run("Q-07 still unknown, failed, or hung", func(t *testing.T) {
		for want, answer := range map[time.Duration]func(*http.Request) (*http.Response, error){
			0: serves(good), time.Second: after(time.Second, down), 5 * time.Second: hangs,
		} {
			remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
				judge(v, es.token(nil))
				p.set(answer)
				begin := time.Now()
				if got := judge(v, ed.token(nil)); got != "invalid" || time.Since(begin) != want {
					t.Errorf("got %s after %v", got, time.Since(begin))
				}
				if got := judge(v, es.token(nil)); got != "ok" {
					t.Errorf("a good one: %s", got)
				}
			})
		}
	})
	t.Run("Q-07 only a token in order but for its key", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			p.took()
			for _, bad := range []map[string]any{{"exp": time.Now().Unix() - 60}, {"iss": "x"}, {"aud": "x"}, {"sub": nil}} {
				judge(v, ed.token(bad))
			}
			judge(v, pair{"new", "HS256", make([]byte, 32)}.token(nil))
			if n := p.fetches(); n != 0 {
				t.Errorf("%d requests", n)
			}
		})
	})
	t.Run("Q-07 the caller gives up", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			p.set(hangs)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := v.Verify(ctx, ed.token(nil)); answer(err) != "unavailable" {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("Q-07 asked for while a fetch is under way", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			p.took()
			first := true
			p.set(func(r *http.Request) (*http.Response, error) {
				if first {
					first = false
					return after(2*time.Second, serves(good))(r)
				}
				return respond(200, string(both)), nil
			})
			for p.fetches() == 0 {
				time.Sleep(time.Second)
			}
			if got := judge(v, ed.token(nil)); got != "ok" {
				t.Errorf("the running fetch came too early for it: %s", got)
			}
			if n := p.fetches(); n != 1 {
				t.Errorf("%d more requests", n)
			}
		})
	})
	t.Run("Q-08", func(t *testing.T) {
		remote(t, serves(good), func(t *testing.T, p *idp, v *verifier) {
			judge(v, es.token(nil))
			p.took()
			p.set(after(4*time.Second, serves(good)))
			begin := time.Now()
			var waited atomic.Int32
			var all sync.WaitGroup
			for i := range 1000 {
				all.Go(func() {
					if got := judge(v, unsigned("made-up-"+strconv.Itoa(i))); got != "invalid" {
						t.Errorf("got %s", got)
					}
					if time.Since(begin) > 0 {
						waited.Add(1)
					}
				})
			}
			all.Wait()
			if waited.Load() != 1 {
				t.Errorf("%d waited, want the one whose kid is asked for", waited.Load())
			}
			for i := range 9000 {
				judge(v, unsigned("more-"+strconv.Itoa(i)))
			}
			if n := p.fetches(); n != 1 || time.Since(begin) != 4*time.Second {
				t.Errorf("%d requests within %v", n, time.Since(begin))
			}
			time.Sleep(26 * time.Second)
			judge(v, ed.token(nil))
			if n := p.fetches(); n != 1 {
				t.Errorf("%d requests 30 s later", n)
			}
		})
	})
}
