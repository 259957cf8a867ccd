// Package registry finds the live sessions of a guard: all of them, one by its id, or those of a subject, a token, an
// OpenID Connect session or a network. Revocation, listing and draining start here.
//
// It knows nothing of what a session is. It holds no lock while its caller works, and what was removed leaves nothing
// behind, so a flood of short sessions costs no memory once it is over.
package registry

import (
	"hash/maphash"
	"iter"
	"net/netip"
	"sync"
)

// Keys are what a session can be found by. An empty string or the zero Addr is not indexed. A key of several parts, such
// as issuer and subject, must come joined so that ("a", "bc") is not ("ab", "c").
type Keys struct {
	ID, Subject, Token, OIDCSession string
	Addr                            netip.Addr
}

// Table holds live sessions. It is safe for concurrent use. Most callers Add at admission, Move when a renewal changes
// the token, and Remove at the end, each with the keys last given.
//
// Calls for one session take effect one after the other, so a Move that loses the race against Remove leaves no entry.
// A lookup beside them sees the session under its old key, its new one, or for a moment both; never under neither.
type Table[S comparable] struct {
	seed                                maphash.Seed
	live                                [shards]liveShard[S]
	ids, subjects, tokens, oidcSessions index[string, S]
	addrs                               index[[16]byte, S]
}

// shards keeps a hundred thousand sessions that end at once from queueing on one lock.
const shards = 64

// New gives an empty table.
func New[S comparable]() *Table[S] {
	return &Table[S]{seed: maphash.MakeSeed()}
}

// Add enters s under its keys. A session that is already there is left as it is: use Move to change its keys.
func (t *Table[S]) Add(s S, k Keys) {
	live := t.liveShard(s)
	live.mu.Lock()
	defer live.mu.Unlock()
	if live.set.add(s) {
		t.link(s, Keys{}, k)
	}
}

// Move finds s under the keys now instead of old, as after a renewed token. It does nothing for a session that has been
// removed.
func (t *Table[S]) Move(s S, old, now Keys) {
	live := t.liveShard(s)
	live.mu.Lock()
	defer live.mu.Unlock()
	if !live.set.has(s) {
		return
	}
	// The new entries first: a revocation that looks in between must find the session under one of them.
	t.link(s, old, now)
	t.unlink(s, old, now)
}

// Remove forgets s, which was entered or last moved with the keys k. Removing it again does nothing.
func (t *Table[S]) Remove(s S, k Keys) {
	live := t.liveShard(s)
	live.mu.Lock()
	defer live.mu.Unlock()
	if live.set.remove(s) {
		t.unlink(s, k, Keys{})
	}
}

// ByID gives the session with that id.
func (t *Table[S]) ByID(id string) (S, bool) {
	found := t.ids.find(t.seed, id)
	if id == "" || len(found) == 0 {
		var none S
		return none, false
	}
	return found[0], true
}

// BySubject gives the sessions of that subject, in no order.
func (t *Table[S]) BySubject(key string) []S { return t.subjects.find(t.seed, key) }

// ByToken gives the sessions that token opened or renewed, in no order.
func (t *Table[S]) ByToken(key string) []S { return t.tokens.find(t.seed, key) }

// ByOIDCSession gives the sessions of that session at the identity provider, in no order.
func (t *Table[S]) ByOIDCSession(key string) []S { return t.oidcSessions.find(t.seed, key) }

// ByPrefix gives the sessions whose address lies in p, in no order. An IPv4 address and its IPv4-mapped IPv6 form are the
// same address. Anything wider than one address is a walk over all addresses: about 20 ms for a million sessions.
func (t *Table[S]) ByPrefix(p netip.Prefix) []S {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if !p.IsValid() {
		return nil
	}
	if p.IsSingleIP() {
		return t.addrs.find(t.seed, p.Addr().As16())
	}
	return t.addrs.findAll(func(a [16]byte) bool { return p.Contains(netip.AddrFrom16(a).Unmap()) })
}

// All walks over the live sessions, each at most once. One that opens meanwhile may be missed, one that has ended is not
// given. No lock is held while the caller works, and the walk may be broken off.
func (t *Table[S]) All() iter.Seq[S] {
	return func(yield func(S) bool) {
		for i := range t.live {
			live := &t.live[i]
			live.mu.Lock()
			members := live.set.members(nil)
			live.mu.Unlock()
			for _, s := range members {
				live.mu.Lock()
				alive := live.set.has(s)
				live.mu.Unlock()
				if alive && !yield(s) {
					return
				}
			}
		}
	}
}

// Len is the number of live sessions.
func (t *Table[S]) Len() int {
	n := 0
	for i := range t.live {
		live := &t.live[i]
		live.mu.Lock()
		n += len(live.set.m)
		live.mu.Unlock()
	}
	return n
}

// liveShard holds the sessions themselves. Its lock is held while their index entries change, which puts the calls for
// one session in order; index locks are taken inside it and never the other way round.
type liveShard[S comparable] struct {
	mu  sync.Mutex
	set set[S]
}

func (t *Table[S]) liveShard(s S) *liveShard[S] {
	return &t.live[maphash.Comparable(t.seed, s)%shards]
}

// link enters s under those keys of now that differ from old.
func (t *Table[S]) link(s S, old, now Keys) {
	if now.ID != "" && now.ID != old.ID {
		t.ids.add(t.seed, now.ID, s)
	}
	if now.Subject != "" && now.Subject != old.Subject {
		t.subjects.add(t.seed, now.Subject, s)
	}
	if now.Token != "" && now.Token != old.Token {
		t.tokens.add(t.seed, now.Token, s)
	}
	if now.OIDCSession != "" && now.OIDCSession != old.OIDCSession {
		t.oidcSessions.add(t.seed, now.OIDCSession, s)
	}
	if now.Addr.IsValid() && now.Addr != old.Addr {
		t.addrs.add(t.seed, now.Addr.As16(), s)
	}
}

// unlink removes s from those keys of old that differ from now.
func (t *Table[S]) unlink(s S, old, now Keys) {
	if old.ID != "" && old.ID != now.ID {
		t.ids.remove(t.seed, old.ID, s)
	}
	if old.Subject != "" && old.Subject != now.Subject {
		t.subjects.remove(t.seed, old.Subject, s)
	}
	if old.Token != "" && old.Token != now.Token {
		t.tokens.remove(t.seed, old.Token, s)
	}
	if old.OIDCSession != "" && old.OIDCSession != now.OIDCSession {
		t.oidcSessions.remove(t.seed, old.OIDCSession, s)
	}
	if old.Addr.IsValid() && old.Addr != now.Addr {
		t.addrs.remove(t.seed, old.Addr.As16(), s)
	}
}
