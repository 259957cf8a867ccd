package store

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// networks holds what is banned or revoked by network. Readers take a snapshot; a change copies it.
type networks struct {
	mu  sync.Mutex
	now atomic.Pointer[snapshot]
}

type snapshot struct {
	marked map[netip.Prefix]network
	bits   [2][]int // the prefix lengths in use, of IPv4 and of IPv6: one look-up for each finds all networks around an address
}

type network struct {
	ban  ban
	mark revocation
}

// around returns the end of the longest ban of a network that contains p, and whether the mark of one refuses issued.
func (n *networks) around(p netip.Prefix, issued time.Time, t int64) (end int64, revoked bool) {
	now := n.now.Load()
	if now == nil {
		return 0, false
	}
	for _, bits := range now.bits[family(p)] {
		if bits > p.Bits() {
			break
		}
		q, _ := p.Addr().Prefix(bits)
		if x, ok := now.marked[q]; ok {
			end = max(end, x.ban.until)
			revoked = revoked || x.mark.refuses(Key{Kind: KeyNetwork}, issued, t)
		}
	}
	return end, revoked
}

func (m *Memory) markNetwork(o *Mark, now time.Time) {
	n, t := &m.networks, m.at(now)
	n.mu.Lock()
	defer n.mu.Unlock()
	marked := make(map[netip.Prefix]network)
	if old := n.now.Load(); old != nil {
		maps.Copy(marked, old.marked)
	}
	maps.DeleteFunc(marked, func(_ netip.Prefix, x network) bool { return x.ban.forget <= t && x.mark.until <= t })
	x := marked[o.Key.Prefix]
	changed := true
	switch o.Kind {
	case MarkRevoke:
		x.mark.raise(m, o, now)
	case MarkBan:
		changed = x.ban.raise(m, o, now)
	case MarkUnban:
		x.ban = ban{}
	}
	marked[o.Key.Prefix] = x
	if x == (network{}) {
		delete(marked, o.Key.Prefix)
	}
	if len(marked) > m.bounds.networks {
		o.Err = ErrFull
		return
	}
	n.now.Store(newSnapshot(marked))
	switch {
	case o.Kind == MarkRevoke:
		m.feed.revoked(o, x.mark, now, t)
	case o.Kind == MarkBan && changed:
		m.feed.banned(o, x.ban, now, t)
	case o.Kind == MarkUnban:
		m.feed.unbanned(o, now)
	}
}

func newSnapshot(marked map[netip.Prefix]network) *snapshot {
	if len(marked) == 0 {
		return nil
	}
	s := &snapshot{marked: marked}
	for p := range marked {
		if f := family(p); !slices.Contains(s.bits[f], p.Bits()) {
			s.bits[f] = append(s.bits[f], p.Bits())
		}
	}
	slices.Sort(s.bits[0])
	slices.Sort(s.bits[1])
	return s
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}
