package wssecure

import (
	"context"
	"sync"
	"time"

	"github.com/wssecure/wssecure/store"
)

// failures joins what failed within 10 ms for a shared store, so that neither an answer nor the end of a session waits
// for it, and a flood of forged tokens is one question.
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
	if c.nodeStore() == nil {
		c.chargeNow(failureKey{key, rule.rate, rule.ban}, &failureCount{p, by, 1})
		return
	}
	f := &c.failing
	f.mu.Lock()
	defer f.mu.Unlock()
	k := failureKey{key, rule.rate, rule.ban}
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

func (c *core) chargeNow(k failureKey, f *failureCount) {
	charge := store.Admit{Key: k.key, Bucket: "failures", Rate: store.Rate(k.rate), N: f.n}
	c.quietly(&charge)
	if charge.Err == nil && charge.Verdict.Refused == store.OverRate {
		c.banFor(f.policy, k.key, k.ban, f.by)
	}
}

// chargeJoined runs while failures come. A ban may wait for a store that is away, longer than the others should.
func (c *core) chargeJoined() {
	f := &c.failing
	for {
		time.Sleep(failuresJoined)
		f.mu.Lock()
		batch := f.pending
		f.pending = nil
		if len(batch) == 0 {
			f.running = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		keys := make([]failureKey, 0, len(batch))
		charges := make([]store.Admit, 0, len(batch))
		ops := make([]store.Op, 0, len(batch))
		for k, x := range batch {
			keys = append(keys, k)
			charges = append(charges, store.Admit{Key: k.key, Bucket: "failures", Rate: store.Rate(k.rate), N: x.n})
			ops = append(ops, &charges[len(charges)-1])
		}
		if err := c.store.Do(context.Background(), ops...); err != nil {
			c.storeFailed(err)
			continue
		}
		for i := range charges {
			if charges[i].Err == nil && charges[i].Verdict.Refused == store.OverRate {
				go c.banFor(batch[keys[i]].policy, keys[i].key, keys[i].ban, batch[keys[i]].by)
			}
		}
	}
}
