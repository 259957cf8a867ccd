package limit_test

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

// What a table forgets, by how full it is. Load is the number of clients whose bucket is not full, by that of cells;
// the defaults rate a table at 0.7.

// failures is the rate of the simulations: a client is live for 3 s to a minute.
var failures = limit.Rate{N: 20, Per: time.Minute, Burst: 20}

// L-07. Clients come and go, each charged 1 to 20 tokens; 200 offenders beside them take every token they get. One
// that is forgotten would have a full bucket.
func TestWhatATableForgets(t *testing.T) {
	for _, row := range []struct{ load, most float64 }{ // percent of live clients forgotten
		{0.5, 0.1},
		{0.7, 0.5}, // the rated load
		{0.8, 2.5},
		{0.9, 6},
		{1, 10},
		{2, 55},
		{10, 93},
	} {
		live, offenders := forgotten(row.load)
		t.Logf("load %4.1f: %6.3f %% of live clients forgotten, %.3f %% of offenders", row.load, live, offenders)
		if live > row.most*noise {
			t.Errorf("load %.1f: %.3f %% of live clients forgotten, want at most %v %%", row.load, live, row.most)
		}
		if offenders > 0 {
			t.Errorf("load %.1f: %.3f %% of offenders forgotten, want none", row.load, offenders)
		}
	}
}

// forgotten runs a table for four minutes of its clients' time, and asks at the end of each after the first who of the
// live ones and of the offenders is not known any more.
func forgotten(load float64) (live, offenders float64) {
	const cells, abusers = 1 << 15 / smaller, 200 / smaller
	c, now, l := limit.NewCells(cells), time.Now(), limit.NewLimit(failures)
	random := rand.New(rand.NewPCG(1, 2))
	isForgotten := func(h limit.Hash, at time.Duration) int {
		if full, _ := c.PeekN(h, l, failures.Burst, now.Add(at)); full {
			return 1
		}
		return 0
	}
	// Live at once are as many as come in the mean time to a full bucket, of 10.5 tokens.
	every := l.Interval() * 21 / 2 / time.Duration(load*cells-abusers)
	type client struct {
		full time.Duration
		h    limit.Hash
	}
	var clients []client // of the last minute: those before have full buckets
	var alive, gone, asked, lost int
	at := time.Duration(0)
	for second := range 4 * 60 {
		for i := range abusers {
			h := c.HashPrefix(prefix64(-1 - i))
			if second > 0 {
				asked++
				lost += isForgotten(h, at)
			}
			for ok := true; ok; ok, _ = c.Take(h, l, 1, now.Add(at)) {
			}
		}
		if second%60 == 0 {
			for _, x := range clients {
				if second > 60 && x.full > at {
					alive++
					gone += isForgotten(x.h, at)
				}
			}
			clients = clients[:0]
		}
		for ; at < time.Duration(second+1)*time.Second; at += every {
			n := 1 + random.IntN(failures.Burst)
			x := client{at + time.Duration(n)*l.Interval(), c.HashPrefix(prefix64(int(at)))}
			c.Take(x.h, l, n, now.Add(at))
			clients = append(clients, x)
		}
	}
	return 100 * float64(gone) / float64(alive), 100 * float64(lost) / float64(asked)
}

// The worst case: everybody is as far over the limit as everybody else, so that nobody is a better one to forget.
func TestEvictionAmongOffenders(t *testing.T) {
	const cells = 1 << 15 / smaller
	for _, row := range []struct{ load, most float64 }{{0.5, 0.05}, {0.7, 0.3}, {0.8, 1.5}, {0.9, 5}, {1, 10}} {
		n := int(row.load * cells)
		c, now, l := limit.NewCells(cells), time.Now(), limit.NewLimit(failures)
		for i := range n {
			c.Take(c.HashPrefix(prefix64(i)), l, failures.Burst, now.Add(time.Duration(i)))
		}
		gone := 0
		for i := range n {
			if ok, _ := c.Peek(c.HashPrefix(prefix64(i)), l, now.Add(time.Duration(n))); ok {
				gone++
			}
		}
		share := 100 * float64(gone) / float64(n)
		t.Logf("load %.1f: %6.3f %% of offenders forgotten, %.1f bytes each", row.load, share, 16/row.load)
		if share > row.most*noise {
			t.Errorf("load %.1f: %.3f %% forgotten, want at most %v %%", row.load, share, row.most)
		}
		if got := int(c.Evictions()); got != gone {
			t.Errorf("load %.1f: Evictions = %d, forgotten %d", row.load, got, gone)
		}
	}
}

