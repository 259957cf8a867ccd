package store

// NewSmallMemory is a Memory that is full soon: kept leases, marks, logout ids and tickets, 64 × bans bans, 64 networks.
func NewSmallMemory(kept, bans int) *Memory {
	return newMemory(bounds{rates: 1 << 10, replays: 100, bans: bans * shardCount, networks: 64, kept: kept, bytes: 1 << 20, feed: feedSize})
}

// Kept is how many places are taken that are never forgotten.
func (m *Memory) Kept() int { return int(m.kept.Load()) }

// Entries counts what is in memory, lapsed or not.
func (m *Memory) Entries() (records, bans, secrets int) {
	revoked := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		chained, marked := 0, 0
		for _, r := range s.chains {
			for ; r != nil; r = r.next {
				chained++
				if r.mark.until != 0 {
					marked++
				}
			}
		}
		records, bans, secrets, revoked = records+chained, bans+len(s.bans), secrets+len(s.secrets), revoked+marked
		if chained != len(s.order) || len(s.secrets) != len(s.secretsIn) {
			panic("a list and its index differ")
		}
		s.mu.Unlock()
	}
	if revoked != int(m.revoked.Load()) {
		panic("the count of marks is wrong")
	}
	return records, bans, secrets
}

// NewShortMemory is a Memory whose feed keeps only so many events.
func NewShortMemory(feed int) *Memory {
	b := defaultBounds
	b.feed = feed
	return newMemory(b)
}

// Sizes are what a node's own tables hold.
func (n *Node) Sizes() (held, counts, backlog, refused int) {
	n.held.mu.Lock()
	n.backlog.mu.Lock()
	n.refusals.mu.Lock()
	defer n.held.mu.Unlock()
	defer n.backlog.mu.Unlock()
	defer n.refusals.mu.Unlock()
	return len(n.held.by), len(n.held.count), n.backlog.n, len(n.refusals.kept)
}
