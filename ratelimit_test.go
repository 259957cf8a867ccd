package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

func TestHandshakeRateByAddress(t *testing.T) {
	const client = "203.0.113.9"
	row := func(name string, run func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
	}
	row("L-01 L-02 300 at once, the 301st waits, then ten a second", func(t *testing.T) {
		g := newGate(t, quiet)
		for range 300 {
			wantAnswer(t, g.knock(client), 101, "")
			synctest.Wait()
		}
		over := g.knock(client)
		wantAnswer(t, over, 429, wssecure.ReasonRate)
		wantRetry(t, over, "1")
		if len(over.header["Ratelimit"])+len(over.header["Ratelimit-Policy"]) > 0 {
			t.Error("a refusal has RateLimit fields")
		}
		wantAnswer(t, g.knock("203.0.113.10"), 101, "")
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			wantAnswer(t, g.knock(client), 101, "")
			wantAnswer(t, g.knock(client), 429, wssecure.ReasonRate)
		}
	})
	row("L-24 refused before the rate check spends nothing, after it all", func(t *testing.T) {
		g := newTokenGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 2}))
		for range 5 {
			wantAnswer(t, g.knock(client, from("https://evil.example")), 403, wssecure.ReasonOrigin)
		}
		for range 2 {
			wantAnswer(t, g.knock(client), 401, wssecure.ReasonTokenMissing)
		}
		over := g.knock(client, bearer(g.issuer.Token("alice")))
		wantAnswer(t, over, 429, wssecure.ReasonRate)
		wantRetry(t, over, "3600")
	})
	row("L-02 Retry-After is the time left, rounded up", func(t *testing.T) {
		g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: 10 * time.Second, Burst: 1}))
		wantAnswer(t, g.knock(client), 101, "")
		for _, step := range []struct {
			sleep time.Duration
			retry string
		}{{0, "10"}, {1, "10"}, {time.Second - 1, "9"}, {8500 * time.Millisecond, "1"}} {
			time.Sleep(step.sleep)
			wantRetry(t, g.knock(client), step.retry)
		}
		time.Sleep(500 * time.Millisecond)
		wantAnswer(t, g.knock(client), 101, "")
	})
	row("L-46 a /48 has 16 times the budget of a /64", func(t *testing.T) {
		g := newGate(t, quiet, wssecure.LimitConns(wssecure.ByIP(), 10_000))
		for network := range 20 {
			for range 240 {
				wantAnswer(t, g.knock(fmt.Sprintf("2001:db8:7:%x::1", network)), 101, "")
			}
		}
		wantAnswer(t, g.knock("2001:db8:7:ff::1"), 429, wssecure.ReasonRate)
		wantAnswer(t, g.knock("2001:db8:8::1"), 101, "")
	})
	row("L-46 a refused /48 takes nothing of the /64", func(t *testing.T) {
		var told []string
		g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: 16 * time.Hour, Burst: 1}),
			wssecure.OnEvent(func(e wssecure.Event) {
				if e.Kind == wssecure.EventRefused {
					told = append(told, e.Seen+": "+e.Wanted)
				}
			}))
		for network := range 16 {
			wantAnswer(t, g.knock(fmt.Sprintf("2001:db8:7:%x::1", network)), 101, "")
		}
		wantAnswer(t, g.knock("2001:db8:7:1::1"), 429, wssecure.ReasonRate)
		wantAnswer(t, g.knock("2001:db8:7:99::1"), 429, wssecure.ReasonRate)
		synctest.Wait()
		if want := []string{"2001:db8:7:1::1: 1 per 16h0m0s, 1 at once", "2001:db8:7::/48: 16 per 16h0m0s, 16 at once"}; !slices.Equal(told, want) {
			t.Errorf("the operator was told %q, want %q", told, want)
		}
		time.Sleep(time.Hour) // one token for the /48, and not for any spent /64
		wantAnswer(t, g.knock("2001:db8:7:99::1"), 101, "")
	})
}

// L-38: an office behind one address is not locked out, whatever its size.
func TestAdmittedIdentityGivesItsTokenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTokenGate(t, quiet, wssecure.LimitConns(wssecure.BySubject(), 10_000))
		token := bearer(g.issuer.Token("alice"))
		for i := range 10_000 {
			wantAnswer(t, g.knock([]string{"203.0.113.9", "2001:db8::7"}[i%2], token), 101, "")
			if i%100 == 0 {
				synctest.Wait()
			}
		}
	})
}

