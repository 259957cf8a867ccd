package wssecure_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
)

// Two servers of one process share their limits, bans and revocations; on several machines shared is a store that all of
// them reach.
func ExampleSetStore() {
	shared := store.NewMemory()
	for _, origin := range []string{"https://app.example.com", "https://admin.example.com"} {
		guard, err := wssecure.New(
			wssecure.AllowOrigins(origin),
			wssecure.InsecureAllowAnonymous("a public ticker"),
			wssecure.SetStore(shared),
		)
		if err != nil {
			log.Fatal(err)
		}
		defer guard.Shutdown(context.Background())
	}
	// Output:
}

// counted is a store of one's own around another one: here it counts what is asked. Around it the guard puts a
// store.Node, so whatever it does, no handshake waits for it longer than 25 ms.
type counted struct {
	store.Store
	batches atomic.Int64
}

func (c *counted) Do(ctx context.Context, ops ...store.Op) error {
	c.batches.Add(1)
	return c.Store.Do(ctx, ops...)
}

// While the store is away a cap is held by refusing, a rate by each node's share.
func ExampleSetStore_onError() {
	shared := &counted{Store: store.NewMemory()}
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("a public ticker"),
		wssecure.SetStore(shared,
			store.OnError(store.RuleCap, store.Deny),
			store.OnError(store.RuleRate, store.Local), // the default
		),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer guard.Shutdown(context.Background())
	_, err = wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("a public ticker"),
		wssecure.SetStore(shared, store.OnError(store.RuleTicket, store.Allow)),
	)
	fmt.Println(err)
	// Output: SetStore: OnError: ticket cannot be allow; use deny
}
