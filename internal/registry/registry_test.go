package registry_test

import (
	"crypto/sha256"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure/internal/registry"
)

type session struct {
	n     int
	keys  keys
	entry registry.Entry[*session]
}

type keys struct {
	ID   string
	Addr netip.Addr
	registry.Names
}

// table takes keys as a whole, and ids that can be read.
type table struct{ *registry.Table[*session] }

func newTable() table { return table{registry.New[*session]()} }

func (t table) Add(s *session, k keys) {
	s.entry.Session, s.entry.ID, s.entry.Addr = s, idOf(k.ID), k.Addr
	t.Table.Add(&s.entry, k.Names)
}

func (t table) Move(s *session, old, now keys) { t.Table.Move(&s.entry, old.Names, now.Names) }

func (t table) Remove(s *session) { t.Table.Remove(&s.entry) }

func (t table) ByID(id string) (*session, bool) { return t.Table.ByID(idOf(id)) }

func idOf(text string) registry.ID {
	sum := sha256.Sum256([]byte(text))
	return registry.ID(sum[:16])
}

func TestLookups(t *testing.T) {
	table := newTable()
	add := func(n int, k keys) *session {
		s := &session{n: n, keys: k}
		table.Add(s, k)
		return s
	}
	alice := add(1, keys{ID: "a1", Addr: netip.MustParseAddr("192.0.2.1"), Names: registry.Names{Subject: "alice", Token: "t1", OIDCSession: "o1"}})
	phone := add(2, keys{ID: "a2", Addr: netip.MustParseAddr("::ffff:192.0.2.1"), Names: registry.Names{Subject: "alice", Token: "t2", OIDCSession: "o1"}})
	bob := add(3, keys{ID: "b1", Addr: netip.MustParseAddr("2001:db8::7%eth0"), Names: registry.Names{Subject: "bob", Token: "t3"}})
	nameless := add(4, keys{ID: "n1"})

	lookups := []struct {
		name string
		got  []*session
		want []*session
	}{
		{"subject with two", table.BySubject("alice"), []*session{alice, phone}},
		{"subject with one", table.BySubject("bob"), []*session{bob}},
		{"unknown subject", table.BySubject("carol"), nil},
		{"empty subject finds no one without a subject", table.BySubject(""), nil},
		{"empty token", table.ByToken(""), nil},
		{"empty OIDC session", table.ByOIDCSession(""), nil},
		{"subject is no token", table.ByToken("alice"), nil},
		{"token", table.ByToken("t2"), []*session{phone}},
		{"OIDC session", table.ByOIDCSession("o1"), []*session{alice, phone}},
		{"one address, both forms", table.ByPrefix(netip.MustParsePrefix("192.0.2.1/32")), []*session{alice, phone}},
		{"one address asked in its mapped form", table.ByPrefix(netip.MustParsePrefix("::ffff:192.0.2.1/128")), []*session{alice, phone}},
		{"network", table.ByPrefix(netip.MustParsePrefix("192.0.2.0/24")), []*session{alice, phone}},
		{"network in its mapped form", table.ByPrefix(netip.MustParsePrefix("::ffff:192.0.2.0/120")), []*session{alice, phone}},
		{"network with host bits set", table.ByPrefix(netip.MustParsePrefix("192.0.2.77/24")), []*session{alice, phone}},
		{"other network", table.ByPrefix(netip.MustParsePrefix("198.51.100.0/24")), nil},
		{"IPv6 /64 finds an address with a zone", table.ByPrefix(netip.MustParsePrefix("2001:db8::/64")), []*session{bob}},
		{"IPv6 /128 finds an address with a zone", table.ByPrefix(netip.MustParsePrefix("2001:db8::7/128")), []*session{bob}},
		{"all of IPv6 is not IPv4", table.ByPrefix(netip.MustParsePrefix("::/0")), []*session{bob}},
		{"no address is not ::", table.ByPrefix(netip.MustParsePrefix("::/128")), nil},
		{"no prefix", table.ByPrefix(netip.Prefix{}), nil},
		{"all", slices.Collect(table.All()), []*session{alice, phone, bob, nameless}},
	}
	for _, row := range lookups {
		t.Run(row.name, func(t *testing.T) {
			if got := numbers(row.got); !slices.Equal(got, numbers(row.want)) {
				t.Errorf("found sessions %v, want %v", got, numbers(row.want))
			}
		})
	}
	if s, ok := table.ByID("a2"); !ok || s != phone {
		t.Errorf(`ByID("a2") = %v, %v`, s, ok)
	}
	for _, id := range []string{"", "alice", "none"} {
		if s, ok := table.ByID(id); ok || s != nil {
			t.Errorf("ByID(%q) = %v, want none", id, s)
		}
	}
	if n := table.Len(); n != 4 {
		t.Errorf("Len() = %d, want 4", n)
	}
}