// L-05, L-32 to L-35: whose budget a handshake spends.
func TestWhoIsCounted(t *testing.T) {
	one := wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1})
	by := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = strings.Split(value, "|") }
	}
	const proxy = "10.0.0.1"
	for _, row := range []struct {
		name, proxies  string
		peer, other    string // two peers
		header, second func(*http.Request)
		same           bool // they are one client
	}{
		{name: "L-05 two addresses of one /64", peer: "2001:db8::1", other: "2001:db8::ffff", same: true},
		{name: "L-05 two /64", peer: "2001:db8::1", other: "2001:db8:0:1::1"},
		{name: "L-05 IPv4-mapped", peer: "::ffff:203.0.113.9", other: "203.0.113.9", same: true},
		{name: "L-05 zone", peer: "fe80::1%eth0", other: "fe80::1%eth1", same: true},
		{name: "L-05 NAT64", peer: "64:ff9b::cb00:7109", other: "203.0.113.9", same: true},
		{name: "L-05 two behind NAT64", peer: "64:ff9b::cb00:7109", other: "64:ff9b::cb00:710a"},
		{name: "L-05 ::1 alone", peer: "::1", other: "::2"},
		{name: "L-06 R1 header without TrustProxies", peer: "203.0.113.9", header: by("X-Forwarded-For", "198.51.100.1"), second: by("X-Forwarded-For", "198.51.100.2"), same: true},
		{name: "L-06 R1 peer outside TrustProxies", proxies: "X-Forwarded-For", peer: "203.0.113.9", header: by("X-Forwarded-For", "198.51.100.1"), second: by("X-Forwarded-For", "198.51.100.2"), same: true},
		{name: "L-32 R2 forged entries on the left", proxies: "X-Forwarded-For", peer: proxy, header: by("X-Forwarded-For", "1.1.1.1, 198.51.100.1"), second: by("X-Forwarded-For", "2.2.2.2|3.3.3.3, 198.51.100.1, 10.0.0.7"), same: true},
		{name: "L-32 another header is ignored", proxies: "X-Forwarded-For", peer: proxy, header: by("X-Real-Ip", "198.51.100.1"), second: by("X-Real-Ip", "198.51.100.2"), same: true},
		{name: "L-32 two clients of one proxy", proxies: "X-Forwarded-For", peer: proxy, header: by("X-Forwarded-For", "198.51.100.1"), second: by("X-Forwarded-For", "198.51.100.2")},
		{name: "L-33 port and mapped form", proxies: "X-Forwarded-For", peer: proxy, header: by("X-Forwarded-For", "198.51.100.1:4711"), second: by("X-Forwarded-For", "[::ffff:198.51.100.1]:80"), same: true},
		{name: "L-34 Forwarded", proxies: "Forwarded", peer: proxy, header: by("Forwarded", `for="[2001:db8::1]:80";proto=https`), second: by("Forwarded", `For="[2001:db8::2]"`), same: true},
		{name: "L-35 R2 garbage is the proxy's", proxies: "X-Forwarded-For", peer: proxy, header: by("X-Forwarded-For", "198.51.100.1, unknown"), second: by("X-Forwarded-For", "198.51.100.2, 0.0.0.0"), same: true},
		{name: "L-35 1,000 hops", proxies: "X-Forwarded-For", peer: proxy, header: by("X-Forwarded-For", "198.51.100.1"+strings.Repeat(", 10.0.0.2", 1000)), second: nil, same: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			options := []wssecure.Option{one}
			if row.proxies != "" {
				options = append(options, wssecure.TrustProxies(row.proxies, "private"))
			}
			g := newGate(t, quiet, options...)
			change := func(f func(*http.Request)) func(*http.Request) {
				if f == nil {
					return func(*http.Request) {}
				}
				return f
			}
			if row.other == "" {
				row.other = row.peer
			}
			wantAnswer(t, g.knock(row.peer, change(row.header)), 101, "")
			if row.same {
				wantAnswer(t, g.knock(row.other, change(row.second)), 429, wssecure.ReasonRate)
			} else {
				wantAnswer(t, g.knock(row.other, change(row.second)), 101, "")
			}
		})
	}
}

func TestHandshakeRateByOtherKeys(t *testing.T) {
	const client = "203.0.113.9"
	rate := wssecure.Rate{N: 1, Per: time.Hour, Burst: 2}
	tenant := func(h *wssecure.Handshake) string {
		if h.Request.URL.Path == "/panic" {
			panic("no tenant")
		}
		return strings.TrimPrefix(h.Request.URL.Path, "/")
	}
	t.Run("L-25 by subject", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newTokenGate(t, quiet, wssecure.LimitHandshakes(wssecure.BySubject(), rate))
			for range 2 {
				wantAnswer(t, g.knock(client, bearer(g.issuer.Token("alice"))), 101, "")
			}
			over := g.knock("198.51.100.1", bearer(g.issuer.Token("alice")))
			wantAnswer(t, over, 429, wssecure.ReasonRate)
			wantRetry(t, over, "3600")
			wantAnswer(t, g.knock(client, bearer(g.issuer.Token("bob"))), 101, "")
		})
	})
	t.Run("L-25 by subject, without identity", func(t *testing.T) {
		g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.BySubject(), rate))
		for range 10 {
			wantAnswer(t, g.knock(client), 101, "")
		}
	})
	t.Run("L-25 by total", func(t *testing.T) {
		g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByTotal(), rate))
		wantAnswer(t, g.knock(client), 101, "")
		wantAnswer(t, g.knock("198.51.100.1"), 101, "")
		wantAnswer(t, g.knock("198.51.100.2"), 503, wssecure.ReasonCapacity)
	})
	t.Run("L-25 by function", func(t *testing.T) {
		g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByFunc("tenant", tenant), rate))
		for range 2 {
			wantAnswer(t, g.knock(client, path("/acme")), 101, "")
		}
		wantAnswer(t, g.knock(client, path("/acme")), 429, wssecure.ReasonRate)
		wantAnswer(t, g.knock(client, path("/other")), 101, "")
		for range 5 {
			wantAnswer(t, g.knock(client, path("/")), 101, "")
		}
		wantAnswer(t, g.knock(client, path("/panic")), 500, wssecure.ReasonInternal)
		g.settled(0)
	})
	t.Run("one key, one counter: routes share it", func(t *testing.T) {
		g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 3}))
		child, err := g.guard.With(wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 2}))
		if err != nil {
			t.Fatal(err)
		}
		strict := child.ConnHandler(quiet)
		wantAnswer(t, g.knock(client), 101, "")
		wantAnswer(t, g.knockOn(strict, client), 101, "")
		wantAnswer(t, g.knockOn(strict, client), 429, wssecure.ReasonRate)
		wantAnswer(t, g.knock(client), 101, "")
		wantAnswer(t, g.knock(client), 429, wssecure.ReasonRate)
	})
}

