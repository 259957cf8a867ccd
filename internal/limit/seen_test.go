package limit_test

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

func TestSeenOnceUntilItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limit.NewSeen(10)
		d := s.Digest("nonce")
		if s.Has(d, time.Now()) || !s.Add(d, time.Minute, time.Now()) || s.Add(d, time.Hour, time.Now()) || !s.Has(d, time.Now()) {
			t.Fatal("the first Add, and only that one, is first")
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if s.Add(d, time.Minute, time.Now()) {
			t.Error("forgotten before its time")
		}
		time.Sleep(time.Nanosecond)
		if s.Has(d, time.Now()) || !s.Add(d, time.Minute, time.Now()) {
			t.Error("remembered beyond its time")
		}
		if s.Evictions() != 0 {
			t.Error("lapsing counted as an eviction")
		}
	})
}

func TestSeenWithdraw(t *testing.T) {
	s, now := limit.NewSeen(3), time.Now()
	for _, v := range []string{"a", "b", "c"} {
		s.Add(s.Digest(v), time.Hour, now)
	}
	s.Withdraw(s.Digest("b"))
	s.Withdraw(s.Digest("b"))
	s.Withdraw(s.Digest("never"))
	// The place is free again: nobody has to go for the next one.
	if !s.Add(s.Digest("d"), time.Hour, now) || s.Add(s.Digest("a"), time.Hour, now) || s.Evictions() != 0 || s.Len() != 3 {
		t.Errorf("Len %d, Evictions %d", s.Len(), s.Evictions())
	}
	if !s.Add(s.Digest("b"), time.Hour, now) {
		t.Error("withdrawn, yet remembered")
	}
}

func TestL29OldestForgottenNewNeverRefused(t *testing.T) {
	const size = 100_000
	s, now := limit.NewSeen(size), time.Now()
	add := func(i int) bool { return s.Add(s.Digest(strconv.Itoa(i)), 5*time.Minute, now) }
	for i := range 2 * size {
		if !add(i) {
			t.Fatalf("nonce %d was never seen, yet refused", i)
		}
	}
	if s.Len() != size || s.Evictions() != size {
		t.Errorf("Len %d, Evictions %d", s.Len(), s.Evictions())
	}
	for i := size; i < 2*size; i++ {
		if add(i) {
			t.Fatalf("nonce %d of the newest %d forgotten", i, size)
		}
	}
	if !s.Has(s.Digest(strconv.Itoa(size)), now) || s.Has(s.Digest(strconv.Itoa(size-1)), now) {
		t.Error("not the oldest was forgotten")
	}
}

func TestSeenDropsTheLapsed(t *testing.T) {
	s, now := limit.NewSeen(1000), time.Now()
	for i := range 1000 {
		s.Add(s.Digest(strconv.Itoa(i)), time.Second, now)
	}
	for i := range 600 {
		s.Add(s.Digest("later"+strconv.Itoa(i)), time.Hour, now.Add(time.Minute))
	}
	if s.Evictions() != 0 || s.Len() != 600 {
		t.Errorf("Len %d, Evictions %d: the lapsed make room", s.Len(), s.Evictions())
	}
}

// TestSeenAgainstModel plays random calls on the table and on a map.
func TestSeenAgainstModel(t *testing.T) {
	const seed, values = 11, 300
	random := rand.New(rand.NewPCG(seed, seed))
	s, until := limit.NewSeen(values), map[int]time.Time{}
	now := time.Now()
	for step := range 50_000 {
		n, ttl := random.IntN(values), time.Duration(random.IntN(1000))*time.Second
		d := s.Digest(strconv.Itoa(n))
		known := until[n].After(now)
		if s.Has(d, now) != known {
			t.Fatalf("step %d, seed %d: Has(%d) = %v", step, seed, n, !known)
		}
		switch {
		case random.IntN(3) == 0:
			s.Withdraw(d)
			delete(until, n)
		default:
			if s.Add(d, ttl, now) == known {
				t.Fatalf("step %d, seed %d: Add(%d) = %v", step, seed, n, known)
			}
			if !known {
				until[n] = now.Add(ttl)
			}
		}
		now = now.Add(time.Duration(random.IntN(5)) * time.Second)
	}
	if s.Evictions() != 0 || s.Len() > len(until) {
		t.Errorf("%d evictions, %d remembered of %d", s.Evictions(), s.Len(), len(until))
	}
}

// TestSeenCostsLittle: its memory grows with use, and no further than it says.
func TestSeenCostsLittle(t *testing.T) {
	const size, most = 100_000, 60
	held := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := held()
	s, now := limit.NewSeen(size), time.Now()
	if empty := held() - before; empty > 64<<10 {
		t.Errorf("%d bytes before any use", empty)
	}
	for i := range 2 * size {
		s.Add(s.Digest(strconv.Itoa(i)), time.Hour, now)
	}
	each := (held() - before) / size
	t.Logf("%d bytes a value", each)
	if each > most || each < 20 {
		t.Errorf("a value takes %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(s)
}

func TestSeenInParallel(t *testing.T) {
	s, now := limit.NewSeen(100), time.Now()
	var first atomic.Int64
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			for i := range 50 {
				if s.Add(s.Digest(strconv.Itoa(i)), time.Hour, now) {
					first.Add(1)
				}
			}
		})
	}
	group.Wait()
	if first.Load() != 50 {
		t.Errorf("%d first of 50 values", first.Load())
	}
}
