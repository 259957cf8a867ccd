package registry_test

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"strconv"

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

func numbers(sessions []*session) []int {
	var found []int
	for _, s := range sessions {
		found = append(found, s.n)
	}
	slices.Sort(found)
	return found
}