// L-26, R5: counting is exact under concurrency.
func TestBurstInParallelIsExact(t *testing.T) {
	g := newGate(t, quiet, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 10}))
	if n := admittedOf(g, 100, "203.0.113.9"); n != 10 {
		t.Errorf("%d of 100 were admitted, want 10", n)
	}
}

// admittedOf knocks n times at once.
func admittedOf(g *gate, n int, client string, changes ...func(*http.Request)) int64 {
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if g.knock(client, changes...).status == 101 {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	return admitted.Load()
}

// L-03: where the time left is unknown no herd returns at once.
func TestRetryAfterIsRandomWhereUnknown(t *testing.T) {
	g := newGate(t, stay, wssecure.LimitConns(wssecure.ByTotal(), 1))
	wantAnswer(t, g.knock("203.0.113.9"), 101, "")
	given := map[int]bool{}
	for range 200 {
		a := g.knock("203.0.113.9")
		wantAnswer(t, a, 503, wssecure.ReasonCapacity)
		n, _ := strconv.Atoi(a.header["Retry-After"][0])
		given[n] = true
		if n < 5 || n > 15 {
			t.Fatalf("Retry-After %d, want 5 to 15", n)
		}
	}
	if len(given) < 5 {
		t.Errorf("200 refusals have the Retry-After of %d times only", len(given))
	}
}

// L-28: a check that does not return.
func TestOverdueChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var called atomic.Int64
		release := make(chan struct{})
		g := newGate(t, quiet, fastHandshakes, wssecure.LimitConns(wssecure.ByIP(), 10_000), wssecure.RequireCheck("tenant", func(_ context.Context, h *wssecure.Handshake) error {
			called.Add(1)
			switch h.Request.URL.Path {
			case "/late":
				<-release
				return nil
			case "/slow":
				time.Sleep(9 * time.Second)
			}
			return nil
		}))
		start := time.Now()
		wantAnswer(t, g.knock("203.0.113.9", path("/late")), 503, wssecure.ReasonUnavailable)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("refused after %s, want 10s", took)
		}
		// Slow is not overdue: far more than 1,024 calls may run within their time.
		if n := admittedOf(g, 1500, "203.0.113.9", path("/slow")); n != 1500 {
			t.Errorf("%d of 1500 slow checks admitted", n)
		}
		g.hangUp()
		if n := admittedOf(g, 1023, "203.0.113.9", path("/late")); n != 0 {
			t.Errorf("%d admitted by a late verdict", n)
		}
		before, start := called.Load(), time.Now()
		wantAnswer(t, g.knock("203.0.113.9", path("/quick")), 503, wssecure.ReasonUnavailable)
		if called.Load() != before || time.Since(start) != 0 {
			t.Error("a check with 1,024 overdue calls was called")
		}
		close(release)
		synctest.Wait()
		wantAnswer(t, g.knock("203.0.113.9", path("/quick")), 101, "")
	})
}

// L-28: clients that hang up while a check runs do not make it overdue, or they
// would have everybody else refused.
func TestHangUpsAreNotOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(_ context.Context, h *wssecure.Handshake) error {
			if h.Request.URL.Path == "/slow" {
				time.Sleep(9 * time.Second)
			}
			return nil
		}
		g := newGate(t, quiet, fastHandshakes, wssecure.RequireCheck("tenant", slow))
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		var hungUp sync.WaitGroup
		for range 1500 {
			hungUp.Go(func() {
				g.knock("203.0.113.9", path("/slow"), func(r *http.Request) { *r = *r.WithContext(gone) })
			})
		}
		synctest.Wait()
		wantAnswer(t, g.knock("198.51.100.7", path("/quick")), 101, "")
		hungUp.Wait()
	})
}
