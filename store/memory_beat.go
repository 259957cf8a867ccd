package store

import (
	"slices"
	"sync"
	"time"
)

// maxNodes bounds the epochs that are remembered, the dead ones among them.
const maxNodes = 4096

// nodes knows until when each epoch lives. A dead one is remembered as long as a lease of it may be left; an epoch that
// never sent a Beat (a process alone with its Memory sends none) counts as alive.
type nodes struct {
	mu    sync.RWMutex
	until map[NodeID]int64
}

// dead is asked under n.mu.
func (n *nodes) dead(id NodeID, t int64) bool {
	end, known := n.until[id]
	return known && end <= t
}

func (m *Memory) beat(o *Beat, now time.Time) {
	o.Live, o.Lost, o.Now, o.Tail, o.Err = o.Live[:0], false, now, m.feed.tail(), nil
	if o.Node == 0 || o.TTL < 0 {
		o.Err = ErrInvalid
		return
	}
	t := m.at(now)
	dead, err := m.nodes.beat(o, t)
	if err != nil {
		o.Err = err
		return
	}
	m.bury(dead)
	m.rollShard(t)
}

// beat notes the life of o.Node and returns the epochs whose leases are void.
func (n *nodes) beat(o *Beat, t int64) (dead []NodeID, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.until == nil {
		n.until = make(map[NodeID]int64)
	}
	end, known := n.until[o.Node]
	o.Lost = !known || end <= t
	if !known && len(n.until) >= maxNodes {
		oldest := n.firstDead(t)
		if oldest == 0 {
			return nil, ErrFull
		}
		delete(n.until, oldest)
		dead = append(dead, oldest)
	}
	if known && end <= t || o.TTL == 0 {
		dead = append(dead, o.Node) // void for good, before the epoch may live again
	}
	n.until[o.Node] = later(t, o.TTL)
	for id, end := range n.until {
		if end > t {
			o.Live = append(o.Live, id)
		}
	}
	slices.Sort(o.Live)
	return dead, nil
}

// firstDead returns the epoch that died first, or nobody.
func (n *nodes) firstDead(t int64) (first NodeID) {
	for id, end := range n.until {
		if end <= t && (first == 0 || end < n.until[first]) {
			first = id
		}
	}
	return first
}

// bury drops all leases of dead epochs.
func (m *Memory) bury(dead []NodeID) {
	if len(dead) == 0 {
		return
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for at := 0; at < len(s.order); {
			r := s.order[at]
			before := len(r.leases)
			r.leases = slices.DeleteFunc(r.leases, func(l lease) bool { return slices.Contains(dead, l.node) })
			m.kept.Add(int64(len(r.leases) - before))
			size := len(s.order)
			if before > 0 && len(r.leases) == 0 {
				m.tidy(s, r, -1)
			}
			if len(s.order) == size {
				at++
			}
		}
		s.mu.Unlock()
	}
}
