package wssecure

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wssecure/wssecure/store"
)

// failures joins what failed within 10 ms for a shared store, so that neither an
// answer nor the end of a session waits for it, and a flood of forged tokens is
// one question.
type failures struct {
	mu      sync.Mutex
	pending map[failureKey]*failureCount
	running bool
}

// failureKey is one key of one rule.
type failureKey struct {
	key  store.Key
	rate Rate
	ban  time.Duration
}

type failureCount struct {
	policy *policy
	by     failureBy // who came first
	n      int
}

const (
	failuresJoined = 10 * time.Millisecond
	mostFailing    = 4096 // keys at once; what comes beyond is not counted, as each of these is
)

// charge counts one failure: at once in a memory, soon in a shared store.
func (c *core) charge(p *policy, rule failureRule, key store.Key, by failureBy) {
	k := failureKey{key, rule.rate, rule.ban}
	if c.nodeStore() == nil {
		admit := k.admit(1)
		c.quietly(&admit)
		if isOverRate(&admit) {
			c.banFor(p, key, rule.ban, by)
		}
		return
	}
	f := &c.failing
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending[k] != nil {
		f.pending[k].n++
		return
	}
	if len(f.pending) >= mostFailing {
		return
	}
	if f.pending == nil {
		f.pending = make(map[failureKey]*failureCount)
	}
	f.pending[k] = &failureCount{p, by, 1}
	if !f.running {
		f.running = true
		go c.chargeJoined()
	}
}

// admit takes n tokens of the rule's budget.
func (k failureKey) admit(n int) store.Admit {
	return store.Admit{Key: k.key, Bucket: "failures", Rate: store.Rate(k.rate), N: n}
}

func isOverRate(a *store.Admit) bool { return a.Err == nil && a.Verdict.Refused == store.OverRate }

// chargeJoined runs while failures come.
func (c *core) chargeJoined() {
	for {
		time.Sleep(failuresJoined)
		batch := c.failing.take()
		if len(batch) == 0 {
			return
		}
		c.chargeBatch(batch)
	}
}

// take empties what is pending; with nothing to take, the next failure starts
// anew.
func (f *failures) take() map[failureKey]*failureCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	batch := f.pending
	f.pending = nil
	f.running = len(batch) > 0
	return batch
}

func (c *core) chargeBatch(batch map[failureKey]*failureCount) {
	keys := slices.Collect(maps.Keys(batch))
	admits, ops := make([]store.Admit, len(keys)), make([]store.Op, len(keys))
	for i, k := range keys {
		admits[i] = k.admit(batch[k].n)
		ops[i] = &admits[i]
	}
	if err := c.store.Do(context.Background(), ops...); err != nil {
		c.storeFailed(err) // it may still write its answers
		return
	}
	for i, k := range keys {
		if f := batch[k]; isOverRate(&admits[i]) {
			go c.banFor(f.policy, k.key, k.ban, f.by) // it may wait for a store that is away, longer than the others should
		}
	}
}
