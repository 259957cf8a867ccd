package store

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// heart beats while somebody follows, and sees to it that the shared store knows what this node knows.
type heart struct {
	kick chan struct{} // beat now

	mu        sync.Mutex
	follows   int
	stop      context.CancelFunc
	stopped   chan struct{}
	began     time.Time // of the first Follow
	last      time.Time // when the last Beat that was answered was sent
	live      int
	failed    bool // the last Beat
	republish bool // the shared store has lost its marks, or more are owed than owed holds
	published spacing
	unsent    []Mark // what is left of those that were being sent
	owed      []Mark
	turned    int // what of leases' turns is left of the last Beat
}

const (
	beatEvery   = time.Second
	beatAgain   = 250 * time.Millisecond // after one that failed
	beatTTL     = 5 * time.Second
	leaseDoubt  = time.Minute      // leases younger than this are asserted again after a reconnect
	leaseRound  = 10 * time.Minute // in which all are
	mostOwed    = 4096
	closeBefore = time.Second // before its leases lapse a node that is cut off ends its sessions
)

// eternal is the iat of a lease that is asserted again: its session was admitted long ago.
var eternal = time.Unix(math.MaxInt32, 0)

func (h *heart) beating() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.follows > 0
}

// nodes is how many nodes lived when this one last knew.
func (h *heart) nodes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(1, h.live)
}

// owe keeps a mark that the shared store has not taken.
func (h *heart) owe(m Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owed = slices.DeleteFunc(h.owed, func(o Mark) bool { return o.Key == m.Key && o.Kind == m.Kind && !o.Before.After(m.Before) })
	if len(h.owed) >= mostOwed {
		h.republish = true // this node's tables have it
		return
	}
	h.owed = append(h.owed, m)
}

