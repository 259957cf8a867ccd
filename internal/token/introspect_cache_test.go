package token_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

func TestIntrospectionCache(t *testing.T) {
	hold := map[string]any{"exp": 4_000_000_000}
	t.Run("A-41 at most 60 s", func(t *testing.T) {
		introspecting(t, opaqueRules(), says(active(hold)), func(t *testing.T, p *idp, v *introspector) {
			first, _ := v.Verify(t.Context(), "opaque")
			time.Sleep(59 * time.Second)
			if again, _ := v.Verify(t.Context(), "opaque"); again.claims != first.claims || p.fetches() != 1 || !v.Known("opaque") {
				t.Error("not cached")
			}
			time.Sleep(time.Second)
			if v.Known("opaque") || opinion(v, "opaque") != "ok" || p.fetches() != 1 {
				t.Error("cached for more than a minute")
			}
			if v.Known("opaque2") || opinion(v, "opaque2") != "ok" || p.fetches() != 1 {
				t.Error("one token's answer is another's")
			}
		})
	})
	t.Run("A-41 not beyond exp", func(t *testing.T) {
		introspecting(t, opaqueRules(), down, func(t *testing.T, p *idp, v *introspector) {
			p.set(says(active(map[string]any{"exp": time.Now().Unix() - 10})))
			if got := opinion(v, "opaque"); got != "ok" {
				t.Fatal(got)
			}
			time.Sleep(20 * time.Second) // the skew is 30 s
			if got := opinion(v, "opaque"); got != "expired" {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("A-41 1,000 at once", func(t *testing.T) {
		introspecting(t, opaqueRules(), after(time.Second, says(active(hold))), func(t *testing.T, p *idp, v *introspector) {
			var all sync.WaitGroup
			for range 1000 {
				all.Go(func() {
					if got := opinion(v, "opaque"); got != "ok" {
						t.Errorf("got %s", got)
					}
				})
			}
			all.Wait()
			if n := p.fetches(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	})
	t.Run("A-41 who gives up fails nobody else", func(t *testing.T) {
		introspecting(t, opaqueRules(), after(2*time.Second, says(active(hold))), func(t *testing.T, p *idp, v *introspector) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := v.Verify(ctx, "opaque"); answer(err) != "unavailable" || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
			synctest.Wait()
			if got := opinion(v, "opaque"); got != "ok" || p.fetches() != 1 {
				t.Errorf("got %s", got)
			}
			all.Wait()
		})
	})
	t.Run("A-41 inactive again", func(t *testing.T) {
		introspecting(t, opaqueRules(), says(`{"active":false}`), func(t *testing.T, p *idp, v *introspector) {
			for range 1000 {
				if got := opinion(v, "opaque"); got != "invalid" {
					t.Fatal(got)
				}
			}
			time.Sleep(9 * time.Second)
			opinion(v, "opaque")
			if n := p.fetches(); n != 1 || v.Known("opaque") {
				t.Errorf("%d requests", n)
			}
			p.set(says(active(hold)))
			time.Sleep(time.Second)
			if got := opinion(v, "opaque"); got != "ok" {
				t.Errorf("after 10 s: got %s", got)
			}
		})
	})
	t.Run("A-42 1,000 different ones", func(t *testing.T) {
		inFlight, most := 0, 0
		var mu sync.Mutex
		answer := func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			inFlight++
			most = max(most, inFlight)
			mu.Unlock()
			defer func() { mu.Lock(); inFlight--; mu.Unlock() }()
			return after(time.Second, says(active(hold)))(r)
		}
		introspecting(t, opaqueRules(), answer, func(t *testing.T, p *idp, v *introspector) {
			known := "known"
			if got := opinion(v, known); got != "ok" {
				t.Fatal(got)
			}
			p.fetches()
			got := map[string]int{}
			var all sync.WaitGroup
			for i := range 1000 {
				all.Go(func() {
					said := opinion(v, strconv.Itoa(i))
					mu.Lock()
					defer mu.Unlock()
					got[said]++
				})
			}
			synctest.Wait()
			begin := time.Now()
			if opinion(v, known) != "ok" || time.Since(begin) != 0 {
				t.Error("a token known to be good waits")
			}
			all.Wait()
			if got["ok"] != 32 || got["unavailable"] != 968 || most != 32 || p.fetches() != 32 {
				t.Errorf("%v, %d at once", got, most)
			}
			if got := opinion(v, "later"); got != "ok" {
				t.Errorf("afterwards: %s", got)
			}
		})
	})
	t.Run("A-65 strangers' tokens take no place from open sessions", func(t *testing.T) {
		introspecting(t, opaqueRules(), says(active(hold)), func(t *testing.T, p *idp, v *introspector) {
			var open []opaque
			for i := range 33 {
				was, err := v.Verify(t.Context(), "open"+strconv.Itoa(i))
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, was)
			}
			p.set(after(time.Second, says(active(hold))))
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() { opinion(v, strconv.Itoa(i)) })
			}
			synctest.Wait()
			var mu sync.Mutex
			got := map[string]int{}
			for _, was := range open {
				all.Go(func() {
					_, err := was.again(t.Context())
					mu.Lock()
					defer mu.Unlock()
					got[answer(err)]++
				})
			}
			synctest.Wait()
			if said := opinion(v, "one more"); said != "unavailable" {
				t.Errorf("a 33rd stranger beside the sessions: %s", said)
			}
			all.Wait()
			if got["ok"] != 32 || got["unavailable"] != 1 {
				t.Errorf("of 33 questions about open sessions: %v", got)
			}
			if _, err := open[32].again(t.Context()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	})
	t.Run("A-42 strangers' tokens push no good one out", func(t *testing.T) {
		answer := func(r *http.Request) (*http.Response, error) {
			if r.ParseForm() == nil && r.PostForm.Get("token") == "good" {
				return respond(200, active(hold)), nil
			}
			return respond(200, `{"active":false}`), nil
		}
		introspecting(t, opaqueRules(), answer, func(t *testing.T, p *idp, v *introspector) {
			opinion(v, "good")
			for i := range 20_000 {
				opinion(v, strconv.Itoa(i))
			}
			if !v.Known("good") {
				t.Error("forgotten")
			}
			if n := token.RefusedHeld(v); n > 4096 {
				t.Errorf("%d refusals held", n)
			}
		})
	})
	t.Run("A-65 asked anew", func(t *testing.T) {
		introspecting(t, opaqueRules(), says(active(hold)), func(t *testing.T, p *idp, v *introspector) {
			first, _ := v.Verify(t.Context(), "opaque")
			p.set(says(active(map[string]any{"exp": 4_000_000_000, "scope": "less"})))
			second, err := first.again(t.Context())
			if err != nil || len(second.claims.Scopes) != 1 || p.fetches() != 2 {
				t.Fatalf("%+v, %v", second.claims, err)
			}
			if now, _ := v.Verify(t.Context(), "opaque"); now.claims != second.claims {
				t.Error("the old answer is still cached")
			}
			p.set(down)
			if _, err := second.again(t.Context()); answer(err) != "unavailable" || !v.Known("opaque") {
				t.Errorf("got %v", err)
			}
			p.set(says(`{"active":false}`))
			if _, err := second.again(t.Context()); answer(err) != "invalid" || !errors.Is(err, token.ErrInactive) {
				t.Errorf("got %v", err)
			}
			if v.Known("opaque") || opinion(v, "opaque") != "invalid" {
				t.Error("a token found inactive is still good")
			}
		})
	})
	t.Run("Q-13 closed while one hangs", func(t *testing.T) {
		introspecting(t, opaqueRules(), hangs, func(t *testing.T, p *idp, v *introspector) {
			go func() {
				synctest.Wait()
				v.Close()
			}()
			begin := time.Now()
			if got := opinion(v, "opaque"); got != "unavailable" || time.Since(begin) != 0 {
				t.Errorf("got %s after %v", got, time.Since(begin))
			}
			if got := opinion(v, "another"); got != "unavailable" {
				t.Errorf("got %s", got)
			}
		})
	})
}
