package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

// Node is one store in front of a shared one, whatever happens behind it. It answers by itself what this node alone
// knows to be refused, gives the shared store 25 ms for a batch, stops asking one that does not answer, and decides then
// by the policy of each rule (see OnError): rates and caps by this node's share, tickets and logouts never. What the
// shared store has missed or lost it is told when it is back.
//
// Callers put ID into the leases they ask for. Follow must run for revocations and bans to be known here, and for the
// leases to live: while any Follow runs the node sends a Beat each second. A caller leaves with a Beat of ID and TTL 0
// after its Follow has ended.
//
// Releases, tokens given back and claims withdrawn, in batches of nothing else, are answered at once and sent within 10
// ms. Memory is bounded as that of a [Memory].
type Node struct {
	shared   Store
	id       NodeID
	epoch    atomic.Uint64 // names its leases in the shared store; another one after the shared store has lost it
	policies policies
	maxStale time.Duration
	faults   []error

	local    *Memory      // bans and marks of the feed, handshake keys of this node, its shares of rates
	full     *limit.Cells // with the full limit: what the shared store has admitted here
	refusals refusals
	held     held
	backlog  backlog
	breaker  breaker
	heart    heart
	feed     knowledge
	overdue  atomic.Int64 // calls of the shared store that nobody waits for any more

	mu        sync.Mutex
	followers []*follower
	watched   []*watch
}

const (
	callBudget  = 25 * time.Millisecond
	markBudget  = 2 * time.Second
	otherBudget = time.Second // of what no handshake waits for
	mostOverdue = 1024
	fullCells   = 1 << 18
	batchSize   = 500 // operations at once when many are to be sent
)

// nodeBounds: tickets and leases are not kept in a Node's own Memory.
var nodeBounds = bounds{rates: 1 << 20, replays: 100_000, bans: 1 << 18, networks: 4096, kept: 1<<20 - 1<<18, feed: -1}

// NewNode wraps a shared store; it does not touch the network. The error joins every fault of the options.
func NewNode(shared Store, opts ...NodeOption) (*Node, error) {
	n := &Node{shared: shared, id: NewNodeID(), local: newMemory(nodeBounds), full: limit.NewCells(fullCells)}
	if shared == nil {
		n.fault("NewNode: the store is nil; pass one")
	}
	for i, opt := range opts {
		if opt == nil {
			n.fault("NewNode: option %d is nil; remove it", i+1)
			continue
		}
		opt(n)
	}
	if err := errors.Join(n.faults...); err != nil {
		return nil, err
	}
	if n.maxStale == 0 {
		n.maxStale = defaultStale
	}
	n.epoch.Store(uint64(n.id))
	n.backlog.send = n.sendBacklog
	n.heart.kick = make(chan struct{}, 1)
	return n, nil
}

// ID is what this node's callers put into Admit.Node and Release.Node. Leases under another one pass through untouched:
// they are neither counted nor asserted again here, and have ErrUnavailable while the shared store is away.
func (n *Node) ID() NodeID { return n.id }

// Overrides are the OnError options as they were given.
func (n *Node) Overrides() []Override { return n.policies.given }

// Policy is what holds for a rule and a key while the shared store is away.
func (n *Node) Policy(r Rule, k Key) Policy { return n.policies.of(r, k) }

// Evictions counts what was forgotten here before its time for want of room.
func (n *Node) Evictions() uint64 { return n.local.Evictions() + n.full.Evictions() }

// Do implements Store. An operation that was decided here has Local set; one that nobody could decide has an error. The
// end of ctx counts for a Mark only: whoever hangs up must neither break off a batch nor get by without it.
func (n *Node) Do(ctx context.Context, ops ...Op) error {
	if n.background(ops) {
		return nil
	}
	var err error
	b := batch{n: n, now: n.local.rates.Now()}
	for _, op := range ops {
		switch o := op.(type) {
		case *Mark:
			n.mark(ctx, o)
		case *Beat:
			n.passBeat(o)
		case *Admit, *Release, *Claim, *Put, *Redeem:
			b.add(op)
		default:
			err = ErrUnsupported
		}
	}
	b.do(ctx)
	return err
}

// batch is one call of Do on its way.
type batch struct {
	n    *Node
	now  time.Time // before the shared store was asked: what is charged here then is never stricter than the truth there
	asks []ask
	room [8]ask
}

// ask is one operation of a batch.
type ask struct {
	op Op       // the caller's
	q  question // of an Admit
	to Op       // a copy for the shared store, which may write to it long after; nil: answered already
}

