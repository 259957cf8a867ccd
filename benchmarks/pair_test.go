package benchmarks

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestPairsAlternateAndSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []byte
		work := func(name byte, each time.Duration) func(int) {
			return func(n int) {
				order = append(order, name)
				time.Sleep(time.Duration(n) * each)
			}
		}
		p := measure(wallTime, 100*time.Millisecond, 4, work('b', time.Millisecond), work('c', 3*time.Millisecond))
		if got := string(order[len(order)-8:]); got != "bccbbccb" {
			t.Errorf("order %s, want bccbbccb", got)
		}
		if math.Abs(p.ratio-3) > 1e-9 || p.more != 2e6 || p.spread != 0 {
			t.Errorf("ratio %v, more %v, spread %v; want 3, 2e6, 0", p.ratio, p.more, p.spread)
		}
		if p.baseline.ns != 1e6 || p.candidate.ns != 3e6 {
			t.Errorf("%v and %v ns, want 1e6 and 3e6", p.baseline.ns, p.candidate.ns)
		}
	})
}

func TestQuantile(t *testing.T) {
	for _, row := range []struct {
		all     []float64
		q, want float64
	}{
		{[]float64{3}, 0.5, 3},
		{[]float64{9, 1, 5}, 0.5, 5},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 4, 3, 2, 1}, 0.25, 2},
		{[]float64{5, 4, 3, 2, 1}, 1, 5},
	} {
		if got := quantile(row.all, row.q); got != row.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", row.all, row.q, got, row.want)
		}
	}
}

// BenchmarkResolution is a pair of equals: how far its ratio is from 1, and its
// spread, is what this machine cannot see now.
func BenchmarkResolution(b *testing.B) {
	a, again := coderWithDuties(b), coderWithDuties(b)
	judge(b, "0 two equals", compare(b, a, again).ratio)
}