// startHeart begins with the first Follow.
func (n *Node) startHeart() {
	h := &n.heart
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.follows++; h.follows > 1 {
		return
	}
	if h.began.IsZero() {
		h.began = time.Now()
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop, h.stopped = stop, make(chan struct{})
	go n.beatUntil(ctx, h.stopped)
}

// stopHeart ends with the last Follow.
func (n *Node) stopHeart() {
	h := &n.heart
	h.mu.Lock()
	h.follows--
	stop, stopped, over := h.stop, h.stopped, h.follows == 0
	h.mu.Unlock()
	if over {
		stop()
		<-stopped
	}
}

func (n *Node) beatUntil(ctx context.Context, stopped chan<- struct{}) {
	defer close(stopped)
	for ctx.Err() == nil {
		pause := beatEvery
		began := time.Now()
		if !n.beatOnce(ctx) {
			pause = beatAgain
		}
		timer := time.NewTimer(pause - time.Since(began))
		select {
		case <-timer.C:
		case <-n.heart.kick:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// beatOnce says that this node lives, and reports whether it was heard.
func (n *Node) beatOnce(ctx context.Context) bool {
	sent := time.Now()
	o := Beat{Node: NodeID(n.epoch.Load()), TTL: beatTTL}
	err := n.ask(ctx, otherBudget, []Op{&o})
	if ctx.Err() != nil {
		return true
	}
	if err == nil {
		err = o.Err
	}
	now := time.Now()
	if err != nil {
		n.heart.mu.Lock()
		n.heart.failed = true
		n.heart.mu.Unlock()
		n.noteCall(false)
		return false
	}
	if now.Sub(sent) <= callBudget {
		n.noteCall(true)
	}
	if _, probe := n.breaker.pass(now); probe {
		n.probe()
	}
	again, first := n.heart.heard(&o, sent)
	lost := o.Lost && !first
	if lost || n.backlog.overflowed() {
		n.renewEpoch(ctx)
	}
	if lost {
		n.heart.mu.Lock()
		n.heart.republish = true
		n.heart.mu.Unlock()
		n.feed.rewind()
		n.restartFeeds(true)
	} else if n.feed.told(o.Tail, sent, now, o.Now) {
		n.restartFeeds(false)
	}
	if first || lost {
		n.held.doubt(time.Time{})
	} else if again {
		n.held.doubt(now.Add(-leaseDoubt))
	}
	return n.repair(ctx)
}

// heard takes a Beat's answer. It reports whether the one before had failed, and whether none was answered before.
func (h *heart) heard(o *Beat, sent time.Time) (again, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	again, first = h.failed, h.last.IsZero()
	h.failed, h.last, h.live = false, sent, len(o.Live)
	return again, first
}

// renewEpoch leaves the epoch whose leases are void, or not to be trusted, and takes another one.
func (n *Node) renewEpoch(ctx context.Context) {
	old, next := NodeID(n.epoch.Load()), NewNodeID()
	n.epoch.Store(uint64(next))
	n.held.doubt(time.Time{})
	_ = n.ask(ctx, otherBudget, []Op{&Beat{Node: old}, &Beat{Node: next, TTL: beatTTL}}) // the next Beat says whether it was heard
}

// repair tells the shared store what it has missed. What fails is tried again after the next Beat.
func (n *Node) repair(ctx context.Context) bool {
	if !n.flushBacklog() || !n.sendMarks(ctx) {
		return false
	}
	for {
		some := n.held.unsure(batchSize, time.Now())
		if len(some) == 0 {
			break
		}
		if !n.assert(ctx, some) {
			return false
		}
	}
	if round := n.held.roll(n.heart.turn(n.held.len()), time.Now()); len(round) > 0 {
		return n.assert(ctx, round)
	}
	return true
}

// turn is how many of so many leases are asserted after this Beat, what is left of one being kept for the next.
func (h *heart) turn(leases int) (n int) {
	const beats = int(leaseRound / beatEvery)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turned += leases
	n, h.turned = h.turned/beats, h.turned%beats
	return n
}

// assert tells the shared store of leases that it should know. They are held, whatever the cap says.
func (n *Node) assert(ctx context.Context, leases []heldLease) bool {
	epoch, now := NodeID(n.epoch.Load()), time.Now()
	ops, admits := make([]Op, len(leases)), make([]Admit, len(leases))
	for i, l := range leases {
		admits[i] = Admit{Key: l.key, Cap: math.MaxInt32, Node: epoch, Conn: l.conn, Hold: l.until.Sub(now), IssuedAt: eternal}
		ops[i] = &admits[i]
	}
	if err := n.ask(ctx, otherBudget, ops); err != nil {
		return false
	}
	for i := range admits {
		if !n.held.asserted(leases[i].leaseName, epoch) {
			// It was released in between, and the release may have come first.
			n.backlog.add(backlogKey{key: leases[i].key}, &Release{Key: leases[i].key, Node: epoch, Conn: leases[i].conn})
		}
	}
	return true
}

// sendMarks sends what is owed, and all that is known to a store which has lost it. What fails is gone on with after the
// next Beat.
func (n *Node) sendMarks(ctx context.Context) bool {
	h := &n.heart
	for marks := n.marksToSend(); len(marks) > 0; marks = n.marksToSend() {
		for len(marks) > 0 {
			sent := slices.Clone(marks[:min(len(marks), batchSize)])
			ops := make([]Op, len(sent))
			for i := range sent {
				ops[i] = &sent[i]
			}
			if err := n.ask(ctx, otherBudget, ops); err != nil {
				h.mu.Lock()
				h.unsent = marks
				h.mu.Unlock()
				return false
			}
			marks = marks[len(sent):]
		}
	}
	return true
}

// marksToSend takes what is to be sent next. A store that loses all again and again is told of all more and more rarely:
// each mark that is published makes its feed longer.
func (n *Node) marksToSend() []Mark {
	marks, all := n.heart.takeMarks(time.Now())
	if !all {
		return marks
	}
	offset := n.feed.clockOffset()
	for _, m := range n.local.allMarks(time.Now()) {
		m.Until = m.Until.Add(offset)
		marks = append(marks, m)
	}
	return marks
}

// takeMarks reports, beside what is left or owed, whether all marks are to follow it.
func (h *heart) takeMarks(now time.Time) (marks []Mark, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if marks, h.unsent = h.unsent, nil; len(marks) > 0 {
		return marks, false
	}
	marks, h.owed = h.owed, nil
	if all = h.republish && h.published.wait(now) == 0; all {
		h.republish = false
		h.published.did(now)
	}
	return marks, all
}

// Deadline is when open sessions are to be ended, by the Close policy of these rules, or of any when none is named: a
// second before the leases lapse that a cut-off node cannot prolong, and when the feed becomes older than MaxStale. It
// has a monotonic reading; the zero time says that there is no such rule or that nobody has followed yet.
func (n *Node) Deadline(rules ...Rule) time.Time {
	wanted := func(r Rule) bool {
		return (len(rules) == 0 || slices.Contains(rules, r)) && n.policies.closes(r)
	}
	n.heart.mu.Lock()
	began, last := n.heart.began, n.heart.last
	n.heart.mu.Unlock()
	if began.IsZero() {
		return time.Time{}
	}
	var end time.Time
	if wanted(RuleCap) {
		end = later2(began, last).Add(beatTTL - closeBefore)
	}
	if wanted(RuleRevocation) {
		n.feed.mu.Lock()
		stale := later2(began, n.feed.fresh).Add(n.maxStale)
		n.feed.mu.Unlock()
		if end.IsZero() || stale.Before(end) {
			end = stale
		}
	}
	return end
}
