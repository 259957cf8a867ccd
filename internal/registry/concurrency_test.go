package registry_test

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure/internal/registry"
)

func TestWalkDuringOpensAndEnds(t *testing.T) {
	t.Run("S-28 each live session at most once, those that stay exactly once", func(t *testing.T) {
		table := newTable()
		var stay []*session
		for n := range 500 {
			s := &session{n: n}
			stay = append(stay, s)
			table.Add(s, keysOf(n))
		}
		var stop atomic.Bool
		var churn sync.WaitGroup
		for worker := range 4 {
			churn.Go(func() {
				for n := 0; !stop.Load(); n++ {
					s, k := &session{n: 1000 + worker}, keysOf(1000+worker*1000+n%1000)
					table.Add(s, k)
					moved := k
					moved.Token += "renewed"
					table.Move(s, k, moved)
					table.BySubject(k.Subject)
					table.ByPrefix(netip.MustParsePrefix("192.0.2.0/24"))
					table.Remove(s)
				}
			})
		}
		for range 50 {
			seen := map[*session]int{}
			for s := range table.All() {
				seen[s]++
			}
			for s, n := range seen {
				if n > 1 {
					t.Errorf("session %d was given %d times", s.n, n)
				}
			}
			for _, s := range stay {
				if seen[s] != 1 {
					t.Errorf("session %d, live all along, was given %d times", s.n, seen[s])
				}
			}
		}
		stop.Store(true)
		churn.Wait()
		if table.Len() != len(stay) {
			t.Errorf("%d sessions remain, want %d", table.Len(), len(stay))
		}
		if n := len(table.ByPrefix(netip.MustParsePrefix("0.0.0.0/0"))); n != len(stay) {
			t.Errorf("%d address entries remain, want %d", n, len(stay))
		}
	})
	t.Run("S-28 no lock is held while the caller works", func(t *testing.T) {
		table := newTable()
		fillTable(table, 1000)
		given := 0
		for s := range table.All() { // would never come back from Remove with a lock held
			given++
			table.Remove(s)
			table.Add(&session{}, keysOf(1000+s.n))
			table.Len()
		}
		if given < 1000 || table.Len() < 1000 {
			t.Errorf("given %d, %d left", given, table.Len())
		}
	})
	t.Run("S-28 an ended session is not given", func(t *testing.T) {
		table := newTable()
		all := fillTable(table, 1000)
		first := true
		for s := range table.All() {
			if !first {
				t.Fatalf("session %d was given after its end", s.n)
			}
			first = false
			for _, other := range all {
				table.Remove(other)
			}
		}
	})
	t.Run("S-28 broken off", func(t *testing.T) {
		table := newTable()
		fillTable(table, 1000)
		given := 0
		for range table.All() {
			if given++; given == 3 {
				break
			}
		}
		if given != 3 {
			t.Errorf("given %d, want 3", given)
		}
	})
}

// TestLookupDuringMove looks for sessions whose tokens change all the time: a revocation must find each by what did not
// change whenever it looks, and by one token at the end.
func TestLookupDuringMove(t *testing.T) {
	table := newTable()
	var stop atomic.Bool
	var moves sync.WaitGroup
	const sessions = 4
	for n := range sessions {
		even := keys{ID: strconv.Itoa(n), Names: registry.Names{Subject: "alice", Token: "even"}}
		odd := even
		odd.Token = "odd"
		s := &session{n: n}
		table.Add(s, even)
		moves.Go(func() {
			for !stop.Load() {
				table.Move(s, even, odd)
				table.Move(s, odd, even)
			}
		})
	}
	for range 10_000 {
		if n := len(table.BySubject("alice")); n != sessions {
			t.Errorf("%d found by their subject, want %d", n, sessions)
			break
		}
		table.ByToken("odd")
		table.ByToken("even")
	}
	stop.Store(true)
	moves.Wait()
	if even, odd := len(table.ByToken("even")), len(table.ByToken("odd")); even != sessions || odd != 0 {
		t.Errorf("%d found by the last token and %d by the one before, want %d and 0", even, odd, sessions)
	}
}

func TestMoveRacesRemove(t *testing.T) {
	for range 2000 {
		table := newTable()
		old, now := keys{ID: "a", Names: registry.Names{Token: "old"}}, keys{ID: "a", Names: registry.Names{Token: "new"}}
		s := new(session)
		table.Add(s, old)
		var both sync.WaitGroup
		both.Go(func() { table.Move(s, old, now) })
		both.Go(func() { table.Remove(s) })
		both.Wait()
		if left := len(table.ByToken("new")) + len(table.ByToken("old")); left != 0 || table.Len() != 0 {
			t.Fatalf("%d entries are left, %d sessions in all", left, table.Len())
		}
	}
}
