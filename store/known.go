package store

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// This file is what a node knows by itself: bans and marks of the feed, what the shared store has admitted here, and
// what it has just refused.

// refusedHere answers a batch of which this node knows that an operation is refused. The others are not asked, with two
// exceptions: questions for marks alone may be about many credentials, and a ticket may let its bearer pass what holds the
// address up, so one that is only read is read, at the rate of an address.
func (b *batch) refusedHere() bool {
	n, refused, tickets := b.n, false, false
	showsTicket := slices.ContainsFunc(b.asks, func(x ask) bool {
		o, ok := x.op.(*Redeem)
		return ok && o.Keep
	})
	for i := range b.asks {
		o, ok := b.asks[i].op.(*Admit)
		if !ok {
			continue
		}
		o.Verdict = n.refusalOf(o, b.asks[i].q, b.now)
		if o.Verdict.Refused == None {
			continue
		}
		refused = true
		if showsTicket && o.Verdict.Refused != Revoked && n.takeTicketRead(o, b.asks[i].q, b.now) {
			tickets = true
		}
	}
	if !refused {
		return false
	}
	if b.onlyAsks() {
		b.asks = slices.DeleteFunc(b.asks, func(x ask) bool { return x.op.(*Admit).Verdict.Refused != None })
		return len(b.asks) == 0
	}
	var reads []ask
	for i := range b.asks {
		switch o := b.asks[i].op.(type) {
		case *Admit:
			if o.Verdict.Refused == None {
				o.Err = ErrSkipped
			}
		case *Release:
			o.Err = ErrSkipped
		case *Claim:
			o.Err = ErrSkipped
		case *Put:
			o.Err = ErrSkipped
		case *Redeem:
			o.Data, o.OK, o.Err = nil, false, ErrSkipped
			if o.Keep && tickets {
				reads = append(reads, b.asks[i])
			}
		}
	}
	b.asks = reads
	return len(reads) == 0
}

// onlyAsks reports whether nothing of a batch takes anything: its operations need not be about one handshake.
func (b *batch) onlyAsks() bool {
	return !slices.ContainsFunc(b.asks, func(x ask) bool {
		o, ok := x.op.(*Admit)
		return !ok || o.Rate != (Rate{}) || o.Cap > 0
	})
}

// takeTicketRead gives the made-up tickets of an address a rate of their own.
func (n *Node) takeTicketRead(a *Admit, q question, now time.Time) bool {
	if a.Rate == (Rate{}) {
		return true
	}
	ok, _ := n.full.Take(n.local.rates.Join(q.bucket, ticketReads), q.limit, 1, now)
	return ok
}

const ticketReads = 0x7469636b

// refusalOf is what this node knows against an Admit. It is never stricter than the shared store, but for a token that
// another node has given back within the last second.
func (n *Node) refusalOf(a *Admit, q question, now time.Time) Verdict {
	if a.N < 0 {
		return Verdict{}
	}
	t := n.local.at(now)
	refused, wait := n.standingOf(a, q, t)
	if refused == Revoked || refused == Banned && a.Key.Kind != KeyNetwork { // whom a network's ban spares is the guard's rule
		return Verdict{Refused: refused, RetryAfter: wait}
	}
	if a.Key.Kind == KeyNetwork {
		return Verdict{}
	}
	if left := n.refusals.holds(q.key, refusal{}.limit, 0, t); left > 0 {
		return Verdict{Refused: Banned, RetryAfter: left}
	}
	if a.Rate == (Rate{}) {
		return Verdict{}
	}
	if left := n.refusals.holds(q.bucket, q.limit, max(a.N, 1), t); left > 0 {
		return Verdict{Refused: OverRate, RetryAfter: left}
	}
	if ok, wait := n.full.PeekN(q.bucket, q.limit, a.N, now); !ok {
		return Verdict{Refused: OverRate, RetryAfter: wait}
	}
	return Verdict{}
}