func (b *batch) add(op Op) {
	if b.asks == nil {
		b.asks = b.room[:0]
	}
	x := ask{op: op}
	switch o := op.(type) {
	case *Admit:
		q, ok := b.n.local.ask(o)
		if !ok {
			return // it contradicts itself
		}
		if o.Cap > 0 && o.Node == b.n.id && b.n.held.len() >= mostHeld {
			o.Err = ErrFull
			return
		}
		x.q = q
	case *Claim:
		o.First, o.Local, o.Err = false, false, nil
		if o.TTL < 0 || o.Space != SpaceHandshakeKey && o.Space != SpaceLogout {
			o.Err = ErrInvalid
			return
		}
	}
	b.asks = append(b.asks, x)
}

func (b *batch) do(ctx context.Context) {
	n := b.n
	if len(b.asks) == 0 || b.refusedHere() {
		return
	}
	now := time.Now()
	ok, probe := n.breaker.pass(now)
	if probe {
		go n.probe()
	}
	if !ok {
		b.fallBack(ErrUnavailable)
		return
	}
	pending := n.backlog.takeFor(b)
	ops := make([]Op, 0, len(pending)+len(b.asks))
	ops = append(ops, pending...) // what was given back before this batch was asked
	for i := range b.asks {
		b.asks[i].to = n.translate(b.asks[i].op)
		ops = append(ops, b.asks[i].to)
	}
	err := n.ask(context.WithoutCancel(ctx), callBudget, ops)
	n.noteCall(err == nil)
	if err != nil {
		n.backlog.putBack(pending)
		b.fallBack(err)
		return
	}
	for i := range b.asks {
		b.settle(&b.asks[i])
	}
}

// translate copies an operation for the shared store; leases of this node are under its epoch there.
func (n *Node) translate(op Op) Op {
	switch o := op.(type) {
	case *Admit:
		c := *o
		if c.Node == n.id {
			c.Node = NodeID(n.epoch.Load())
		}
		return &c
	case *Release:
		c := *o
		if c.Node == n.id {
			c.Node = NodeID(n.epoch.Load())
		}
		return &c
	case *Claim:
		c := *o
		return &c
	case *Put:
		c := *o
		return &c
	case *Redeem:
		c := *o
		return &c
	}
	return nil
}

// settle takes over an answer of the shared store.
func (b *batch) settle(x *ask) {
	n := b.n
	switch o := x.op.(type) {
	case *Admit:
		c := x.to.(*Admit)
		if undecided(c.Err) {
			b.fallBackOne(x, c.Err)
			return
		}
		o.Verdict, o.Err = c.Verdict, c.Err
		if o.Err == nil {
			n.learnAnswer(o, c.Node, x.q, b.now)
		}
	case *Release:
		if o.Err = x.to.(*Release).Err; o.Node == n.id {
			n.held.drop(leaseName{o.Key, o.Conn})
		}
	case *Claim:
		c := x.to.(*Claim)
		if undecided(c.Err) {
			b.fallBackOne(x, c.Err)
			return
		}
		o.First, o.Local, o.Err = c.First, c.Local, c.Err
		if o.Space == SpaceHandshakeKey {
			own := *o
			n.local.claim(&own, b.now) // known here, too, when the shared store is away
		}
	case *Put:
		o.Err = x.to.(*Put).Err
	case *Redeem:
		c := x.to.(*Redeem)
		o.Data, o.OK, o.Err = c.Data, c.OK, c.Err
	}
}

// undecided tells a failure from an answer.
func undecided(err error) bool {
	return err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported)
}

// learnAnswer keeps what an Admit's answer says for the tables of this node.
func (n *Node) learnAnswer(a *Admit, epoch NodeID, q question, now time.Time) {
	t := n.local.at(now)
	switch a.Verdict.Refused {
	case None:
		if a.Rate != (Rate{}) {
			n.full.Take(q.bucket, q.limit, a.N, now)
			if a.N < 0 {
				n.refusals.forget(q.bucket)
			} else {
				n.refusals.admitted(q.bucket, q.limit, max(a.N, 1), t)
			}
		}
		if a.Cap > 0 && a.Node == n.id {
			sure := epoch == NodeID(n.epoch.Load())
			n.held.take(leaseName{a.Key, a.Conn}, epoch, mostHeld, a.Hold, sure, now)
		}
	case OverRate:
		n.refusals.add(q.bucket, refusal{limit: q.limit, n: max(a.N, 1), end: t + int64(a.Verdict.RetryAfter)}, t)
	case Banned: // of KeyNetwork it is not looked at
		n.refusals.add(q.key, refusal{end: t + int64(a.Verdict.RetryAfter)}, t)
	}
}
