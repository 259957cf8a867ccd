package limit_test

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

const day = 24 * time.Hour

func TestRateValid(t *testing.T) {
	for _, row := range []struct {
		name string
		rate limit.Rate
		ok   bool
	}{
		{"one a day", limit.Rate{N: 1, Per: day, Burst: 1}, true},
		{"1,000,000 a second", limit.Rate{N: 1_000_000, Per: time.Second, Burst: 1_000_000}, true},
		{"burst left out", limit.Rate{N: 600, Per: time.Minute}, true},
		{"largest ints", limit.Rate{N: math.MaxInt, Per: math.MaxInt64, Burst: math.MaxInt32}, true},
		{"zero", limit.Rate{}, false},
		{"no N", limit.Rate{Per: time.Second, Burst: 1}, false},
		{"no Per", limit.Rate{N: 1, Burst: 1}, false},
		{"negative N", limit.Rate{N: -1, Per: time.Second, Burst: 1}, false},
		{"negative Per", limit.Rate{N: 1, Per: -time.Second, Burst: 1}, false},
		{"negative burst", limit.Rate{N: 1, Per: time.Second, Burst: -1}, false},
		{"fills in more than five years", limit.Rate{N: 1, Per: 366 * day, Burst: 5}, false},
		{"overflows", limit.Rate{N: 1, Per: math.MaxInt64, Burst: math.MaxInt}, false},
	} {
		if err := row.rate.Valid(); (err == nil) != row.ok {
			t.Errorf("%s: Valid = %v", row.name, err)
		}
	}
}

func TestRateInvalidAdmitsNextToNothing(t *testing.T) {
	c, now := limit.NewCells(64), time.Now()
	h, l := c.HashString(0, "a"), limit.NewLimit(limit.Rate{})
	c.Take(h, l, 1, now)
	if ok, _ := c.Take(h, l, 1, now.Add(365*day)); ok {
		t.Error("an invalid rate admitted two within a year")
	}
}