// standingOf is what the feed has told of bans and marks.
func (n *Node) standingOf(a *Admit, q question, t int64) (Refusal, time.Duration) {
	s := n.local.shard(q.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.local.standing(a, s.find(q.key, &a.Key), t)
}

// knowledge is how far the feed has come here, and how fresh that is.
type knowledge struct {
	mu       sync.Mutex
	cursor   Cursor
	fresh    time.Time // everything that was marked until then is known; zero: nothing is
	tail     Cursor    // the newest event as a Beat has told
	tailAt   time.Time // when that Beat was sent
	moved    time.Time // when the cursor last moved, or had nowhere to move to
	gapUntil time.Time // events are missing; until then one of them may still hold
	offset   time.Duration
}

// learn applies an event of the feed to this node's tables.
func (n *Node) learn(e Event) {
	now := time.Now()
	until := e.Until
	if !until.IsZero() {
		if until = until.Add(-n.feed.clockOffset()); !until.After(now) {
			n.feed.reached(e.Cursor, now)
			return // it is over; its time ran on the store's clock
		}
	}
	m := Mark{Key: e.Key, Before: e.Before, Until: until}
	switch e.Kind {
	case EventRevoke:
		m.Kind = MarkRevoke
	case EventBan:
		m.Kind = MarkBan
	case EventUnban:
		m.Kind = MarkUnban
		n.refusals.forgetAll()
	default:
		return
	}
	n.local.mark(&m, now)
	if errors.Is(m.Err, ErrFull) {
		n.feed.missing(now) // what is not kept cannot be vouched for
	}
	n.feed.reached(e.Cursor, now)
}

func (k *knowledge) reached(c Cursor, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.Compare(k.cursor) > 0 {
		k.cursor, k.moved = c, now
	}
	k.settle()
}

// settle: whoever has read up to what was the end knows all until then.
func (k *knowledge) settle() {
	if !k.tailAt.IsZero() && k.cursor.Compare(k.tail) >= 0 && k.tailAt.After(k.fresh) {
		k.fresh = k.tailAt
	}
}

// told takes what a Beat, sent then, has told of the end of the feed. It reports whether the feed seems to stand still
// though there is more of it.
func (k *knowledge) told(tail Cursor, sent, now time.Time, storeNow time.Time) (stuck bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !storeNow.IsZero() {
		k.offset = storeNow.Sub(sent.Add(now.Sub(sent) / 2).Round(0))
	}
	behind := k.cursor.Compare(tail) < 0
	if !behind || k.moved.IsZero() {
		k.moved = now
	}
	// An older end that has not been reached yet stays the one to reach: else a busy feed would never be fresh.
	if k.tailAt.IsZero() || k.cursor.Compare(k.tail) >= 0 {
		k.tail, k.tailAt = tail, sent
	}
	k.settle()
	return behind && now.Sub(k.moved) > stuckAfter
}

// stuckAfter is how long a feed may deliver nothing of what there is before it is opened anew.
const stuckAfter = 3 * time.Second

// missing: events are gone that a mark or ban may rest on for as long as marks live.
func (k *knowledge) missing(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gapUntil = now.Add(markLife)
}

// rewind forgets the cursor, for a feed that begins anew.
func (k *knowledge) rewind() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cursor, k.tail, k.tailAt, k.moved = Cursor{}, Cursor{}, time.Time{}, time.Time{}
}

func (k *knowledge) clockOffset() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.offset
}

func (n *Node) storeNow() time.Time { return time.Now().Add(n.feed.clockOffset()).Round(0) }

// freshUntil is when what this node knows of revocations becomes too old; the zero time if it never was complete.
func (n *Node) freshUntil(now time.Time) time.Time {
	n.feed.mu.Lock()
	defer n.feed.mu.Unlock()
	if n.feed.fresh.IsZero() || now.Before(n.feed.gapUntil) {
		return time.Time{}
	}
	return n.feed.fresh.Add(n.maxStale)
}

// Stale reports that the feed of revocations is older than MaxStale, or was never read: should the shared store be away,
// credentials are refused.
func (n *Node) Stale() bool {
	now := time.Now()
	return !now.Before(n.freshUntil(now))
}

// allMarks are the bans and marks that a store holds, to be published again by one that has lost them.
func (m *Memory) allMarks(now time.Time) (all []Mark) {
	t := m.at(now)
	add := func(k Key, v revocation, b ban) {
		if v.until > t {
			all = append(all, Mark{Key: k, Kind: MarkRevoke, Before: v.before, Until: wall(v.until, now, t)})
		}
		if b.until > t {
			all = append(all, Mark{Key: k, Kind: MarkBan, Until: wall(b.until, now, t)})
		}
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, r := range s.order {
			add(r.key, r.mark, r.ban)
		}
		s.mu.Unlock()
	}
	if nets := m.networks.now.Load(); nets != nil {
		for p, x := range nets.marked {
			add(Network(p), x.mark, x.ban)
		}
	}
	return all
}
