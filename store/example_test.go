package store_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/store"
)

// logged is a store of one's own around another one; here it counts what goes by.
type logged struct {
	store.Store
	ops atomic.Int64
}

func (l *logged) Do(ctx context.Context, ops ...store.Op) error {
	l.ops.Add(int64(len(ops)))
	return l.Store.Do(ctx, ops...)
}

func ExampleNode() {
	shared := &logged{Store: store.NewMemory()}
	node, err := store.NewNode(shared, store.OnError(store.RuleCap, store.Deny, "subject"), store.MaxStale(30*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	client := store.Address(netip.MustParsePrefix("198.51.100.7/32"))
	for range 5 {
		a := store.Admit{Key: client, Bucket: "handshakes", Rate: store.Rate{N: 2, Per: time.Hour, Burst: 2}, N: 1}
		if err := node.Do(context.Background(), &a); err != nil || a.Err != nil {
			log.Fatal(err, a.Err)
		}
		fmt.Println(a.Verdict.Refused, shared.ops.Load()) // what this node alone exceeds is not asked for
	}
	// Output:
	// none 1
	// none 2
	// over rate 2
	// over rate 2
	// over rate 2
}

func ExampleNode_Peek() {
	node, err := store.NewNode(store.NewMemory())
	if err != nil {
		log.Fatal(err)
	}
	alice := store.Subject("https://id.example.com", "alice")
	ban := store.Mark{Key: alice, Kind: store.MarkBan, Until: time.Now().Add(time.Hour), Why: "abuse"}
	if err := node.Do(context.Background(), &ban); err != nil || ban.Err != nil {
		log.Fatal(err, ban.Err)
	}
	a := store.Admit{Key: alice}
	node.Peek(&a)
	fmt.Println(a.Verdict.Refused)
	// Output: banned
}

func ExampleOnError() {
	_, err := store.NewNode(store.NewMemory(), store.OnError(store.RuleLogout, store.Allow))
	fmt.Println(err)
	// Output: OnError: logout cannot be allow; use deny
}
