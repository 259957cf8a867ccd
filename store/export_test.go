package store

// NewSmallMemory is a Memory that is full soon: kept leases, marks, logout ids and tickets, 64 × bans bans, 64 networks.
func NewSmallMemory(kept, bans int) *Memory {
	return newMemory(bounds{rates: 1 << 10, replays: 100, bans: bans * shardCount, networks: 64, kept: kept, bytes: 1 << 20, feed: feedSize})
}

// Kept is how many places are taken that are never forgotten.
func (m *Memory) Kept() int { return int(m.kept.Load()) }

// Entries counts what is in memory, lapsed or not.
func (m *Memory) Entries() (records, bans, secrets int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		records, bans, secrets = records+len(s.records), bans+len(s.bans), secrets+len(s.secrets)
		if len(s.records) != len(s.order) || len(s.secrets) != len(s.secretsIn) {
			panic("a list and its index differ")
		}
		s.mu.Unlock()
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
