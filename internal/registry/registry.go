// Package registry finds the live sessions of a guard: all of them, one by its id, or those of a subject, a token, an
// OpenID Connect session or a network. Revocation, listing and draining start here.
//
// It knows nothing of what a session is. It holds no lock while its caller works, and what was removed leaves nothing
// behind, so a flood of short sessions costs no memory once it is over. A session costs about 130 bytes, as much again
// when it has names, beside their own text, and its end costs the same however many others share its keys.
package registry

import (
	"hash/maphash"
	"iter"
	"net/netip"
)

// ID names a session. It is random: nobody chooses ids that fall together.
type ID [16]byte

// Names are what a session is found by beside its id and its address; a renewal changes them. An empty one is not
// indexed. A name of several parts, such as issuer and subject, must come joined so that ("a", "bc") is not ("ab", "c").
type Names struct {
	Subject, Token, OIDCSession string
}

// Entry is a session's place in a table, which the session holds in itself. Session, ID and Addr are set before Add and
// do not change.
type Entry[S any] struct {
	Session S
	ID      ID
	Addr    netip.Addr // the zero one is not indexed

	live, near place[S]
	named      *named[S] // nil while it has no name
}

// Table holds live sessions. It is safe for concurrent use. Most callers Add at admission, Move when a renewal changes
// the token, and Remove at the end.
//
// Calls for one session take effect one after the other, so a Move that loses the race against Remove leaves no entry.
// A lookup beside a Move sees the session under its old name or under its new one, never under neither.
type Table[S any] struct {
	seed maphash.Seed
	by   [indexes][shards]shard[S]
}

// shards keeps a hundred thousand sessions that end at once from queueing on one lock.
const shards = 64

// New gives an empty table.
func New[S any]() *Table[S] {
	return &Table[S]{seed: maphash.MakeSeed()}
}

// Add enters e under its id, its address and names. One that is already there is left as it is: Move changes its names.
func (t *Table[S]) Add(e *Entry[S], n Names) {
	h := e.ID.hash()
	live := &t.by[byID][h%shards]
	live.mu.Lock()
	defer live.mu.Unlock()
	if e.live.isIn() {
		return
	}
	e.live.of, e.near.of = e, e
	live.insert(&e.live, h, t.hasher(byID))
	if e.Addr.IsValid() {
		t.enter(&e.near, byAddr)
	}
	for i, name := range n.flat() {
		if name != "" {
			t.rename(e, i, "", name)
		}
	}
}

// Move finds e under the names now instead of old, as after a renewed token. It does nothing for a session that has been
// removed.
func (t *Table[S]) Move(e *Entry[S], old, now Names) {
	live := t.lockLive(e)
	defer live.mu.Unlock()
	if !e.live.isIn() {
		return
	}
	// Only what differs between old and now changes, so two Moves of different names at once both count.
	was, then := old.flat(), now.flat()
	for i := range was {
		if was[i] != then[i] {
			t.rename(e, i, e.name(i), then[i])
		}
	}
}

// Remove forgets e and all its names. Which those are the table knows itself: a Move just before leaves nothing behind.
// Removing it again does nothing.
func (t *Table[S]) Remove(e *Entry[S]) {
	live := t.lockLive(e)
	defer live.mu.Unlock()
	if !e.live.isIn() {
		return
	}
	for i := range names {
		if e.name(i) != "" {
			t.leave(e.at(i), i)
		}
	}
	e.named = nil
	if e.Addr.IsValid() {
		t.leave(&e.near, byAddr)
	}
	live.remove(&e.live, t.hasher(byID))
}

// ByID gives the session with that id.
func (t *Table[S]) ByID(id ID) (s S, ok bool) {
	found := t.find(byID, id.hash(), func(e *Entry[S]) bool { return e.ID == id })
	if len(found) == 0 {
		return s, false
	}
	return found[0], true
}

// BySubject gives the sessions of that subject, in no order.
func (t *Table[S]) BySubject(name string) []S { return t.byName(bySubject, name) }

// ByToken gives the sessions that token opened or renewed, in no order.
func (t *Table[S]) ByToken(name string) []S { return t.byName(byToken, name) }

// ByOIDCSession gives the sessions of that session at the identity provider, in no order.
func (t *Table[S]) ByOIDCSession(name string) []S { return t.byName(byOIDCSession, name) }

