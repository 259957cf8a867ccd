package limit_test

import (
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