// Rows of L-01, L-24, L-27: what a bucket gives at which time.
func TestTake(t *testing.T) {
	type step struct {
		at    time.Duration
		n     int
		ok    bool
		retry time.Duration
	}
	many := func(n int, s step) (all []step) {
		for range n {
			all = append(all, s)
		}
		return all
	}
	handshakes := limit.Rate{N: 600, Per: time.Minute, Burst: 300}
	for _, row := range []struct {
		name  string
		rate  limit.Rate
		steps []step
	}{
		{"L-01 a burst of 300, the 301st waits, then ten a second", handshakes, append(many(300, step{n: 1, ok: true}),
			step{n: 1, retry: 100 * time.Millisecond}, step{at: 99 * time.Millisecond, n: 1, retry: time.Millisecond},
			step{at: 100 * time.Millisecond, n: 1, ok: true}, step{at: 200 * time.Millisecond, n: 1, ok: true}, step{at: 200 * time.Millisecond, n: 1, retry: 100 * time.Millisecond})},
		{"L-24 a refused one is not charged", limit.Rate{N: 1, Per: time.Second, Burst: 1}, append(append([]step{{n: 1, ok: true}},
			many(1000, step{n: 1, retry: time.Second})...), step{at: time.Second, n: 1, ok: true})},
		{"all or none", limit.Rate{N: 1, Per: time.Second, Burst: 3}, []step{{n: 2, ok: true}, {n: 2, retry: time.Second}, {n: 1, ok: true}}},
		{"more than a bucket holds", limit.Rate{N: 1, Per: time.Second, Burst: 3}, []step{{n: 4, retry: 3 * time.Second}, {n: math.MaxInt, retry: 3 * time.Second}, {n: 3, ok: true}}},
		{"zero counts as one", limit.Rate{N: 1, Per: time.Second, Burst: 1}, []step{{n: 0, ok: true}, {n: 0, retry: time.Second}}},
		{"given back", limit.Rate{N: 1, Per: time.Second, Burst: 2}, []step{{n: 2, ok: true}, {n: -1, ok: true}, {n: 1, ok: true}, {n: 1, retry: time.Second}}},
		{"given back beyond full", limit.Rate{N: 1, Per: time.Second, Burst: 2}, []step{{n: -5, ok: true}, {n: 1, ok: true}, {n: -5, ok: true}, {n: math.MinInt, ok: true}, {n: 2, ok: true}, {n: 1, retry: time.Second}}},
		{"given back when it has filled by itself", limit.Rate{N: 1, Per: time.Second, Burst: 2}, []step{{n: 2, ok: true}, {at: time.Hour, n: -2, ok: true}, {at: time.Hour, n: 2, ok: true}, {at: time.Hour, n: 1, retry: time.Second}}},
		{"burst left out is N", limit.Rate{N: 2, Per: time.Second}, []step{{n: 1, ok: true}, {n: 1, ok: true}, {n: 1, retry: time.Second / 2}}},
		{"L-27 one an hour", limit.Rate{N: 1, Per: time.Hour, Burst: 1}, []step{{n: 1, ok: true}, {at: time.Hour - 1, n: 1, retry: 1}, {at: time.Hour, n: 1, ok: true}}},
		{"L-27 one a day", limit.Rate{N: 1, Per: day, Burst: 1}, []step{{n: 1, ok: true}, {at: 1, n: 1, retry: day - 1}, {at: day, n: 1, ok: true}}},
		{"L-27 1,000,000 a second", limit.Rate{N: 1_000_000, Per: time.Second, Burst: 1000}, []step{{n: 1000, ok: true}, {n: 1, retry: time.Microsecond}, {at: time.Microsecond, n: 1, ok: true}, {at: time.Millisecond, n: 999, ok: true}, {at: time.Millisecond, n: 1, retry: time.Microsecond}}},
		{"L-27 ten years idle: a full bucket, no more", handshakes, []step{{n: 300, ok: true}, {at: 3650 * day, n: 300, ok: true}, {at: 3650 * day, n: 1, retry: 100 * time.Millisecond}}},
		{"L-27 an hour back: no free burst, and no lock-out after", handshakes, []step{{at: 2 * time.Hour, n: 299, ok: true}, {at: time.Hour, n: 300, retry: time.Hour + 29900*time.Millisecond}, {at: 2 * time.Hour, n: 1, ok: true}, {at: 2 * time.Hour, n: 1, retry: 100 * time.Millisecond}}},
		{"L-27 before the table was made", limit.Rate{N: 1, Per: time.Second, Burst: 1}, []step{{at: -time.Hour, n: 1, ok: true}, {at: -time.Hour, n: 1, retry: time.Second}, {at: time.Second, n: 1, ok: true}}},
		{"interval rounded up: never over the rate", limit.Rate{N: 3, Per: time.Second, Burst: 3}, []step{{n: 3, ok: true}, {at: time.Second, n: 3, retry: 2}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, start := limit.NewCells(1024), time.Now()
				h, l := c.HashString(0, "client"), limit.NewLimit(row.rate)
				for i, s := range row.steps {
					now := start.Add(s.at)
					if s.n == 1 {
						if ok, retry := c.Peek(h, l, now); ok != s.ok || retry != s.retry {
							t.Fatalf("step %d: Peek at %v = %v, %v; want %v, %v", i, s.at, ok, retry, s.ok, s.retry)
						}
					}
					if ok, retry := c.Take(h, l, s.n, now); ok != s.ok || retry != s.retry {
						t.Fatalf("step %d: Take %d at %v = %v, %v; want %v, %v", i, s.n, s.at, ok, retry, s.ok, s.retry)
					}
				}
			})
		})
	}
}

func TestTakeIsExactInParallel(t *testing.T) {
	for round := range 50 {
		c, now := limit.NewCells(64), time.Now()
		l := limit.NewLimit(limit.Rate{N: 1, Per: time.Hour, Burst: 10})
		var group sync.WaitGroup
		var admitted [4]atomic.Int64
		for i := range 100 {
			group.Go(func() {
				key := i % len(admitted)
				for range 4 {
					if ok, _ := c.Take(c.HashString(0, strconv.Itoa(key)), l, 1, now); ok {
						admitted[key].Add(1)
					}
				}
			})
		}
		group.Wait()
		for key := range admitted {
			if n := admitted[key].Load(); n != 10 {
				t.Fatalf("round %d: %d admitted, want exactly 10", round, n)
			}
		}
	}
}

// Four goroutines charge one key as fast as they can; no charge may get lost.
func TestNoChargeIsLost(t *testing.T) {
	const burst = 100_000
	c, now := limit.NewCells(64), time.Now()
	h, l := c.HashString(0, "a"), limit.NewLimit(limit.Rate{N: 1, Per: time.Minute, Burst: burst})
	var admitted atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range burst / 2 {
				if ok, _ := c.Take(h, l, 1, now); ok {
					admitted.Add(1)
				}
			}
		})
	}
	group.Wait()
	if admitted.Load() != burst {
		t.Errorf("%d admitted, want exactly %d", admitted.Load(), burst)
	}
}

