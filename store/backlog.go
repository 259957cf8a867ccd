package store

import (
	"context"
	"sync"
	"time"
)

// backlog holds what nobody waits for: leases, tokens and claims given back. It is joined over 10 ms, or goes ahead of the
// next batch about the same key, whichever comes first.
type backlog struct {
	send  func()
	mu    sync.Mutex
	ops   map[backlogKey][]Op
	n     int
	armed bool
	lost  bool // it was more than a table holds; the leases must be told anew
}

// backlogKey is a Key, or the value of a Claim.
type backlogKey struct {
	key   Key
	space Space
	value string
}

const (
	joinFor     = 10 * time.Millisecond
	mostBacklog = 1 << 16
)

// background takes a batch of which nobody needs the answer, and reports whether it was one.
func (n *Node) background(ops []Op) bool {
	if len(ops) == 0 {
		return false
	}
	for _, op := range ops {
		switch o := op.(type) {
		case *Release:
			if !o.Key.valid() {
				return false
			}
		case *Admit:
			if _, ok := n.local.ask(o); !ok || o.N >= 0 || o.Cap > 0 {
				return false
			}
		case *Claim:
			if o.TTL != 0 || o.Space != SpaceHandshakeKey && o.Space != SpaceLogout {
				return false
			}
		default:
			return false
		}
	}
	for _, op := range ops {
		n.giveBack(op)
	}
	return true
}

// giveBack changes this node's own tables at once.
func (n *Node) giveBack(op Op) {
	now := n.local.rates.Now()
	switch o := op.(type) {
	case *Release:
		o.Err = nil
		sent := *o
		if o.Node == n.id {
			if sent.Node = n.held.drop(leaseName{o.Key, o.Conn}); sent.Node == 0 {
				return // it was never taken
			}
		}
		n.backlog.add(backlogKey{key: o.Key}, &sent)
	case *Admit:
		q, _ := n.local.ask(o)
		n.giveTokens(o, q, now)
		if n.breaker.isOpen() {
			return // the bucket there fills by itself
		}
		sent := *o
		n.backlog.add(backlogKey{key: o.Key}, &sent)
	case *Claim:
		o.First, o.Local, o.Err = false, false, nil
		sent, own := *o, *o
		if o.Space == SpaceHandshakeKey {
			n.local.claim(&own, now)
		}
		n.backlog.add(backlogKey{space: o.Space, value: o.Value}, &sent)
	}
}

func (l *backlog) add(k backlogKey, op Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(k, op)
	if !l.armed {
		l.armed = true
		time.AfterFunc(joinFor, l.send)
	}
}

func (l *backlog) put(k backlogKey, op Op) {
	if l.n >= mostBacklog {
		if _, lease := op.(*Release); lease {
			l.lost = true
		}
		return
	}
	if l.ops == nil {
		l.ops = make(map[backlogKey][]Op)
	}
	l.ops[k] = append(l.ops[k], op)
	l.n++
}

// takeFor takes out what concerns the keys of a batch.
func (l *backlog) takeFor(b *batch) (ops []Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == 0 {
		return nil
	}
	for i := range b.asks {
		k := backlogOf(b.asks[i].op)
		if taken := l.ops[k]; taken != nil {
			ops = append(ops, taken...)
			l.n -= len(taken)
			delete(l.ops, k)
		}
	}
	return ops
}

func backlogOf(op Op) backlogKey {
	switch o := op.(type) {
	case *Admit:
		return backlogKey{key: o.Key}
	case *Release:
		return backlogKey{key: o.Key}
	case *Claim:
		return backlogKey{space: o.Space, value: o.Value}
	}
	return backlogKey{}
}

// take takes out some of all.
func (l *backlog) take(most int) (ops []Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, taken := range l.ops {
		if len(ops) > 0 && len(ops)+len(taken) > most {
			continue
		}
		ops = append(ops, taken...)
		l.n -= len(taken)
		delete(l.ops, k)
		if len(ops) >= most {
			break
		}
	}
	return ops
}

// putBack keeps what could not be sent; the copies that a store may still write to are not used again. A token that was
// not given back in time is not given back.
func (l *backlog) putBack(ops []Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, op := range ops {
		switch o := op.(type) {
		case *Release:
			l.put(backlogOf(o), &Release{Key: o.Key, Node: o.Node, Conn: o.Conn})
		case *Claim:
			l.put(backlogOf(o), &Claim{Space: o.Space, Value: o.Value})
		}
	}
}

// overflowed reports, once, that releases had to be forgotten.
func (l *backlog) overflowed() (lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, l.lost = l.lost, false
	return lost
}

// sendBacklog is what the timer runs.
func (n *Node) sendBacklog() {
	n.backlog.mu.Lock()
	n.backlog.armed = false
	n.backlog.mu.Unlock()
	if ok, probe := n.breaker.pass(time.Now()); probe {
		go n.probe()
	} else if ok {
		n.flushBacklog()
	}
}

// flushBacklog sends all that is waiting, and reports whether it could.
func (n *Node) flushBacklog() bool {
	for {
		ops := n.backlog.take(batchSize)
		if len(ops) == 0 {
			return true
		}
		if err := n.ask(context.Background(), otherBudget, ops); err != nil {
			n.noteCall(false)
			n.backlog.putBack(ops)
			return false
		}
	}
}
