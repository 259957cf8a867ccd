package registry

import (
	"encoding/binary"
	"iter"
	"sync"
)

// The indexes; the first are those of names.
const (
	bySubject = iota
	byToken
	byOIDCSession
	byAddr
	byID
	indexes

	names = byOIDCSession + 1
)

// place is an entry's place in a chain. Chains run through the entries: Go maps cost twice as much for five indexes, keep
// the room of their largest day, and need a set for each key that sessions share.
//
// back is the pointer that points here, which makes leaving a chain as cheap for one of a hundred thousand sessions
// behind one address as for any other. It is nil outside of a chain. A place and its key are guarded by the lock of the
// shard they are in.
type place[S any] struct {
	of   *Entry[S]
	next *place[S]
	back **place[S]
}

func (p *place[S]) isIn() bool { return p.back != nil }

// named is the part of an entry that sessions without an identity do without. It is made under the lock of the live
// shard, before the first of its places is in a chain.
type named[S any] struct {
	names  [names]string
	places [names]place[S]
}

func newNamed[S any](e *Entry[S]) *named[S] {
	n := new(named[S])
	for i := range n.places {
		n.places[i].of = e
	}
	return n
}

func (n Names) flat() [names]string {
	return [names]string{bySubject: n.Subject, byToken: n.Token, byOIDCSession: n.OIDCSession}
}

func (e *Entry[S]) name(index int) string {
	if e.named == nil {
		return ""
	}
	return e.named.names[index]
}

// at is the place of a name.
func (e *Entry[S]) at(index int) *place[S] { return &e.named.places[index] }

func (id ID) hash() uint64 { return binary.LittleEndian.Uint64(id[:]) }

// shard is a part of a chained hash table: the places whose hash ends in its number. The bits above choose the bucket.
type shard[S any] struct {
	mu      sync.Mutex
	buckets []*place[S]  // a power of two of them, or none
	one     [1]*place[S] // the only bucket of a single place: one that comes and goes makes no garbage
	n       int
}

const fewestBuckets = 8

func (sh *shard[S]) bucket(h uint64) **place[S] {
	return &sh.buckets[h/shards&uint64(len(sh.buckets)-1)]
}

func (sh *shard[S]) insert(p *place[S], h uint64, hash hasher[S]) {
	switch {
	case sh.n == 0:
		sh.buckets = sh.one[:]
	case sh.n == len(sh.buckets):
		sh.resize(max(fewestBuckets, 2*len(sh.buckets)), hash)
	}
	sh.push(p, h)
	sh.n++
}

func (sh *shard[S]) remove(p *place[S], hash hasher[S]) {
	*p.back = p.next
	if p.next != nil {
		p.next.back = p.back
	}
	p.next, p.back = nil, nil
	sh.n--
	switch {
	case sh.n == 0:
		sh.buckets = nil
	case len(sh.buckets) > fewestBuckets && sh.n < len(sh.buckets)/8:
		sh.resize(len(sh.buckets)/4, hash)
	}
}

// chain walks over the entries that share a bucket.
func (sh *shard[S]) chain(h uint64) iter.Seq[*Entry[S]] {
	return func(yield func(*Entry[S]) bool) {
		if sh.n == 0 {
			return
		}
		for p := *sh.bucket(h); p != nil; p = p.next {
			if !yield(p.of) {
				return
			}
		}
	}
}

// all walks over the entries of the shard.
func (sh *shard[S]) all() iter.Seq[*Entry[S]] {
	return func(yield func(*Entry[S]) bool) {
		for _, p := range sh.buckets {
			for ; p != nil; p = p.next {
				if !yield(p.of) {
					return
				}
			}
		}
	}
}

func (sh *shard[S]) push(p *place[S], h uint64) {
	head := sh.bucket(h)
	p.next, p.back = *head, head
	if *head != nil {
		(*head).back = &p.next
	}
	*head = p
}

func (sh *shard[S]) resize(size int, hash hasher[S]) {
	old := sh.buckets
	sh.buckets = make([]*place[S], size)
	for _, p := range old {
		for p != nil {
			next := p.next
			sh.push(p, hash.of(p.of))
			p = next
		}
	}
	sh.one[0] = nil
}
