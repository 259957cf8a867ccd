// Package storetest is the conformance suite for any store.Store, and a store that misbehaves on command.
package storetest

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
)

// Run checks everything that the store package promises of a Store. Each row opens a store of its own, which must be
// empty; open registers its clean-up with t. Time passes for real, so the rows run in parallel: about three seconds.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Run("rows", func(t *testing.T) { // returns when all have run
		for _, r := range rows() {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.run(&bench{T: t, s: open(t)})
			})
		}
	})
}

// RunInBubble is Run with each row in a testing/synctest bubble, for stores that need no network: no time passes.
func RunInBubble(t *testing.T, open func(t *testing.T) store.Store) {
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { r.run(&bench{T: t, s: open(t)}) })
		})
	}
}

type row struct {
	name string
	run  func(b *bench)
}

func rows() []row {
	var all []row
	for _, part := range [][]row{rateRows, capRows, banRows, revokeRows, secretRows, beatRows, feedRows, shapeRows} {
		all = append(all, part...)
	}
	return all
}

// bench is one row's store with the questions that rows ask.
type bench struct {
	*testing.T
	s store.Store
}

// tick is the unit of time of rows that wait: long against a round trip, short for whoever runs the suite.
const tick = 300 * time.Millisecond

var (
	slow   = store.Rate{N: 1, Per: time.Hour, Burst: 3} // nothing comes back while a row runs
	client = store.Address(netip.MustParsePrefix("198.51.100.7/32"))
	user   = store.Subject("https://id.example.com", "alice")
)

func wait(d time.Duration) { <-time.After(d) }

func (b *bench) do(ops ...store.Op) {
	b.Helper()
	if err := b.s.Do(context.Background(), ops...); err != nil {
		b.Fatalf("Do: %v", err)
	}
}

// admit asks and wants an answer.
func (b *bench) admit(a store.Admit) store.Verdict {
	b.Helper()
	b.do(&a)
	if a.Err != nil {
		b.Fatalf("Admit %+v: %v", a, a.Err)
	}
	return a.Verdict
}

// want asks and wants this answer.
func (b *bench) want(want store.Refusal, a store.Admit) store.Verdict {
	b.Helper()
	v := b.admit(a)
	if v.Refused != want {
		b.Fatalf("Admit %+v: refused %v, want %v", a, v.Refused, want)
	}
	return v
}

func (b *bench) mark(m store.Mark) {
	b.Helper()
	b.do(&m)
	if m.Err != nil {
		b.Fatalf("Mark %+v: %v", m, m.Err)
	}
}

func (b *bench) beat(n store.NodeID, ttl time.Duration) store.Beat {
	b.Helper()
	o := store.Beat{Node: n, TTL: ttl}
	b.do(&o)
	if o.Err != nil {
		b.Fatalf("Beat: %v", o.Err)
	}
	return o
}

func (b *bench) release(k store.Key, n store.NodeID, conn uint64) {
	b.Helper()
	o := store.Release{Key: k, Node: n, Conn: conn}
	b.do(&o)
	if o.Err != nil {
		b.Fatalf("Release: %v", o.Err)
	}
}

// race runs f n times at once and counts how often it says yes.
func race(n int, f func(i int) bool) int {
	var yes atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			if f(i) {
				yes.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	return int(yes.Load())
}

// lease asks for one of at most limit connections of k.
func lease(k store.Key, limit int, n store.NodeID, conn uint64) store.Admit {
	return store.Admit{Key: k, Cap: limit, Node: n, Conn: conn, Hold: time.Hour}
}

func rate(k store.Key, bucket string, r store.Rate, n int) store.Admit {
	return store.Admit{Key: k, Bucket: bucket, Rate: r, N: n}
}