func TestMove(t *testing.T) {
	table := newTable()
	old := keys{ID: "a1", Addr: netip.MustParseAddr("192.0.2.1"), Names: registry.Names{Token: "t1"}}
	now := keys{ID: "a1", Addr: old.Addr, Names: registry.Names{Subject: "alice", Token: "t2"}}
	s := &session{n: 1}
	table.Add(s, old)
	table.Move(s, old, now)
	if n := len(table.ByToken("t1")); n != 0 {
		t.Errorf("the old token still finds %d sessions", n)
	}
	if n := len(table.ByToken("t2")) + len(table.BySubject("alice")) + len(table.ByPrefix(netip.MustParsePrefix("192.0.2.1/32"))); n != 3 {
		t.Errorf("the new keys find %d of 3", n)
	}
	if _, ok := table.ByID("a1"); !ok {
		t.Error("the unchanged id was lost")
	}

	// A renewal that loses the race against the end of its session must not raise it from the dead.
	table.Remove(s)
	table.Move(s, now, keys{ID: "a1", Names: registry.Names{Token: "t3"}})
	if n := len(table.ByToken("t3")); n != 0 || table.Len() != 0 {
		t.Errorf("Move after Remove: %d by token, %d in all", n, table.Len())
	}
}

func TestAddAndRemoveTwice(t *testing.T) {
	table := newTable()
	k := keys{ID: "a1", Names: registry.Names{Subject: "alice"}}
	s, other := &session{n: 1}, &session{n: 2}
	table.Add(s, k)
	table.Add(s, k)
	if got := table.BySubject("alice"); len(got) != 1 || table.Len() != 1 {
		t.Errorf("added twice: %d by subject, %d in all", len(got), table.Len())
	}
	table.Remove(other)
	if _, ok := table.ByID("a1"); !ok {
		t.Error("removing a session that was never there removed another with its keys")
	}
	table.Remove(s)
	table.Remove(s)
	if table.Len() != 0 || len(table.BySubject("alice")) != 0 {
		t.Error("something is left")
	}
}

