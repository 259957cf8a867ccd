package registry_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
)

func BenchmarkAddRemove(b *testing.B) {
	table := newTable()
	for n := range 100_000 {
		table.Add(&session{n: n}, keysOf(n))
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		s := &session{}
		k := keysOf(int(200_000 + next.Add(1)))
		for pb.Next() {
			table.Add(s, k)
			table.Remove(s)
		}
	})
}

func BenchmarkByPrefix(b *testing.B) {
	table := newTable()
	for n := range 100_000 {
		table.Add(&session{n: n}, keysOf(n))
	}
	for b.Loop() {
		table.ByPrefix(netip.MustParsePrefix("192.0.2.0/24"))
	}
}
