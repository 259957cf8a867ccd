package registry

import (
	"hash/maphash"
	"sync"
)

// index finds the sessions of a key.
type index[K, S comparable] struct {
	shards [shards]indexShard[K, S]
}

type indexShard[K, S comparable] struct {
	mu   sync.Mutex
	m    map[K]group[S]
	peak int
}

func (x *index[K, S]) shard(seed maphash.Seed, key K) *indexShard[K, S] {
	return &x.shards[maphash.Comparable(seed, key)%shards]
}

func (x *index[K, S]) add(seed maphash.Seed, key K, s S) {
	sh := x.shard(seed, key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.m == nil {
		sh.m = make(map[K]group[S])
	}
	g, taken := sh.m[key]
	switch {
	case !taken:
		g.one = s
	case g.crowd == nil && g.one == s:
		return
	case g.crowd == nil:
		g.crowd = &set[S]{}
		g.crowd.add(g.one)
		g.crowd.add(s)
	default:
		g.crowd.add(s)
	}
	sh.m[key] = g
	sh.peak = max(sh.peak, len(sh.m))
}

func (x *index[K, S]) remove(seed maphash.Seed, key K, s S) {
	sh := x.shard(seed, key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	g, taken := sh.m[key]
	if !taken {
		return
	}
	if g.crowd != nil {
		g.crowd.remove(s)
		if len(g.crowd.m) == 1 {
			sh.m[key] = group[S]{one: g.crowd.members(nil)[0]}
		}
		return
	}
	if g.one != s {
		return
	}
	delete(sh.m, key)
	sh.m, sh.peak = shrunk(sh.m, sh.peak)
}

func (x *index[K, S]) find(seed maphash.Seed, key K) []S {
	sh := x.shard(seed, key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	g, taken := sh.m[key]
	if !taken {
		return nil
	}
	return g.members(nil)
}

// findAll gives the sessions of every key that matches; a shard's lock is held for its part of the walk only.
func (x *index[K, S]) findAll(matches func(K) bool) []S {
	var found []S
	for i := range x.shards {
		sh := &x.shards[i]
		sh.mu.Lock()
		for key, g := range sh.m {
			if matches(key) {
				found = g.members(found)
			}
		}
		sh.mu.Unlock()
	}
	return found
}

// group is the sessions of one key. Nearly always that is one, which then costs no allocation of its own; a crowd, such
// as the users behind one address, is a set, so that its end is not quadratic.
type group[S comparable] struct {
	one   S
	crowd *set[S] // two sessions or more; then one stands for nothing
}

func (g group[S]) members(to []S) []S {
	if g.crowd == nil {
		return append(to, g.one)
	}
	return g.crowd.members(to)
}

// set is a map that gives its memory back.
type set[S comparable] struct {
	m    map[S]struct{}
	peak int
}

// add reports whether s is new.
func (x *set[S]) add(s S) bool {
	if x.has(s) {
		return false
	}
	if x.m == nil {
		x.m = make(map[S]struct{})
	}
	x.m[s] = struct{}{}
	x.peak = max(x.peak, len(x.m))
	return true
}

// remove reports whether s was there.
func (x *set[S]) remove(s S) bool {
	if !x.has(s) {
		return false
	}
	delete(x.m, s)
	x.m, x.peak = shrunk(x.m, x.peak)
	return true
}

func (x *set[S]) has(s S) bool {
	_, there := x.m[s]
	return there
}

func (x *set[S]) members(to []S) []S {
	for s := range x.m {
		to = append(to, s)
	}
	return to
}

// shrunk copies a map that has fallen to a quarter of its peak, since a Go map keeps the room of its largest day. A copy
// is paid for by the removals before it.
func shrunk[K comparable, V any](m map[K]V, peak int) (map[K]V, int) {
	const small = 64
	if peak < small || len(m) > peak/4 {
		return m, peak
	}
	smaller := make(map[K]V, len(m))
	for k, v := range m {
		smaller[k] = v
	}
	return smaller, len(m)
}