// ByPrefix gives the sessions whose address lies in p, in no order. An IPv4 address and its IPv4-mapped IPv6 form are the
// same address, and zones do not count. Anything wider than one address is a walk over all sessions: milliseconds for a
// hundred thousand.
func (t *Table[S]) ByPrefix(p netip.Prefix) []S {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if !p.IsValid() {
		return nil
	}
	if p.IsSingleIP() {
		key := p.Addr().As16()
		return t.find(byAddr, maphash.Bytes(t.seed, key[:]), func(e *Entry[S]) bool { return e.Addr.As16() == key })
	}
	var found []S
	for i := range t.by[byAddr] {
		sh := &t.by[byAddr][i]
		sh.mu.Lock()
		for e := range sh.all() {
			if p.Contains(e.Addr.Unmap().WithZone("")) {
				found = append(found, e.Session)
			}
		}
		sh.mu.Unlock()
	}
	return found
}

// All walks over the live sessions, each at most once. One that opens meanwhile may be missed, one that has ended is not
// given. No lock is held while the caller works, and the walk may be broken off.
func (t *Table[S]) All() iter.Seq[S] {
	return func(yield func(S) bool) {
		for i := range t.by[byID] {
			sh := &t.by[byID][i]
			sh.mu.Lock()
			entries := make([]*Entry[S], 0, sh.n)
			for e := range sh.all() {
				entries = append(entries, e)
			}
			sh.mu.Unlock()
			for _, e := range entries {
				sh.mu.Lock()
				alive := e.live.isIn()
				sh.mu.Unlock()
				if alive && !yield(e.Session) {
					return
				}
			}
		}
	}
}

// Len is the number of live sessions.
func (t *Table[S]) Len() int {
	total := 0
	for i := range t.by[byID] {
		sh := &t.by[byID][i]
		sh.mu.Lock()
		total += sh.n
		sh.mu.Unlock()
	}
	return total
}

func (t *Table[S]) lockLive(e *Entry[S]) *shard[S] {
	live := &t.by[byID][e.ID.hash()%shards]
	live.mu.Lock()
	return live
}

func (t *Table[S]) byName(index int, name string) []S {
	return t.find(index, maphash.String(t.seed, name), func(e *Entry[S]) bool { return e.named.names[index] == name })
}

func (t *Table[S]) find(index int, h uint64, is func(*Entry[S]) bool) []S {
	sh := &t.by[index][h%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var found []S
	for e := range sh.chain(h) {
		if is(e) {
			found = append(found, e.Session)
		}
	}
	return found
}

// rename moves e from one name of an index to another; "" stands for none. Both shards are held at once, since a
// revocation that looks in between must find the session. The lock of its live shard is held.
func (t *Table[S]) rename(e *Entry[S], index int, old, now string) {
	if e.named == nil {
		e.named = newNamed(e)
	}
	oldHash, nowHash := maphash.String(t.seed, old), maphash.String(t.seed, now)
	from, to := &t.by[index][oldHash%shards], &t.by[index][nowHash%shards]
	switch {
	case old == "" || from == to:
		to.mu.Lock()
		defer to.mu.Unlock()
	case now == "":
		from.mu.Lock()
		defer from.mu.Unlock()
	default:
		// One order for all who hold two.
		first, second := from, to
		if oldHash%shards > nowHash%shards {
			first, second = to, from
		}
		first.mu.Lock()
		defer first.mu.Unlock()
		second.mu.Lock()
		defer second.mu.Unlock()
	}
	if old != "" {
		from.remove(e.at(index), t.hasher(index))
	}
	e.named.names[index] = now
	if now != "" {
		to.insert(e.at(index), nowHash, t.hasher(index))
	}
}

func (t *Table[S]) enter(p *place[S], index int) {
	h := t.hash(p.of, index)
	sh := &t.by[index][h%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.insert(p, h, t.hasher(index))
}

func (t *Table[S]) leave(p *place[S], index int) {
	sh := &t.by[index][t.hash(p.of, index)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.remove(p, t.hasher(index))
}

// hasher says where a shard of an index that grows or shrinks puts its entries.
type hasher[S any] struct {
	t     *Table[S]
	index int
}

func (t *Table[S]) hasher(index int) hasher[S] { return hasher[S]{t, index} }

func (h hasher[S]) of(e *Entry[S]) uint64 { return h.t.hash(e, h.index) }

// hash is seeded, since clients choose names and addresses.
func (t *Table[S]) hash(e *Entry[S], index int) uint64 {
	switch index {
	case byID:
		return e.ID.hash()
	case byAddr:
		key := e.Addr.As16()
		return maphash.Bytes(t.seed, key[:])
	}
	return maphash.String(t.seed, e.named.names[index])
}
