package token_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// whoever invents tokens, while the authorization server is slow, keeps no
// other network from having its own asked about.
func TestIntrospectionIsShared(t *testing.T) {
	introspecting(t, opaqueRules(), after(time.Second, says(active(nil))), func(t *testing.T, p *idp, v *introspector) {
		var all sync.WaitGroup
		var mu sync.Mutex
		shows := func(network string, tokens int) (asked int) {
			p.fetches()
			for i := range tokens {
				all.Go(func() {
					_, err := v.VerifyFrom(t.Context(), fmt.Sprint(network, i), netip.MustParsePrefix(network))
					mu.Lock()
					defer mu.Unlock()
					if got := answer(err); got != "ok" && got != "unavailable" {
						t.Errorf("got %s", got)
					}
				})
			}
			synctest.Wait()
			return p.fetches()
		}
		for range 2 { // and all places come back
			for _, row := range []struct {
				network string
				want    int
			}{
				{"203.0.113.9/32", 16},
				{"203.0.113.9/32", 0},
				{"2001:db8::/48", 8},
				{"198.51.100.7/32", 4},
				{"198.51.100.8/32", 2},
				{"198.51.100.9/32", 1},
				{"198.51.100.10/32", 1},
				{"198.51.100.11/32", 0},
			} {
				if n := shows(row.network, 100); n != row.want {
					t.Errorf("%s: %d of 100 tokens are asked about, want %d", row.network, n, row.want)
				}
			}
			time.Sleep(2 * time.Minute)
			all.Wait()
		}
	})
}
