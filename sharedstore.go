package wssecure

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wssecure/wssecure/store"
)

// SetStore shares what several nodes must agree on: budgets, open sessions by key, bans, revocations, tickets and other
// single-use secrets. Without it they live in this process's memory. A revocation or ban of any node then holds on all.
//
// A store other than *store.Memory and *store.Node is wrapped in a [store.Node], which answers within 25 ms whatever
// happens to s; opts, as [store.OnError], say what is decided while s is away. New does not touch the network: the guard
// follows s in the background from then on, until [Guard.Shutdown]. What is left open on one node is what its
// documentation lists, docs/operations.md.
func SetStore(s store.Store, opts ...store.NodeOption) Option {
	return func(d *draft) {
		if !d.processWide("SetStore") {
			return
		}
		switch own := s.(type) {
		case nil:
			d.fault("SetStore", "the store is nil; pass one, or leave the option out for this process's memory")
		case *store.Memory:
			if own == nil {
				d.fault("SetStore", "the *store.Memory is nil; pass store.NewMemory()")
			} else if len(opts) > 0 {
				d.fault("SetStore", "a *store.Memory is never away; remove its options")
			} else {
				d.store = own
			}
		case *store.Node:
			if own == nil {
				d.fault("SetStore", "the *store.Node is nil; pass one, or the store itself")
			} else if len(opts) > 0 {
				d.fault("SetStore", "the *store.Node has its options; pass them to NewNode")
			} else {
				d.store = own
			}
		default:
			node, err := store.NewNode(s, opts...)
			if err != nil {
				d.faultErrs("SetStore", split(err))
				return
			}
			d.store = node
		}
	}
}

// split takes joined errors apart.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// finishStore looks at what only a shared store minds.
func (d *draft) finishStore() {
	node, ok := d.store.(*store.Node)
	if !ok || d.child {
		return
	}
	for _, o := range node.Overrides() {
		if o.Policy == store.Allow {
			d.holes = append(d.holes, hole{"SetStore", fmt.Sprintf("OnError: while the shared store is away, nothing holds %s to its %s", everybody(o.Keys), o.Rule)})
		}
	}
}

func everybody(keys []string) string {
	if len(keys) == 0 {
		return "anybody"
	}
	return fmt.Sprintf("%q", keys)
}

// warnOfCaps says which caps a shared store is slow to count: it looks through them all each time that one is reached.
func (c *core) warnOfCaps(p *policy) {
	if c.nodeStore() == nil {
		return
	}
	for _, rule := range p.caps {
		if rule.key.kind != keyTotal && rule.n > slowStoreCap {
			c.warn(fmt.Sprintf("LimitConns: %d by %s: beyond %d a shared store is slow to count them", rule.n, keyLabel(rule.key), slowStoreCap))
		}
	}
	if p.limits.Conns > slowStoreCap {
		c.warn(fmt.Sprintf("LimitSession: Conns %d: beyond %d a shared store is slow to count them", p.limits.Conns, slowStoreCap))
	}
}

// warnOfKeys says for which keys OnError decides nothing, unless a route of With has them.
func (c *core) warnOfKeys(p *policy) {
	node := c.nodeStore()
	if node == nil {
		return
	}
	for _, o := range node.Overrides() {
		for _, key := range o.Keys {
			if key != "ip" && key != "subject" && !p.countsBy(key) {
				c.warn(fmt.Sprintf("SetStore: OnError: no rule counts by %q yet; it is for a ByFunc of that name", key))
			}
		}
	}
}

func (p *policy) countsBy(name string) bool {
	return slices.ContainsFunc(p.funcRules, func(r funcRule) bool { return r.key.name == name }) ||
		slices.ContainsFunc(p.failures, func(r failureRule) bool { return r.key.kind == keyFunc && r.key.name == name })
}

var errStaleFeed = errors.New("wssecure: the shared store's feed of revocations is too old, or was never read")

// nodeStore is the node in front of a shared store, nil when there is none.
func (c *core) nodeStore() *store.Node {
	node, _ := c.store.(*store.Node)
	return node
}