// TestAgainstModel plays random calls on the table and on plain loops over the live sessions, with so few keys that
// crowds form and dissolve all the time.
func TestAgainstModel(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	pick := func(prefix string) string {
		if random.IntN(4) == 0 {
			return ""
		}
		return prefix + strconv.Itoa(random.IntN(6))
	}
	keysFor := func(id int) keys {
		k := keys{ID: strconv.Itoa(id), Names: registry.Names{Subject: pick("s"), Token: pick("t"), OIDCSession: pick("o")}}
		if random.IntN(4) > 0 {
			k.Addr = netip.AddrFrom4([4]byte{192, 0, byte(random.IntN(2)), byte(random.IntN(4))})
		}
		return k
	}
	table, live := newTable(), map[int]*session{}
	matching := func(match func(keys) bool) []int {
		var found []int
		for n, s := range live {
			if match(s.keys) {
				found = append(found, n)
			}
		}
		slices.Sort(found)
		return found
	}
	for step := range 20_000 {
		n := random.IntN(60)
		s := live[n]
		switch {
		case s == nil:
			s = &session{n: n, keys: keysFor(n)}
			live[n] = s
			table.Add(s, s.keys)
		case random.IntN(2) == 0:
			now := keysFor(n)
			now.Addr = s.keys.Addr // it does not change
			table.Move(s, s.keys, now)
			s.keys = now
		default:
			table.Remove(s)
			delete(live, n)
		}
		if step%10 != 0 {
			continue
		}
		i := strconv.Itoa(random.IntN(6))
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(random.IntN(2)), byte(random.IntN(4))}), 24+8*random.IntN(2)).Masked()
		compare := func(what string, got []*session, want []int) {
			if !slices.Equal(numbers(got), want) {
				t.Fatalf("step %d, seed %d: %s: found %v, want %v", step, seed, what, numbers(got), want)
			}
		}
		compare("subject", table.BySubject("s"+i), matching(func(k keys) bool { return k.Subject == "s"+i }))
		compare("token", table.ByToken("t"+i), matching(func(k keys) bool { return k.Token == "t"+i }))
		compare("OIDC session", table.ByOIDCSession("o"+i), matching(func(k keys) bool { return k.OIDCSession == "o"+i }))
		compare("prefix", table.ByPrefix(prefix), matching(func(k keys) bool { return prefix.Contains(k.Addr) }))
		compare("all", slices.Collect(table.All()), matching(func(keys) bool { return true }))
		if table.Len() != len(live) {
			t.Fatalf("step %d: Len() = %d, want %d", step, table.Len(), len(live))
		}
		if _, ok := table.ByID(strconv.Itoa(n)); ok != (live[n] != nil) {
			t.Fatalf("step %d: ByID(%d) = %v", step, n, ok)
		}
	}
}

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

func TestMemory(t *testing.T) {
	populations := []struct {
		name string
		keys func(n int) keys
	}{
		{"a subject, token and address each", keysOf},
		{"every key shared by two", func(n int) keys {
			k := keysOf(n / 2)
			k.ID = "id" + strconv.Itoa(n)
			return k
		}},
		{"one address and one subject for all", func(n int) keys {
			k := keysOf(n)
			k.Addr, k.Subject = netip.MustParseAddr("192.0.2.1"), "everyone"
			return k
		}},
	}
	const size = 17_500 // just after the shards have grown, when most of their room is unused
	for _, p := range populations {
		t.Run(p.name, func(t *testing.T) {
			sessions := make([]session, size)
			for n := range sessions {
				sessions[n].keys = p.keys(n)
			}
			before := heap()
			table := newTable()
			for n := range sessions {
				table.Add(&sessions[n], sessions[n].keys)
			}
			full := heap()
			for n := range sessions {
				table.Remove(&sessions[n])
			}
			empty := heap()
			runtime.KeepAlive(table)
			runtime.KeepAlive(sessions)
			each := (full-before)/int64(size) + ownBytes
			t.Logf("%d bytes a session, %d KiB when all have ended", each, (empty-before)/1024)
			if each > 335 {
				t.Errorf("%d bytes a session, want at most 335", each)
			}
			// What 64 empty shards for each of five lookups weigh.
			if left := empty - before; left > 32<<10 {
				t.Errorf("%d bytes are left behind by %d ended sessions", left, size)
			}
		})
	}
}

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

func keysOf(n int) keys {
	i := strconv.Itoa(n)
	return keys{
		ID: "id" + i, Names: registry.Names{Subject: "subject" + i, Token: "token" + i, OIDCSession: "oidc" + i},
		Addr: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
	}
}

func fillTable(table table, n int) (all []*session) {
	for i := range n {
		s := &session{n: i}
		table.Add(s, keysOf(i))
		all = append(all, s)
	}
	return all
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func numbers(sessions []*session) []int {
	var found []int
	for _, s := range sessions {
		found = append(found, s.n)
	}
	slices.Sort(found)
	return found
}
