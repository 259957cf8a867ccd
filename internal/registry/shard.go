package registry

import (
	"iter"
	"sync"
)

// The indexes, and beside them the chains of the live sessions themselves.
const (
	byID = iota
	bySubject
	byToken
	byOIDCSession
	byAddr
	indexes
	asLive = indexes
)

// node is one session with its place in every index. Chains run through the nodes: Go maps cost twice as much for five
// indexes, keep the room of their largest day, and need a set for each key that sessions share.
//
// A link and its key are guarded by the lock of the shard they are in.
type node[S comparable] struct {
	s     S
	keys  [indexes]string
	links [indexes + 1]link[S]
}

// link is a place in a chain. back is the pointer that points here, which makes leaving a chain as cheap for one of a
// hundred thousand sessions behind one address as for any other. It is nil outside of a chain.
type link[S comparable] struct {
	next *node[S]
	back **node[S]
}

// shard is a part of a chained hash table: the nodes whose hash ends in its number. The bits above choose the bucket.
type shard[S comparable] struct {
	mu      sync.Mutex
	buckets []*node[S]  // a power of two of them, or none
	one     [1]*node[S] // the only bucket of a single node: one that comes and goes makes no garbage
	n       int
}

const fewestBuckets = 8

func (sh *shard[S]) bucket(h uint64) **node[S] {
	return &sh.buckets[h/shards&uint64(len(sh.buckets)-1)]
}

func (sh *shard[S]) insert(n *node[S], h uint64, index int, hash func(*node[S]) uint64) {
	switch {
	case sh.n == 0:
		sh.buckets = sh.one[:]
	case sh.n == len(sh.buckets):
		sh.resize(max(fewestBuckets, 2*len(sh.buckets)), index, hash)
	}
	sh.push(n, h, index)
	sh.n++
}

func (sh *shard[S]) remove(n *node[S], index int, hash func(*node[S]) uint64) {
	at := &n.links[index]
	*at.back = at.next
	if at.next != nil {
		at.next.links[index].back = at.back
	}
	*at = link[S]{}
	sh.n--
	switch {
	case sh.n == 0:
		sh.buckets = nil
	case len(sh.buckets) > fewestBuckets && sh.n < len(sh.buckets)/8:
		sh.resize(len(sh.buckets)/4, index, hash)
	}
}

// find gives the node of a live session.
func (sh *shard[S]) find(h uint64, s S) *node[S] {
	for n := range sh.chain(h, asLive) {
		if n.s == s {
			return n
		}
	}
	return nil
}

// chain walks over the nodes that share a bucket.
func (sh *shard[S]) chain(h uint64, index int) iter.Seq[*node[S]] {
	return func(yield func(*node[S]) bool) {
		if sh.n == 0 {
			return
		}
		for n := *sh.bucket(h); n != nil; n = n.links[index].next {
			if !yield(n) {
				return
			}
		}
	}
}

// all walks over the nodes of the shard.
func (sh *shard[S]) all(index int) iter.Seq[*node[S]] {
	return func(yield func(*node[S]) bool) {
		for _, n := range sh.buckets {
			for ; n != nil; n = n.links[index].next {
				if !yield(n) {
					return
				}
			}
		}
	}
}

func (sh *shard[S]) push(n *node[S], h uint64, index int) {
	head := sh.bucket(h)
	n.links[index] = link[S]{next: *head, back: head}
	if *head != nil {
		(*head).links[index].back = &n.links[index].next
	}
	*head = n
}

func (sh *shard[S]) resize(size, index int, hash func(*node[S]) uint64) {
	old := sh.buckets
	sh.buckets = make([]*node[S], size)
	for _, n := range old {
		for n != nil {
			next := n.links[index].next
			sh.push(n, hash(n), index)
			n = next
		}
	}
	sh.one[0] = nil
}
