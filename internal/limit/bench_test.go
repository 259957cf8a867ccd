package limit_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

// BenchmarkTake reads the clock and hashes the address each time, as a rate check does.
func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 1e3, 1e5, 1e6} {
		b.Run(fmt.Sprintf("keys=%.0e", float64(keys)), func(b *testing.B) {
			benchmarkTake(b, keys, limit.Rate{N: 1_000_000_000, Per: time.Second, Burst: 1_000_000_000})
		})
	}
	b.Run("refused", func(b *testing.B) { benchmarkTake(b, 1, limit.Rate{N: 1, Per: time.Hour, Burst: 1}) })
}

func benchmarkTake(b *testing.B, keys int, rate limit.Rate) {
	c, l := limit.NewCells(max(1<<20, keys*10/7)), limit.NewLimit(rate)
	for i := range keys {
		c.Take(c.HashPrefix(prefix64(i)), l, 1, time.Now())
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		random := rand.New(rand.NewPCG(rand.Uint64(), 1))
		for pb.Next() {
			c.Take(c.HashPrefix(prefix64(random.IntN(keys))), l, 1, c.Now())
		}
	})
}

func BenchmarkSeen(b *testing.B) {
	s := limit.NewSeen(100_000)
	values := make([]string, 1<<16)
	for i := range values {
		values[i] = fmt.Sprintf("dGhlIHNhbXBsZSBub25jZQ==%040d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(s.Digest(values[i%len(values)]), time.Microsecond, time.Now())
	}
}
