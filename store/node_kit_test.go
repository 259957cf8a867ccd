package store_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

// cluster is some nodes over one shared store, in a bubble, each behind a switch.
type cluster struct {
	*testing.T
	shared *swap
	nodes  []*clusterNode
}

type clusterNode struct {
	*store.Node
	link   *storetest.Faulty
	stop   func()
	mu     sync.Mutex
	events []store.Event
}

// swap is a shared store that can be replaced by an empty one, as one that restarts without persistence is.
type swap struct {
	mu   sync.Mutex
	now  *store.Memory
	over chan struct{}
}

func newSwap(m *store.Memory) *swap { return &swap{now: m, over: make(chan struct{})} }

func (s *swap) current() (*store.Memory, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.over
}

func (s *swap) Do(ctx context.Context, ops ...store.Op) error {
	m, _ := s.current()
	return m.Do(ctx, ops...)
}

func (s *swap) Follow(ctx context.Context, after store.Cursor, apply func(store.Event)) error {
	m, over := s.current()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-over:
			cancel()
		case <-inner.Done():
		}
	}()
	return m.Follow(inner, after, apply)
}

func (s *swap) replace(m *store.Memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.over)
	s.now, s.over = m, make(chan struct{})
}

// inCluster runs f with n nodes that follow.
func inCluster(t *testing.T, n int, f func(c *cluster), opts ...store.NodeOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{T: t, shared: newSwap(store.NewMemory())}
		for range n {
			c.add(opts...)
		}
		time.Sleep(2500 * time.Millisecond) // all know of each other, and it is between two Beats
		f(c)
		for _, x := range c.nodes {
			x.stop()
		}
		time.Sleep(3 * time.Second) // what was on its way is over
	})
}

func (c *cluster) add(opts ...store.NodeOption) *clusterNode { return c.addTo(c.shared, opts...) }

func (c *cluster) addTo(shared store.Store, opts ...store.NodeOption) *clusterNode {
	x := &clusterNode{link: storetest.NewFaulty(shared)}
	x.Node = newNode(c, x.link, opts...)
	c.nodes = append(c.nodes, x)
	x.follow()
	synctest.Wait()
	return x
}

func (x *clusterNode) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Follow(ctx, store.Cursor{}, func(e store.Event) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.events = append(x.events, e)
		})
	}()
	x.stop = func() { cancel(); <-done }
}

func (x *clusterNode) seen(kind store.EventKind) (some []store.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.events {
		if e.Kind == kind {
			some = append(some, e)
		}
	}
	return some
}

// cut makes a node's store hang, and waits until its breaker is open.
func (x *clusterNode) cut() {
	x.link.Set(storetest.Fault{Hang: true})
	for range 5 {
		x.Do(ctx, &store.Redeem{Ticket: "none", Keep: true})
	}
}

// heal waits until the node is back.
func (x *clusterNode) heal() {
	x.link.Heal()
	time.Sleep(4 * time.Second)
}

func (x *clusterNode) admit(a store.Admit) (store.Verdict, error) {
	x.Do(ctx, &a)
	return a.Verdict, a.Err
}

func (x *clusterNode) lease(k store.Key, most int, conn uint64) store.Admit {
	return store.Admit{Key: k, Cap: most, Node: x.ID(), Conn: conn, Hold: time.Hour, IssuedAt: time.Now().Add(time.Hour)}
}

func (c *cluster) want(x *clusterNode, a store.Admit, want store.Refusal, local bool) {
	c.Helper()
	v, err := x.admit(a)
	if err != nil || v.Refused != want || v.Local != local {
		c.Errorf("%+v, %v; want %v, local %v", v, err, want, local)
	}
}

// truth asks the shared store itself.
func (c *cluster) truth(a store.Admit) store.Verdict {
	c.Helper()
	m, _ := c.shared.current()
	m.Peek(&a)
	return a.Verdict
}

func mustNetwork(s string) store.Key { return store.Network(netip.MustParsePrefix(s)) }
