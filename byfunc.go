package wssecure

import (
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

// customKey is what the function of that name gave for one handshake. A session
// keeps those that failures are counted by: its request is gone when it ends.
type customKey struct{ name, value string }

// fillCustom adds the rules by function, each value asked for once.
func (a *attempt) fillCustom(b *admission, lease func(store.Key, string, int) store.Admit) error {
	for _, rule := range a.policy.funcRules {
		value, err := a.callKey(rule.key)
		if err != nil {
			return err
		}
		if value == "" {
			continue
		}
		if rule.bans {
			a.custom = append(a.custom, customKey{rule.key.name, value})
		}
		admit := lease(store.Custom(rule.key.name, value), rule.bucket, rule.most)
		if rule.rate.N > 0 {
			admit.Rate, admit.N = store.Rate(rule.rate), 1
		}
		b.admit(admit)
	}
	return nil
}

func (a *attempt) callKey(k Key) (value string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("the function of ByFunc(%q) panicked: %v", k.name, p)}
		}
	}()
	return k.fn(a.handshake()), nil
}
