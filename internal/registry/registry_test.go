package registry_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/wssecure/wssecure/internal/registry"
)

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
