package benchmarks

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// Each side of a pair runs for a slice of time before the other has its turn:
// short, so that what disturbs the machine disturbs both.
const (
	sliceTime = 100 * time.Millisecond
	rounds    = 20
)

// A pair is what two ways to do the same have cost, side by side.
type pair struct {
	baseline, candidate cost    // medians of the slices, for one time
	ratio               float64 // median of the rounds' candidate / baseline
	spread              float64 // between the quarters of these ratios
	more                float64 // median of the rounds' candidate - baseline, in ns
}

// A cost is that of doing something once.
type cost struct{ ns, allocs, bytes float64 }

// compare lets two sides alternate, each of which does its work n times. It is
// called once in a benchmark, and is its whole measurement: b.N does not count.
func compare(b *testing.B, baseline, candidate func(n int)) pair {
	b.Helper()
	return compareBy(b, wallTime, baseline, candidate)
}

var began = time.Now()

func wallTime() time.Duration { return time.Since(began) }

// compareBy is compare by another clock, such as cpuTime.
func compareBy(b *testing.B, clock func() time.Duration, baseline, candidate func(n int)) pair {
	b.Helper()
	p := measure(clock, sliceTime, rounds, baseline, candidate)
	b.ReportAllocs()
	b.ReportMetric(p.candidate.ns, "ns/op")
	b.ReportMetric(p.candidate.allocs, "allocs/op")
	b.ReportMetric(p.candidate.bytes, "B/op")
	b.ReportMetric(p.baseline.ns, "baseline-ns/op")
	b.ReportMetric(p.baseline.allocs, "baseline-allocs/op")
	b.ReportMetric(p.more, "more-ns/op")
	b.ReportMetric(p.ratio, "ratio")
	b.ReportMetric(p.spread, "ratio-spread")
	return p
}

func measure(clock func() time.Duration, slice time.Duration, rounds int, baseline, candidate func(n int)) pair {
	sides := [2]side{{run: baseline, clock: clock}, {run: candidate, clock: clock}}
	for i := range sides {
		sides[i].calibrate(slice)
	}
	var ratios, more []float64
	for round := range rounds {
		first, second := &sides[round%2], &sides[1-round%2]
		first.measure()
		second.measure()
		x, y := sides[0].seen[round].ns, sides[1].seen[round].ns
		ratios, more = append(ratios, y/x), append(more, y-x)
	}
	return pair{
		baseline: sides[0].median(), candidate: sides[1].median(),
		ratio: quantile(ratios, 0.5), spread: quantile(ratios, 0.75) - quantile(ratios, 0.25),
		more: quantile(more, 0.5),
	}
}

type side struct {
	run   func(n int)
	clock func() time.Duration
	n     int // how often it does its work in a slice
	seen  []cost
}

// calibrate finds how often the work fits into a slice, and warms it up.
func (s *side) calibrate(slice time.Duration) {
	for s.n = 1; ; s.n *= 2 {
		start := s.clock()
		s.run(s.n)
		if took := s.clock() - start; took >= slice/4 {
			s.n = max(1, int(float64(s.n)*float64(slice)/float64(took)))
			return
		}
	}
}

func (s *side) measure() {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := s.clock()
	s.run(s.n)
	took := s.clock() - start
	runtime.ReadMemStats(&after)
	n := float64(s.n)
	s.seen = append(s.seen, cost{
		ns:     float64(took) / n,
		allocs: float64(after.Mallocs-before.Mallocs) / n,
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / n,
	})
}

func (s *side) median() cost {
	of := func(part func(cost) float64) float64 {
		var all []float64
		for _, c := range s.seen {
			all = append(all, part(c))
		}
		return quantile(all, 0.5)
	}
	return cost{
		ns:     of(func(c cost) float64 { return c.ns }),
		allocs: of(func(c cost) float64 { return c.allocs }),
		bytes:  of(func(c cost) float64 { return c.bytes }),
	}
}

// quantile is the value below which a part q of all lies.
func quantile(all []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i == len(sorted)-1 {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