// Four goroutines meet each key at its first charge, where it must not be entered twice.
func TestFirstChargeIsExactInParallel(t *testing.T) {
	const keys = 20_000
	c, now := limit.NewCells(8*keys), time.Now()
	l := limit.NewLimit(limit.Rate{N: 1, Per: time.Hour, Burst: 2})
	var admitted atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for range 4 {
		group.Go(func() {
			<-start
			for i := range keys {
				if ok, _ := c.Take(c.HashPrefix(prefix64(i)), l, 1, now); ok {
					admitted.Add(1)
				}
			}
		})
	}
	close(start)
	group.Wait()
	if admitted.Load() != 2*keys {
		t.Errorf("%d admitted, want exactly %d", admitted.Load(), 2*keys)
	}
}

func TestForgetsTheOneNearestToFull(t *testing.T) {
	for round := range 50 {
		c, now := limit.NewCells(8), time.Now() // two lines: every key may sit in any cell
		l := limit.NewLimit(limit.Rate{N: 1, Per: time.Second, Burst: 100})
		key := func(i int) limit.Hash { return c.HashString(0, strconv.Itoa(i)) }
		for i := range 8 {
			c.Take(key(i), l, 20+(i*5+round)%8, now)
		}
		c.Take(key(8), l, 100, now)
		for i := range 8 {
			least := (i*5+round)%8 == 0
			// 81 are left in a forgotten bucket only.
			if forgotten, _ := c.Take(key(i), l, 81, now); forgotten != least {
				t.Fatalf("round %d: key %d forgotten: %v, want %v", round, i, forgotten, least)
			} else if forgotten {
				break // it has just displaced another
			}
		}
	}
}

// Keys that crowd each other out while others charge them: a charge never lands on the cell's next owner, so nobody is
// refused whose own charges are far below the burst.
func TestEvictionInParallel(t *testing.T) {
	c, now := limit.NewCells(8), time.Now()
	l := limit.NewLimit(limit.Rate{N: 1, Per: time.Hour, Burst: 1000})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 5000 {
				h := c.HashString(0, strconv.Itoa((i*7+worker)%32))
				if ok, _ := c.Take(h, l, 1, now); !ok && i < 100 {
					t.Errorf("refused after at most %d charges of 1000", i*8)
					return
				}
				c.Take(h, l, -1, now)
			}
		})
	}
	group.Wait()
	if c.Len() != 8 {
		t.Errorf("Len = %d of 8 cells", c.Len())
	}
}

func TestNowIsTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limit.NewCells(64)
		h, l := c.HashString(0, "a"), limit.NewLimit(limit.Rate{N: 1, Per: time.Minute, Burst: 1})
		c.Take(h, l, 1, c.Now())
		time.Sleep(time.Minute - time.Nanosecond)
		if ok, retry := c.Take(h, l, 1, c.Now()); ok || retry != time.Nanosecond {
			t.Errorf("Take = %v, %v a nanosecond early", ok, retry)
		}
		time.Sleep(time.Nanosecond)
		if ok, _ := c.Take(h, l, 1, c.Now()); !ok {
			t.Error("refused when a token is there")
		}
	})
}

func TestHashes(t *testing.T) {
	c := limit.NewCells(64)
	seen := make(map[limit.Hash]string)
	add := func(name string, h limit.Hash) {
		if old, ok := seen[h]; ok {
			t.Errorf("%s and %s hash alike", name, old)
		}
		seen[h] = name
	}
	for _, p := range []string{"192.0.2.1/32", "192.0.2.0/24", "192.0.2.0/25", "0.0.0.0/0", "::/0", "::/32", "2001:db8::/64", "2001:db8::/48", "::ffff:192.0.2.1/128"} {
		add(p, c.HashPrefix(netip.MustParsePrefix(p)))
	}
	for kind := range byte(10) {
		for _, s := range []string{"", "a", "b", "ab"} {
			add(strconv.Itoa(int(kind))+s, c.HashString(kind, s))
		}
	}
	a, b := c.HashString(0, "x"), c.HashString(0, "y")
	add("joined", c.Join(a, b))
	add("joined the other way", c.Join(b, a))
	first, again, elsewhere := c.HashString(1, "a"), c.HashString(1, "a"), limit.NewCells(64).HashString(1, "a")
	if first != again || first == elsewhere {
		t.Error("a hash must be stable in its table, and another in the next table")
	}
}