// A bucket that moves is charged exactly by those who look for it meanwhile, and makes room for one more.
func TestMovesAreExactInParallel(t *testing.T) {
	const cells, keys, burst, tables = 256, 205, 8, 100
	for range tables {
		c, now, l := limit.NewCells(cells), time.Now(), limit.NewLimit(limit.Rate{N: 1, Per: time.Hour, Burst: burst})
		var admitted atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 3 { // 12 times each key in all
					for _, i := range rand.Perm(keys) {
						if ok, _ := c.Take(c.HashPrefix(prefix64(i)), l, 1, now); ok {
							admitted.Add(1)
						}
					}
				}
			})
		}
		all.Wait()
		n, again := int(admitted.Load()), burst*int(c.Evictions())
		if n < keys*burst || n > keys*burst+again {
			t.Fatalf("%d admitted, want %d, and at most %d more for %d forgotten", n, keys*burst, again, c.Evictions())
		}
	}
}

// L-07: 10,000,000 addresses within ten seconds, and a table for a million.
func TestTenMillionAddresses(t *testing.T) {
	const addresses, size = 10_000_000 / smaller, 1 << 20 / smaller
	before := heap()
	c, now, l := limit.NewCells(size), time.Now(), limit.NewLimit(failures)
	abuser := c.HashPrefix(prefix64(-1))
	c.Take(abuser, l, failures.Burst, now)
	filled := uint64(0)
	for i := range addresses {
		at := now.Add(time.Duration(i) * time.Microsecond)
		c.Take(c.HashPrefix(prefix64(i)), l, 1, at)
		if i%1000 == 0 { // it takes what has come back, and gets no more
			for ok, n := true, 0; ok; n++ {
				if ok, _ = c.Take(abuser, l, 1, at); n == failures.Burst/2 {
					t.Fatalf("the abuser was forgotten after %d addresses", i)
				}
			}
		}
		if i == 4*size {
			filled = heap()
		}
	}
	after := heap()
	runtime.KeepAlive(c)
	t.Logf("%d addresses, %d cells of %d used, %d bytes of heap, %d forgotten", addresses, c.Len(), c.Size(), after-before, c.Evictions())
	if took := after - before; took > 16*size+size/2 {
		t.Errorf("%d bytes of heap, want 16 a cell", took)
	}
	if after > filled+1<<16 {
		t.Errorf("%d bytes of heap after four times the table, %d after ten: it grows", filled, after)
	}
}

// L-29: the same for values that may be used once. The oldest goes, and one never seen is never refused.
func TestWhatSeenForgets(t *testing.T) {
	const size = 1 << 12
	for _, row := range []struct {
		load      float64 // values within their time, by places
		forgotten float64 // percent of them
	}{{0.5, 0}, {1, 0}, {1.25, 20}, {2, 50}, {10, 90}} {
		s, now := limit.NewSeen(size), time.Now()
		const ttl = 5 * time.Minute
		n := int(row.load * size)
		for i := range 3 * n {
			if !s.Add(s.Digest(number(i)), ttl, now.Add(time.Duration(i)*ttl/time.Duration(n))) {
				t.Fatalf("load %v: value %d refused, and it was never seen", row.load, i)
			}
		}
		gone := 0
		for i := 2 * n; i < 3*n; i++ {
			if !s.Has(s.Digest(number(i)), now.Add(3*ttl-ttl/time.Duration(n))) {
				gone++
			}
		}
		share := 100 * float64(gone) / float64(n)
		t.Logf("load %5.2f: %5.1f %% of values forgotten", row.load, share)
		if share > row.forgotten+0.1 {
			t.Errorf("load %v: %.1f %% forgotten, want %v %%", row.load, share, row.forgotten)
		}
	}
}

func TestAMillionNonces(t *testing.T) {
	const nonces, size = 1_000_000 / smaller, 100_000 / smaller
	before := heap()
	s, now := limit.NewSeen(size), time.Now()
	filled := uint64(0)
	for i := range nonces {
		if !s.Add(s.Digest(number(i)), time.Hour, now.Add(time.Duration(i)*time.Microsecond)) {
			t.Fatalf("nonce %d refused, and it was never seen", i)
		}
		if i == 4*size {
			filled = heap()
		}
	}
	after := heap()
	runtime.KeepAlive(s)
	t.Logf("%.1f bytes a nonce", float64(after-before)/size)
	if took := after - before; took > 110*size {
		t.Errorf("%d bytes of heap, want at most 110 a nonce", took)
	}
	if after > filled+filled/50 {
		t.Errorf("%d bytes of heap after four times the table, %d after twenty: it grows", filled, after)
	}
}

func number(i int) string { return string(binary.BigEndian.AppendUint64(nil, uint64(i))) }

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
