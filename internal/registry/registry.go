// Package registry finds the live sessions of a guard: all of them, one by its id, or those of a subject, a token, an
// OpenID Connect session or a network. Revocation, listing and draining start here.
//
// It knows nothing of what a session is. It holds no lock while its caller works, and what was removed leaves nothing
// behind, so a flood of short sessions costs no memory once it is over. A session costs about 300 bytes beside its keys'
// own text, and its end costs the same however many others share its keys.
package registry

import (
	"hash/maphash"
	"iter"
	"net/netip"
)

// Keys are what a session can be found by. An empty string or the zero Addr is not indexed. A key of several parts, such
// as issuer and subject, must come joined so that ("a", "bc") is not ("ab", "c").
type Keys struct {
	ID, Subject, Token, OIDCSession string
	Addr                            netip.Addr
}

// Table holds live sessions. It is safe for concurrent use. Most callers Add at admission, Move when a renewal changes
// the token, and Remove at the end.
//
// Calls for one session take effect one after the other, so a Move that loses the race against Remove leaves no entry.
// A lookup beside a Move sees the session under its old key or under its new one, never under neither.
type Table[S comparable] struct {
	seed maphash.Seed
	live [shards]shard[S]
	by   [indexes][shards]shard[S]
}

// shards keeps a hundred thousand sessions that end at once from queueing on one lock.
const shards = 64

// New gives an empty table.
func New[S comparable]() *Table[S] {
	return &Table[S]{seed: maphash.MakeSeed()}
}

// Add enters s under its keys. A session that is already there is left as it is: Move changes its keys.
func (t *Table[S]) Add(s S, k Keys) {
	h := t.hashSession(s)
	live := &t.live[h%shards]
	live.mu.Lock()
	defer live.mu.Unlock()
	if live.find(h, s) != nil {
		return
	}
	n := &node[S]{s: s, keys: k.flat()}
	live.insert(n, h, asLive, t.hashLive)
	for i, key := range n.keys {
		if key != "" {
			t.rekey(n, i, "", key)
		}
	}
}

// Move finds s under the keys now instead of old, as after a renewed token. It does nothing for a session that has been
// removed.
func (t *Table[S]) Move(s S, old, now Keys) {
	h := t.hashSession(s)
	live := &t.live[h%shards]
	live.mu.Lock()
	defer live.mu.Unlock()
	n := live.find(h, s)
	if n == nil {
		return
	}
	// Only what differs between old and now changes, so two Moves of different keys at once both count.
	was, then := old.flat(), now.flat()
	for i := range n.keys {
		if was[i] != then[i] {
			t.rekey(n, i, n.keys[i], then[i])
		}
	}
}

// Remove forgets s and all its keys. Which those are the table knows itself: a Move just before leaves nothing behind.
// Removing it again does nothing.
func (t *Table[S]) Remove(s S) {
	h := t.hashSession(s)
	live := &t.live[h%shards]
	live.mu.Lock()
	defer live.mu.Unlock()
	n := live.find(h, s)
	if n == nil {
		return
	}
	for i := range n.keys {
		if n.keys[i] != "" {
			t.leave(n, i)
		}
	}
	live.remove(n, asLive, t.hashLive)
}

// ByID gives the session with that id.
func (t *Table[S]) ByID(id string) (S, bool) {
	found := t.find(byID, id)
	if len(found) == 0 {
		var none S
		return none, false
	}
	return found[0], true
}

// BySubject gives the sessions of that subject, in no order.
func (t *Table[S]) BySubject(key string) []S { return t.find(bySubject, key) }

// ByToken gives the sessions that token opened or renewed, in no order.
func (t *Table[S]) ByToken(key string) []S { return t.find(byToken, key) }

// ByOIDCSession gives the sessions of that session at the identity provider, in no order.
func (t *Table[S]) ByOIDCSession(key string) []S { return t.find(byOIDCSession, key) }

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
		return t.find(byAddr, addrKey(p.Addr()))
	}
	var found []S
	for i := range t.by[byAddr] {
		sh := &t.by[byAddr][i]
		sh.mu.Lock()
		for n := range sh.all(byAddr) {
			if p.Contains(addrOf(n.keys[byAddr])) {
				found = append(found, n.s)
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
		for i := range t.live {
			sh := &t.live[i]
			sh.mu.Lock()
			nodes := make([]*node[S], 0, sh.n)
			for n := range sh.all(asLive) {
				nodes = append(nodes, n)
			}
			sh.mu.Unlock()
			for _, n := range nodes {
				sh.mu.Lock()
				alive := n.links[asLive].back != nil
				sh.mu.Unlock()
				if alive && !yield(n.s) {
					return
				}
			}
		}
	}
}

// Len is the number of live sessions.
func (t *Table[S]) Len() int {
	total := 0
	for i := range t.live {
		sh := &t.live[i]
		sh.mu.Lock()
		total += sh.n
		sh.mu.Unlock()
	}
	return total
}

func (t *Table[S]) find(index int, key string) []S {
	h := maphash.String(t.seed, key)
	sh := &t.by[index][h%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var found []S
	for n := range sh.chain(h, index) {
		if n.keys[index] == key {
			found = append(found, n.s)
		}
	}
	return found
}

// rekey moves n from one key of an index to another; "" stands for none. Both shards are held at once, since a revocation
// that looks in between must find the session.
func (t *Table[S]) rekey(n *node[S], index int, old, now string) {
	hash := func(n *node[S]) uint64 { return maphash.String(t.seed, n.keys[index]) }
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
		from.remove(n, index, hash)
	}
	n.keys[index] = now
	if now != "" {
		to.insert(n, nowHash, index, hash)
	}
}

// leave takes n out of an index. It needs no more than one shard and a small stack: sessions end on fresh goroutines.
func (t *Table[S]) leave(n *node[S], index int) {
	h := maphash.String(t.seed, n.keys[index])
	sh := &t.by[index][h%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.remove(n, index, func(n *node[S]) uint64 { return maphash.String(t.seed, n.keys[index]) })
}

func (t *Table[S]) hashSession(s S) uint64     { return maphash.Comparable(t.seed, s) }
func (t *Table[S]) hashLive(n *node[S]) uint64 { return t.hashSession(n.s) }

func (k Keys) flat() [indexes]string {
	return [indexes]string{byID: k.ID, bySubject: k.Subject, byToken: k.Token, byOIDCSession: k.OIDCSession, byAddr: addrKey(k.Addr)}
}

func addrKey(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	b := a.As16()
	return string(b[:])
}

func addrOf(key string) netip.Addr {
	return netip.AddrFrom16([16]byte([]byte(key))).Unmap()
}
