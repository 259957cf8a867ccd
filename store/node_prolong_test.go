package store_test

import (
	"testing"
	"time"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

// A lease that is asked for again is held, whatever the answer: only one that
// nobody has may be given back when the store returns.
func TestAskingAgainLosesNoLease(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		c.want(x, x.lease(user, 2, 1), store.None, false)
		time.Sleep(5 * time.Minute) // younger ones are asserted again after a reconnect
		x.link.Set(storetest.Fault{Hang: true})
		if _, err := x.admit(x.lease(user, 2, 1)); err == nil {
			c.Error("a cap under Deny was decided without the store")
		}
		if _, err := x.admit(x.lease(user, 2, 2)); err == nil {
			c.Error("a cap under Deny was decided without the store")
		}
		x.heal()
		time.Sleep(10 * time.Second)
		c.wantHeld(user, 1)
	}, store.OnError(store.RuleCap, store.Deny))
}
