package wssecure_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
)

// TestTenThousandEnds is L-09 in disorder: handshakes and sessions that are
// aborted, panic, are reset or refused, ten thousand of them, many at once and
// every way to end beside every other. Then every counter is back at zero: places,
// sessions, leases of each subject, address and key.
func TestTenThousandEnds(t *testing.T) {
	const rounds, people = 10_000, 50
	shared := leavings[:0:0]
	for _, row := range leavings {
		if len(row.options) == 0 { // the others need a guard of their own
			shared = append(shared, row)
		}
	}
	g := newTokenGate(t, stay, fastHandshakes, wssecure.LimitConns(wssecure.BySubject(), 10_000),
		wssecure.LimitConns(wssecure.ByFunc("full", isFull), 1), wssecure.RequireCheck("path", checkPath),
		wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(2*rounds), time.Minute))
	var leases store.Store
	wssecure.WrapStore(g.guard, func(s store.Store) store.Store { leases = s; return s })
	handlers := make([]http.Handler, len(shared))
	for i, row := range shared {
		switch {
		case row.next != nil:
			handlers[i] = g.guard.Handler(row.next)
		case row.serve != nil:
			handlers[i] = g.guard.ConnHandler(row.serve)
		default:
			handlers[i] = g.guard.ConnHandler(quiet)
		}
	}
	tokens := make([]func(*http.Request), people)
	for i := range tokens {
		tokens[i] = bearer(g.issuer.Token(fmt.Sprint("user", i)))
	}
	work := make(chan int, rounds)
	for i := range rounds {
		work <- i
	}
	close(work)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for i := range work {
				k := rand.IntN(len(shared))
				end(g, shared[k], handlers[k], tokens[i%people])
			}
		})
	}
	all.Wait()
	g.hangUp()
	g.settled(0)
	for s := range g.guard.Sessions() {
		t.Errorf("session %s is left", s.ID)
	}
	held := func(k store.Key) int {
		ask := store.Admit{Key: k}
		leases.(interface{ Peek(...store.Op) }).Peek(&ask)
		return ask.Verdict.Held
	}
	for i := range people {
		if n := held(store.Subject(g.issuer.URL, fmt.Sprint("user", i))); n != 0 {
			t.Errorf("user%d holds %d leases", i, n)
		}
	}
	if n := held(store.Custom("full", "yes")); n != 0 {
		t.Errorf("the key of a function holds %d leases", n)
	}
	stats := g.guard.Stats()
	var ended uint64
	for _, n := range stats.Refused {
		ended += n
	}
	for _, n := range stats.Closed {
		ended += n
	}
	if ended != rounds {
		t.Errorf("%d ends are counted of %d: %v %v", ended, rounds, stats.Refused, stats.Closed)
	}
}

// end goes in and out once, and waits for nothing.
func end(g *gate, row leaving, handler http.Handler, who func(*http.Request)) {
	defer func() { _ = recover() }() // net/http's
	changes := []func(*http.Request){who}
	if row.path != "" {
		changes = append(changes, path(row.path))
	}
	g.knockThrough(handler, row.writer, row.feed, attacker, changes...)
}
