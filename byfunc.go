package wssecure

import (
	"context"
	"fmt"

	"github.com/wssecure/wssecure/store"
)

// This file holds the rules by function, whose key the application gives.

// funcRule is a rule by function, its rate and its cap together, and its bans.
type funcRule struct {
	key    Key
	bucket string
	rate   Rate
	most   int
	bans   bool
}

func (d *draft) finishFuncRules() {
	d.funcRules = nil
	find := func(k Key) *funcRule {
		for i := range d.funcRules {
			if sameKey(d.funcRules[i].key, k) {
				return &d.funcRules[i]
			}
		}
		d.funcRules = append(d.funcRules, funcRule{key: k, bucket: bucketOf("handshakes", k)})
		return &d.funcRules[len(d.funcRules)-1]
	}
	for _, r := range d.rates {
		if r.key.kind == keyFunc {
			find(r.key).rate = r.rate
		}
	}
	for _, c := range d.caps {
		if c.key.kind == keyFunc {
			find(c.key).most = c.n
		}
	}
	for _, f := range d.failures {
		if f.key.kind == keyFunc {
			find(f.key).bans = true // they are asked for
		}
	}
	if len(d.funcRules) > mostFuncRules {
		d.fault("LimitConns", "%d keys by function are too many; keep %d", len(d.funcRules), mostFuncRules)
	}
}

// mostFuncRules leaves room for them in a batch.
const mostFuncRules = mostAdmits - 8

// customKey is the key by the function of that name for one handshake. A session
// keeps those that failures are counted by, since its request is gone when it
// ends: the key, which is short, and not what a client may have sent a header of.
type customKey struct {
	name string
	key  store.Key
}

// askKeys asks what the rules by function count this handshake by, once each.
func (a *attempt) askKeys() error {
	if a.late || len(a.policy.funcRules) == 0 {
		return nil // late ones are asked with the token
	}
	a.keys = make([]string, len(a.policy.funcRules))
	for i, rule := range a.policy.funcRules {
		value, err := a.callKey(rule.key)
		if err != nil {
			return err
		}
		a.keys[i] = value
	}
	return nil
}

// fillCustom adds the rules by function.
func (a *attempt) fillCustom(b *admission, lease func(store.Key, string, int) store.Admit) {
	for i, rule := range a.policy.funcRules {
		value := a.keys[i]
		if value == "" {
			continue
		}
		key := store.Custom(rule.key.name, value)
		if rule.bans {
			a.custom = append(a.custom, customKey{rule.key.name, key})
		}
		admit := lease(key, rule.bucket, rule.most)
		if rule.rate.N > 0 {
			admit.Rate, admit.N = store.Rate(rule.rate), 1
		}
		b.admit(admit)
	}
}

func (a *attempt) callKey(k Key) (string, error) {
	h := a.handshake()
	var value string
	err := a.bounded(a.r.Context(), a.policy.handshakeTime, k.calls, func(context.Context) error {
		value = k.fn(h)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("the function of ByFunc(%q): %w", k.name, err)
	}
	return value, nil
}