// prefix64 is the i-th /64.
func prefix64(i int) netip.Prefix {
	var a [16]byte
	a[0] = 0x20
	binary.BigEndian.PutUint32(a[4:], uint32(i))
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// L-07 at its rated load: cells for 1.43 times the clients that are over their limit.
func TestEvictionAtRatedLoad(t *testing.T) {
	const cells = 1 << 15
	const clients = cells * 7 / 10
	c, now := limit.NewCells(cells), time.Now()
	l := limit.NewLimit(limit.Rate{N: 20, Per: time.Minute, Burst: 20})
	for i := range clients {
		c.Take(c.HashPrefix(prefix64(i)), l, 20, now.Add(time.Duration(i)))
	}
	forgotten := 0
	for i := range clients {
		if ok, _ := c.Peek(c.HashPrefix(prefix64(i)), l, now.Add(clients)); ok {
			forgotten++
		}
	}
	share := float64(forgotten) / clients
	t.Logf("%d of %d over-limit clients forgotten early: %.3f %%; %.1f bytes a client", forgotten, clients, 100*share, 16*float64(cells)/clients)
	if share >= 0.005 {
		t.Errorf("%.2f %% forgotten early, want below 0.5 %%", 100*share)
	}
	if got := int(c.Evictions()); got != forgotten {
		t.Errorf("Evictions = %d, forgotten %d", got, forgotten)
	}
}

// L-07: a flood of distinct addresses passes through a table many times its size; who is over the limit stays there.
func TestFloodKeepsTheAbuser(t *testing.T) {
	const cells = 1 << 12
	c, now := limit.NewCells(cells), time.Now()
	l := limit.NewLimit(limit.Rate{N: 20, Per: time.Minute, Burst: 20})
	var abusers []limit.Hash
	for i := range 100 {
		h := c.HashString('a', strconv.Itoa(i))
		abusers = append(abusers, h)
		c.Take(h, l, 20, now)
	}
	for i := range 500_000 {
		c.Take(c.HashPrefix(prefix64(i)), l, 1, now.Add(time.Duration(i)*time.Microsecond))
	}
	at := now.Add(2 * time.Second)
	for i, h := range abusers {
		if ok, _ := c.Peek(h, l, at); ok {
			t.Fatalf("abuser %d forgotten after 500,000 other addresses", i)
		}
	}
	if c.Len() > c.Size() || c.Size() != cells {
		t.Errorf("Len = %d, Size = %d, want at most %d", c.Len(), c.Size(), cells)
	}
	if c.Evictions() == 0 {
		t.Error("500,000 clients in 4,096 cells, and no eviction counted")
	}
}

func TestFullBucketsGoUncounted(t *testing.T) {
	c, now := limit.NewCells(64), time.Now()
	l := limit.NewLimit(limit.Rate{N: 1, Per: time.Second, Burst: 1})
	for i := range 10_000 {
		c.Take(c.HashPrefix(prefix64(i)), l, 1, now.Add(time.Duration(i)*time.Second))
	}
	if c.Evictions() != 0 {
		t.Errorf("%d evictions counted, all of full buckets", c.Evictions())
	}
}

func TestMemoryIsTakenInSteps(t *testing.T) {
	if testing.AllocsPerRun(10, func() { limit.NewCells(1 << 20) }) > 10 {
		t.Error("an empty table is many allocations")
	}
	for _, n := range []int{-1, 0, 1, 4, 5, 1000} {
		c := limit.NewCells(n)
		l := limit.NewLimit(limit.Rate{N: 1, Per: time.Hour, Burst: 1})
		for i := range 3000 {
			c.Take(c.HashPrefix(prefix64(i)), l, 1, time.Now())
		}
		if c.Len() != c.Size() || c.Size() < n || c.Size() > max(n, 1)+3 {
			t.Errorf("NewCells(%d): Len = %d, Size = %d", n, c.Len(), c.Size())
		}
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	c, now := limit.NewCells(1024), time.Now()
	l := limit.NewLimit(limit.Rate{N: 1, Per: time.Hour, Burst: 3})
	p := netip.MustParsePrefix("2001:db8::/64")
	if n := testing.AllocsPerRun(100, func() {
		c.Take(c.HashPrefix(p), l, 1, now)
		c.Take(c.HashString(1, "alice"), l, -1, now)
		c.Peek(c.Join(c.HashPrefix(p), c.HashString(0, "handshakes")), l, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
