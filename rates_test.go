package wssecure_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
)

// TestRatesAtTheirEnds are L-27, L-02 and L-31 at the slowest and the fastest
// rates that New takes: no overflow, no free burst, no lock-out beyond a period.
func TestRatesAtTheirEnds(t *testing.T) {
	const day = 24 * time.Hour
	for _, row := range []struct {
		name  string
		rate  wssecure.Rate
		burst int    // handshakes at once
		retry string // then; "" when none is refused
	}{
		{"L-27 one an hour", wssecure.PerHour(1), 1, "3600"},
		{"L-27 one a day", wssecure.Rate{N: 1, Per: day}, 1, "86400"},
		{"L-27 one in four years", wssecure.Rate{N: 1, Per: 4 * 365 * day}, 1, "126144000"},
		{"L-27 one in a day, four years at once", wssecure.Rate{N: 1, Per: day, Burst: 4 * 365}, 4 * 365, "86400"},
		{"L-27 1,000,000 a second", wssecure.PerSecond(1_000_000), 1000, ""},
		{"L-27 the fastest", wssecure.Rate{N: 1_000_000_000, Per: 1, Burst: 1_000_000_000}, 1000, ""},
		{"L-27 the largest burst", wssecure.Rate{N: 1_000_000_000, Per: time.Second, Burst: 1_000_000_000}, 1000, ""},
	} {
		for _, client := range []string{"203.0.113.9", "2001:db8::9"} { // a /48 has 16 times as much
			t.Run(fmt.Sprint(row.name, " ", client), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), row.rate), wssecure.LimitConns(wssecure.ByIP(), 10_000))
					spend := func() {
						t.Helper()
						for range row.burst {
							wantAnswer(t, g.knock(client), 101, "")
						}
						if row.retry != "" {
							over := g.knock(client)
							wantAnswer(t, over, 429, wssecure.ReasonRate)
							wantRetry(t, over, row.retry)
						}
						synctest.Wait()
						g.hangUp()
					}
					spend()
					time.Sleep(10 * 365 * day)
					spend() // a full bucket, and no more
					if row.retry == "" {
						return
					}
					wait, _ := strconv.Atoi(row.retry)
					time.Sleep(time.Duration(wait)*time.Second - time.Nanosecond)
					wantRetry(t, g.knock(client), "1")
					time.Sleep(time.Nanosecond)
					wantAnswer(t, g.knock(client), 101, "")
					wantAnswer(t, g.knock(client), 429, wssecure.ReasonRate)
				})
			})
		}
	}
}

// TestLongestBans is L-27 of bans: whatever length is given, Retry-After is a
// positive number and the ban ends.
func TestLongestBans(t *testing.T) {
	for _, length := range []time.Duration{1, time.Second, 10 * 365 * 24 * time.Hour, 1<<63 - 1} {
		t.Run(length.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, quiet)
				target := wssecure.Network(netip.MustParsePrefix(attacker + "/32"))
				if err := g.guard.Ban(t.Context(), target, length, "a test"); err != nil {
					t.Fatal(err)
				}
				wantAnswer(t, g.knock(attacker), 403, wssecure.ReasonBanned)
				if length < 1<<62 {
					time.Sleep(length)
				} else if err := g.guard.Unban(t.Context(), target); err != nil {
					t.Fatal(err)
				}
				wantAnswer(t, g.knock(attacker), 101, "")
			})
		})
	}
}

// TestOffice is L-38 at its hardest: 5,000 people behind one address, each with a
// token of their own, lose their sockets and come back at once.
func TestOffice(t *testing.T) {
	const people = 5000
	for _, address := range []string{"203.0.113.9", "2001:db8::9"} {
		t.Run("L-38 "+address, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTokenGate(t, stay)
				tokens := make([]string, people)
				for i := range tokens {
					tokens[i] = g.issuer.Token(fmt.Sprint("user", i))
					wantAnswer(t, g.knock(address, bearer(tokens[i])), 101, "") // in the morning, one by one
				}
				g.hangUp()
				g.settled(0)
				for range 300 {
					g.knock(address) // a visitor has spent the address's budget meanwhile
				}
				var all sync.WaitGroup
				var refused atomic.Int64
				opens := make(chan struct{})
				for _, token := range tokens {
					all.Go(func() {
						<-opens
						if a := g.knock(address, bearer(token)); a.status != 101 {
							refused.Add(1)
						}
					})
				}
				close(opens)
				all.Wait()
				if n := refused.Load(); n != 0 {
					t.Errorf("%d of %d people were refused", n, people)
				}
				if n := g.guard.Stats().Open; n != people {
					t.Errorf("%d are in, want %d", n, people)
				}
			})
		})
	}
}

// L-38: who passes a spent budget by a token that is known has a budget of its
// own, and gives the address nothing back that it has not taken.
func TestKnownTokenOverTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTokenGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 10}))
		known := bearer(g.issuer.Token("alice"))
		for _, client := range []string{"203.0.113.9", "2001:db8::9"} {
			wantAnswer(t, g.knock(client, known), 101, "")
			for range 10 {
				wantAnswer(t, g.knock(client), 401, wssecure.ReasonTokenMissing)
			}
			wantAnswer(t, g.knock(client), 429, wssecure.ReasonRate)
			for range 5 {
				wantAnswer(t, g.knock(client, known), 101, "")
				wantAnswer(t, g.knock(client), 429, wssecure.ReasonRate)
				wantAnswer(t, g.knock(client, bearer(g.issuer.Token("bob"))), 429, wssecure.ReasonRate)
			}
			synctest.Wait()
		}
		over := g.knock("203.0.113.9", known)
		wantAnswer(t, over, 429, wssecure.ReasonRate)
		wantRetry(t, over, "3600")
	})
}

// The budget of a known token is kept under a digest: no part of a token goes to
// a store.
func TestKnownTokensAreKeptAsHashes(t *testing.T) {
	g := newTokenGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}))
	var asked keyLog
	wssecure.WrapStore(g.guard, func(s store.Store) store.Store { asked.Store = s; return &asked })
	token := g.issuer.Token("alice")
	wantAnswer(t, g.knock("203.0.113.9", bearer(token)), 101, "")
	wantAnswer(t, g.knock("203.0.113.9"), 401, wssecure.ReasonTokenMissing)
	wantAnswer(t, g.knock("203.0.113.9", bearer(token)), 101, "")
	budgets := 0
	for _, key := range asked.seen() {
		if strings.Contains(key.ID, token[:16]) {
			t.Errorf("the token is in %q", key.ID)
		}
		if strings.Contains(key.ID, "known-token") {
			budgets++
		}
	}
	if budgets == 0 {
		t.Error("no budget of a known token was asked for")
	}
}

// keyLog keeps the keys that a store is asked about.
type keyLog struct {
	store.Store
	mu   sync.Mutex
	keys []store.Key
}

func (l *keyLog) Do(ctx context.Context, ops ...store.Op) error {
	l.mu.Lock()
	for _, op := range ops {
		if a, ok := op.(*store.Admit); ok {
			l.keys = append(l.keys, a.Key)
		}
	}
	l.mu.Unlock()
	return l.Store.Do(ctx, ops...)
}

func (l *keyLog) seen() []store.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.keys)
}
