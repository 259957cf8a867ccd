package benchmarks

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

const plenty = 1_000_000_000

// BenchmarkLimiters is a check of one client's rate by two goroutines, each of
// which picks clients at random, by the number of clients there are. The clock
// and the hash of the address are part of it.
func BenchmarkLimiters(b *testing.B) {
	for _, n := range []int{1, 1e3, 1e5, 1e6} {
		clients := clientsOf(n)
		for _, other := range otherLimiters {
			b.Run(fmt.Sprintf("%d clients/%s", n, other.name), func(b *testing.B) {
				p := compare(b, checks(b, other, clients, plenty), checks(b, cells, clients, plenty))
				note(fmt.Sprintf("rate check, %d clients, %s", n, other.name), "ns", p.baseline.ns)
				note(fmt.Sprintf("rate check, %d clients, cells", n), "ns", p.candidate.ns)
				if other.name == sethVargo.name && (n == 1e3 || n == 1e5) {
					judge(b, fmt.Sprintf("7 rate check / sethvargo, 1e%d keys", map[int]int{1e3: 3, 1e5: 5}[n]), p.ratio)
				}
			})
		}
	}
	b.Run("1e6 beside 1e3", func(b *testing.B) {
		// Its list would be a miss of the cache for each of so many; a server has
		// just read the address.
		few := checksOf(b, cells, 1e3, plenty, func(i int) client { return client{addr: addressOf(i)} })
		many := checksOf(b, cells, 1e6, plenty, func(i int) client { return client{addr: addressOf(i)} })
		judge(b, "7 rate check, 1e6 keys / 1e3 keys", compare(b, few, many).ratio)
	})
}

// BenchmarkLimiterRefusals is the check of one client that is over its limit.
func BenchmarkLimiterRefusals(b *testing.B) {
	one := clientsOf(1)
	for _, other := range otherLimiters {
		b.Run(other.name, func(b *testing.B) {
			p := compare(b, checks(b, other, one, 1), checks(b, cells, one, 1))
			note("refused, "+other.name, "ns", p.baseline.ns)
			note("refused, cells", "ns", p.candidate.ns)
			if other.name == httpRate.name {
				judge(b, "7 refused / httprate", p.ratio)
			}
		})
	}
}

// checks asks about clients of a list at random, in two goroutines. All of them
// have come in once before.
func checks(tb testing.TB, l limiter, clients []client, budget int) func(n int) {
	return checksOf(tb, l, len(clients), budget, func(i int) client { return clients[i] })
}

func checksOf(tb testing.TB, l limiter, clients, budget int, of func(i int) client) func(n int) {
	worker := l.make(tb, clients, budget)
	take := worker()
	for i := range clients {
		if !take(of(i)) {
			tb.Fatalf("%s refuses a first one", l.name)
		}
	}
	want := budget > 1
	return func(n int) {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				take, random := worker(), rand.NewPCG(rand.Uint64(), 1)
				for range n / 2 {
					if take(of(int(random.Uint64()%uint64(clients)))) != want {
						tb.Errorf("%s: want %v", l.name, want)
						return
					}
				}
			})
		}
		both.Wait()
	}
}

// BenchmarkTrackedClient is what a table holds for each of a million clients,
// and how many live ones ours forgets when they are as many as it is rated for.
func BenchmarkTrackedClient(b *testing.B) {
	const n = 1e6
	ours := bytesPerClient(b, rated, n)
	for _, l := range append(otherLimiters, rated) {
		b.Run(l.name, func(b *testing.B) {
			if b.N > 1 {
				return // it has been measured
			}
			per := ours
			if l.name != cells.name {
				per = bytesPerClient(b, l, n)
			}
			b.ReportMetric(per, "B/client")
			note("a tracked client, "+l.name, "B", per)
			switch l.name {
			case cells.name:
				judge(b, "8 a tracked client, 1e6 keys", per)
				judge(b, "8 live clients evicted at the rated load", forgottenAtRatedLoad(n))
			case xTime.name:
				judge(b, "8 a tracked client / map with x/time/rate, 1e6 keys", ours/per)
			}
		})
	}
}

// bytesPerClient makes the clients one by one, so that what a limiter keeps of
// one is its own, and no list of ours.
func bytesPerClient(tb testing.TB, l limiter, n int) float64 {
	tb.Helper()
	all := clientsOf(n)
	before := heapInUse()
	worker := l.make(tb, n, plenty)
	take := worker()
	for _, x := range all {
		x.text = strings.Clone(x.text)
		take(x)
	}
	per := float64(heapInUse()-before) / float64(n)
	runtime.KeepAlive(worker)
	runtime.KeepAlive(all)
	return per
}

// forgottenAtRatedLoad lets clients come and go for two minutes, each with 1 to
// 20 tokens of a minute's budget spent, and gives the percentage of those still
// live that are forgotten. internal/limit has the whole table.
func forgottenAtRatedLoad(clients int) float64 {
	r := limit.Rate{N: 20, Per: time.Minute, Burst: 20}
	c, l, now := limit.NewCells(cellsFor(clients)), limit.NewLimit(r), time.Now()
	mean := l.Interval() * 21 / 2
	every := mean / time.Duration(clients)
	hash := func(at time.Duration) limit.Hash { return c.HashString(0, at.String()) }
	full := map[time.Duration]time.Duration{} // of the last minute, by arrival
	const end = 2 * time.Minute
	for at := time.Duration(0); at < end; at += every {
		n := 1 + rand.IntN(r.Burst)
		c.Take(hash(at), l, n, now.Add(at))
		if f := at + time.Duration(n)*l.Interval(); f > end {
			full[at] = f
		}
	}
	gone := 0
	for at := range full {
		if ok, _ := c.PeekN(hash(at), l, r.Burst, now.Add(end)); ok {
			gone++
		}
	}
	return 100 * float64(gone) / float64(len(full))
}

// TestTrackedClient: bytes and allocations do not swing.
func TestTrackedClient(t *testing.T) {
	const n = 1 << 16
	if per := bytesPerClient(t, rated, n); per > 24 {
		t.Errorf("%.1f bytes a client at the rated load, want at most 24", per)
	}
	clients := clientsOf(1000)
	for _, budget := range []int{1, plenty} {
		run := checks(t, cells, clients, budget)
		// Two goroutines and their generators, whatever n is.
		if few, many := testing.AllocsPerRun(3, func() { run(2) }), testing.AllocsPerRun(3, func() { run(20_000) }); many > few+1 {
			t.Errorf("%.0f allocations in 20,000 checks, %.0f in two", many, few)
		}
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
